"""Patterns as layers of a decoder: one pass, chunks and steps; padding; masked, gathered, and as ONNX graphs."""

import functools
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit.attention import Call, attend, pattern
from neurokit.attention.patterns.sale import SALE
from neurokit.cli import main
from neurokit.errors import InputError, UnknownNameError
from neurokit.export.onnx.sparse import no_sparse_form
from neurokit.models.decoder import TINY_DOGE, TINY_LM, decoder_spec
from neurokit.models.decoder.sparse import freeze_means
from neurokit.models.decoder.tokens import locate
from neurokit.transforms import transform

from .oracle import worst

MIXERS = ("dense", "ssa", "routing", "lightning")
SEARCHING = ("hip", "sale")
SETTINGS = {
    "ssa": {"block": 4, "count": 2},
    "routing": {"clusters": 3, "window": 5},
    "hip": {"block_k": 2, "count": 4, "window": 3},
    "sale": {"block_k": 2, "segment": 2, "window": 34, "thresholds": (0.2,), "cap": 19},
}
# Twelve words in 37 places: tokens repeat.
IDS = np.random.default_rng(0).integers(0, 12, (1, 37))
PADDED = np.full((2, 37), -1)
PADDED[0], PADDED[1, 9:] = IDS[0], IDS[0, :28]
CUTS = ((), (8, 21), tuple(range(26, 37)))  # in one, in three, and word by word behind the first 26
EVERY_WORD = tuple(range(1, 37))


def build(config):
    from neurokit.models.decoder.drawn import fill
    from neurokit.models.decoder.net import blank

    return fill(blank(config))


def spec_of(mixers=MIXERS, patterns=None, **more):
    patterns = {name: held for name, held in SETTINGS.items() if name in mixers} if patterns is None else patterns
    config = replace(TINY_LM, layers=len(mixers), mixers=mixers, patterns=patterns, **more)
    return decoder_spec("hybrid", config, build)


def empty(spec, batch=1):
    sizes = [[size if isinstance(size, int) else 0 for size in state.sizes] for state in spec.states]
    kinds = [getattr(torch, state.dtype) for state in spec.states]
    return [torch.zeros(batch, *size, dtype=kind) for size, kind in zip(sizes, kinds, strict=True)]


def logits(spec, ids, cuts=()):
    module, states, out = spec.build(), empty(spec, len(ids)), []
    for part in np.split(ids, cuts, 1):
        with torch.no_grad():
            after = module(torch.from_numpy(part), *states)
        out.append(after["logits"].numpy())
        states = [after[state.name] for state in spec.states]
    return np.concatenate(out, 1)


@pytest.mark.slow
@pytest.mark.parametrize("cache", [None, 64])
@pytest.mark.parametrize("gathered", [False, True])
def test_one_pass_is_every_word_on_its_own(gathered, cache):
    spec = spec_of(gathered=gathered, cache=cache, longest=cache or 512)
    assert worst(logits(spec, IDS, EVERY_WORD), reference()) < 3e-6


@functools.cache
def reference(mixers=MIXERS):
    return logits(spec_of(mixers), IDS)


@pytest.mark.parametrize("cache", [None, 64])
@pytest.mark.parametrize("gathered", [False, True])
@pytest.mark.parametrize("mixers", [MIXERS, SEARCHING])
def test_one_pass_is_chunks_and_steps_and_padding_changes_nothing(mixers, gathered, cache):
    spec = spec_of(mixers, gathered=gathered, cache=cache, longest=cache or 512)
    for cuts in CUTS:
        assert worst(logits(spec, IDS, cuts), reference(mixers)) < 3e-6
    for cuts in CUTS[:2]:
        found = logits(spec, PADDED, cuts)
        assert np.isfinite(found).all()
        assert worst(found[:1], reference(mixers)) < 3e-6
        assert worst(found[1, 9:], reference(mixers)[0, :28]) < 3e-6


