"""The target `c`: whole numbers in C99 against the exact program in float64, against planted faults, and on QEMU."""

from __future__ import annotations

import copy
import ctypes
import dataclasses
import re
import shutil
import subprocess
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit import cli
from neurokit.artifact import file_info
from neurokit.errors import ArtifactError, InputError, UnsupportedError, UntrustedCodeError
from neurokit.export.c.cortex import BOARDS, COMPILER, EMULATOR
from neurokit.export.c.helpers import helper_text
from neurokit.export.c.parts import Buffer, plan
from neurokit.target import LowerOptions, check_request

from ...neurokit.exact.nets import BLOCKS, NEURONS, make_net

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
X = torch.rand(3, 2, 2, 4, 4, generator=torch.Generator().manual_seed(1))


class Cnn(nn.Module):
    """Convolutions with padding, groups and strides, sums, maxima, moves and joins."""

    def __init__(self):
        super().__init__()
        self.a, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.b, self.c = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 6, 1, stride=2)
        self.fc = nn.Linear(6 * 2 * 3, 5)

    def forward(self, x):
        x = torch.relu(self.norm(self.a(x)))
        x = nn.functional.max_pool2d(x + nn.functional.relu6(self.b(x)), 2)
        x = torch.relu(self.c(x))
        x = nn.functional.pad(x, (1, 0, 0, 1), value=0.5)
        x = torch.cat((x[:, :3], x[:, 3:].flip(3)), 1)[:, :, :-1, :]
        return self.fc(nn.functional.avg_pool2d(x, (1, 1)).permute(0, 2, 3, 1).flatten(1))


IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def spiking(tmp_path_factory):
    """Leaky neurons with a soft reset, a shortcut and pooling; membranes in whole numbers."""
    made = nk.exact(nk.capture(make_net(["residual", "average pool 2"], NEURONS["lif soft"]), X), X)
    return made, nk.lower(made, "c", tmp_path_factory.mktemp("c") / "spiking", inputs=X[:, :1])


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    torch.manual_seed(0)
    made = nk.exact(nk.capture(Cnn().eval(), IMAGES[:2]), IMAGES)
    return made, nk.lower(made, "c", tmp_path_factory.mktemp("c") / "plain", inputs=IMAGES[:1])


def in_float64(made, *inputs):
    """What the exact program gives in float64: where nothing is rounded, whole numbers give the same."""
    module = copy.deepcopy(made.captured.program.module()).to(torch.float64)  # it shares its numbers with the program
    for node in list(module.graph.nodes):
        if node.op == "call_module":
            module.graph.erase_node(node)
    module.recompile()
    states = made.captured.initial_states(inputs[0].shape[1 if made.captured.spiking else 0])
    with torch.no_grad():
        found = module(*(x.double() for x in inputs), *(s.double() for s in states))
    return (found[0] if isinstance(found, list | tuple) else found).float().numpy()


def test_a_spiking_network_has_the_bits_of_float64(spiking):
    made, artifact = spiking
    parity = artifact.manifest.parity
    assert (parity["verdict"], parity["spikes_compared"] > 0) == ("exact", True)
    info = artifact.manifest.target_info
    assert {layer["membrane"] for layer in info["layers"]} == {"int32_t"}
    with nk.open(artifact) as runner:
        wanted = in_float64(made, X)
        assert np.array_equal(runner(X.numpy()), wanted)
        with pytest.raises(InputError, match="streams"):
            runner.reset(10**12)
        runner.reset(2)
        steps = np.stack([runner.step(x) for x in X.numpy()])
        assert np.array_equal(steps.sum(0, dtype=np.float32) / np.float32(len(X)), wanted)


def test_a_cnn_has_the_bits_of_float64(plain):
    made, artifact = plain
    assert artifact.manifest.parity["verdict"] == "exact"
    with nk.open(artifact) as runner:
        assert np.array_equal(runner(IMAGES.numpy()), in_float64(made, IMAGES))
        with pytest.raises(InputError, match="cannot step"):
            runner.step(IMAGES.numpy())


