"""What runs a model as it is: PyTorch's ways and the event engine, each refused with its reason where it cannot."""

import json
from pathlib import Path

import numpy as np
import pytest

import neurokit as nk
from neurokit import cli
from neurokit.bench import plan
from neurokit.bench.events import failed
from neurokit.bench.job import Job, Rules
from neurokit.bench.run import BenchRun
from neurokit.bench.subject import numerics_of
from neurokit.bench.subjects import model_subject
from neurokit.errors import InputError, MissingRuntimeError, ParityError, UnsupportedError

SHORT = {"seconds": 0.1, "threads": 1, "meter": "none"}


def rows(jobs):
    return [(job.subject, job.provider) for job in jobs]


def test_rows_without_a_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    base = Job("artifact", "")
    assert rows(plan.plan_model("m", base, [])) == [("eager", ""), ("compile", ""), ("aoti", ""), ("engine", "")]
    assert rows(plan.plan_model("m", base, [], spiking=False)) == [("eager", ""), ("compile", ""), ("aoti", "")]
    assert rows(plan.plan_model("m", base, [], ["torch-kernels"])) == [("kernels", "")]  # a row that says why not
    assert [job.scenario for job in plan.plan_model("m", base, ["all"], ["aoti"])] == ["single", "offline", "multi"]


def test_rows_with_a_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    found = rows(plan.plan_model("m", Job("artifact", ""), []))
    assert ("kernels", plan.CUDA) in found
    assert ("kernels", "") not in found
    assert ("eager", "") in found
    assert ("eager", plan.CUDA) in found
    assert ("engine", "") in found
    assert ("engine", plan.CUDA) not in found


@pytest.mark.parametrize(
    ("model", "options", "kind", "why"),
    [
        ("spiking_cnn", {"subject": "kernels"}, MissingRuntimeError, "need a GPU"),
        ("mobilenet_v2", {"subject": "kernels"}, InputError, "has no neurons"),
        ("spiking_cnn", {"subject": "engine"}, UnsupportedError, "event engine cannot take a float network"),
        ("mobilenet_v2", {"subject": "engine", "numerics": "exact"}, InputError, "has no neurons"),
        ("spiking_cnn", {"subject": "engine", "numerics": "exact", "batch": 4}, InputError, "batch of 4"),
        ("spiking_cnn", {"subject": "sundial"}, InputError, "unknown subject"),
        ("spiking_cnn", {"scenario": "stream"}, InputError, "no time steps to stream"),
    ],
)
def test_refusals_have_their_reason(model, options, kind, why):
    with pytest.raises(kind, match=why):
        nk.benchmark(model, **{**SHORT, **options})


def test_a_refusal_lists_every_reason():
    with pytest.raises(UnsupportedError) as caught:
        model_subject(nk.load("spiking_cnn"), Job("engine", "spiking_cnn"))
    assert "integers alone" in failed(caught.value)["reason"]
    assert failed(caught.value)["fix"] == "add --numerics exact"


def test_the_event_engine_computes_what_torch_computes(in_this_process, tmp_path, capsys):
    """By the command line; the engine compares every spike with PyTorch's before anything is timed."""
    out = tmp_path / "r.json"
    np.savez(
        tmp_path / "d.npz", x=np.zeros((2, 1, 8, 8), np.float32), y=np.zeros(2, int)
    )  # the engine says it takes none
    arguments = [
        "spiking_cnn",
        "--target",
        "engine",
        "--target",
        "torch-kernels",
        "--numerics",
        "exact",
        "--bits=6",
        "--data",
        str(tmp_path / "d.npz"),
        "--seconds=0.1",
        "--threads=1",
        "--out",
        str(out),
    ]
    assert cli.main(["bench", *arguments, "--json"]) == 0
    run = BenchRun.load(out)
    (report,) = run.reports
    assert (report.target, report.numerics, report.time_steps) == ("engine", "exact 6 bits", 4)
    assert report.parity == "exact"
    assert report.environment["synaptic_events"] > 1000
    assert report.accuracy is None
    assert report.environment["accuracy_note"] == "no accuracy: engine does not take the data as it is"
    assert [entry["subject"] for entry in run.failures] == ["torch-kernels of spiking_cnn"]
    assert json.loads(capsys.readouterr().out)["reports"][0]["target"] == "engine"


def test_a_spike_that_differs_ends_it(monkeypatch):
    from neurokit.bench import engine_run

    class Raster:
        def __init__(self, spikes):
            self.spikes = np.array(spikes)

        def unpack(self):
            return self.spikes

    class Neuron:
        name = "lif1"

    class Network:
        neurons = (Neuron,)

    class Workload:
        network, rasters = Network, {"lif1": Raster([0, 1, 1])}

    class Engine:
        def run(self, inputs):
            return type("Run", (), {"rasters": {"lif1": Raster([0, 1, 0])}, "synaptic_events": 7})

    with pytest.raises(ParityError, match="lif1: 1 spikes differ"):
        engine_run._same_spikes(Engine(), Workload, {})
    Workload.rasters["lif1"].spikes[2] = 0
    assert engine_run._same_spikes(Engine(), Workload, {}) == 7


