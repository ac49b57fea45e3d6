"""The network in torch, by a public library's figures and by the equations in numpy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neurokit as nk
from neurokit.errors import InputError, UnknownNameError
from neurokit.models.decoder import LLAMA3_1B, QWEN3_0_6B, TINY_DOGE
from neurokit.models.decoder.attention import first_like, kept
from neurokit.models.decoder.config import DecoderConfig
from neurokit.models.decoder.drawn import fill
from neurokit.models.decoder.names import transnormer
from neurokit.models.decoder.net import Decoder, blank
from neurokit.models.decoder.public_config import parse_config
from neurokit.models.decoder.rotary import frequencies
from neurokit.spec import MODELS

from .oracle import NAMES, OWN, PARTS, REPEATING, padded, plain, read, repeating, worst


def made(name):
    return fill(Decoder(parse_config(read(name)["config"], name))).eval()


class Run:
    """Calls a network with the states of the call before."""

    def __init__(self, net, batch=1, dtype=torch.float32):
        self.net = net
        kinds = {"float32": dtype, "int64": torch.int64}
        shapes = [[batch, *(size if isinstance(size, int) else 0 for size in s.sizes)] for s in net.states]
        self.state = [torch.zeros(shape, dtype=kinds[s.dtype]) for shape, s in zip(shapes, net.states, strict=True)]

    def __call__(self, ids):
        with torch.no_grad():
            logits, *self.state = self.net(torch.as_tensor(ids), *self.state).values()
        return logits.numpy()


@pytest.mark.parametrize("parts", PARTS, ids=lambda parts: f"{len(parts)} parts")
@pytest.mark.parametrize("name", NAMES)
def test_tokens_and_logits_are_the_public_librarys(name, parts):
    oracle, run = read(name), Run(made(name))
    prompt = np.array([oracle["prompt"]])
    for part in np.split(prompt, np.cumsum(parts)[:-1], 1):
        logits = run(part)
    assert worst(logits[0, -1], np.array(oracle["last_prompt_logits"])) < 1e-5
    tokens = []
    for _ in oracle["greedy_tokens"]:
        tokens.append(int(logits[0, -1].argmax()))
        logits = run([[tokens[-1]]])
    assert tokens == oracle["greedy_tokens"]


@pytest.mark.parametrize("name", NAMES)
def test_a_row_behind_padding_is_the_row_alone(name):
    wanted = read(name)["left_padded"]
    logits = Run(made(name), 2)(padded(name))
    found = logits[1:, -20:]
    assert list(found.shape) == wanted["shape"]
    assert np.isfinite(logits).all()
    assert worst(found.ravel()[wanted["index"]], np.array(wanted["value"])) < 1e-5


def test_bias_and_tied_head_by_the_equations():
    """Qwen2's form; three query heads share each of two key and value heads."""
    sizes = {"vocabulary": 19, "width": 12, "inner": 10, "layers": 2, "heads": 6, "kv_heads": 2, "head_size": 4}
    config = DecoderConfig(**sizes, longest=32, eps=1e-6, theta=1e4, qkv_bias=True, tied=True)
    net = fill(Decoder(config)).eval().double()
    weights = {name: value.numpy() for name, value in net.state_dict().items()}
    ids = [3, 18, 0, 7, 7, 11]
    run = Run(net, dtype=torch.float64)
    found = np.concatenate([run([ids[:4]]), run([ids[4:]])], 1)[0]
    assert worst(found, plain(weights, config, ids)) < 1e-6  # rotary frequencies are float32


def test_causality_by_perturbation():
    net = made("lm_llama")
    ids = np.array([read("lm_llama")["prompt"]])
    other = ids.copy()
    other[0, 20:] = 5
    a, b = Run(net)(ids), Run(net)(other)
    np.testing.assert_array_equal(a[:, :20], b[:, :20])
    assert (a[:, 20:] != b[:, 20:]).any()