def test_a_leak_runs_in_whole_numbers_for_its_steps_and_in_float32_for_any(spiking, tmp_path):
    made, whole = spiking
    floats = nk.lower(made, "c", tmp_path / "float", inputs=X[:, :1], membranes="float32")
    assert floats.manifest.parity["verdict"] == "exact"
    assert {layer["membrane"] for layer in floats.manifest.target_info["layers"]} == {"float"}
    assert (whole.manifest.target_info["proven_steps"], floats.manifest.target_info["proven_steps"]) == (len(X), None)
    with nk.open(whole) as runner, nk.open(floats) as endless:
        assert np.array_equal(endless(X.numpy()), in_float64(made, X))
        for each in (runner, endless):
            each.reset(2)
            for x in X.numpy():
                each.step(x)
        with pytest.raises(InputError, match="proven for 3 steps"):
            runner.step(X[0].numpy())
        endless.step(X[0].numpy())


@pytest.mark.slow
@pytest.mark.parametrize("fire", sorted(NEURONS))
def test_every_neuron_and_block_is_exact(fire, tmp_path):
    for blocks in (BLOCKS[:4], BLOCKS[4:8], BLOCKS[8:]):
        made = nk.exact(nk.capture(make_net(blocks, NEURONS[fire]), X), X)
        assert nk.lower(made, "c", tmp_path / "a", inputs=X, force=True).manifest.parity["verdict"] == "exact"


def written(artifact, path, text):
    """Returns the artifact in a folder whose source is another, sealed again."""
    path.write_text(text)
    files = {**artifact.manifest.files, path.name: file_info(path)}
    return dataclasses.replace(
        artifact, path=path.parent, manifest=artifact.manifest.model_copy(update={"files": files})
    )


def test_source_without_its_functions_is_told_in_a_line(spiking, tmp_path):
    _, artifact = spiking
    shutil.copytree(artifact.path, tmp_path / "a")
    changed = written(artifact, tmp_path / "a" / f"{artifact.manifest.target_info['name']}.c", "")
    nk.trust(changed)
    with nk.open(changed) as runner, pytest.raises(ArtifactError, match=r"has no function \w+_reset"):
        runner.reset(1)
    with pytest.raises(ArtifactError, match="has no table nk_currents"):
        nk.verify(changed, record=False)


@pytest.mark.parametrize(
    ("what", "found", "instead"),  # in the CNN where the spiking network may have none
    [
        ("the threshold", r" >= (\d+);", lambda m: f" > {m[1]};"),
        ("the reset", r"if \(spike\) \{ v = v - (\d+); \}", lambda m: ""),
        ("a weight", r"(static const int8_t t\d+\[\d+\] = \{\s+)(-?\d+),", lambda m: f"{m[1]}{-int(m[2]) or 1},"),
        ("a shift", r"nk_round\((\w+), (\d+)\)", lambda m: f"nk_round({m[1]}, {int(m[2]) - 1})"),
        ("a padding", r"q \* 1 - 1", lambda m: "q * 1"),
    ],
)
def test_planted_faults_fail(spiking, plain, tmp_path, what, found, instead):
    _, artifact = plain if what == "a shift" else spiking
    folder = tmp_path / "a"
    shutil.copytree(artifact.path, folder)
    path = folder / f"{artifact.manifest.target_info['name']}.c"
    text, count = re.subn(found, instead, path.read_text(), count=1)
    assert count == 1, what
    changed = written(artifact, path, text)
    with pytest.raises(UntrustedCodeError, match="not exported here, or was changed"):
        nk.verify(changed, record=False)
    nk.trust(changed)
    assert nk.verify(changed, record=False, simulators=False).verdict == "failed"


