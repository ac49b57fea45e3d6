"""How ports are bound to a module: names, nesting, what it returns; and what cannot be taken, with the true reason."""

import collections
import dataclasses
import re

import numpy as np
import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.capture.signature import named_leaves
from neurokit.dims import Dim
from neurokit.errors import InputError, NeurokitError, UnsupportedError
from neurokit.spec import MODELS, GraphSpec, ModelSpec, StateSpec, TensorSpec
from neurokit.target import TARGETS, check_ports

from .nets import pair, token_model

A, B = TensorSpec("a", (3,)), TensorSpec("b", (3,))


class Nested(nn.Module):
    def forward(self, batch, scale=None, *, extra):
        first, (second,) = batch["pair"]
        return {"sum": first + 2 * second, "rest": [scale * first, (extra,)]}


@dataclasses.dataclass
class Answer:
    loss: torch.Tensor | None
    logits: torch.Tensor
    hidden: tuple


Point = collections.namedtuple("Point", "x y")
ONE, TWO, THREE = torch.ones(1), torch.ones(2), torch.ones(3)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (ONE, ["y"]),
        ((ONE, TWO, [THREE]), ["y", "y1", "y2"]),
        ({"a": ONE, "b": (TWO, THREE)}, ["a", "b_0", "b_1"]),
        (Answer(None, ONE, (TWO, THREE)), ["logits", "hidden_0", "hidden_1"]),
        (Point(ONE, {"k.1": TWO}), ["x", "y_k_1"]),
        ((ONE, None, 3), ["y"]),
        ({"a.b": ONE, "a_b": TWO, "a b": THREE}, ["a_b", "a_b_2", "a_b_3"]),
    ],
)
def test_leaves_have_the_names_that_lead_to_them(value, names):
    assert [name for name, _ in named_leaves(value)] == names


def test_nested_arguments_and_outputs_keep_their_names(tmp_path):
    ports = (A, B, TensorSpec("s", (1,)), TensorSpec("e", (2,), "int64", high=9))
    given = {"batch": {"pair": ("a", ["b"])}, "scale": "s", "extra": "e"}
    spec = ModelSpec("nested", lambda: Nested().eval(), ports, arguments=given)
    artifact = nk.lower(nk.capture(spec), "onnx", tmp_path / "a")
    assert [port.name for port in artifact.manifest.outputs] == ["sum", "rest_0", "rest_1_0"]
    feeds = {n: np.random.default_rng(0).random((2, 3), np.float32) for n in "ab"}
    feeds |= {"s": np.float32([[2], [3]]), "e": np.arange(4).reshape(2, 2)}
    with nk.open(artifact) as runner:
        found = runner(feeds)
        np.testing.assert_allclose(found["sum"], feeds["a"] + 2 * feeds["b"], rtol=1e-6)
        np.testing.assert_allclose(found["rest_0"], feeds["a"] * feeds["s"], rtol=1e-6)
        np.testing.assert_array_equal(found["rest_1_0"], feeds["e"])


class Two(nn.Module):
    def forward(self, a, b):
        return a + b, a - b


def test_a_bare_module_takes_several_examples_and_its_outputs_are_not_lost(tmp_path):
    a, b = torch.rand(1, 3), torch.rand(1, 3)
    for given in ((a, b), {"b": b, "a": a}):
        captured = nk.capture(Two(), given)
        assert {port.name for port in captured.inputs} == {"a", "b"}
    artifact = nk.lower(captured, "onnx", tmp_path / "a")
    with nk.open(artifact) as runner:
        found = runner({"a": a.numpy(), "b": b.numpy()})
        np.testing.assert_allclose(found["y1"], (a - b).numpy(), rtol=1e-6)
        with pytest.raises(InputError, match="2 inputs: b, a"):
            runner(a.numpy())


def test_one_array_is_refused_where_an_output_would_be_lost(tmp_path):
    class Split(nn.Module):
        def forward(self, x):
            return x, x + 1

    artifact = nk.lower(nk.capture(Split(), torch.rand(1, 3)), "onnx", tmp_path / "a")
    with nk.open(artifact) as runner, pytest.raises(InputError, match="2 outputs: y, y1"):
        runner(np.zeros((1, 3), np.float32))


class Keeps(nn.Module):
    def forward(self, x, h):
        return torch.tanh(x + h), torch.cat([h, x])[-1:]


