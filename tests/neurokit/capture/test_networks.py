"""Networks as people write them: what ONNX Runtime gives, against the network itself run by its library in double."""

import importlib

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit.errors import UnsupportedError
from neurokit.loading import spec_of_module
from tests.neurokit.capture.networks import loops, public_cells, public_styles, published, registry

for _name in (
    "snntorch_nets",
    "norse_nets",
    "plain_nets",
    "by_hand",
    "time_loops",
    "kinds_of_networks",
    "kinds_of_layers",
    "reported",
    "public_styles",
    "public_cells",
    "further_vision",
    "further_recurrent",
    "further_layers",
    "further_libraries",
    "own_states",
):
    importlib.import_module(f"tests.neurokit.capture.networks.{_name}")

FAST = {
    "spytorch_masked_reset",
    "decolle_lists",
    "first_spikes",
    "bntt",
    "steps_until_the_fourth",
    "latency_by_one_hot",
    "tdbn_into_place",
    "snntorch_output",
    "snntorch_explicit",
    "snntorch_static_image",
    "plain_spytorch",
    "by_hand_synapse",
    "loop_prealloc",
    "synapse_filter",
    "snntorch_start_given",
    "ems_yolo_head",
    "own_resting",
    "own_adaptive",
    "readout_beside",
    "snntorch_takes_its_membrane",
}
# Of all outputs of a network in single precision, how far each may be from double.
_BOUND = 2e-5


def onnx_outputs(captured, x):
    """Runs the artifact's graph in ONNX Runtime, by nothing of neurokit's."""
    ir = pytest.importorskip("onnx_ir")
    ort = pytest.importorskip("onnxruntime")
    from neurokit.export.onnx.convert import onnx_from_captured

    model = ir.to_proto(onnx_from_captured(captured))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})


def names():
    return [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in sorted(registry.NETWORKS)]


@pytest.mark.parametrize("name", names())
def test_artifact_is_the_network(name):
    entry = registry.NETWORKS[name]
    spec = spec_of_module(entry.build(), name, entry.shape, entry.time_steps)
    captured = nk.capture(spec)
    lead = (3,) if spec.time_input == "image" or spec.time_steps is None else (spec.time_steps, 3)
    x = torch.rand((*lead, *entry.shape), generator=torch.Generator().manual_seed(7))
    expected = registry.eager(entry, x)
    found = onnx_outputs(captured, x)
    assert len(found) >= len(expected) or "with_its_state" in name
    for ours, theirs in zip(found, expected, strict=False):
        moves = theirs.is_floating_point()  # a chosen class may be the same for a few samples
        theirs = theirs.double().numpy()
        assert ours.shape == theirs.shape
        assert theirs.std() > 0 or not moves, "a silent network shows nothing"
        assert np.linalg.norm(ours - theirs) <= _BOUND * np.linalg.norm(theirs)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.1, 0.3, 1.0])
def test_a_first_step_that_is_like_the_others_with_zeros_on_few_numbers_alone(scale):
    """A threshold of 0.2 + q was carried from a 0: the form failed its verification, and was not refused."""
    entry = registry.NETWORKS["balanced_resonators"]
    captured = nk.capture(spec_of_module(entry.build(), "net", entry.shape, entry.time_steps))
    over_any = captured.retrace(time_steps="dynamic")
    for steps in (5, 8):
        x = torch.rand(steps, 9, *entry.shape, generator=torch.Generator().manual_seed(7)) * scale
        (found,), (expected,) = onnx_outputs(over_any, x), registry.eager(entry, x)
        assert np.linalg.norm(found - expected.numpy()) <= _BOUND * expected.norm()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["snntorch_inhibition"])
