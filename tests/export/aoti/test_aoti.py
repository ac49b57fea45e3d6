"""The target `aoti`: forms, verification, planted faults and refusals; what is compiled for real is slow."""

import json
import operator
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.cli import main
from neurokit.errors import InputError, MissingRuntimeError, UnsupportedError
from neurokit.export.aoti import build, place
from neurokit.parity.vectors import FILE, Vectors
from neurokit.spec import ModelSpec, TensorSpec

from ..nets import Residual, conv_net, dyadic
from . import eager

ROOT = Path(__file__).parents[3]
SMALL = TensorSpec("x", (6,), low=0.0, high=2.0)


def small_net():
    torch.manual_seed(1)
    net = nn.Sequential(layer.Linear(6, 12), neuron.LIFNode(tau=4.0), layer.Linear(12, 5), neuron.IFNode(v_reset=None))
    functional.set_step_mode(net, "m")
    with torch.no_grad():
        for part in (net[0], net[2]):
            part.weight.mul_(4.0)
    return net.eval()


def spec_of(build_net, shape, steps=3):
    return ModelSpec("net", build_net, (TensorSpec("x", shape, low=0.0, high=2.0),), time_steps=steps)


NETS = {
    "small": lambda: spec_of(small_net, (6,)),
    "conv": lambda: spec_of(lambda: dyadic(conv_net()), (2, 8, 8)),
    "residual": lambda: spec_of(lambda: dyadic(Residual().eval()), (1, 6, 6)),
    "plain": lambda: ModelSpec("plain", lambda: nn.Sequential(nn.Linear(6, 3), nn.ReLU()).eval(), (SMALL,)),
}


@pytest.fixture(scope="module")
def captures():
    """Captures each network when it is first asked for."""
    made = {}

    def get(name):
        if name not in made:
            torch.manual_seed(0)
            made[name] = nk.capture(NETS[name]())
        return made[name]

    return get


@pytest.mark.parametrize(
    ("name", "form", "numerics"),
    [
        ("small", "sequence", "float"),
        ("plain", "sequence", "float"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("small", "step", "exact"),
                ("conv", "step", "float"),
                ("conv", "sequence", "exact"),
                ("residual", "sequence", "float"),
            )
        ),
    ],
)
def test_what_would_be_compiled_is_verified_layer_by_layer(name, form, numerics, captures, tmp_path, monkeypatch):
    eager.install(monkeypatch)
    artifact = nk.lower(captures(name), "aoti", tmp_path / "a", form=form, numerics=numerics)
    parity = artifact.manifest.parity
    passed = ("exact", *(() if numerics == "exact" else ("benign rounding", "within tolerance")))
    assert parity["verdict"] in passed
    assert len(parity["layers"]) == len(captures(name).neurons)
    vectors = Vectors.load(artifact.file(FILE))
    with nk.open(artifact) as runner:
        for batch in (1, 3):
            axis = 1 if captures(name).spiking else 0
            y = runner(np.repeat(vectors.x[:, :1] if axis else vectors.x[:1], batch, axis))
            wanted = next(iter(vectors.outputs.values()))
            place_of = 0 if wanted.ndim == 2 else 1
            np.testing.assert_allclose(np.take(y, 0, place_of), np.take(wanted, 0, place_of), atol=1e-5)
            assert y.shape[place_of] == batch


def test_a_step_artifact_streams_like_spikingjelly(captures, tmp_path, monkeypatch):
    eager.install(monkeypatch)
    artifact = nk.lower(captures("small"), "aoti", tmp_path / "a", form="step", verified=False)
    x, net = torch.rand(3, 2, 6) * 2, small_net()
    with nk.open(artifact) as runner, torch.no_grad():
        runner.reset(batch=2)
        found = np.stack([runner.step(step.numpy()) for step in x])
        assert set(runner.states()) == {state.name for state in artifact.manifest.states}
        wanted = net(x).detach().numpy()
    np.testing.assert_array_equal(found, wanted)
    assert 0 < wanted.mean() < 1


def _no_residual(module):
    """Leaves out what is added beside a convolution."""
    node = next(n for n in module.graph.nodes if n.op == "call_function" and "aten.add" in str(n.target))
    node.replace_all_uses_with(node.args[0])


def _other_reset(module):
    node = next(n for n in module.graph.nodes if "neurokit.if_" in str(n.target) or "neurokit.lif" in str(n.target))
    place_of = 3 if "if_" in str(node.target).split(".")[1] else 4
    node.update_arg(place_of, None if node.args[place_of] is not None else 0.0)


