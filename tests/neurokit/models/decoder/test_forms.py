"""Language models in every ONNX form: the oracles' tokens and logits whole, in chunks, step by step, left padded."""

import collections
import functools
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

import neurokit as nk
from neurokit.attention.linear import linear_attention
from neurokit.cli import main
from neurokit.errors import InputError, UnsupportedError
from neurokit.models.decoder import TINY_LM, decoder_spec
from neurokit.models.decoder.drawn import fill
from neurokit.models.decoder.net import blank
from neurokit.models.decoder.public_config import parse_config
from neurokit.models.decoder.rotary import frequencies

from . import faults
from .oracle import PARTS, REPEATING, plain, read, repeating, worst

FORMS = {
    "decomposed": {},
    "standard": {"attention": "standard"},
    "ort": {"attention": "ort"},
    "fixed": {"cache": "fixed:80"},
    "fixed standard": {"cache": "fixed:80", "attention": "standard"},
}
QUICK = [("tiny_doge", "standard"), ("tiny_tnl", "ort")]  # one form of each in every run
SELECTING = ("decomposed", "ort", "fixed", "gathered")
SLOW = [
    pytest.param(name, form, marks=pytest.mark.slow)
    for name in ("tiny_lm_qwen3", "tiny_doge", "tiny_tnl")
    for form in FORMS
    if (name, form) not in QUICK and (name != "tiny_tnl" or "fixed" not in form)
]


@pytest.fixture(scope="module")
def captured():
    """Captures each model once."""
    return functools.cache(lambda name: nk.capture(nk.load(name)))


@pytest.fixture(scope="module")
def lowered(captured, tmp_path_factory):
    """Lowers each model to each form once."""
    made = {}

    def lower(name, form):
        if (name, form) not in made:
            out = tmp_path_factory.mktemp("forms") / "lm"
            made[name, form] = nk.lower(captured(name), "onnx-step", out, **FORMS[form])
        return made[name, form]

    return lower


def nodes(artifact):
    """Nodes by type, those of branches counted."""

    def walk(graph):
        for node in graph.node:
            yield node.op_type
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    yield from walk(attribute.g)

    return collections.Counter(walk(onnx.load(str(artifact.file("model.onnx"))).graph))


def stream(runner, ids, cuts):
    runner.reset(len(ids))
    return np.concatenate([runner.step({"ids": part})["logits"] for part in np.split(ids, cuts, 1)], 1)


@pytest.mark.parametrize("form", ["standard", "ort", "fixed", pytest.param("fixed standard", marks=pytest.mark.slow)])
def test_llamas_tokens_in_every_form(lowered, form):
    artifact, oracle = lowered("tiny_lm", form), read("lm_llama")
    assert artifact.manifest.parity["verdict"] == "within tolerance"
    assert artifact.manifest.parity["tokens_undecided"] == 0
    prompt, wanted = oracle["prompt"], tuple(oracle["greedy_tokens"])
    for parts in PARTS:
        (found,) = nk.generate(artifact, prompt, 32, chunk=max(parts))
        assert found.tokens == wanted
    alone = [nk.generate(artifact, prompt[:cut], 8)[0] for cut in (37, 20, 5)]
    for chunk in (None, 8, 1):
        assert nk.generate(artifact, [prompt, prompt[:20], prompt[:5]], 8, chunk=chunk) == alone
    with nk.open(artifact) as runner:
        logits = stream(runner, np.array([prompt]), (8, 21))
    assert worst(logits[0, -1], np.array(oracle["last_prompt_logits"])) < 1e-5


@pytest.mark.parametrize("form", ["standard", "ort", "fixed"])
def test_scaled_frequencies_in_every_form(lowered, form, tamper_tensor, tmp_path):
    oracle = read("lm_llama3_rope")  # the same weights
    scaled = frequencies(parse_config(oracle["config"], "")).numpy()
    artifact = lowered("tiny_lm", form)
    other = tamper_tensor(artifact, lambda name: "inverse_frequencies" in name, lambda x: scaled, tmp_path / "rope")
    prompt, wanted = oracle["prompt"], oracle["greedy_tokens"]
    for chunk in (None, 13, 1):
        both = nk.generate(other, [prompt, prompt[:9]], 32, chunk=chunk)
        assert list(both[0].tokens) == wanted