def test_over_any_number_of_steps(name):
    """One winner of a layer is written at a computed place: torch's vmap left operations of its own in the graph."""
    entry = registry.NETWORKS[name]
    captured = nk.capture(spec_of_module(entry.build(), name, entry.shape, entry.time_steps))
    over_any = captured.retrace(time_steps="dynamic")
    for steps in (5, 8):
        x = torch.rand(steps, 3, *entry.shape, generator=torch.Generator().manual_seed(7))
        for found, expected in zip(onnx_outputs(over_any, x), registry.eager(entry, x), strict=True):
            assert np.linalg.norm(found - expected.numpy()) <= _BOUND * expected.norm()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["norse_sequential_state", "sj_spiking_gru", "two_readouts", "own_refractory", "snntorch_takes_its_states"]
)
def test_in_steps(name, tmp_path):
    """A cast of a weight to its own type took the weight's name; a loop that began with parts of a tensor was none.

    Of two readouts the largest so far was called the last, and the vectors damaged.
    """
    entry = registry.NETWORKS[name]
    captured = nk.capture(spec_of_module(entry.build(), name, entry.shape, entry.time_steps))
    x = torch.rand(entry.time_steps, 3, *entry.shape, generator=torch.Generator().manual_seed(7))
    artifact = nk.lower(captured, "onnx-step", tmp_path / "a")
    assert artifact.manifest.parity["verdict"] != "failed"
    with nk.open(artifact) as runner:
        steps = [runner.step({"input": x_t.numpy()}) for x_t in x]
    for at, whole in enumerate(onnx_outputs(captured, x)):
        found = np.stack([list(step.values())[at] for step in steps])
        last = found[-1] if whole.shape == found[-1].shape else found
        assert np.abs(last - whole).max() < 1e-5


@pytest.mark.slow
def test_what_has_no_single_step_by_hand_says_why():
    """It was said to have no neurons."""
    entry = registry.NETWORKS["balanced_resonators"]
    captured = nk.capture(spec_of_module(entry.build(), "net", entry.shape, entry.time_steps))
    with pytest.raises(
        UnsupportedError, match="carries values from step to step by hand, and its first step is not like"
    ):
        captured.retrace(form="step")


def test_some_of_the_steps_are_verified(tmp_path):
    """Vectors of four of six steps were taken for damaged ones."""
    spec = spec_of_module(public_styles.some_steps("until the fourth"), "net", (10,), 6)
    artifact = nk.lower(nk.capture(spec), "onnx", tmp_path / "a")
    assert artifact.manifest.parity["verdict"] in ("exact", "benign rounding")


def test_a_bound_that_is_no_number_is_none(tmp_path):
    """Beyond the declared range e to the keys overflowed in the bound: infinity over infinity failed a right graph."""
    artifact = nk.lower(
        nk.capture(spec_of_module(public_cells.spiking_tokens(), "net", (6, 12))), "onnx", tmp_path / "a"
    )
    assert artifact.manifest.parity["verdict"] in ("exact", "benign rounding")
    assert not any("have no bound" in line for line in artifact.manifest.parity["unseen"])


def test_some_of_the_steps_of_any_number_are_refused():
    spec = spec_of_module(public_styles.some_steps("until the fourth"), "net", (10,), 6)
    with pytest.raises(UnsupportedError, match="steps are not all alike over any T"):
        nk.capture(spec, time_steps="dynamic")


def test_a_loop_that_ends_where_the_data_say_is_refused_by_its_line():
    spec = spec_of_module(public_styles.some_steps("until it fires"), "net", (10,), 6)
    with pytest.raises(UnsupportedError, match=r"y.max\(\) > 1 .*control flow depends on the values of tensors"):
        nk.capture(spec)


def test_the_set_has_the_size_that_is_asked_for():
    """All that are compared with their own library in double: here, and the bodies and published nets of the loops."""
    loops_of_kinds = len(loops.NEURONS) * len(loops.STYLES)
    assert len(registry.NETWORKS) >= 120
    assert len(registry.NETWORKS) + loops_of_kinds + 2 * len(published.PUBLISHED) >= 165
