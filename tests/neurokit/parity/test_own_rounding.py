"""A network that amplifies rounding is allowed what float32 itself misses float64 by, and no more."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

import neurokit as nk
from neurokit.artifact import Artifact, file_info
from neurokit.parity import batch
from neurokit.parity.own_rounding import far_below, of_long_sums, roundings
from neurokit.parity.stimuli import samples
from neurokit.parity.vectors import FILE, Vectors
from neurokit.spec import ModelSpec, TensorSpec

WIDTH, DEPTH = 48, 6


class Cancelling(nn.Module):
    """Adds a large value to a small one and takes it away: most digits of the answer are lost."""

    def __init__(self, large: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH)))
        self.mixed = nn.Linear(WIDTH, WIDTH)
        self.large = large

    def forward(self, x):
        far = self.large * self.layers(x).sum(-1, keepdim=True)
        return (self.mixed(x) + far) - far


def lowered(folder, large):
    def build():
        torch.manual_seed(1)
        return Cancelling(large).eval()

    spec = ModelSpec("cancelling", build, (TensorSpec("x", (WIDTH,)),))
    return nk.lower(nk.capture(spec), "onnx", folder / "a", verified=False)


def scaled(artifact: Artifact, factor: float) -> Artifact:
    """Multiplies one layer's weights in the file, and seals it again: an exporter's bug."""
    path = artifact.file("model.onnx")
    graph = onnx.load(path)
    weight = next(w for w in graph.graph.initializer if "mixed" in w.name and len(w.dims) == 2)
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(factor), weight.name))
    onnx.save(graph, path)
    files = {**artifact.manifest.files, "model.onnx": file_info(path)}
    (artifact.path / "manifest.json").write_text(artifact.manifest.model_copy(update={"files": files}).to_text())
    return Artifact.load(artifact.path)


@pytest.fixture(scope="module")
def amplifying(tmp_path_factory):
    return lowered(tmp_path_factory.mktemp("amplifying"), 3e4)


def test_the_distance_from_float64_is_kept(amplifying):
    vectors = Vectors.load(amplifying.file(FILE))
    torch.manual_seed(1)
    net = Cancelling(3e4).eval()
    x = torch.from_numpy(vectors.x)
    with torch.no_grad():
        narrow, wide = net(x).double(), net.double()(x.double())
    off = ((narrow - wide).norm(dim=1) / wide.norm(dim=1)).max()
    (kept,) = vectors.roundings.values()
    assert kept == pytest.approx(float(off), rel=0.5)


def test_what_rounding_explains_passes_and_is_said(amplifying):
    report = nk.verify(amplifying, record=False)
    assert report.passed, report.notes
    assert report.output_tolerance > 1e-4
    assert any("amplifies rounding" in note for note in report.notes)


def test_more_than_rounding_fails_there(tmp_path):
    report = nk.verify(scaled(lowered(tmp_path, 3e4), 1.2), record=False)
    assert report.verdict == "failed"


def test_a_sound_network_is_held_to_the_common_tolerance(tmp_path):
    artifact = lowered(tmp_path, 1.0)
    report = nk.verify(artifact, record=False)
    assert report.passed
    assert report.output_tolerance == pytest.approx(1e-4)
    assert not any("amplifies" in note for note in report.notes)
    assert nk.verify(scaled(artifact, 1.01), record=False).verdict == "failed"


def test_samples_are_run_in_float64_one_by_one_only_where_that_may_matter():
    """A network far from its tolerance runs one sample in float64, one near it all, and then the furthest counts."""
    given = []

    def runs(off, every=False):
        def wide(x):
            given.append(len(x))
            return (x,)

        given.clear()
        x = torch.ones(6, 3)
        y = x.clone()
        y[0] += off
        y[4] += 2 * off
        return roundings(wide, (x,), (y,), tolerance=1e-4, every=every), list(given)

    (near,), both = runs(2.0**-17)
    (far,), one = runs(2.0**-20)
    (further,), all_of_them = runs(2.0**-20, every=True)  # as beyond the range, where one says little of another
    assert (both, one, all_of_them) == ([1, 5], [1], [1, 5])
    assert further == pytest.approx(2 * 2.0**-20)
    assert [near, far] == pytest.approx([2 * 2.0**-17, 2.0**-20])
    assert runs(float("inf")) == ([0.0], [1, 5])


@pytest.mark.parametrize(("work", "wanted"), [(0, 8), (10**6, 8), (3 * 10**9, 4), (10**12, 2)])
def test_large_models_without_neurons_run_fewer_samples(work, wanted):
    assert samples(steps=4, decisions=1000, work=work) == wanted


@pytest.mark.parametrize(
    ("known", "far"),
    [({"y": 5e-7}, True), ({"y": 5e-7, "z": 1e-5}, False), ({"y": 0.0}, False), ({}, False), ({"y": 1.6e-6}, False)],
)
def test_an_example_far_from_its_tolerance_speaks_for_its_range(known, far):
    assert far_below(known, 1e-4) is far


@pytest.mark.parametrize(("large", "within"), [(3e4, True), (1.0, False)])
def test_within_the_range_only_a_network_that_amplifies_rounding_is_allowed_more(large, within, tmp_path):
    vectors = Vectors.load(lowered(tmp_path, large).file(FILE))
    assert [any(y.rounding for y in run.outputs.values()) for run in vectors.coverings] == [within, True]


def test_sums_in_a_row_are_off_by_the_root_of_their_length():
    """Oracle: a sum in float32, one number after the other, of as many as the normalisations have together."""
    net = nn.Sequential(nn.InstanceNorm2d(4), nn.GroupNorm(2, 4), nn.ReLU()).eval()
    captured = nk.capture(ModelSpec("norms", lambda: net, (TensorSpec("image", (4, 64, 32)),)))
    found = of_long_sums(captured.program.graph_module)
    assert found == pytest.approx(2.0**-24 * (64 * 32 + 2 * 64 * 32) ** 0.5)
    off = []
    for seed in range(20):
        x = np.random.default_rng(seed).random(3 * 64 * 32, dtype=np.float32)
        off.append(abs(float(np.cumsum(x)[-1]) / float(x.sum(dtype=np.float64)) - 1))
    assert max(off) < 4 * found  # what is allowed
    assert max(off) > found / 40  # and no more than it can need
    plain = nk.capture(ModelSpec("plain", lambda: nn.Linear(3, 2), (TensorSpec("x", (3,)),)))
    assert of_long_sums(plain.program.graph_module) == 0.0


@pytest.mark.parametrize(("many", "sizes"), [(10**6, [2, 5]), (70, [2])])
def test_what_is_large_is_run_in_a_batch_of_two_alone(many, sizes, tmp_path, monkeypatch):
    """A sample here has 48 numbers, and as many come out."""
    seen = []
    compare = batch._Batch.compare
    monkeypatch.setattr(batch, "MANY", many)
    monkeypatch.setattr(
        batch._Batch, "compare", lambda self, *given: seen.append(len(given[0])) or compare(self, *given)
    )
    assert nk.verify(lowered(tmp_path, 1.0)).passed
    assert seen == sizes