def test_frozen_means_are_those_of_a_text_and_leave_a_whole_budget_dense():
    spec = spec_of(("sale", "sale"), {"sale": {**SETTINGS["sale"], "thresholds": (0.0,), "cap": 0}})
    module = spec.build()
    dense = logits(spec, IDS)
    assert freeze_means(module, torch.from_numpy(IDS)) == 2
    layer = module.model.layers[0]
    tokens = locate(torch.from_numpy(IDS), torch.zeros(1, dtype=torch.int64), module.inverse_frequencies, 0, None, None)
    with torch.no_grad():
        q, k, _ = layer.self_attn.project(
            layer.input_layernorm(module.model.embed_tokens(torch.from_numpy(IDS))), tokens
        )
        after = module(torch.from_numpy(IDS), *empty(spec))["logits"].numpy()
    wanted = torch.cat([q[0].mean(1), k[0].mean(1)])
    assert torch.allclose(layer.self_attn.centre, wanted, atol=1e-6)
    assert wanted.abs().max() > 0.1
    assert worst(after, dense) < 2e-6
    with pytest.raises(InputError, match="0 layers keep means"):
        freeze_means(spec_of(("dense",), {}).build(), torch.from_numpy(IDS))


def test_the_transform_takes_means_from_a_file_of_texts(tmp_path):
    texts, dense = [[5, 9, 200, 31, 77], [40, 3, 3]], nk.load("tiny_lm")
    file = tmp_path / "texts.jsonl"
    file.write_text("\n".join(json.dumps({"ids": ids}) for ids in texts))
    made = transform(dense, [f"sparse:pattern=sale,cap=24,layers=0+2,window=64,block_k=16,means={file}"])
    assert made.sparse.gathered is not None
    net, sums = dense.build(), 0
    for ids in texts:  # of the first layer, whose input no mean decides: every token counts once
        x = net.model.layers[0].input_layernorm(net.model.embed_tokens(torch.tensor([ids])))
        tokens = locate(torch.tensor([ids]), torch.zeros(1, dtype=torch.int64), net.inverse_frequencies, 0, None, None)
        q, k, _ = net.model.layers[0].self_attn.project(x, tokens)
        sums = sums + torch.cat([q[0].sum(1), k[0].sum(1)]).detach()
    for form in (made, made.sparse.gathered(), made.fixed_cache(40)):
        layers = form.build().model.layers
        assert torch.allclose(layers[0].self_attn.centre, sums / 8, atol=1e-6)
        assert layers[2].self_attn.centre.abs().max() > 0.1
        assert "centre" not in dict(layers[1].self_attn.named_parameters())


def test_what_a_threshold_asks_for_beyond_its_cap_is_counted(monkeypatch):
    long = np.random.default_rng(1).integers(0, 12, (1, 96))
    spec = spec_of(("sale",), {"sale": {**SETTINGS["sale"], "thresholds": (1e-4,)}}, gathered=True)
    module, calls, found = spec.build(), [], []
    capped = SALE.capped
    monkeypatch.setattr(SALE, "capped", lambda self, call: calls.append(call) or capped(self, call))
    for cuts in ((), (40, 90)):
        states = empty(spec)
        for part in np.split(long, cuts, 1):
            with torch.no_grad():
                after = module(torch.from_numpy(part), *states)
            states = [after[state.name] for state in spec.states]
        found.append(int(after["over0"]))
    wide = replace(module.model.layers[0].self_attn.pattern, cap=0)
    asked = wide.blocks(calls[0]).sum(-1) - SETTINGS["sale"]["cap"]
    assert found == [int(asked.clamp_min(0).sum())] * 2
    assert found[0] > 0