@pytest.mark.parametrize("parts", [(), (7, 32), tuple(range(1, 40))], ids=lambda cuts: f"{len(cuts) + 1} parts")
@pytest.mark.parametrize("name", OWN)
def test_logits_of_every_position_are_the_released_codes(name, parts):
    oracle = read(name)
    net = nk.load(OWN[name]).build()
    assert sum(p.numel() for p in net.parameters()) == oracle["parameters"]
    run = Run(net)
    logits = np.concatenate([run(part) for part in np.split(np.array([oracle["tokens"]]), parts, 1)], 1)[0]
    wanted = oracle["logits"]
    assert list(logits.shape) == wanted["shape"]
    found = logits.ravel()[wanted["index"]]
    assert np.abs(found - wanted["value"]).max() < 1e-5 * wanted["largest"]


@pytest.mark.parametrize("name", OWN)
def test_padding_on_the_left_of_other_mixers_changes_nothing(name):
    ids, net = np.array([read(name)["tokens"]]), nk.load(OWN[name]).build()
    both = np.concatenate([ids, np.concatenate([np.full((1, 17), -1), ids[:, :-17]], 1)])
    run = Run(net, 2)
    padded = np.concatenate([run(part) for part in np.split(both, [3, 21], 1)], 1)
    assert worst(padded[1, 17:], Run(net)(ids[:, :-17])[0]) < 1e-5


def test_states_of_linear_attention_are_the_released_codes():
    oracle, run = read("tnl_nano"), Run(nk.load("tiny_tnl").build())
    run(np.array([oracle["tokens"][:32]]))
    _, length, *states = run.state
    assert length.tolist() == [32]
    assert worst(states[0].numpy(), np.array(oracle["state0_after_32"])) < 1e-5
    for state, key in zip(states[1:], ("state1_after_32", "state2_after_32"), strict=True):
        assert worst(state.numpy().ravel()[oracle[key]["index"]], np.array(oracle[key]["value"])) < 1e-5


def test_doges_checkpoint_names_are_its_own():
    oracle = read("dma_doge_lm")
    net = Decoder(parse_config(oracle["config"], ""))
    assert {name: list(value.shape) for name, value in net.state_dict().items()} == oracle["tensors"]
    assert {transnormer(name) for name in nk.load("tiny_tnl").build().state_dict()} | {"transnormer.wte.weight"} == set(
        read("tnl_nano")["tensors"]
    )


@given(
    scores=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    count=st.integers(1, 14),
)
def test_the_largest_are_kept_and_of_equal_ones_the_earlier(scores, count):
    order = sorted(range(len(scores)), key=lambda at: (-scores[at], at))[:count]
    assert torch.nonzero(kept(torch.tensor(scores).float(), count)).flatten().tolist() == sorted(order)


@pytest.mark.parametrize(("seed", "vocabulary"), REPEATING)
def test_a_token_that_occurs_twice_is_chosen_alike_by_a_pass_and_by_parts(seed, vocabulary):
    ids, net = repeating(seed, vocabulary), nk.load("tiny_doge").build()
    for cuts in ([8], [3, 11], range(1, 17)):
        run = Run(net)
        assert worst(np.concatenate([run(part) for part in np.split(ids, list(cuts), 1)], 1), Run(net)(ids)) < 1e-5


def test_a_number_is_the_first_that_it_is_but_for_rounding():
    up = 1 + 2.0**-20
    known = torch.tensor([[[2.0, 3.0, 2 * up, 2.1, 3 * up, torch.inf]]])
    visible = torch.ones(1, 1, 4, 6).tril(2).bool()
    place = torch.arange(2, 6)[None]
    found = first_like(known, known[..., 2:], visible, place)
    assert found.tolist() == torch.tensor([[[2.0, 2.1, 3.0, torch.inf]]]).tolist()
    visible[..., 0] = False  # what a text does not see, its padding, lends nothing
    assert first_like(known, known[..., 2:], visible, place)[0, 0, 0] == known[0, 0, 2]


