"""Patterns as ONNX graphs, masked and gathered, against the definition; what has no graph is said first."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit.attention import MIXERS, PATTERNS, Call, pattern
from neurokit.attention.graph import Gathered, Masked
from neurokit.attention.patterns.routing import Routing
from neurokit.errors import InputError, UnsupportedError
from neurokit.spec import ModelSpec, StateSpec, TensorSpec

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
        pytest.param(name, form, marks=() if (name, form) == ("ssa", "gathered") else pytest.mark.slow)
        for name in SAMPLES
        for form in ("masked", "gathered")
    ],
)
def test_the_onnx_graph_is_the_definition(name, form, tmp_path):
    sample = SAMPLES[name]
    if name == "routing" and form == "gathered":
        sample = replace(sample, assign="nearest")
    given = drawn(bias=sample.traits.needs_bias)
    cap = None if sample.traits.fixed_count else -(-NEW // sample.tile[1])
    module = Masked(sample, NEW) if form == "masked" else Gathered(sample, NEW, cap)
    artifact = nk.lower(nk.capture(spec_of(f"{name}_{form}", module, given)), "onnx", tmp_path / "graph")
    feeds = dict(zip(("q", "k", "v", "key_bias"), (x.numpy() for x in given), strict=False))
    with nk.open(artifact) as runner:
        out = runner(feeds)
    out = next(x for x in (out.values() if isinstance(out, dict) else [out]) if x.ndim == 4)
    assert np.abs(out - sample.attend(Call(*given)).numpy()).max() < 1e-5


class MixerStep(torch.nn.Module):
    """A token mixer as a step: one token, and its state in two parts, as the first may begin elsewhere than at 0."""

    def __init__(self, mixer, parts):
        super().__init__()
        self.mixer, self.parts = mixer, parts

    def forward(self, q, k, v, *states):
        out, after = self.mixer.recurrent(q, k, v, torch.cat(states, -1))
        return (out, *after.split(self.parts, -1))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["decomposed", "standard", "ort"])
@pytest.mark.parametrize("name", list(MIXERS.names()))
def test_every_mixer_is_a_step_with_its_state(name, form, tmp_path):
    mixer = MIXERS.get(name).samples()[0]
    generator = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn(2, 4, 12, 4, generator=generator) for _ in range(3))
    start = mixer.start(q, v)
    parts = (1, start.shape[-1] - 1)
    first = -1e30 if bool((start == float("-inf")).any()) else 0.0
    states = tuple(
        StateSpec(label, (*start.shape[1:-1], size), init=init)
        for label, size, init in zip("ab", parts, (first, 0.0), strict=True)
    )
    ports = tuple(TensorSpec(label, (4, 1, 4), layout="HLF", low=-1.0) for label in "qkv")
    spec = ModelSpec(name, lambda: MixerStep(mixer, parts), ports, outputs=("out",), states=states)
    artifact = nk.lower(nk.capture(spec), "onnx-step", tmp_path / "mixer", attention=form)
    with nk.open(artifact) as runner:
        runner.reset(2)
        outs = []
        for t in range(12):
            out = runner.step({label: x[:, :, t : t + 1].numpy() for label, x in zip("qkv", (q, k, v), strict=True)})
            outs.append(out["out"] if isinstance(out, dict) else out)
    wanted = mixer.quadratic(*(x.double() for x in (q, k, v))).numpy()
    assert np.abs(np.concatenate(outs, 2) - wanted).max() < 1e-5 * max(np.abs(wanted).max(), 1)


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