FOUND = [(form, fault) for form in ("standard", "ort") for fault in (*faults.FAULTS, faults.interleave_by_attribute)]
IN_EVERY_RUN = [("standard", faults.begin_at_the_upper_left), ("ort", faults.one_row)]


@pytest.mark.parametrize(
    ("form", "fault"),
    [pytest.param(*case, marks=() if case in IN_EVERY_RUN else pytest.mark.slow) for case in FOUND],
)
def test_planted_faults_fail_verify_in_this_form(lowered, tamper, form, fault, tmp_path):
    wrong = tamper(lowered("tiny_lm", form), faults.planted(fault), tmp_path / "wrong")
    faults.check(nk.verify(wrong, record=False), fault)


def test_the_standard_form_is_small_and_of_the_standards_operators(lowered):
    found = nodes(lowered("tiny_lm", "standard"))
    assert found["Attention"] == 4
    assert found["Softmax"] == 0
    assert sum(found.values()) <= 200
    grouped = nodes(lowered("tiny_lm", "ort"))
    # A layer has it twice: without a bias where no text is padded, and with one; long calls are a loop over tiles.
    assert (grouped["GroupQueryAttention"], grouped["Loop"], grouped["If"]) == (8, 4, 4 * 3 + 1)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("past", "new"), [(0, 17), (0, 300), (5, 130)])
def test_a_long_call_in_tiles_gives_the_dense_forms_logits_and_caches(lowered, batch, past, new):
    """Of 9, 128 and 65 queries; the last one begins within the one before it."""
    ids = np.random.default_rng(new).integers(3, 256, (batch, past + new))
    found = []
    for form in ("standard", "ort"):
        with nk.open(lowered("tiny_lm", form)) as runner:
            logits = stream(runner, ids, [past] if past else [])
            found.append((logits, *(runner.states()[name] for name in ("k3", "v3"))))
    for ours, wanted in zip(*found, strict=True):
        assert worst(ours, wanted) < 1e-5


def test_verify_sees_the_tiles(lowered, tamper, tmp_path):
    def sharpen(model):
        loops = [n for g in faults.graphs_of(model.graph) for n in g.node if n.op_type == "Loop"]
        assert len(loops) == 4
        for node in loops:
            (body,) = [a.g for a in node.attribute if a.name == "body"]
            (attention,) = [n for n in body.node if n.op_type == "Attention"]
            attention.attribute[0].f *= 1.01

    report = nk.verify(tamper(lowered("tiny_lm", "ort"), sharpen, tmp_path / "wrong"), record=False)
    assert report.verdict == "failed"
    assert any(note.startswith("text alone") for note in report.notes)


def test_the_same_export_is_the_same_file(captured, lowered, tmp_path):
    """Nodes that are added to the graph have names that do not depend on where they lie in memory."""
    first = lowered("tiny_lm", "ort")
    again = nk.lower(captured("tiny_lm"), "onnx-step", tmp_path / "lm", **FORMS["ort"])
    assert (again.path / "model.onnx").read_bytes() == (first.path / "model.onnx").read_bytes()


def test_no_mask_has_a_query_axis_of_one_and_nothing_is_causal_by_attribute(lowered):
    for form in ("standard", "ort"):
        model = onnx.load(str(lowered("tiny_lm", form).file("model.onnx")))
        attentions = [n for g in faults.graphs_of(model.graph) for n in g.node if n.op_type == "Attention"]
        assert len(attentions) == (8 if form == "ort" else 4)  # a layer's for any call, and its tiles'
        assert all(a.name == "scale" for n in attentions for a in n.attribute)
        masks = {n.input[3] for n in attentions}
        shaped = onnx.shape_inference.infer_shapes(model).graph.value_info
        shapes = [v.type.tensor_type.shape for v in shaped if v.name in masks]
        assert shapes
        assert all(shape.dim[2].dim_param == "S" or shape.dim[2].dim_value != 1 for shape in shapes)


