"""Networks x forms: what ONNX Runtime makes of the lowered file, against the module itself in float64."""

import functools
import json

import numpy as np
import onnxruntime
import pytest
import torch
from spikingjelly.activation_based import functional

import neurokit as nk
from neurokit.capture.hidden import restored
from neurokit.capture.legacy import modernised
from neurokit.errors import UnsupportedError
from neurokit.spec import ModelSpec, TensorSpec

from .networks import loops, published

T, B = 4, 3


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def begin(folder, state):
    """Returns a state before the first step: of one number, or of one sample's values in a file."""
    shape, init = [B if size == "B" else size for size in state["shape"]], state["init"]
    value = np.load(folder / init) if isinstance(init, str) else init
    return np.broadcast_to(value, shape).astype(state["dtype"])


def run(folder, x):
    """Runs a lowered folder with a loop of its own."""
    manifest, runtime = json.loads((folder / "manifest.json").read_text()), session(folder / "model.onnx")
    (graph,) = manifest["graphs"]
    name, outputs = graph["inputs"][0]["name"], [output["name"] for output in graph["outputs"]]
    if manifest["form"] != "step":
        return runtime.run(outputs, {name: x})[0]
    states = {state["input"]: begin(folder, state) for state in graph["states"]}
    known, steps = {value.name for value in runtime.get_inputs()}, []
    for x_t in x:
        feeds = {name: x_t, **{key: value for key, value in states.items() if key in known}}
        found = dict(zip((o.name for o in runtime.get_outputs()), runtime.run(None, feeds), strict=True))
        states = {state["input"]: found[state["output"]] for state in graph["states"]}
        steps.append(found[outputs[0]])
    stacked = np.stack(steps)
    reductions = {
        "mean": lambda y: y.mean(0),
        "sum": lambda y: y.sum(0),
        "last": lambda y: y[-1],
        "max": lambda y: y.max(0),
    }
    return reductions.get(manifest["target_info"]["time_output"], lambda y: y)(stacked)


def eager(net, x, stepwise):
    """Runs the module as its user does, in float64, from rest."""
    net = modernised(net).double()
    functional.reset_net(net)
    with torch.no_grad(), restored(net):
        x = torch.from_numpy(x).double()
        return (torch.stack([net(x_t) for x_t in x]) if stepwise else net(x)).numpy()


@functools.lru_cache(maxsize=4)
def captured(make, shape, stepwise):
    """Captures a network once for its forms, which follow each other."""
    return nk.capture(
        ModelSpec("net", make, (TensorSpec("x", shape),), T, time_input="step" if stepwise else "sequence")
    )


@functools.cache
def maker(style, kind):
    return lambda: style(kind).eval()


def check(make, shape, form, folder, stepwise=False, refused=()):
    x = (np.random.default_rng(5).integers(0, 9, (T, B, *shape)) / 4).astype(np.float32)
    try:
        nk.lower(captured(make, shape, stepwise), form, folder / "a", verified=False)
    except UnsupportedError:
        assert form in refused
        return
    wanted, found = eager(make(), x, stepwise), run(folder / "a", x)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 2e-5 * max(1.0, np.abs(wanted).max())
    assert wanted.any()


# A maximum over time is no mean, sum or last of the steps: refused, or right where it is carried as a state.
NO_STEP = ("Largest",)
FAST = ("lif",)


def cases():
    for kind in loops.NEURONS:
        for style in loops.STYLES:
            refused = ["onnx-step"] if style.__name__ in NO_STEP else []
            marks = [] if kind in FAST and style.__name__ in ("Mean", "Written", "Readout") else [pytest.mark.slow]
            for form in ("onnx", "onnx-scan", "onnx-step"):
                yield pytest.param(kind, style, form, refused, marks=marks, id=f"{kind}-{style.__name__}-{form}")


@pytest.mark.parametrize(("kind", "style", "form", "refused"), list(cases()))
def test_a_loop_in_forward(kind, style, form, refused, tmp_path):
    check(maker(style, kind), (6,), form, tmp_path, refused=refused)


@pytest.mark.parametrize("form", ["onnx", "onnx-step"])
@pytest.mark.parametrize("style", loops.STEPWISE, ids=lambda style: style.__name__)
def test_a_step_a_call_with_state_of_its_own(style, form, tmp_path):
    check(maker(style, "lif"), (6,), form, tmp_path, stepwise=True)


@pytest.mark.parametrize("name", list(published.PUBLISHED))
def test_both_styles_of_a_published_network_give_the_same_answers(name, tmp_path):
    shape = published.PUBLISHED[name][0].shape
    for style in (True, False):
        check(lambda style=style: published.published(name, style), shape, "onnx", tmp_path / str(style))
    x = (np.random.default_rng(6).integers(0, 9, (T, B, *shape)) / 4).astype(np.float32)
    over_time, by_step = (run(tmp_path / str(style) / "a", x) for style in (True, False))
    assert np.array_equal(over_time, by_step)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx-scan", "onnx-step"])
@pytest.mark.parametrize("over_time", [True, False], ids=["layers", "steps"])
@pytest.mark.parametrize("name", list(published.PUBLISHED))
def test_published_networks_in_other_forms(name, over_time, form, tmp_path):
    shape = published.PUBLISHED[name][0].shape
    check(lambda: published.published(name, over_time), shape, form, tmp_path)
