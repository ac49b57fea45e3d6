"""A table that is read by the number of the step ends: more steps than rows are refused, by every runtime alike."""

import functools
import importlib.util

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

import neurokit as nk
from neurokit.errors import InputError, UnsupportedError
from neurokit.export.most_steps import most_steps

ROWS = 9


class Table(nn.Module):
    """A learnt row a step, beside a membrane by hand or a neuron of a library; "at once" for all steps in one sum."""

    def __init__(self, how="row", by_hand=True, rows=ROWS):
        super().__init__()
        self.how, self.by_hand = how, by_hand
        self.fc, self.lif = nn.Linear(6, 5), neuron.LIFNode()
        self.table = nn.Parameter(torch.linspace(0.1, 1.5, rows * 5).reshape(rows, 5))
        self.rows = nn.Embedding(rows, 5)

    def forward(self, x):  # [T, B, 6]
        v, found = torch.zeros(x.shape[1], 5), []
        currents = self.fc(x)
        if self.how == "at once":
            currents = currents + self.table[: x.shape[0], None]
        for t in range(x.shape[0]):
            current = currents[t] + (self.table[: x.shape[0]][t] if self.how == "some" else self.of(t))
            if self.by_hand:
                v = v * 0.5 + current
                spikes = (v > 1).float()
                v = v - spikes
            else:
                spikes = self.lif(current)
            found.append(spikes)
        return torch.stack(found)

    def of(self, t):
        if self.how == "row":
            return self.table[t]
        if self.how == "next":
            return self.table[t + 1]
        return self.rows(torch.tensor(t)) if self.how == "embedding" else self.table[0]


def spec_of(steps=3, **how):
    torch.manual_seed(0)
    module = Table(**how).eval()
    return module, nk.ModelSpec("table", lambda: module, (nk.TensorSpec("x", (6,)),), time_steps=steps)


@pytest.fixture(scope="module")
def over_any_steps():
    """Captures each kind of table once over any number of steps: a few seconds each, and many tests begin with it."""
    return functools.cache(lambda **how: nk.capture(spec_of(steps=4, **how)[1], time_steps="dynamic"))


# How a row is read does not depend on whose the membrane is: every run has each of both, the slow one all pairs.
PAIRS = [("row", ROWS, False), ("row", ROWS, True), ("next", ROWS - 1, True), ("embedding", ROWS, False)]
SLOW = [("next", ROWS - 1, False), ("embedding", ROWS, True), ("none", None, False)]


@pytest.mark.parametrize(
    ("how", "most", "by_hand"),
    [*PAIRS, ("none", None, True), *(pytest.param(*pair, marks=pytest.mark.slow) for pair in SLOW)],
)
def test_the_steps_are_those_for_which_the_module_has_rows(how, most, by_hand, over_any_steps):
    module, spec = spec_of(how=how, by_hand=by_hand)
    assert most_steps(over_any_steps(how=how, by_hand=by_hand)) == most
    fixed = nk.capture(spec)
    assert most_steps(fixed.retrace(form="step")) == most
    assert most_steps(fixed) is None  # T is a number
    if most is not None:
        module(torch.zeros(most, 1, 6))
        with pytest.raises(IndexError):
            module(torch.zeros(most + 1, 1, 6))


@pytest.mark.parametrize("how", ["some", "at once"])
@pytest.mark.parametrize("by_hand", [False, True])
def test_the_first_rows_of_a_table_end_with_it(how, by_hand, tmp_path):
    """A sound artifact failed its verification: over twice its steps there are no rows."""
    module, spec = spec_of(how=how, by_hand=by_hand, steps=6)
    artifact = nk.lower(nk.capture(spec, time_steps="dynamic"), "onnx-scan", tmp_path / "a")
    assert artifact.manifest.parity["verdict"] in ("exact", "benign rounding", "within tolerance")
    assert artifact.manifest.target_info["most_steps"] == ROWS
    x = torch.rand(ROWS, 2, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), nk.open(artifact) as runner:
        np.testing.assert_array_equal(runner(x.numpy()), module(x).numpy())
        with pytest.raises(InputError, match=rf"\b{ROWS}\b"):
            runner(np.zeros((ROWS + 1, 2, 6), np.float32))


@pytest.mark.parametrize("how", ["row", "embedding", "next"])
@pytest.mark.parametrize("by_hand", [False, True])
def test_a_table_too_short_for_any_number_of_steps_is_told_by_its_line(how, by_hand):
    """It was refused in torch's own words, or ended as an IndexError."""
    _, spec = spec_of(how=how, by_hand=by_hand, rows=5)
    most = 4 if how == "next" else 5
    for form in ({"time_steps": "dynamic"}, {"form": "step"}):
        with pytest.raises(
            UnsupportedError, match=rf"self\..*\(test_most_steps.py:\d+\) runs over {most} steps at most"
        ):
            nk.capture(spec).retrace(**form)


def targets():
    lacks = importlib.util.find_spec("openvino") is None
    without = pytest.mark.skipif(lacks, reason="no OpenVINO")
    return ["onnx-scan", "onnx-step", *(pytest.param(name, marks=without) for name in ("openvino", "openvino-step"))]


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("target", targets())
def test_more_steps_than_rows_are_refused_in_a_line_and_not_computed(target, by_hand, over_any_steps, tmp_path):
    module, _ = spec_of(steps=4, by_hand=by_hand)
    artifact = nk.lower(over_any_steps(how="row", by_hand=by_hand), target, tmp_path / "a")
    assert artifact.manifest.parity["verdict"] == "exact"
    assert artifact.manifest.target_info["most_steps"] == ROWS
    x = np.random.default_rng(0).random((ROWS + 1, 2, 6), np.float32)
    with torch.no_grad():
        wanted = module(torch.from_numpy(x[:-1])).numpy()
    with nk.open(artifact) as runner:
        for _ in range(2):  # a call starts anew
            module.lif.reset()
            np.testing.assert_array_equal(runner(x[:-1]), wanted)
            with pytest.raises(InputError, match=rf"\b{ROWS}\b"):
                runner(x)
        if runner.streaming:
            runner.reset(2)
            for given in x[:-1]:
                runner.step(given)
            with pytest.raises(InputError, match="at most 9 steps after a reset"):
                runner.step(x[-1])
            runner.reset(2)
            runner.step(x[0])


def test_a_table_with_a_row_for_every_step_of_the_specification_has_no_step_form(tmp_path):
    _, spec = spec_of(steps=4, rows=4, by_hand=False)
    with pytest.raises(UnsupportedError, match="runs over 4 steps at most"):
        nk.lower(spec, "onnx-step", tmp_path / "a")


def test_exact_numerics_take_the_rows_of_a_number_of_steps(tmp_path):
    artifact = nk.lower(spec_of(steps=4)[1], "onnx", tmp_path / "a", numerics="exact")
    assert artifact.manifest.parity["verdict"] == "exact"
    for by_hand in (False, True):
        with pytest.raises(UnsupportedError, match="no exact form that runs step by step"):
            nk.lower(spec_of(steps=4, by_hand=by_hand)[1], "onnx-step", tmp_path / "b", numerics="exact")
