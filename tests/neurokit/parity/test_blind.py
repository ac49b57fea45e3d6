"""Forms that hide layers: a fault inside them shows over many samples, by their outputs alone."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

import neurokit as nk
from neurokit.export.ort import new_session
from neurokit.loading import spec_of_module
from neurokit.parity.blind import judge_blind
from neurokit.parity.probing import open_probe
from neurokit.parity.vectors import Vectors
from neurokit.spec import ModelSpec, TensorSpec
from tests.mutation.networks import Traced
from tests.mutation.plant import resealed
from tests.neurokit.capture.networks import norse_nets  # noqa: F401 - registers its networks
from tests.neurokit.capture.networks import registry as public

T, WIDTH, THRESHOLD = 4, 10, 0.625


def loop():
    """Returns a neuron that also reads a trace of its own spikes: in a form of a free T a loop takes it apart."""
    torch.manual_seed(6)
    net = Traced(THRESHOLD)
    with torch.no_grad():
        for part in (net.first, net.second):
            part.weight.mul_(3)
    return net.eval()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    spec = ModelSpec("loop", loop, (TensorSpec("x", (WIDTH,)),), time_steps=T)
    return nk.lower(spec, "onnx-scan", tmp_path_factory.mktemp("blind") / "a")


def test_a_sound_artifact_passes_and_says_over_how_many_samples(sound):
    assert sound.manifest.parity["verdict"] in ("exact", "benign rounding")
    report = nk.verify(sound, record=False)
    runs = Vectors.of(sound).blind
    known = sum(int((run.until >= 1).sum()) for run in runs)
    assert sum(int((run.until == T).sum()) for run in runs) > 32
    assert any(f"compared by what follows them only, over {known} samples more" in line for line in report.unseen)


def _tensors(model):
    for graph in (model.graph, *(a.g for node in model.graph.node for a in node.attribute if a.HasField("g"))):
        yield from graph.initializer
        yield from (a.t for node in graph.node if node.op_type == "Constant" for a in node.attribute)


def _threshold(by):
    def plant(model):
        for tensor in _tensors(model):
            value = numpy_helper.to_array(tensor)
            if value.dtype.kind == "f" and value.size == 1 and float(value.reshape(())) == THRESHOLD:
                tensor.CopyFrom(numpy_helper.from_array(np.asarray(value * (1 + by), np.float32), tensor.name))

    return plant


def _a_weight_lost(model):
    (tensor,) = (t for t in _tensors(model) if tuple(t.dims) == (WIDTH, 16))
    value = numpy_helper.to_array(tensor).copy()
    value[3, 5] = 0.0
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def _answers(path, x):
    session = new_session(path, threads=1)
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.mark.parametrize(
    "plant", [_threshold(1e-2), _threshold(-1e-2), _a_weight_lost], ids=["higher", "lower", "lost"]
)
def test_a_fault_inside_of_a_hidden_layer_is_seen(plant, sound, tmp_path):
    model = onnx.load(str(sound.file("model.onnx")))
    plant(model)
    faulty = resealed(sound, model, tmp_path / "p")
    x = torch.rand(T, 256, WIDTH, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        wanted = loop()(x).numpy()
    assert np.abs(_answers(sound.file("model.onnx"), x.numpy()) - wanted).max() < 1e-5
    assert np.abs(_answers(faulty.file("model.onnx"), x.numpy()) - wanted).max() > 1e-2
    assert nk.verify(faulty, record=False).verdict == "failed"


def test_what_rounding_may_decide_is_not_compared(sound):
    """Samples are held to their outputs up to the first step at which a membrane is near a threshold."""
    vectors = Vectors.of(sound)
    run = vectors.blind[0]
    probe = open_probe(sound)
    assert judge_blind(probe, replace(vectors, blind=(run,))).faults == ()
    moved = {name: replace(y, value=y.value.copy()) for name, y in run.outputs.items()}
    (output,) = moved.values()
    output.value[2:, 7] += 1.0
    near = run.until.copy()
    for step, faults in ((T, 1), (3, 1), (2, 0), (0, 0)):
        near[7] = step
        found = judge_blind(probe, replace(vectors, blind=(replace(run, until=near, outputs=moved),)))
        assert len(found.faults) == faults
        assert found.samples == int((near >= 1).sum())


def test_constants_of_rare_neurons_are_seen_too(tmp_path):
    """Of a neuron that runs by its library's own code no near decision is known: float64 shows what rounding moves."""
    entry = public.NETWORKS["norse_lifted_cell"]
    spec = spec_of_module(entry.build(), "cell", entry.shape, entry.time_steps)
    sound = nk.lower(spec, "onnx-scan", tmp_path / "a")
    assert sound.manifest.parity["verdict"] in ("exact", "within tolerance")  # a processor's own last digits
    x = torch.rand(entry.time_steps, 64, *entry.shape, generator=torch.Generator().manual_seed(9))
    wanted = public.eager(entry, x)[0].numpy()
    probe, vectors = open_probe(sound), Vectors.of(sound)
    assert judge_blind(probe, vectors).samples == 64
    seen = []
    for at in range(len(list(_tensors(onnx.load(str(sound.file("model.onnx"))))))):
        model = onnx.load(str(sound.file("model.onnx")))
        tensor = list(_tensors(model))[at]
        value = numpy_helper.to_array(tensor)
        if value.dtype.kind != "f" or value.size > 1 or not value.all():
            continue
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(value * 1.02, np.float32), tensor.name))
        faulty = resealed(sound, model, tmp_path / "p")
        if np.abs(_answers(faulty.file("model.onnx"), x.numpy()) - wanted).max() > 1e-2:
            seen.append(bool(judge_blind(open_probe(faulty), vectors).faults))
    assert len(seen) >= 3
    assert all(seen)