def spec_with(**changes):
    return ModelSpec("m", lambda: Two().eval(), **{"inputs": (A, B), **changes})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: spec_with(inputs=(A,)), r"forward\(a, b\) does not take its ports a"),
        (lambda: spec_with(inputs=(A, B, TensorSpec("c", (3,)))), r"does not take its ports a, b, c"),
        (lambda: spec_with(arguments={"a": "a"}), "differ in 'b'"),
        (lambda: spec_with(outputs=("one",)), r"returns 2 output\(s\) \(y, y1\), and 1 are declared"),
        (lambda: spec_with(outputs=(TensorSpec("s", (4,)), "d")), r"output 's' is \[B, 3\] float32, declared"),
        (lambda: spec_with(inputs=(A, dataclasses.replace(B, shape=(Dim("N"),)))), r"not run on inputs a \[2, 3\]"),
        (lambda: spec_with(inputs=(A,), states=(StateSpec("b", (3,)),), outputs=("y", "z")), "returns 1 output"),
        (
            lambda: ModelSpec("k", lambda: Keeps().eval(), (A,), states=(StateSpec("h", (3,)),), arguments=("a", "h")),
            r"state 'h' comes back as \[1, 3\] float32, declared \[B, 3\]",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_true_reason(make, said):
    with pytest.raises(NeurokitError) as error:
        nk.capture(make())
    assert re.search(said, str(error.value) + " ".join(r.why for r in getattr(error.value, "reasons", ())))


@pytest.mark.parametrize(
    "make",
    [
        lambda: spec_with(inputs=(A, A)),
        lambda: spec_with(inputs=(A, dataclasses.replace(B, dtype="float33"))),
        lambda: ModelSpec("m", Two, (A,), graphs=(GraphSpec("g", (A,)),)),
        lambda: ModelSpec("m", Two, graphs=(GraphSpec("g", (A,)), GraphSpec("g", (B,)))),
        lambda: ModelSpec("m", Two, graphs=(GraphSpec("g", (dataclasses.replace(A, source="h.y"),)),)),
        lambda: (
            spec_with(inputs=(dataclasses.replace(A, shape=(Dim("N"),)), TensorSpec("b", (Dim("N", max=3),))))
            .as_graph()
            .dims
        ),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused_when_it_is_made(make):
    with pytest.raises(InputError):
        make()


def test_what_is_passed_on_must_fit():
    class Chain(nn.Module):
        def forward(self, a):
            return {"mid": a[:, :2]}

        def after(self, mid):
            return mid

    graphs = (
        GraphSpec("first", (A,)),
        GraphSpec("second", (TensorSpec("mid", (3,), source="first.mid"),), method="after"),
    )
    with pytest.raises(UnsupportedError) as error:
        nk.capture(ModelSpec("chain", lambda: Chain().eval(), graphs=graphs))
    assert "'first.mid', where it comes from, is [B, 2]" in error.value.reasons[0].why


@pytest.mark.parametrize("target", ["nir", "onnx-int8", "tensorrt"])
def test_targets_refuse_what_they_do_not_take_before_any_work(target, tmp_path, monkeypatch):
    from neurokit.target import check_ports

    whole = {"nir": (token_model(), pair()), "onnx-int8": (token_model(), pair()), "tensorrt": (pair(),)}
    for spec in whole[target]:  # an engine keeps states, of one graph
        monkeypatch.setattr(TARGETS.get(target), "lower", None, raising=False)
        with pytest.raises(UnsupportedError) as error:
            check_ports(spec, target)
        lacks = "several graphs" if target == "tensorrt" else "declared states"
        assert any(lacks in reason.why for reason in error.value.reasons)
        assert all("onnx" in reason.fix for reason in error.value.reasons)


def test_prices_and_the_exact_form_say_why_not():
    captured = nk.capture(token_model())
    for call in (lambda: nk.simulate(captured), lambda: nk.exact(captured)):
        with pytest.raises(NeurokitError, match="cannot take model 'token'") as error:
            call()
        assert any("declared states (k, v)" in reason.why for reason in error.value.reasons)


@pytest.mark.parametrize(
    ("name", "target", "named"),
    [
        ("oat", "litert", "onnx-step"),  # two graphs, one of which keeps something
        ("oat", "nir", "onnx-step"),
        ("ecapa_tdnn_512_stream", "nir", "onnx or onnx-step"),  # one graph: a whole recording, or chunk by chunk
        ("ecapa_tdnn_512", "c", "onnx or onnx-int8"),
    ],
)
def test_a_refusal_names_targets_whose_form_goes_with_the_model(name: str, target: str, named: str):
    with pytest.raises(UnsupportedError) as refused:
        check_ports(MODELS.get(name)().in_small(), target)
    assert all(reason.fix.startswith(f"use --target {named}") for reason in refused.value.reasons)
