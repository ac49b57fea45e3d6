"""Calibrations of attention against the released functions' figures, and the laws that every one keeps."""

import numpy as np
import pytest
import torch

from neurokit.attention.calibration import added, change_of, weigh
from neurokit.errors import InputError
from neurokit.transforms.act import ACT
from neurokit.transforms.gift import GIFT, gaze_shift, normalised
from neurokit.transforms.transform import resolve

from .calibration_oracle import agrees, causal, draw, host, read, single, view


def method(step, layers=4, heads=4, **more):
    chosen, settings = resolve(step)
    return chosen.method(settings, host(layers, heads, **more))


def deployed(weights, change):
    return (weights.log() + added(change)).softmax(-1)


def both(made, weights, seen, layer):
    """The definition, after the deployed form has been held against it."""
    change = change_of(made, seen, weights, layer)
    defined = weigh(weights, change)
    rows = weights.sum(-1) > 0
    within = 1e-12 if made.needs_weights else 1e-7  # a constant's logarithm is float32, as in the graph
    assert (deployed(weights, change) - defined)[rows].abs().max() < within
    return defined


ZERO = {
    "rate4_all": "gamma=4",
    "rate0.3_all": "gamma=0.3",
    "rate2_heads_1_3": "gamma=2,heads=1,3",
    "rate2_layer_in_list": "gamma=2,layers=0,2,heads=0",
    "rate4_range_5_9": "gamma=4,keys=5-9",
    "rate4_start0_end0": "gamma=4,keys=0",
}


def zero_weights():
    logits = single(draw("zerotuning", "logits", (2, 4, 24, 24)))
    logits[..., 0] += 2
    return causal(logits)


@pytest.mark.parametrize("case", ZERO)
def test_zerotuning_gives_the_released_functions_weights(case):
    data, weights = read("zerotuning"), zero_weights()
    assert agrees(weights, data["input"]["attention"], 1e-7)
    found = both(method("zerotuning:" + ZERO[case]), weights, view(weights), 2)
    stored = data["cases"][case]["outputs"]
    assert agrees(found, stored["attention"], 2e-7)
    assert agrees(found[1, 1], stored["b1_h1_full"], 2e-7)
    if "range" not in case:  # ratios among the other keys are unchanged
        kept = found[..., 5, 2] / found[..., 5, 3] - weights[..., 5, 2] / weights[..., 5, 3]
        assert kept.abs().max() < 1e-12


def test_zerotuning_leaves_other_layers_and_refuses_a_factor_of_zero():
    made = method("zerotuning:gamma=2,layers=0-1,heads=0")
    assert made.heads_in(2) == ()
    assert not made.touches(2)
    data = read("zerotuning")["cases"]
    assert data["rate2_layer_not_in_list"]["checks"] == data["rate1"]["checks"] == {"bit_equal_to_input": True}
    assert data["rate0_all"]["checks"] == {"row0_is_nan": True}
    for gamma in ("0", "-1", "NaN"):
        with pytest.raises(InputError, match="gamma is"):
            method(f"zerotuning:gamma={gamma}")


def act_weights(name="logits", new=24, length=24):
    logits = single(draw("act", name, (1, 32, new, length)))
    if name == "logits":
        logits[..., 0] += 3
        logits[:, ::2, :, 7] += 2.5
        logits[:, ::3, :, 15] += 3
    if name == "decode_logits":
        logits[..., 0] += 3
        logits[..., 7] += 2.5
    if name == "short_logits":
        logits[..., 0] += 1
    return causal(logits)


def act():
    heads = ",".join(map(str, read("act")["config"]["eval: heads changed at layer 2"]))
    return method(f"act:layers=2,heads={heads}", 32, 32)


def test_act_finds_the_released_functions_sinks_and_gives_its_weights():
    data, weights = read("act"), act_weights()
    seen = view(weights, memory={"act_sink": torch.zeros(1, 32, 24)})
    found = both(act(), weights, seen, 2)
    sinks = {str(head): row.nonzero().flatten().tolist() for head, row in enumerate(seen.memory["act_sink"][0])}
    assert sinks == next(value for key, value in data["selected"].items() if key.startswith("sink"))
    out = data["outputs"]
    assert agrees(found, out["eval_attention_[1,32,24,24]"], 2e-7)
    for head in (2, 12, 20):
        assert agrees(found[0, head], out[f"eval_head{head}_full"], 2e-7)
    others = [head for head in range(32) if head not in data["config"]["eval: heads changed at layer 2"]]
    assert torch.equal(found[:, others], weights[:, others])