class ByHand(torch.nn.Module):
    """Spikes by comparison in the forward: no layer of neurons that could be forced, and no membrane that is seen."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.out = torch.nn.Linear(WIDTH, 12), torch.nn.Linear(12, 3)
        with torch.no_grad():
            self.fc.weight.mul_(2)

    def forward(self, x):
        v, total = torch.zeros(x.shape[1], 12, dtype=x.dtype), 0.0
        for x_t in x:
            v = 0.875 * v + self.fc(x_t)
            spikes = (v > 1.5).to(x.dtype)
            v = v - 1.5 * spikes
            total = total + self.out(spikes)
        return total


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_decisions_of_the_forward_itself_are_seen_over_many_samples(kind, tmp_path):
    """A bias that was off moved no spike of eight samples; in float16 one flip allowed what a wrong sign makes."""
    dtype = getattr(torch, kind)
    spec = ModelSpec("hand", lambda: ByHand().eval().to(dtype), (TensorSpec("x", (WIDTH,), kind),), time_steps=T)
    sound = nk.lower(nk.capture(spec), "onnx", tmp_path / "a")
    assert sound.manifest.parity["verdict"] in ("exact", "within tolerance")
    x = torch.rand(T, 256, WIDTH, generator=torch.Generator().manual_seed(9)).to(dtype).numpy()
    wanted, seen = _answers(sound.file("model.onnx"), x), []
    for unit in range(12):
        for by in (0.2, 0.3):
            model = onnx.load(str(sound.file("model.onnx")))
            bias = next(tensor for tensor in _tensors(model) if tuple(tensor.dims) == (12,))
            value = numpy_helper.to_array(bias).copy()
            value[unit] += by
            bias.CopyFrom(numpy_helper.from_array(value, bias.name))
            faulty = resealed(sound, model, tmp_path / "p")
            moved = np.abs(_answers(faulty.file("model.onnx"), x) - wanted).max(1) > 0.03
            if moved.mean() > 0.1:
                seen.append(nk.verify(faulty, record=False).verdict == "failed")
    assert len(seen) >= 6
    assert all(seen)


def test_what_a_forward_decides_is_counted_for_a_sample():
    from neurokit.parity.own_decisions import own_decisions

    spec = ModelSpec("hand", lambda: ByHand().eval(), (TensorSpec("x", (WIDTH,)),), time_steps=T)
    captured = nk.capture(spec)
    assert own_decisions(captured) == 12 * T
    assert own_decisions(captured.retrace(time_steps="dynamic")) == 12 * 4  # of a free T four steps are taken
    plain = ModelSpec("plain", lambda: torch.nn.Linear(WIDTH, 3).eval(), (TensorSpec("x", (WIDTH,)),))
    assert own_decisions(nk.capture(plain)) == 0
    assert own_decisions(nk.capture(ModelSpec("loop", loop, (TensorSpec("x", (WIDTH,)),), time_steps=T))) == 0