@pytest.mark.slow
@pytest.mark.parametrize("subject", ["compile", "aoti"])
def test_compiled_rows_compute_what_eager_computes(subject):
    found = nk.benchmark("spiking_cnn", subject=subject, **SHORT)
    assert found.target == {"compile": "torch-compile", "aoti": "aoti"}[subject]
    assert found.output_error < 1e-5
    assert found.first_s > 0


def test_the_decomposed_neurons_are_the_neurons():
    """What AOTInductor compiles, without compiling it: the captured program, against the module itself."""
    import torch

    from neurokit.capture.reference import example_input, run_module
    from neurokit.neurons.ops import decompositions

    spec = nk.load("spiking_cnn")
    captured = nk.capture(spec, time_steps=4)
    program = captured.program.run_decompositions(decompositions())
    assert not [node for node in program.graph.nodes if "neurokit" in str(node.target)]
    x = example_input(spec, 4, 2, 1)
    with torch.no_grad():
        found = program.module()(x, *captured.initial_states(2))[0]
    assert torch.allclose(found, run_module(spec.build().eval(), spec, x)[0], atol=1e-6)


def test_weights_from_a_file_are_measured(tmp_path):
    """In a process of its own. Oracle: accuracy on labels that only the network with these weights gives."""
    import torch
    from safetensors.torch import save_file

    spec = nk.load("spiking_cnn")
    torch.manual_seed(3)
    module = spec.build().eval()
    with torch.no_grad():
        module.fc.weight.normal_()
    save_file(module.state_dict(), str(tmp_path / "w.safetensors"))
    from neurokit.capture.reference import run_module

    x = torch.rand(12, 1, 8, 8)
    y = run_module(module, spec, x.expand(4, *x.shape))[0].argmax(-1)
    np.savez(tmp_path / "d.npz", x=x.numpy(), y=y.numpy())
    out = tmp_path / "r.json"
    arguments = ["spiking_cnn", "--target", "torch-eager", "--weights", str(tmp_path / "w.safetensors")]
    arguments += ["--data", str(tmp_path / "d.npz"), "--seconds", "0.1", "--threads", "1", "--out", str(out)]
    assert cli.main(["bench", *arguments]) == 0
    (report,) = BenchRun.load(out).reports
    assert report.accuracy == {"correct": 12, "total": 12, "data": "d.npz"}


def test_a_bare_module_and_a_file_are_models_too(in_this_process, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU())\n"
    )
    out = tmp_path / "r.json"
    arguments = ["--target", "torch-eager", "--target", "onnx", "--seconds", "0.1", "--threads", "1", "--out", str(out)]
    assert cli.main(["bench", f"{tmp_path / 'mine.py'}:net", "--input-shape", "2,8,8", *arguments]) == 0
    assert [report.target for report in BenchRun.load(out).reports] == ["torch-eager", "onnx"]
    artifact = nk.lower(nk.capture(nk.load("spiking_cnn").in_small(), time_steps=4), "nir", tmp_path / "nir")
    of_file = arguments[:2] + arguments[4:]
    assert cli.main(["bench", str(artifact.file("model.nir")), "--time-steps", "3", *of_file]) == 0
    assert [report.time_steps for report in BenchRun.load(out).reports] == [3]


def test_exact_artifacts_say_their_bits(tmp_path):
    captured = nk.capture(nk.load("spiking_cnn"), time_steps=2)
    artifact = nk.lower(captured, "onnx", tmp_path / "a", numerics="exact", bits=4)
    assert numerics_of(artifact.manifest) == "exact 4 bits"
    assert nk.benchmark(Path(artifact.path), **SHORT).numerics == "exact 4 bits"


@pytest.mark.gpu
@pytest.mark.parametrize("subject", ["eager", "kernels"])
def test_a_gpu_splits_every_call(subject):
    found = nk.benchmark("spiking_cnn", subject=subject, provider=plan.CUDA, seconds=0.2)
    assert set(found.phases_s) == {"h2d", "compute", "d2h"}
    assert all(len(values) == len(found.samples_s) for values in found.phases_s.values())
    assert sum(sum(values) for values in found.phases_s.values()) <= sum(found.samples_s) * 1.05
    assert found.memory["gpu"] > 0
    assert found.environment["during"]["gpu"][1]["clock_hz"] > 0


def test_the_compiler_s_processes_are_ended_before_the_measurement(monkeypatch):
    """They would be load beside it: on a GPU machine they took half a CPU."""
    import sys
    from types import SimpleNamespace

    from neurokit.bench.measure import measure
    from neurokit.bench.method import WarmUp

    done = []
    compiler = SimpleNamespace(shutdown_compile_workers=lambda: done.append("ended"))
    monkeypatch.setitem(sys.modules, "torch._inductor.async_compile", compiler)
    monkeypatch.setattr("neurokit.bench.method.warm_up", lambda *given: done.append("warm") or WarmUp(10, 1.0, True))
    job = Job("eager", "spiking_cnn", meter="none", rules=Rules(seconds=0.05, samples=5))
    measure(model_subject(nk.load("spiking_cnn"), job), job)
    assert done == ["ended", "warm"]
