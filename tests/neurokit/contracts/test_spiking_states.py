"""Spiking networks that also declare a state (a counter, a running sum): SpikingJelly's own steps are the judge."""

import json

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.capture import capture
from neurokit.cli import main
from neurokit.errors import ArtifactError, UnsupportedError

STEPS = 4


class Counting(nn.Module):
    """One step a call; what it puts out depends on how many steps there were, and on a trace of its own spikes."""

    def __init__(self):
        super().__init__()
        self.first, self.spike, self.head = nn.Linear(5, 8), neuron.LIFNode(v_threshold=0.3), nn.Linear(8, 3)
        self.back = nn.Linear(8, 8)

    def forward(self, x, trace, count):
        spikes = self.spike(self.first(x) + self.back(trace))
        trace = 0.75 * trace + spikes
        count = count + 1
        return {"y": self.head(trace) / count.to(x.dtype), "trace": trace, "count": count}


class Summing(nn.Module):
    """A sequence a call, and the sum of all that it ever took in."""

    def __init__(self):
        super().__init__()
        self.first = layer.Linear(5, 8, step_mode="m")
        self.spike, self.head = neuron.IFNode(v_threshold=0.3, step_mode="m"), layer.Linear(8, 3, step_mode="m")

    def forward(self, x, total):
        return self.head(self.spike(self.first(x))), total + x.sum(0)


def _spec(kind):
    torch.manual_seed(0)
    net = (Counting if kind == "step" else Summing)().eval()
    states = (nk.StateSpec("trace", (8,)), nk.StateSpec("count", (1,), "int64"))
    if kind == "sequence":
        states = (nk.StateSpec("total", (5,)),)
    return nk.ModelSpec(
        kind, lambda: net, (nk.TensorSpec("x", (5,)),), STEPS, kind, "sequence", states=states, outputs=("y",)
    )


@pytest.fixture(scope="module", params=["step", "sequence"])
def captured(request):
    return capture(_spec(request.param))


def _x(steps=STEPS):
    return torch.rand(steps, 2, 5, generator=torch.Generator().manual_seed(2))


def _wanted(spec, x):
    """Outputs of every step and the states after the last, by the module itself."""
    net = spec.build()
    functional.reset_net(net)
    with torch.no_grad():
        if spec.name == "sequence":
            y, total = net(x, torch.zeros(2, 5))
            functional.reset_net(net)
            return y.numpy(), {"total": total.numpy()}
        trace, count, ys = torch.zeros(2, 8), torch.zeros(2, 1, dtype=torch.int64), []
        for step in x:
            found = net(step, trace, count)
            ys.append(found["y"])
            trace, count = found["trace"], found["count"]
    functional.reset_net(net)
    return torch.stack(ys).numpy(), {"trace": trace.numpy(), "count": count.numpy()}


@pytest.mark.parametrize("target", ["onnx", "onnx-step"])
def test_lowered_verified_and_equal_to_the_module(captured, target, tmp_path):
    artifact = nk.lower(captured, target, tmp_path / "a")
    report = artifact.manifest.parity
    assert report["passed"], report
    assert report["spikes_compared"] > 0
    wanted, states = _wanted(captured.spec, _x())
    with nk.open(artifact) as runner:
        np.testing.assert_allclose(runner(_x().numpy()), wanted, atol=1e-5)
        if target == "onnx":
            return
        runner.reset(2)
        steps = [runner.step(step) for step in _x().numpy()]
        np.testing.assert_allclose(np.stack(steps), wanted, atol=1e-5)
        held = runner.states()
        for name, value in states.items():
            np.testing.assert_allclose(held[name], value, atol=1e-5)
            assert held[name].dtype == value.dtype
        longer = _wanted(captured.spec, torch.cat([_x(), _x()]))[0]
        more = [runner.step(step) for step in _x().numpy()]
        np.testing.assert_allclose(np.stack(more), longer[STEPS:], atol=1e-5)


def test_a_state_that_starts_elsewhere_is_not_taken_for_right(captured, tmp_path):
    """A declared state's initial value in the manifest is held against the file's own."""
    artifact = nk.lower(captured, "onnx-step", tmp_path / "a")
    data = json.loads((tmp_path / "a" / "manifest.json").read_text())
    state = next(s for s in data["graphs"][0]["states"] if s["name"] in ("count", "total"))
    state["init"] = 5.0
    wrong = artifact.manifest.model_validate({**data, "digest": ""})
    (tmp_path / "a" / "manifest.json").write_text(wrong.to_text())
    with pytest.raises(ArtifactError, match=r"init is 5.0 and 0.0"):
        nk.verify(tmp_path / "a")


def test_bench_and_report_by_command(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "import sys\nsys.path.insert(0, " + repr(str(__file__).rpartition("/")[0]) + ")\n"
        "from test_spiking_states import _spec\ndef counting():\n    return _spec('step')\n"
    )
    out = str(tmp_path / "a")
    assert main(["export", f"{tmp_path}/mine.py:counting", "--target", "onnx-step", "--out", out]) == 0
    command = ["bench", out, "--scenario", "stream", "--seconds", "0.05", "--threads", "1"]
    assert main([*command, "--out", str(tmp_path / "b.json")]) == 0
    (row,) = json.loads((tmp_path / "b.json").read_text())["reports"]
    assert row["scenario"] == "stream"
    assert row["output_error"] < 1e-5
    assert main(["report", str(tmp_path / "b.json"), "--html", str(tmp_path / "p.html")]) == 0


class Growing(nn.Module):
    def __init__(self):
        super().__init__()
        self.spike = neuron.IFNode()

    def forward(self, x, cache):
        cache = torch.cat([cache, self.spike(x)[:, None]], 1)
        return cache.mean(1), cache


def test_a_state_that_grows_is_refused_with_the_reason():
    rows = nk.Dim("P", min=0, max=9)
    cache = nk.StateSpec("cache", (rows, 5), grows={"P": "P+1"})
    spec = nk.ModelSpec("g", lambda: Growing().eval(), (nk.TensorSpec("x", (5,)),), 3, "step", states=(cache,))
    with pytest.raises(UnsupportedError, match="grows with every step"):
        capture(spec)
