"""The network in torch, by a public library's figures and by the equations in numpy."""

import numpy as np
import pytest
import torch

from neurokit.errors import InputError
from neurokit.models.decoder import LLAMA3_1B, QWEN3_0_6B, TINY_LM, TINY_LM_QWEN3
from neurokit.models.decoder.config import DecoderConfig, parse_config
from neurokit.models.decoder.drawn import fill
from neurokit.models.decoder.net import Decoder
from neurokit.spec import MODELS

from .oracle import NAMES, PARTS, padded, plain, read, worst


def made(name):
    return fill(Decoder(parse_config(read(name)["config"], name))).eval()


class Run:
    """Calls a network with the caches of the call before."""

    def __init__(self, net, batch=1, dtype=torch.float32):
        c = net.config
        self.net = net
        empty = torch.zeros(batch, c.kv_heads, 0, c.head_size, dtype=dtype)
        self.state = [torch.zeros(batch, dtype=torch.int64), *[empty] * (2 * c.layers)]

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


@pytest.mark.parametrize("config", [TINY_LM, TINY_LM_QWEN3, LLAMA3_1B, QWEN3_0_6B])
def test_the_count_of_parameters_is_that_of_the_module(config):
    with torch.device("meta"):
        assert sum(p.numel() for p in Decoder(config).parameters()) == config.parameters


def test_the_large_models_are_marked_and_their_specs_build_nothing():
    assert {name for name in MODELS.names() if MODELS.get(name)().large} == {"llama3_1b", "qwen3_0_6b"}
    assert (LLAMA3_1B.parameters, QWEN3_0_6B.parameters) == (1_235_814_400, 596_049_920)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "mistral"}, "architecture 'mistral'"),
        ({"model_type": None}, "architecture None"),
        ({"num_attention_heads": 3}, "3 query heads do not divide among 2"),
        ({"head_dim": 15}, "width 15"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "by 'yarn'"),
        ({"hidden_size": "64"}, "no hidden_size"),
        ({"vocab_size": 0}, "vocabulary=0"),
    ],
)
def test_configurations_of_another_kind_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        parse_config({**read("lm_llama")["config"], **change}, "config.json")