def test_a_hybrid_of_mixers_is_the_same_in_parts():
    config = replace(TINY_DOGE, mixers=("dense", "lightning", "dynamic_mask"))
    net = fill(blank(config))
    assert [state.name for state in net.states] == ["padding", "k0", "v0", "kv1", "k2", "v2", "bias2"]
    ids = np.array([read("dma_doge_lm")["tokens"][:30]])
    run = Run(net)
    parts = np.concatenate([run(part) for part in np.split(ids, [1, 2, 17], 1)], 1)
    assert worst(parts, Run(net)(ids)) < 1e-5
    with pytest.raises(InputError, match="2 mixers are named"):
        replace(TINY_DOGE, mixers=("dense", "dense"))
    with pytest.raises(UnknownNameError, match="lightning"):
        Decoder(replace(TINY_DOGE, mixers=("lihgtning",) * 3))


def test_the_large_models_are_marked_and_their_specs_build_nothing():
    large = {name for name in MODELS.names() if MODELS.get(name)().large}
    assert large == {"llama3_1b", "qwen3_0_6b", "para_trans_cnn_320", "swin_unetr"}
    with torch.device("meta"):
        counts = [sum(p.numel() for p in Decoder(config).parameters()) for config in (LLAMA3_1B, QWEN3_0_6B)]
    assert counts == [1_235_814_400, 596_049_920]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "mistral"}, "architecture 'mistral'"),
        ({"model_type": None}, "architecture None"),
        ({"num_attention_heads": 3}, "3 query heads do not divide among 2"),
        ({"head_dim": 15}, "width 15"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "by 'yarn'"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "by 'dynamic'"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 0}}, "factor=0"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}, "no low_freq_factor"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}}, "one rotation for all layers"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "a part of each head"),
        (
            {
                "model_type": "qwen2",
                "use_sliding_window": True,
                "max_window_layers": 1,
                "max_position_embeddings": 8192,
            },
            "sliding_window=None",
        ),
        ({"model_type": "qwen3", "layer_types": ["sliding_attention"], "sliding_window": 8}, "sliding_window=8"),
        ({"model_type": "doge", "sliding_window": 8}, "sliding_window=8"),
        ({"model_type": "qwen2", "mlp_bias": True}, "mlp_bias=True"),
        ({"eos_token_id": [2, "x"]}, "eos_token_id="),
        ({"eos_token_id": [2, 256]}, "token 256 ends a text"),
        ({"rms_norm_eps": "small"}, "no rms_norm_eps, but 'small'"),
        ({"hidden_size": "64"}, "no hidden_size"),
        ({"vocab_size": 0}, "vocabulary=0"),
    ],
)
def test_configurations_of_another_kind_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        parse_config({**read("lm_llama")["config"], **change}, "config.json")


def test_windows_that_hide_nothing_and_biases_are_read():
    fields = read("lm_llama")["config"]
    window = {"model_type": "qwen2", "use_sliding_window": True, "max_window_layers": 0}
    assert parse_config({**fields, **window, "sliding_window": fields["max_position_embeddings"]}, "").qkv_bias
    biased = parse_config({**fields, "attention_bias": True, "mlp_bias": True}, "")
    assert (biased.qkv_bias, biased.out_bias, biased.mlp_bias) == (True, True, True)
    names = set(Decoder(biased).state_dict()) - set(Decoder(parse_config(fields, "")).state_dict())
    assert {name.split(".")[-2] for name in names} == {f"{x}_proj" for x in ("q", "k", "v", "o", "gate", "up", "down")}


def test_linear_scaling_divides_positions():
    fields = read("lm_llama")["config"]
    halved = parse_config({**fields, "rope_scaling": {"type": "linear", "factor": 2.0}}, "")
    plain_ones = frequencies(parse_config(fields, ""))
    assert torch.equal(frequencies(halved), plain_ones / 2)