@pytest.mark.parametrize("name", ["ssa", "sale", "hip"])
def test_a_budget_of_all_is_the_dense_model(name):
    settings = {"ssa": {"block": 4, "count": 99}, "sale": {"thresholds": (0.0,)}, "hip": {"count": 64}}[name]
    dense = logits(spec_of(("dense",) * 2, {}), IDS)
    assert worst(logits(spec_of((name,) * 2, {name: settings}), IDS), dense) < 2e-6
    small = {"ssa": {"block": 4, "count": 1}, "sale": {"thresholds": (9.0,)}, "hip": {"count": 2, "window": 2}}[name]
    if name != "sale":  # its window holds a text of this length
        assert worst(logits(spec_of((name,) * 2, {name: {**small}}), IDS), dense) > 1e-3


def test_a_gathered_dynamic_mask_is_the_masked_one():
    config = replace(TINY_DOGE, layers=1, mixers=("dynamic_mask",), keep=5)
    masked = decoder_spec("doge", config, build)
    gathered = masked.sparse.gathered()
    for ids, cuts in ((IDS, ()), (IDS, CUTS[1]), (PADDED, CUTS[1])):
        rows = ids >= 0
        assert worst(logits(gathered, ids, cuts)[rows], logits(masked, ids, cuts)[rows]) < 3e-6


@pytest.mark.parametrize("sample", ["ssa", "sale", "hip", "dynamic_mask", "recycled"])
def test_a_call_with_padding_is_the_rows_without_it(sample):
    chosen = pattern(sample, **{"ssa": {"block": 4, "count": 2}, "recycled": {"count": 6, "pool": 3}}.get(sample, {}))
    chosen = type(chosen).samples()[0] if sample in ("sale", "hip", "dynamic_mask") else chosen
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, h, 24, 8, generator=generator).double() for h in (4, 2, 2))
    bias = torch.randn(2, 2, 24, generator=generator).double() if chosen.traits.needs_bias else None
    call = Call(q, k, v, bias, first=torch.tensor([0, 7]))
    out = chosen.attend(call)
    for row, first in enumerate((0, 7)):
        alone = chosen.attend(call.row(row))
        assert (out[row, :, first:] - alone[0]).abs().max() < 1e-12
        assert (out[row, :, :first] == 0).all()
    dense = attend(q, k, v, call.seen(), bias)[0]
    assert (
        dense[1, :, 7:]
        - attend(
            q[1:, :, 7:],
            k[1:, :, 7:],
            v[1:, :, 7:],
            call.row(1).seen()[None, None],
            None if bias is None else bias[1:, :, 7:],
        )[0][0]
    ).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("mixers", "patterns", "said"),
    [
        (("sele",), {}, "sele"),
        (("dense",), {"ssa": {"block": 4}}, "mixes no layer"),
        (("ssa",), {"ssa": {"blocks": 4}}, "no setting 'blocks'"),
        (("ssa",), {"ssa": {"block": 0}}, "block=0"),
        (("routing",), {"routing": {"clusters": 0}}, "clusters=0"),
    ],
)
def test_wrong_layers_are_one_line(mixers, patterns, said):
    with pytest.raises((InputError, UnknownNameError), match=said) as error:
        spec_of(mixers, patterns)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "form", "said"),
    [
        ("sale", "gathered", "a threshold selects"),
        ("sale mean=prompt", "masked", "depends on how a text is cut"),
        ("sale mean=prompt", "masked", "settings block_q=1, mean=frozen, window>=64"),
        ("hip block_q=64", "masked", "largest number of tokens"),
        ("hip block_q=64", "masked", "settings block_q=1"),
        ("recycled", "masked", "depends on how a text is cut"),
    ],
)
def test_what_cannot_be_a_graph_is_said_before_any_work(name, form, said):
    name, _, setting = name.partition(" ")
    key, _, value = setting.partition("=")
    spec = spec_of((name,), {name: {key: int(value) if value.isdigit() else value}} if key else {})
    assert any(said in str(reason) for reason in spec.sparse.obstacles(form))


def test_only_a_model_that_selects_has_such_forms():
    assert spec_of(("dense",), {}).sparse.gathered is None
    assert not spec_of().sparse.obstacles("gathered")