def _spikes_in_another_order(module):
    """Turns the spikes of a layer around along their last axis, as words packed the wrong way round would be."""
    node = next(n for n in module.graph.nodes if n.target is operator.getitem and n.args[1] == 0)
    with module.graph.inserting_after(node):
        turned = module.graph.call_function(torch.flip, (node, [-1]))
    node.replace_all_uses_with(turned, delete_user_cb=lambda user: user is not turned)


@pytest.mark.parametrize(
    ("name", "plant"),
    [
        ("small", _other_reset),
        pytest.param("residual", _no_residual, marks=pytest.mark.slow),
        pytest.param("conv", _spikes_in_another_order, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("where", [pytest.param("everywhere", marks=pytest.mark.slow), "package"])
def test_a_wrong_rewrite_fails_verification(name, plant, where, captures, tmp_path, monkeypatch):
    eager.install(monkeypatch)
    true_body, true_twin = build.body_of, build.twin_of

    def broken(part):
        module = true_body(part)
        plant(module)
        module.recompile()
        return module

    monkeypatch.setattr(build, "body_of", broken)
    if where == "package":  # the twin beside it is sound
        monkeypatch.setattr(build, "twin_of", lambda module: true_twin(true_body(captures(name))))
    artifact = nk.lower(captures(name), "aoti", tmp_path / "a", verified=False)
    report = nk.verify(artifact)
    assert report.verdict == "failed", report.notes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"form": "scan"}, "sequence or step"),
        ({"device": "tpu"}, "cpu or cuda"),
        ({"tune": "maybe"}, "true or false"),
        ({"opset": 3}, "no option 'opset'"),
    ],
)
def test_wrong_options_are_refused_in_a_line(options, said, captures, tmp_path):
    with pytest.raises(InputError) as error:
        nk.lower(captures("small"), "aoti", tmp_path / "a", **options)
    assert said in str(error.value)
    assert not (tmp_path / "a").exists()


def test_what_has_no_such_form_is_refused(captures, tmp_path):
    with pytest.raises(UnsupportedError, match="cannot take") as error:
        nk.lower(captures("plain"), "aoti", tmp_path / "a", form="step")
    assert "no step" in error.value.reasons[0].why
    free = captures("small").retrace(time_steps="dynamic")
    with pytest.raises(UnsupportedError) as error:
        nk.lower(free, "aoti", tmp_path / "a")
    assert "T is a number" in error.value.reasons[0].why


def test_without_a_compiler_nothing_is_begun(captures, tmp_path, monkeypatch):
    monkeypatch.setattr(place, "compiler", lambda: None)
    with pytest.raises(MissingRuntimeError, match=r"C\+\+ compiler"):
        nk.lower(captures("small"), "aoti", tmp_path / "a")


def test_a_compiler_that_links_its_own_runtime_is_refused(tmp_path):
    source = tmp_path / "x.cpp"
    source.write_text('#include <string>\nextern "C" int f(const char* s) { return std::stoi(std::string(s)); }\n')
    for name, more in (("shared", ()), ("static", ("-static-libstdc++",))):
        command = [place.compiler(), "-shared", "-fPIC", "-o", str(tmp_path / f"{name}.so"), str(source), *more]
        subprocess.run(command, check=True)
    place.need_shared_runtime(tmp_path / "shared.so")
    with pytest.raises(MissingRuntimeError, match="C\\+\\+ runtime"):
        place.need_shared_runtime(tmp_path / "static.so")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"torch": "1.0.0"}, "compiled for PyTorch 1.0.0, and here is PyTorch"),
        ({"machine": "pdp11"}, "compiled for pdp11"),
        ({"device": "cuda", "gpu": "NVIDIA X", "capability": "9.9"}, "NVIDIA X"),
        ({"cpu_extensions": ["avx9000"]}, "a CPU with avx9000, which this one lacks"),
    ],
)
def test_a_package_of_another_machine_is_refused(changes, said):
    if changes.get("device") == "cuda" and torch.cuda.is_available():
        said = "compute capability 9.9"
    with pytest.raises(MissingRuntimeError) as error:
        place.refuse_elsewhere("build/a", {**place.here("cpu"), **changes})
    assert said in error.value.what
    assert error.value.what.startswith("build/a was compiled for")


