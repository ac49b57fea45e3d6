"""Casts and Python's operators reach ONNX without a second trace, and compute what torch computes."""

import numpy as np
import onnx
import pytest
import torch

import neurokit as nk
from neurokit.dims import Dim
from neurokit.export.onnx import ready
from neurokit.spec import ModelSpec, TensorSpec


class Logic(torch.nn.Module):
    """Truth values and whole numbers joined by &, | and ^, casts, and numbers less a tensor."""

    def forward(self, x, n):
        a, b = x > 0, x.to(torch.float64) > 0.5
        bits = ((a & b) | (a ^ b)).to(torch.int64) + (n & 6) + (n | 1) + (n ^ 3)
        return (1 - x) * bits.to(torch.float32) + (2.5 - x).to(torch.float64).to(torch.float32) + (7 - n)


class Mixed(torch.nn.Module):
    """A fraction less whole numbers: a type that is that of neither."""

    def forward(self, n):
        return 0.5 - n


class FirstSpike(torch.nn.Module):
    """The step of the first spike, counted back from a number of steps that is free."""

    def forward(self, x):
        steps = x.shape[0]
        left = (x * torch.arange(steps, 0, -1, dtype=x.dtype).view(steps, 1, 1)).amax(0)
        return steps - left


class Whole(torch.nn.Module):
    """Squares, reversed axes and transposed convolutions over one, two and three axes, with every setting."""

    def __init__(self) -> None:
        super().__init__()
        self.one = torch.nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2)
        self.two = torch.nn.ConvTranspose2d(6, 3, (2, 3), stride=(2, 1), dilation=(1, 2), bias=False)
        self.three = torch.nn.ConvTranspose3d(3, 2, 2, stride=2)
        self.weight = torch.nn.Parameter(torch.randn(5, 3))

    def forward(self, x):
        y = self.two(self.one(x).square().unsqueeze(2))
        return self.three(y.unsqueeze(3)).mean((2, 3, 4)).square(), y.mean(2) @ self.weight.new_ones(
            16, 3
        ) @ self.weight.T


N = TensorSpec("n", (4,), "int64", "F", high=50)


def test_they_are_torchs_and_need_no_second_trace(tmp_path, monkeypatch):
    asked = []
    seen = ready.ready
    monkeypatch.setattr(
        "neurokit.export.onnx.convert.ready", lambda program, *rest: asked.append(seen(program, *rest)) or asked[-1]
    )
    captured = nk.capture(ModelSpec("logic", Logic, (TensorSpec("x", (4,)), N)))
    artifact = nk.lower(captured, "onnx", tmp_path / "logic")
    assert asked[0] is not captured.program
    rng = np.random.default_rng(0)
    feeds = {"x": rng.standard_normal((3, 4)).astype(np.float32), "n": rng.integers(-50, 50, (3, 4))}
    with nk.open(artifact) as runner:
        out = runner(feeds)
    wanted = Logic()(*(torch.from_numpy(x) for x in feeds.values())).numpy()
    np.testing.assert_array_equal(next(iter(out.values())) if isinstance(out, dict) else out, wanted)


