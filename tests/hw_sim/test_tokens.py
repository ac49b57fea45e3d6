"""What a token costs, against what torch counts of the module itself, and by hand."""

import json

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import neurokit as nk
from neurokit.cli import main
from neurokit.errors import InputError
from neurokit.hw_sim.chips.file import load_chip
from neurokit.hw_sim.tokens import token_energy


def counted(name, before):
    """Multiply-adds of one token behind others, by torch's own counter over the module."""
    net = nk.load(name).build()
    sizes = [[1, *(n if isinstance(n, int) else before for n in s.sizes)] for s in net.states]
    states = [torch.zeros(size, dtype=getattr(torch, s.dtype)) for size, s in zip(sizes, net.states, strict=True)]
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        net(torch.tensor([[7]]), *states)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize(
    ("name", "tokens"), [("tiny_lm", 1), ("tiny_lm", 64), ("tiny_lm_qwen3", 100), ("tiny_doge", 8)]
)
def test_multiply_adds_are_what_torch_counts(name, tokens):
    total = token_energy(nk.load(name), tokens).total
    assert total["products"].value + total["weighted"].value == counted(name, tokens - 1)


def test_a_dynamic_mask_counts_what_it_keeps_and_linear_attention_its_state():
    doge = token_energy(nk.load("tiny_doge"), 100)
    assert doge.total["pairs"].value == 3 * 4 * 8
    # Biases of 99 tokens, keys and values of 8 of them, two key heads of width 16, three layers.
    assert doge.total["read"].value == 3 * 4 * (99 * 2 + 8 * 2 * 2 * 16)
    tnl = [token_energy(nk.load("tiny_tnl"), n).total["read"].value for n in (1, 1000)]
    assert tnl == [4 * 4 * 16 * (16 + 32 + 32)] * 2
    assert {row.pattern for row in doge.patterns} == {"dynamic_mask", "mlp", "head"}


def test_the_cache_of_a_large_model_by_hand():
    total = token_energy(nk.load("llama3_1b"), 4096).total
    assert total["read"].value == 16 * 2 * 8 * 64 * 4 * 4095
    assert total["written"].value == 16 * 2 * 8 * 64 * 4


def test_what_a_chip_has_no_price_for_is_listed():
    (priced,) = token_energy(nk.load("tiny_lm"), 5, [load_chip("cmos45")]).chips
    assert set(priced.energy) == {"products", "weighted"}
    assert set(priced.not_priced) == {"pairs", "read", "written"}
    price = load_chip("cmos45").prices["product_operation"]
    assert priced.energy["products"].value == pytest.approx(4 * 4 * 5 * 32 * price.value)
    (none,) = token_energy(nk.load("tiny_lm"), 5, [load_chip("loihi2")]).chips
    assert not none.energy


def test_the_command_prints_json_and_refuses_in_one_line(capsys, tmp_path):
    out = tmp_path / "t.json"
    assert main(["energy", "tiny_lm", "--tokens", "8", "--json", "--out", str(out)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["total"]["pairs"]["value"] == 4 * 4 * 8
    assert json.loads(out.read_text()) == said
    for options, line in (
        (["tiny_lm"], "no chip is named"),
        (["tiny_lm", "--tokens", "0"], "0 tokens"),
        (["tiny_lm", "--tokens", "513"], "513 tokens"),
        (["spiking_cnn", "--tokens", "5"], "says nothing of tokens"),
        (["tiny_lm", "--tokens", "5", "--check-events"], "'tiny_lm' is no language model of spikes"),
    ):
        assert main(["energy", *options]) == 2
        error = capsys.readouterr().err
        assert line in error
        assert "Traceback" not in error


def test_a_model_of_images_has_no_tokens():
    with pytest.raises(InputError, match="nothing of tokens"):
        token_energy(nk.load("spiking_cnn"), 5)