def test_every_door_refuses_a_foreign_package_in_one_line(captures, tmp_path, monkeypatch, capsys):
    eager.install(monkeypatch)
    monkeypatch.setattr(build, "here", lambda device: {**place.here(device), "torch": "1.0.0"})
    artifact = nk.lower(captures("small"), "aoti", tmp_path / "a", verified=False)
    with pytest.raises(MissingRuntimeError, match=r"PyTorch 1\.0\.0, and here"):
        nk.open(artifact)
    assert main(["verify", str(tmp_path / "a")]) == 2
    said = capsys.readouterr().err
    assert "was compiled for PyTorch 1.0.0" in " ".join(said.split())
    assert "Traceback" not in said


FACTORY = """
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
import neurokit as nk
from neurokit.spec import ModelSpec, TensorSpec

def build():
    torch.manual_seed(1)
    net = nn.Sequential(layer.Linear(6, 12), neuron.LIFNode(tau=4.0), layer.Linear(12, 5), neuron.IFNode(v_reset=None))
    functional.set_step_mode(net, "m")
    return net.eval()

def model():
    return ModelSpec("gone", build, (TensorSpec("x", (6,), low=0.0, high=4.0),), time_steps=3)
"""


@pytest.mark.slow
def test_a_compiled_package_opens_without_source_and_without_neurokit(tmp_path):
    source, out = tmp_path / "mine.py", tmp_path / "a"
    source.write_text(FACTORY)
    line = ["export", f"{source}:model", "--target", "aoti", "--numerics", "exact", "--out", str(out)]
    assert main(line) == 0
    source.unlink()
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["parity"]["verdict"] == "exact"
    for name in ("model.pt2", "probe.pt2"):
        content = (out / name).read_bytes()
        assert b"wrapper.cpp" in content  # its name alone: the file is empty
        assert b"run_impl(" not in content.split(b".so")[0]
    x = np.random.default_rng(0).random((3, 5, 6)).astype(np.float32) * 4
    np.save(tmp_path / "x.npy", x)
    code = (
        "import sys, numpy as np, torch\n"
        "from torch._inductor import aoti_load_package\n"
        f"run = aoti_load_package({str(out / 'model.pt2')!r})\n"
        f"y = run(torch.from_numpy(np.load({str(tmp_path / 'x.npy')!r})))[0]\n"
        f"np.save({str(tmp_path / 'y.npy')!r}, y.numpy())\n"
        "assert not any(name.startswith(('neurokit', 'spikingjelly')) for name in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with nk.open(out) as runner:
        np.testing.assert_array_equal(runner(x), np.load(tmp_path / "y.npy"))
    np.save(tmp_path / "one.npy", x[:, 0])
    assert main(["run", str(out), str(tmp_path / "one.npy")]) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("name", "form", "numerics"), [("residual", "step", "float"), ("conv", "step", "exact")])
def test_compiled_packages_are_verified(name, form, numerics, captures, tmp_path):
    artifact = nk.lower(captures(name), "aoti", tmp_path / "a", form=form, numerics=numerics)
    # In float numerics the first layer's real numbers are added in an order that depends on the CPU.
    assert artifact.manifest.parity["verdict"] in ("exact", "benign rounding")[: 2 if numerics == "float" else 1]
    assert artifact.manifest.parity["spikes_flipped"] == 0
    assert "package and probing twin put out the same bits" in artifact.manifest.parity["notes"]


@pytest.mark.slow
def test_the_cpp_example_gives_the_same_bits(captures, tmp_path):
    artifact = nk.lower(captures("small"), "aoti", tmp_path / "a", verified=False)
    source, program = ROOT / "examples" / "aoti_cpp" / "main.cpp", tmp_path / "run_package"
    home = Path(torch.__file__).parent
    command = [place.compiler(), "-std=c++17", "-O0", str(source), "-o", str(program), f"-L{home / 'lib'}"]
    command += [f"-I{home / 'include' / part}" for part in (".", "torch/csrc/api/include")]
    command += [f"-Wl,-rpath,{home / 'lib'}", "-ltorch", "-ltorch_cpu", "-lc10"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-2000:]
    x = np.random.default_rng(1).random((3, 2, 6)).astype(np.float32) * 4
    x.tofile(tmp_path / "x.f32")
    arguments = [str(artifact.file("model.pt2")), str(tmp_path / "x.f32"), "3,2,6", str(tmp_path / "y.f32")]
    done = subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "neurokit.inputs = x" in done.stdout
    with nk.open(artifact) as runner:
        wanted = runner(x)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "y.f32", np.float32).reshape(wanted.shape), wanted)
    assert wanted.any()