def test_act_in_a_short_prompt():
    data, weights = read("act"), act_weights("short_logits", 6, 6)
    seen = view(weights, memory={"act_sink": torch.zeros(1, 32, 6)})
    found = both(act(), weights, seen, 2)
    heads = data["config"]["eval: heads changed at layer 2"]
    assert agrees(found[0, heads], data["outputs"]["short_N6_eval_[heads changed]"], 2e-7)
    for head, sinks in data["selected"]["short_N6_sinks"].items():
        assert seen.memory["act_sink"][0, int(head)].nonzero().flatten().tolist() == sinks


def test_act_keeps_the_prompts_sinks_in_a_step_whose_row_sums_to_one():
    data = read("act")
    weights, heads = act_weights("decode_logits", 1, 24), data["config"]["eval: heads changed at layer 2"]
    assert agrees(weights[0, heads, 0], data["outputs"]["decode_step_input_[same heads][24]"], 1e-7)
    kept = torch.zeros(1, 32, 24)
    kept[:, :, 7] = 1
    seen = view(weights, memory={"act_sink": kept.clone()})
    found = both(act(), weights, seen, 2)[0, heads, 0]
    assert torch.equal(seen.memory["act_sink"], kept)
    assert (found.sum(-1) - 1).abs().max() < 1e-12
    assert min(data["checks"]["decode_row_sums_of_changed_heads"]) > 1.3
    plain = weights[0, heads, 0]
    assert torch.allclose(found[:, 7], 0.4 * plain[:, 7])
    share = plain / (1 - plain[:, 7:8])
    assert torch.allclose(found[:, 3], plain[:, 3] + 0.6 * plain[:, 7] * share[:, 3])


def test_act_takes_sinks_of_every_text_and_none_of_padding():
    """A text padded on its left has the sinks of the same text alone; a row without other mass stays."""
    logits = draw("act", "padded", (1, 2, 8, 8))
    logits[..., 3] += 4
    weights = causal(logits)
    made = ACT(((0, None),), 0.4, 0.1)
    alone = view(weights, memory={"act_sink": torch.zeros(1, 2, 8)})
    wanted = weigh(weights, change_of(made, alone, weights, 0))
    wide = torch.eye(11, dtype=torch.float64).repeat(1, 2, 1, 1)  # a row of padding sees itself
    wide[..., 3:, 3:] = weights
    wide[..., 3:, :3] = 0
    padded = view(wide, memory={"act_sink": torch.zeros(1, 2, 11)})
    padded = type(padded)(**{**padded.__dict__, "key": padded.key - 3, "query": padded.query - 3})
    found = weigh(wide, change_of(made, padded, wide, 0))
    assert torch.equal(padded.memory["act_sink"][..., 3:], alone.memory["act_sink"])
    assert not padded.memory["act_sink"][..., :3].any()
    assert torch.allclose(found[..., 3:, 3:], wanted)
    only = torch.zeros(1, 1, 1, 8, dtype=torch.float64)
    only[..., 3] = 1.0
    step = view(only, memory={"act_sink": (torch.arange(8) == 3).float()[None, None]})
    assert torch.equal(weigh(only, change_of(made, step, only, 0)), only)


def var_call():
    config, plan = read("var")["config"], read("var")["planting"]
    hidden = single(draw("var", "hidden", (1, 48, 4096)))
    for token, channel, value in ((0, 1415, -60), (9, 2533, 40), (20, 1415, 35), (35, 2533, -30), (25, 2533, 18)):
        hidden[0, token, channel] = value
    hidden[0, 12, 100] = 60
    assert "[12, 100, 60.0]" in plan["hidden"]
    x = single(draw("var", "logits", (1, 8, 48, 48)))
    x[..., 0] += 1.5
    x[..., 9] += 1.5
    x[:, 1:3, :, 9] += 2.5
    x[:, 5, :, 0] += 5
    x[:, 6, :, 6:30] -= 3
    x[:, 7, :, 20] += 2
    made = method("var:dims=2533,1415,image=6-30,layers=5", config["num_hidden_layers"], 8)
    return made, torch.from_numpy(hidden), causal(x)


def var_view(weights, stream, kept=None):
    empty = torch.zeros(1, 1, weights.shape[-1])
    return view(weights, stream=stream, memory={"var_sink": empty if kept is None else kept})