def test_squares_and_transposed_convolutions_need_no_second_trace(tmp_path, monkeypatch):
    asked = []
    seen = ready.ready
    monkeypatch.setattr(
        "neurokit.export.onnx.convert.ready", lambda program, *rest: asked.append(seen(program, *rest)) or asked[-1]
    )
    torch.manual_seed(0)
    module = Whole().eval()
    captured = nk.capture(ModelSpec("whole", lambda: module, (TensorSpec("x", (4, 6), layout="CL"),)))
    artifact = nk.lower(captured, "onnx", tmp_path / "whole", verified=False)
    assert asked[0] is not captured.program
    x = np.random.default_rng(0).standard_normal((3, 4, 6)).astype(np.float32)
    with nk.open(artifact) as runner, torch.no_grad():
        for found, wanted in zip(runner({"x": x}).values(), module(torch.from_numpy(x)), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_the_table_of_one_export_is_not_that_of_the_next():
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    before = ONNXRegistry.__dict__["from_torchlib"]
    with ready.one_registry():
        first = ONNXRegistry().from_torchlib(opset_version=20)
        first.register_op(torch.ops.aten.numpy_T.default, lambda x: x)
        assert first.is_registered(torch.ops.aten.numpy_T.default)
        assert not ONNXRegistry.from_torchlib(20).is_registered(torch.ops.aten.numpy_T.default)
    assert ONNXRegistry.__dict__["from_torchlib"] is before


@pytest.mark.slow
def test_a_fraction_less_whole_numbers(tmp_path):
    captured = nk.capture(ModelSpec("mixed", Mixed, (N,)))
    with nk.open(nk.lower(captured, "onnx", tmp_path / "mixed")) as runner:
        np.testing.assert_array_equal(runner(np.arange(4)[None]), 0.5 - np.arange(4, dtype=np.float32)[None])


def test_a_free_number_of_steps_less_a_tensor():
    ir, ort = pytest.importorskip("onnx_ir"), pytest.importorskip("onnxruntime")
    from neurokit.export.onnx.convert import onnx_from_captured

    spec = ModelSpec("first", FirstSpike, (TensorSpec("x", (4,)),), time_steps=3)
    model = ir.to_proto(onnx_from_captured(nk.capture(spec, time_steps="dynamic")))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for steps in (2, 5):
        x = (np.random.default_rng(steps).random((steps, 3, 4)) > 0.5).astype(np.float32)
        (found,) = session.run(None, {session.get_inputs()[0].name: x})
        fired = x.any(0)
        assert np.array_equal(found, np.where(fired, x.argmax(0), steps))


class Rolled(torch.nn.Module):
    """Rolls forwards and backwards, over several axes, by more than an axis has, not at all, and over all elements."""

    def forward(self, x):
        y = torch.roll(x, (2, -1), (1, -1)) + torch.roll(x, -13, 2) + torch.roll(x, 4, 1)
        return y, torch.roll(x, 3)


def test_rolls_are_slices_of_known_places(tmp_path):
    made = nk.lower(ModelSpec("rolled", Rolled, (TensorSpec("x", (4, 5)),)), "onnx", tmp_path / "rolled", batch=1)
    kinds = {node.op_type for node in onnx.load(made.file("model.onnx")).graph.node}
    assert kinds <= {"Slice", "Concat", "Add", "Reshape"}
    x = np.random.default_rng(0).standard_normal((1, 4, 5)).astype(np.float32)
    with nk.open(made) as runner:
        found = runner({"x": x})
    for name, wanted in zip(found, Rolled()(torch.from_numpy(x)), strict=True):
        np.testing.assert_array_equal(found[name], wanted.numpy())


class RolledLength(torch.nn.Module):
    """Rolls over an axis of any length, by more than a short one has."""

    def forward(self, x):
        return torch.roll(x, (7, -2), (-2, 2))


def test_rolls_over_a_free_axis_read_its_length(tmp_path):
    spec = ModelSpec("rolled", RolledLength, (TensorSpec("x", (Dim("N", max=64), 4)),))
    made = nk.lower(spec, "onnx", tmp_path / "rolled")
    with nk.open(made) as runner:
        for length in (5, 11):
            x = np.random.default_rng(0).standard_normal((2, length, 4)).astype(np.float32)
            found = runner({"x": x})
            found = next(iter(found.values())) if isinstance(found, dict) else found
            np.testing.assert_array_equal(found, RolledLength()(torch.from_numpy(x)).numpy())


class Chosen(torch.nn.Module):
    """A table by places of any shape, along one axis and along two."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("places", torch.tensor([[2, 0], [-1, 1]]))

    def forward(self, x):
        return x[:, self.places], x[:, :, self.places[0]], x[:, self.places, self.places]


def test_places_along_one_axis_are_one_gather(tmp_path):
    made = nk.lower(ModelSpec("chosen", Chosen, (TensorSpec("x", (4, 5)),)), "onnx", tmp_path / "chosen")
    kinds = [node.op_type for node in onnx.load(made.file("model.onnx")).graph.node]
    assert kinds.count("Gather") == 2
    x = np.random.default_rng(0).standard_normal((2, 4, 5)).astype(np.float32)
    with nk.open(made) as runner:
        found = runner({"x": x})
    for name, wanted in zip(found, Chosen()(torch.from_numpy(x)), strict=True):
        np.testing.assert_array_equal(found[name], wanted.numpy())


class HandedOn(torch.nn.Module):
    """Casts and rolls that change nothing, of a parameter, of the input and of a result."""

    def __init__(self) -> None:
        super().__init__()
        self.centre = torch.nn.Parameter(torch.arange(4.0))

    def forward(self, x):
        kept = self.centre.to(x.dtype), torch.roll(self.centre, 4, 0), x.to(torch.float32)
        return (x * kept[0] + kept[1]).to(torch.float32) + kept[2] * self.centre


def test_what_changes_nothing_leaves_parameters_and_inputs_their_names(tmp_path):
    made = nk.lower(ModelSpec("handed", HandedOn, (TensorSpec("x", (4,)),)), "onnx", tmp_path / "handed")
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    with nk.open(made) as runner:
        np.testing.assert_allclose(runner(x), HandedOn()(torch.from_numpy(x)).detach().numpy(), rtol=1e-6)