def test_the_transform_puts_a_pattern_into_layers():
    dense = spec_of(("dense",) * 3, {})
    made = transform(dense, ["sparse:pattern=ssa,layers=1+2,block=4,count=2"])
    wanted = logits(spec_of(("dense", "ssa", "ssa"), {"ssa": SETTINGS["ssa"]}), IDS)
    assert worst(logits(made, IDS), wanted) == 0
    for steps, said in (
        (["sparse:pattern=ssa,layers=7"], "layer 7"),
        (["sparse:layers=a"], "layers=a"),
        (["sparse:pattern=ssa,clusters=2"], "clusters"),
    ):
        with pytest.raises(InputError, match=said):
            transform(dense, steps)


def test_a_token_costs_what_is_selected():
    work = {part.pattern: part for part in spec_of().token_work(999)}
    assert work["ssa"].pairs == 4 * 8
    assert work["routing"].pairs == 4 * 5
    row = 2 * 16 * 4  # bytes of a key of all heads
    assert work["dense"].read == 999 * 2 * row
    assert work["routing"].read == 5 * 2 * row
    assert work["ssa"].read == (999 + 8) * row  # every key is read for the means of the blocks


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    captured = functools.cache(
        lambda mixers: nk.capture(spec_of(mixers, {n: SETTINGS[n] for n in mixers if n in SETTINGS}))
    )

    @functools.cache
    def lower(mixers, form):
        out = tmp_path_factory.mktemp("sparse") / "lm"
        return nk.lower(captured(mixers), "onnx-step", out, **dict(form))

    return lower


def check_artifact(artifact, spec):
    assert artifact.manifest.parity["verdict"] == "within tolerance"
    wanted = logits(spec, IDS)
    with nk.open(artifact) as runner:

        def stream(ids, cuts):
            runner.reset(len(ids))
            return np.concatenate([runner.step({"ids": part})["logits"] for part in np.split(ids, cuts, 1)], 1)

        for cuts in CUTS:
            assert worst(stream(IDS, cuts), wanted) < 3e-6
        assert worst(stream(PADDED, CUTS[1])[1, 9:], wanted[0, :28]) < 3e-6


def test_a_gathered_graph_is_the_model(artifacts):
    artifact = artifacts(("ssa",), (("attention", "gathered"), ("verified", False)))
    assert artifact.manifest.target_info["attention"] == "gathered"
    spec = spec_of(("ssa",), {"ssa": SETTINGS["ssa"]})
    with nk.open(artifact) as runner:
        runner.reset(2)
        parts = [runner.step({"ids": part})["logits"] for part in np.split(PADDED, [8, 36], 1)]
    wanted = logits(spec, IDS)[0]
    assert worst(np.concatenate(parts, 1)[0], wanted) < 3e-6
    assert worst(np.concatenate(parts, 1)[1, 9:], wanted[:28]) < 3e-6


def test_a_dense_model_has_no_masked_form():
    dense = SimpleNamespace(spec=spec_of(("dense",), {}))
    assert not no_sparse_form(dense, None)
    (reason,) = no_sparse_form(dense, "masked")
    assert "no layer of it selects keys" in str(reason)


