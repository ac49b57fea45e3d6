"""The spiking language model: from events alone, in plain Python, and the same bits in every form and every order."""

import copy
import json

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit.cli import main
from neurokit.errors import InputError
from neurokit.hw_sim.engine.text import differing, run_text
from neurokit.hw_sim.trace.spiking_text import spikes_of
from neurokit.models.decoder.spiking import in_whole_numbers

IDS = np.random.default_rng(3).integers(0, 256, (1, 40))


def by_events(weights, ids, layers=3, heads=4, size=16):
    """Runs the model token by token from lists of spikes: nothing is added that no spike sends. Whole sixteenths."""
    w = {name: np.rint(value * 16).astype(int) for name, value in weights.items()}
    counts = [{} for _ in range(layers)]  # (head, key, value): coincidences
    logits = []

    def send(spiking, matrix):
        total = np.zeros(len(matrix), int)
        for source in spiking:
            total += matrix[:, source]
        return total

    def fire(membrane):
        return [int(at) for at in np.flatnonzero(membrane >= 8)]

    for token in ids:
        x = w["embed_tokens.weight"][token].copy()
        for at in range(layers):
            name = f"layers.{at}."
            sent = fire(send(fire(x), w[name + "self_attn.qkv_proj.weight"]))
            q, k, v = ([n - part * 64 for n in sent if n // 64 == part] for part in range(3))
            for key in k:
                for value in v:
                    if key // size == value // size:
                        pair = (key // size, key % size, value % size)
                        counts[at][pair] = counts[at].get(pair, 0) + 1
            out = np.zeros((heads, size), int)
            for query in q:
                for value in range(size):
                    out[query // size, value] += counts[at].get((query // size, query % size, value), 0)
            won = [int(n) for n in np.flatnonzero((out > np.roll(out, 1, 1)).ravel())]
            x = x + send(won, w[name + "self_attn.out_proj.weight"])
            x = x + send(fire(send(fire(x), w[name + "up_proj.weight"])), w[name + "down_proj.weight"])
        logits.append(send(fire(x), w["lm_head.weight"]))
    return np.array(logits) / 16, counts


@pytest.fixture(scope="module")
def module():
    return nk.load("spiking_tnl").build()


def dense(counts):
    out = np.zeros((4, 16, 16))
    for place, count in counts.items():
        out[place] = count
    return out


def test_events_alone_give_the_same_logits_and_counts(module):
    wanted, counts = by_events({n: v.numpy() for n, v in module.state_dict().items()}, IDS[0])
    with torch.no_grad():
        logits, *states = module(torch.from_numpy(IDS), *[torch.zeros(1, 4, 16, 16)] * 3).values()
    np.testing.assert_array_equal(logits[0].numpy(), wanted)
    for state, held in zip(states, counts, strict=True):
        np.testing.assert_array_equal(state[0].numpy(), dense(held))
    assert dense(counts[2]).max() > 5
    assert len({int(row.argmax()) for row in wanted}) > 5


def test_the_event_engine_gives_every_spike_and_count_of_torch(module):
    text = in_whole_numbers(module)
    run = run_text(text, IDS[0])
    spikes, counts, logits = spikes_of(module, IDS[0])
    assert set(differing(run, spikes).values()) == {0}
    assert len(spikes) == 3 * 7 + 1
    np.testing.assert_array_equal(run.logits / text.grid, logits)
    for ours, theirs in zip(run.counts, counts, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # Events once more, from torch's spikes: each goes to every row of its matrix.
    sizes = {"in": ("qkv", 192), "won": ("out", 64), "middle": ("up", 128), "inner": ("down", 64)}
    for at in range(3):
        for source, (name, rows) in sizes.items():
            np.testing.assert_array_equal(
                run.events[f"layer {at} {name}"], spikes[f"layer {at} {source}"].sum(1) * rows
            )
        k, v = (spikes[f"layer {at} {part}"].reshape(40, 4, 16).sum(2, dtype=int) for part in "kv")
        np.testing.assert_array_equal(run.events[f"layer {at} coincidences"], (k * v).sum(1))
    spikes["last"] = 1 - spikes["last"]
    assert differing(run, spikes)["last"] == 40 * 64


def test_the_command_compares_a_text(capsys):
    assert main(["energy", "spiking_tnl", "--tokens", "12", "--check-events", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["spikes_compared"] == 12 * (3 * (6 * 64 + 128) + 64)
    assert (found["spikes_differing"], found["states_differing"], found["logits_differing"]) == (0, 0, 0)
    assert found["events"] > 0
    assert main(["energy", "tiny_lm", "--tokens", "12", "--check-events"]) == 2
    assert "no language model of spikes" in capsys.readouterr().err


def test_what_the_engine_cannot_take_is_one_line(module):
    text = in_whole_numbers(module)
    for tokens in ([], [256], [-1]):
        with pytest.raises(InputError, match="tokens"):
            run_text(text, tokens)
    other = copy.deepcopy(module)
    with torch.no_grad():
        other.lm_head.weight[0, 0] += 0.01
    with pytest.raises(InputError, match="no multiple of 1 / 16"):
        in_whole_numbers(other)


@pytest.mark.parametrize("form", ["standard", pytest.param("decomposed", marks=pytest.mark.slow)])
def test_files_give_the_same_bits_whole_and_in_parts(module, form, tmp_path):
    artifact = nk.lower(nk.capture(nk.load("spiking_tnl")), "onnx-step", tmp_path / "lm", attention=form)
    assert artifact.manifest.parity["verdict"] == "exact"
    wanted, counts = by_events({n: v.numpy() for n, v in module.state_dict().items()}, IDS[0])
    with nk.open(artifact) as runner:
        for cuts in ((), (8, 21), range(1, 40)):
            runner.reset(1)
            found = [runner.step({"ids": part})["logits"] for part in np.split(IDS, list(cuts), 1)]
            np.testing.assert_array_equal(np.concatenate(found, 1)[0], wanted)
            for at in range(3):
                np.testing.assert_array_equal(runner.states()[f"kv{at}"][0], dense(counts[at]))