def test_a_fixed_cache_keeps_its_size_and_refuses_what_does_not_fit(lowered, capsys):
    artifact = lowered("tiny_lm", "fixed")
    states = {state.name: state for state in artifact.manifest.states}
    assert states["k0"].shape == ("B", 2, 80, 16)
    assert list(states)[:2] == ["padding", "length"]
    assert main(["run", str(artifact.path), "--prompt-ids", "1,2,3", "--tokens", "78"]) == 2
    assert "3 tokens of prompt and 78 new ones are 81" in capsys.readouterr().err
    with nk.open(artifact) as runner:
        runner.reset(1)
        runner.step({"ids": np.full((1, 78), 7)})
        with pytest.raises(InputError, match="out of") as error:
            runner.step({"ids": np.full((1, 3), 7)})
        assert "\n" not in str(error.value)
        assert runner.states()["length"].tolist() == [78]
        runner.step({"ids": np.full((1, 2), 7)})


@pytest.mark.parametrize("entries", [1, 23])
def test_a_fixed_cache_that_verification_does_not_fit_into_is_refused_before_any_file(captured, entries, tmp_path):
    with pytest.raises(UnsupportedError, match=r"the 24 tokens .* do not fit into") as error:
        nk.lower(captured("tiny_lm"), "onnx-step", tmp_path / "out", cache=f"fixed:{entries}")
    assert "with N from 24" in error.value.reasons[0].fix
    assert not (tmp_path / "out").exists()


def test_heads_of_a_width_that_group_query_attention_refuses_stay_attention(tmp_path):
    spec = decoder_spec("narrow", replace(TINY_LM, layers=1, head_size=12), lambda config: fill(blank(config)))
    artifact = nk.lower(nk.capture(spec), "onnx-step", tmp_path / "lm", attention="ort")
    assert artifact.manifest.parity["verdict"] == "within tolerance"
    found = nodes(artifact)
    assert (found["Attention"], found["GroupQueryAttention"]) == (1, 0)


