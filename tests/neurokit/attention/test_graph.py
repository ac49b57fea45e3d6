"""Patterns as ONNX graphs, masked and gathered, against the definition; what has no graph is said first."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit.attention import PATTERNS, Call, pattern
from neurokit.attention.graph import Gathered, Masked
from neurokit.attention.patterns.routing import Routing
from neurokit.errors import InputError, UnsupportedError
from neurokit.spec import ModelSpec, TensorSpec

NEW = 40
SAMPLES = {name: cls.samples()[-1] for name, cls in PATTERNS.items()}


def drawn(new=NEW, bias=False):
    generator = torch.Generator().manual_seed(5)
    q, k, v = (torch.randn(2, h, new, w, generator=generator) for h, w in ((4, 8), (2, 8), (2, 6)))
    return (q, k, v, torch.randn(2, 2, new, generator=generator)) if bias else (q, k, v)


def cap_of(sample):
    return None if sample.traits.fixed_count else 6


@pytest.mark.parametrize("name", SAMPLES)
def test_gathered_blocks_are_the_pattern(name):
    sample = SAMPLES[name]
    if name == "routing":
        sample = replace(sample, assign="nearest")
    given = drawn(bias=sample.traits.needs_bias)
    call = Call(*given)
    graph = Gathered(sample, NEW, cap=-(-NEW // sample.tile[1]) if cap_of(sample) else None)
    out = graph(*given)
    if cap_of(sample):
        out, over = out
        assert not over.any()
        _, over = Gathered(replace(sample, thresholds=(0.0,)), NEW, cap=2)(*given)
        assert over.all()
    assert (out - sample.attend(call)).abs().max() < 1e-5
    assert torch.isfinite(out).all()


def spec_of(name, module, given):
    ports = tuple(TensorSpec(n, tuple(x.shape[1:])) for n, x in zip(("q", "k", "v", "key_bias"), given, strict=False))
    return ModelSpec(name, lambda: module, ports)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("ssa", "gathered"),
        pytest.param("ssa", "masked", marks=pytest.mark.slow),
        pytest.param("dynamic_mask", "masked", marks=pytest.mark.slow),
        pytest.param("dynamic_mask", "gathered", marks=pytest.mark.slow),
    ],
)
def test_the_onnx_graph_is_the_definition(name, form, tmp_path):
    sample = SAMPLES[name]
    given = drawn(bias=sample.traits.needs_bias)
    module = Masked(sample) if form == "masked" else Gathered(sample, NEW)
    artifact = nk.lower(nk.capture(spec_of(f"{name}_{form}", module, given)), "onnx", tmp_path / "graph")
    feeds = dict(zip(("q", "k", "v", "key_bias"), (x.numpy() for x in given), strict=False))
    with nk.open(artifact) as runner:
        out = runner(feeds)
    out = next(iter(out.values())) if isinstance(out, dict) else out
    assert np.abs(out - sample.attend(Call(*given)).numpy()).max() < 1e-5


def test_more_keys_than_a_graph_is_for_are_refused():
    with pytest.raises(InputError, match=f"{NEW} keys for a graph of 8"):
        Gathered(SAMPLES["ssa"], 8)(*drawn())


def test_what_has_no_graph_is_said_before_any_work():
    with pytest.raises(UnsupportedError, match="number of keys is not fixed"):
        Gathered(pattern("sale"), 64)
    with pytest.raises(UnsupportedError, match="largest number of tokens"):
        Masked(pattern("hip"))
    with pytest.raises(UnsupportedError, match="several softmaxes"):
        Gathered(Routing(torch.zeros(1, 2, 8), 4, "balanced"), 64)
