"""Attributions: the oracle in float64, a public library's, completeness that improves with steps; proxy tuning."""

import zlib

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit.cli import main
from neurokit.errors import InputError, UnsupportedError
from neurokit.models.decoder.one_pass import in_float64, logits_of, streams, through, tokens_of
from neurokit.pause.attribution import attribute, proxy_tuned

from ..heads.host import PROMPT, as_library, drawn, read

ORACLE = read("sca")["integrated_gradients"]
IDS = PROMPT[:12]


@pytest.fixture(scope="module")
def net():
    return as_library(drawn())


@pytest.mark.parametrize("steps", [64, 1024])
def test_attributions_are_the_oracles(net, steps):
    found = attribute(net, IDS, steps=steps)
    wanted = np.array(ORACLE[f"attribution_per_token_{steps}_steps"]["full"])
    # Nine digits are printed: half a unit of the last one of the largest is 5e-9.
    np.testing.assert_allclose(found.tokens, wanted, atol=2e-8)
    assert found.target == ORACLE["target_token"]
    assert found.value == pytest.approx(ORACLE["value"], abs=5.1e-8)
    assert found.baseline_value == pytest.approx(ORACLE["value_at_baseline"], abs=5.1e-9)


def test_the_gap_falls_with_steps_and_the_default_names_the_steps_that_reach_1_percent():
    spec = nk.load("tiny_lm")
    gaps = [attribute(spec, IDS, steps=steps).gap for steps in (2, 8, 32, 128)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-4
    found = attribute(spec, IDS)
    assert found.gap <= 0.01
    assert found.steps == 16
    tight = attribute(spec, IDS, gap=1e-4)
    assert (tight.steps, tight.gap <= 1e-4) == (32, True) or tight.steps > 32
    assert attribute(spec, IDS, steps=tight.steps // 2).gap > 1e-4


def test_captum_gives_the_same():
    captum = pytest.importorskip("captum.attr")
    plain = nk.load("tiny_lm").build()
    wide = in_float64(plain)
    ids = torch.tensor([IDS])

    def logit(x):
        tokens = tokens_of(wide, ids.expand(x.shape[0], -1))
        for at, layer in enumerate(wide.model.layers):
            x = through(layer, at, x, tokens)
        return logits_of(wide, x[:, -1])[:, 7]

    x, base = wide.model.embed_tokens(ids), wide.model.embed_tokens(torch.zeros_like(ids))
    theirs = captum.IntegratedGradients(logit).attribute(
        x.detach(), base.detach(), n_steps=20, method="riemann_middle", internal_batch_size=20
    )
    ours = attribute(plain, IDS, target=7, steps=20)
    # captum's points of the path and their weights are float32.
    np.testing.assert_allclose(ours.tokens, theirs[0].sum(-1).detach().numpy(), atol=1e-6)


def test_one_pass_is_the_network():
    built = nk.load("tiny_lm").build()
    ids = torch.tensor([IDS, [-1, -1, *IDS[:10]]])
    with torch.no_grad():
        *_, x = streams(built, ids)
        wanted = built(ids, torch.zeros(2, dtype=torch.int64), *[torch.zeros(2, 2, 0, 16)] * 8)["logits"]
    torch.testing.assert_close(logits_of(built, x), wanted, atol=1e-5, rtol=1e-5)


def given(name):
    seed = zlib.crc32(("sca" + name).encode("ascii"))
    return np.random.RandomState(seed).standard_normal((1, 256))


def test_proxy_tuned_probabilities_are_the_oracles_and_no_tuning_changes_nothing():
    wanted = read("sca")["proxy_tuning"]["probabilities"]["full"]
    np.testing.assert_allclose(proxy_tuned(given("big"), given("small"), given("tuned")), wanted, rtol=1e-8)
    same = proxy_tuned(given("big"), given("small"), given("small"))
    weights = np.exp(given("big"))
    np.testing.assert_allclose(same, weights / weights.sum(), rtol=1e-12)
    with pytest.raises(InputError, match="one vocabulary"):
        proxy_tuned(given("big"), given("small"), given("tuned")[:, :9])


def test_bad_prompts_are_refused(capsys):
    spec = nk.load("tiny_lm")
    for wrong in ({"ids": []}, {"ids": [256]}, {"ids": [1], "target": -1}, {"ids": [1], "baseline": 300}):
        with pytest.raises(InputError):
            attribute(spec, **wrong)
    with pytest.raises(InputError, match="0 steps"):
        attribute(spec, [1], steps=0)
    with pytest.raises(UnsupportedError, match="DynamicMask"):
        attribute(nk.load("tiny_doge"), [1, 2])
    assert main(["attribute", "tiny_lm", "--prompt-ids", "5,7,9", "--steps", "8"]) == 0
    assert "after 8 steps" in capsys.readouterr().out