@pytest.mark.parametrize("batch", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_fixed_batch_has_a_text_of_as_many_rows(batch, tmp_path):
    spec = decoder_spec("one", replace(TINY_LM, layers=1), lambda config: fill(blank(config)))
    artifact = nk.lower(nk.capture(spec, batch=batch), "onnx-step", tmp_path / "lm")
    assert artifact.manifest.parity["verdict"] == "within tolerance"
    assert artifact.manifest.parity["tokens_compared"] == 4 * 24 * batch - (20 if batch > 1 else 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cache": "fixed:0"}, "cache=fixed:0"),
        ({"cache": "fixed"}, "cache=fixed"),
        ({"cache": "fixed:-1"}, "cache=fixed:-1"),
        ({"attention": "fast"}, "attention=fast"),
        ({"attetion": "ort"}, "no option 'attetion'"),
    ],
)
def test_wrong_options_are_one_line_and_no_file(captured, options, said, tmp_path):
    with pytest.raises(InputError, match=said) as error:
        nk.lower(captured("tiny_lm"), "onnx-step", tmp_path / "out", **options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def check_tokens(artifact, oracle):
    """The oracle's tokens whole, in parts, step by step, and with padding on the left."""
    prompt, wanted = oracle["prompt"], oracle["greedy_tokens"]
    for chunk in (None, 13, 8, 1):
        both = nk.generate(artifact, [prompt, prompt[:9]], 32, chunk=chunk)
        assert list(both[0].tokens) == wanted
        assert both[1] == nk.generate(artifact, [prompt[:9]], 32)[0]
    with nk.open(artifact) as runner:
        for cuts in ((), (8, 21)):
            logits = stream(runner, np.array([prompt]), cuts)
            assert worst(logits[0, -1], np.array(oracle["last_prompt_logits"])) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_qwen2s_form_gives_the_logits_of_its_equations(form, tmp_path):
    config = replace(TINY_LM, layers=2, qkv_bias=True)
    spec = decoder_spec("tiny_qwen2", config, lambda c: fill(blank(c)))
    weights = {name: value.double().numpy() for name, value in spec.build().state_dict().items()}
    prompt = read("lm_llama")["prompt"]
    wanted = plain(weights, config, prompt)
    artifact = nk.lower(nk.capture(spec), "onnx-step", tmp_path / "lm", **FORMS[form])
    assert artifact.manifest.parity["verdict"] == "within tolerance"
    padded = np.array([prompt, [-1] * 9 + prompt[:-9]])
    with nk.open(artifact) as runner:
        for cuts in ((), (8, 21), tuple(range(1, 37))):
            logits = stream(runner, padded, cuts)
            assert worst(logits[0], wanted) < 1e-5
            assert worst(logits[1, 9:], wanted[:-9]) < 1e-5


@pytest.mark.parametrize(("name", "form"), [*QUICK, *SLOW])
def test_other_models_give_their_oracles_logits(lowered, name, form):
    artifact = lowered(name, form)
    assert artifact.manifest.parity["verdict"] == "within tolerance"
    assert artifact.manifest.parity["tokens_undecided"] == 0
    if name == "tiny_lm_qwen3":
        check_tokens(artifact, read("lm_qwen3"))
        return
    oracle = read({"tiny_doge": "dma_doge_lm", "tiny_tnl": "tnl_nano"}[name])
    ids, wanted = np.array([oracle["tokens"]]), oracle["logits"]
    with nk.open(artifact) as runner:
        for cuts in ((), (8, 21), tuple(range(1, ids.shape[1]))):
            logits = stream(runner, ids, cuts)
            found = logits[0].ravel()[wanted["index"]]
            assert np.abs(found - wanted["value"]).max() < 1e-5 * wanted["largest"]
        three = np.full((3, ids.shape[1]), -1)
        for row, cut in enumerate((0, 11, 30)):
            three[row, cut:] = ids[0, : ids.shape[1] - cut]
        for cuts in ((), (8, 21)):
            padded = stream(runner, three, cuts)
            for row, cut in enumerate((0, 11, 30)):
                assert worst(padded[row, cut:], logits[0, : ids.shape[1] - cut]) < 1e-5


@pytest.mark.parametrize("form", ["standard", *(pytest.param(f, marks=pytest.mark.slow) for f in SELECTING)])
def test_texts_with_repeated_tokens_are_the_same_in_one_pass_and_in_parts(captured, lowered, form, tmp_path):
    gathered = {"attention": "gathered"}
    artifact = (
        nk.lower(captured("tiny_doge"), "onnx-step", tmp_path / "lm", **gathered)
        if form == "gathered"
        else lowered("tiny_doge", form)
    )
    with nk.open(artifact) as runner:
        for text in REPEATING:
            whole = stream(runner, repeating(*text), ())
            for cuts in ((8,), (3, 11), tuple(range(1, 17))):
                assert worst(stream(runner, repeating(*text), cuts), whole) < 1e-5


class Mix(torch.nn.Module):
    """Linear attention alone, two heads."""

    def forward(self, q, k, v, kv):
        return linear_attention(q, k, v, torch.tensor([-0.25, 0.0]), kv)


def test_linear_attention_is_one_node_a_layer(lowered):
    assert nodes(lowered("tiny_tnl", "ort"))["LinearAttention"] == 3


@pytest.mark.parametrize("form", ["ort", "standard"])
def test_steps_of_linear_attention_are_one_pass_bit_for_bit(form, tmp_path):
    ports = tuple(nk.TensorSpec(name, (2, nk.Dim("S"), 4), layout="HLF", low=-1.0) for name in "qkv")
    spec = nk.ModelSpec("mix", Mix, ports, outputs=("out",), states=(nk.StateSpec("kv", (2, 4, 4)),))
    artifact = nk.lower(nk.capture(spec), "onnx-step", tmp_path / "mix", attention=form)
    rng = np.random.default_rng(0)
    feeds = {name: rng.standard_normal((3, 2, 300, 4)).astype(np.float32) for name in "qkv"}
    with nk.open(artifact) as runner:
        found = {}
        for parts in (1, 300):
            runner.reset(3)
            calls = [
                runner.step({n: np.ascontiguousarray(p) for n, p in zip(feeds, part, strict=True)})
                for part in zip(*(np.split(x, parts, 2) for x in feeds.values()), strict=True)
            ]
            found[parts] = (
                np.concatenate([y["out"] if isinstance(y, dict) else y for y in calls], 2),
                runner.states()["kv"],
            )
    for one, steps in zip(found[1], found[300], strict=True):
        np.testing.assert_array_equal(one, steps)


def test_a_model_without_growing_caches_has_no_fixed_one(captured, lowered, tmp_path):
    artifact = lowered("tiny_tnl", "ort")
    assert all("P" not in state.shape for state in artifact.manifest.states)
    with pytest.raises(UnsupportedError, match="no caches that grow"):
        nk.lower(captured("tiny_tnl"), "onnx-step", tmp_path / "out", cache="fixed:8")
    assert not (tmp_path / "out").exists()