def test_var_finds_planted_activations_and_gives_the_released_functions_rows():
    data = read("var")
    made, hidden, weights = var_call()
    assert agrees(weights, data["outputs"]["input_attention"], 1e-7)
    seen = var_view(weights, hidden)
    found = both(made, weights, seen, 5)
    assert seen.memory["var_sink"][0, 0].nonzero().flatten().tolist() == data["selected"]["sink_tokens_layer5"]
    assert agrees(found, data["outputs"]["layer5_attention"], 2e-7)
    assert agrees(found[0, 0, 40], data["outputs"]["layer5_row_h0_q40"], 2e-7)
    assert agrees(found[0, 7, 47], data["outputs"]["layer5_row_h7_q47"], 2e-7)
    changed = (found != weights).any(-1)[0]
    assert int(changed.sum()) == data["checks"]["own_count_of_rows"] == 81
    rows = {str(h): hex(sum(1 << q for q in changed[h].nonzero().flatten().tolist()))[2:] for h in range(8)}
    assert rows == data["selected"]["layer5_changed_rows_hex_[head]"]


def test_var_in_a_step_and_without_a_visual_sink():
    data = read("var")
    made, hidden, weights = var_call()
    x = single(draw("var", "decode_logits", (1, 8, 1, 48)))
    x[..., 0] += 1.5
    x[..., 9] += 1.5
    step = torch.from_numpy(x).softmax(-1)
    kept = torch.zeros(1, 1, 48)
    kept[..., [0, 9, 20, 35]] = 1
    found = both(made, step, var_view(step, hidden[:, 1:2], kept), 5)
    assert agrees(found, data["outputs"]["decode_attention"], 2e-7)
    hidden[0, 9, 2533] = hidden[0, 20, 1415] = 0.0
    assert torch.equal(both(made, weights, var_view(weights, hidden), 5), weights)


def test_var_leaves_the_last_layer_alone_by_default():
    assert method("var:dims=1,image=3-5").scope == ((2, None),)
    assert method("var:dims=1,image=3-5,last_layer=true").scope == ((2, None), (3, None))


def gift_maps():
    x = draw("gift", "logits", (2, 1, 8, 40, 40))
    x[..., 9] += 3
    x[:, :, :, 34, 17] += 4
    return causal(x)


def gift_image():
    image = torch.zeros(1, 40, dtype=torch.bool)
    image[:, 5:29] = True
    return image


def rows_of(offsets):
    rows = torch.zeros(1, 40, dtype=torch.bool)
    rows[:, [31 + at for at in offsets]] = True
    return rows


@pytest.mark.parametrize(
    ("case", "layers", "content", "alpha"),
    [
        ("saliency_two_layers_content_0_2_3_6_alpha5", 2, (0, 2, 3, 6), 5.0),
        ("saliency_layer0_all_content_alpha4", 1, None, 4.0),
    ],
)
def test_gift_gives_the_released_maps(case, layers, content, alpha):
    data, maps, image = read("gift"), gift_maps(), gift_image()
    rows = rows_of(content if content else range(QUERY))
    raw = sum(gaze_shift(maps[at], image, rows) for at in range(layers)) / layers
    found = (alpha * normalised(raw, image)).exp()[0, 5:29]
    assert agrees(found, data["cases"][case]["multiplier_m_[24]"], 1e-7 * np.exp(alpha))


QUERY = 8  # tokens of the query, 31 to 38


@pytest.mark.parametrize("case", ["prefill_last_row", "decode_step"])
def test_gift_gives_the_released_rows(case):
    data = read("gift")
    stored = data["cases"][case]
    names = ("q", "k") if case == "prefill_last_row" else ("decode_q", "k")
    q, k = (torch.from_numpy(draw("gift", name, tuple(data["shapes"][name]))) for name in names)
    scores = (q.reshape(1, 2, -1, 16) @ k.transpose(-1, -2)).reshape(1, 8, -1, 40) * data["scaling"]
    weights = causal(scores.numpy())
    assert agrees(weights[0, :, -1], stored[next(key for key in stored if key.startswith("plain"))], 1e-6)
    saliency = torch.zeros(1, 1, 40, dtype=torch.float64)
    whole = data["cases"]["saliency_two_layers_content_0_2_3_6_alpha5"]["multiplier_m_[24]"]["full"]
    saliency[..., 5:29] = torch.tensor(whole, dtype=torch.float64).log() / 5
    query = torch.zeros(1, 1, 40)
    query[..., 31 : 31 + QUERY] = 1
    made = GIFT(((1, None),), (5, 29), 5.0, (0,))
    seen = view(weights, shared={"gift_saliency": saliency, "gift_query": query})
    found = both(made, weights, seen, 1)
    assert agrees(found[0, :, -1], stored[next(key for key in stored if key.startswith("attention"))], 1e-6)
    assert torch.equal(found[:, :, :-1], weights[:, :, :-1])


def test_gift_of_a_constant_map_is_the_plain_model():
    raw, image = torch.full((1, 40), 0.25), gift_image()
    assert torch.equal(normalised(raw, image), torch.zeros(1, 40))