def test_what_is_no_c_is_refused_before_it_is_captured(tmp_path, capsys):
    with pytest.raises(InputError, match="no numerics 'float'"):
        nk.lower("spiking_cnn", "c", tmp_path / "a")
    with pytest.raises(InputError, match="membranes"):
        check_request("c", LowerOptions("exact", extra={"membranes": "int16"}))
    assert cli.main(["export", "spiking_cnn", "--target", "c", "--out", str(tmp_path / "b")]) == 2
    assert "--numerics exact" in capsys.readouterr().err
    made = nk.capture(nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), torch.rand(1, 4))
    with pytest.raises(UnsupportedError):
        nk.lower(made, "c", tmp_path / "c", numerics="exact")
    assert not (tmp_path / "c").exists()


def test_rounding_is_that_of_ieee_754(tmp_path):
    text = "#include <stdint.h>\n" + helper_text({"nk_round", "nk_round_wide", "nk_round_float"})
    for name, kind, more in (
        ("round", "int32_t", ", int n"),
        ("round_wide", "int64_t", ", int n"),
        ("round_float", "float", ""),
    ):
        text += f"\n{kind} call_{name}({kind} a{more}); {kind} call_{name}({kind} a{more}) "
        text += f"{{ return nk_{name}(a{', n' if more else ''}); }}\n"
    (tmp_path / "r.c").write_text(text)
    subprocess.run(
        [
            "cc",
            "-std=c99",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-shared",
            "-fPIC",
            str(tmp_path / "r.c"),
            "-o",
            str(tmp_path / "r.so"),
        ],
        check=True,
    )
    library = ctypes.CDLL(str(tmp_path / "r.so"))
    library.call_round_wide.restype, library.call_round_wide.argtypes = ctypes.c_int64, [ctypes.c_int64, ctypes.c_int]
    library.call_round_float.restype, library.call_round_float.argtypes = ctypes.c_float, [ctypes.c_float]
    edges = [0, 1, -1, 2**31 - 1, -(2**31), 2**30, -(2**30)]
    for n in (1, 2, 7, 30, 31, 32):
        for a in [*range(-600, 600, 7), *edges]:
            wanted = int(np.rint(a / 2**n))  # float64 holds the quotient
            assert library.call_round(a, n) == wanted, (a, n)
            assert library.call_round_wide(a, n) == wanted, (a, n)
    for a in (0.5, 1.5, 2.5, -0.5, -1.5, 4194303.5, 0.49999997, -3.0):
        assert library.call_round_float(a) == np.rint(np.float32(a))


def test_no_two_buffers_that_are_alive_together_overlap():
    rng = np.random.default_rng(0)
    for _ in range(50):
        spans = [sorted(rng.integers(0, 12, 2).tolist()) for _ in range(10)]
        made = [
            Buffer(f"b{at}", "int8_t", int(rng.integers(1, 40)), *span, planned=True) for at, span in enumerate(spans)
        ]
        needed = plan(made)["int8_t"]
        for step in range(12):
            alive = sorted((b.offset, b.offset + b.size) for b in made if b.first <= step <= b.last)
            assert all(a[1] <= b[0] for a, b in pairwise(alive))
            assert all(end <= needed for _, end in alive)


@pytest.mark.skipif(
    shutil.which(COMPILER) is None or shutil.which(EMULATOR) is None, reason="needs gcc for Arm and QEMU"
)
def test_emulated_boards_give_the_same_bits_and_count(spiking):
    _, artifact = spiking
    notes = artifact.manifest.parity["notes"]
    for board in BOARDS:
        assert any(board.cpu in note and "equal to the bit" in note and "instructions a step" in note for note in notes)
    sizes = artifact.manifest.target_info["microcontroller"]
    weights = artifact.manifest.target_info["weight_bytes"]
    assert weights < sizes["flash_bytes"] < weights + 40_000
    assert (
        artifact.manifest.target_info["state_bytes"]
        <= sizes["ram_bytes"]
        < artifact.manifest.target_info["state_bytes"] + 64
    )