def test_the_command_refuses_before_any_work_and_counts_by_pattern(tmp_path, capsys):
    out = tmp_path / "out"
    line = ["export", "tiny_lm", "--target", "onnx-step", "--out", str(out), "--option", "attention=gathered"]
    assert main([*line, "--transform", "sparse:pattern=sale"]) == 2
    said = capsys.readouterr().err
    assert "a threshold selects" in said
    assert "layers 0, 1, 2, 3" in said
    assert "Traceback" not in said
    assert not out.exists()
    count = ["energy", "tiny_lm", "--tokens", "300", "--json", "--transform", "sparse:layers=1+2,block=16,count=4"]
    assert main(count) == 0
    patterns = json.loads(capsys.readouterr().out)["patterns"]
    found = {row["pattern"]: row for row in patterns}
    assert found["ssa"]["parts"] == 2
    assert found["ssa"]["counts"]["pairs"]["value"] == 2 * 4 * 64
    assert found["dense"]["counts"]["pairs"]["value"] == 2 * 4 * 300
    assert main(["energy", "tiny_lm", "--transform", "sparse:pattern=ssa,count=4", "--tokens", "16"]) == 0
    assert "next: neurokit export tiny_lm --transform sparse:pattern=ssa,count=4 --target" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    "form",
    [
        {"attention": "masked"},
        {"attention": "gathered"},
        {"attention": "standard"},
        {"attention": "ort"},
        {"attention": "gathered", "cache": "fixed:64"},
        {"attention": "masked", "cache": "fixed:64"},
    ],
    ids=lambda form: " ".join(form.values()),
)
@pytest.mark.parametrize("mixers", [MIXERS, SEARCHING], ids=["hybrid", "searching"])
def test_a_hybrid_in_every_form(artifacts, mixers, form):
    check_artifact(artifacts(mixers, tuple(form.items())), spec_of(mixers))


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["masked", "gathered"])
@pytest.mark.parametrize(
    "settings", ["ssa", "ssa,block=32,count=2", "routing", "hip,count=64,block_k=4", "sale,cap=24"]
)
def test_the_patterns_own_sizes_have_a_graph(settings, attention, tmp_path):
    """Texts of a verification begin with less than a block and end with several."""
    made = transform(spec_of(("dense",) * 2, {}), [f"sparse:pattern={settings}"])
    artifact = nk.lower(nk.capture(made), "onnx-step", tmp_path / "out", attention=attention)
    assert artifact.manifest.parity["verdict"] == "within tolerance"
    whole, steps = (np.zeros((0, 256)), np.zeros((0, 256)))
    with nk.open(artifact) as runner:
        for cuts in ((), EVERY_WORD):
            runner.reset(1)
            whole, steps = steps, np.concatenate([runner.step({"ids": p})["logits"][0] for p in np.split(IDS, cuts, 1)])
    assert worst(steps, whole) < 1e-5
    assert worst(whole, logits(made, IDS)[0]) < 1e-5


def test_a_layer_of_blocks_is_traced_with_several_of_them():
    """torch takes a number of blocks that is 1 while it traces for a number that is always 1."""
    spec = spec_of(("ssa",), {"ssa": {}})
    (ids,) = spec.inputs
    assert ids.shape[0].example(5) == 17
    assert spec.example(1, 1, 0)["ids"].shape == (1, 17)


def test_check_lists_every_layer():
    reasons = spec_of(("hip", "dense", "hip"), {"hip": {"block_q": 8}}).sparse.obstacles("gathered")
    assert all("layers 0, 2" in str(reason) for reason in reasons)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("pattern=hip,block_k=3,count=4", "a count that block_k divides"),
        ("pattern=sale,window=40,block_k=32", "block_k divides window"),
        ("pattern=sale,cap=2", "a cap of 2 blocks"),
        ("pattern=sale,window=32,block_k=32", "window>=64"),
        ("pattern=ssa,block=-1", "block=-1"),
        ("pattern=ssa,block=513", "blocks of 513 keys in layers of 'ssa', and texts of 512 tokens at most"),
        ("pattern=hip,clusters=4", "no setting 'clusters'"),
        ("pattern=hpi", "dynamic_mask, hip, lightning"),
        ("pattern=recycled,count=0,every=-2", "steps >= 0"),
        ("pattern=ssa,means=README.md", "line 1"),
        ("pattern=sale,cap=24,means=missing.jsonl", "missing.jsonl cannot be read"),
    ],
)
def test_sizes_that_do_not_fit_are_one_line_before_any_file(settings, said, tmp_path, capsys):
    out = tmp_path / "out"
    line = ["export", "tiny_lm", "--target", "onnx-step", "--out", str(out), "--option", "attention=gathered"]
    assert main([*line, "--transform", f"sparse:{settings}"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not out.exists()
