"""EmotionIC against the public code's figures, and its random field against sums over every labelling."""

from __future__ import annotations

import itertools
import zlib

import numpy as np
import pytest
import torch

from neurokit.models.emotionic.dialogue import edges
from neurokit.models.emotionic.net import EmotionIC, IdentityAttention
from neurokit.tasks.sequence_labelling import SequenceLabelling
from neurokit.tasks.skip_chain import Field, best_path, log_partition, score_of
from tests.neurokit.models.zoo_oracles import CONSTANT, oracle

PARTS = ("start_transitions", "end_transitions", "self_transitions", "other_transitions")
SMALL = {"features": 32, "width": 24, "layers": 2, "cells": 2, "heads": 4}


def public() -> EmotionIC:
    """Returns the network filled as the figures say: half as strong, but for the random field."""
    module = EmotionIC().double()
    state = module.state_dict()
    for name, value in state.items():
        if name.endswith(CONSTANT):
            continue
        z = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(value.shape))
        if value.dim() == 1:
            z = 1 + 0.1 * z if name.endswith("weight") else 0.1 * z
        else:
            z = z * np.sqrt(1 / np.prod(value.shape[1:])) * (1 if name.startswith("crf") else 0.5)
        state[name] = torch.from_numpy(z)
    module.load_state_dict(state)
    return module.eval()


def field_of(module: EmotionIC) -> Field:
    return Field(*(getattr(module.crf, part).detach().numpy() for part in PARTS))


def padded(dialogues: list[list[int]]) -> torch.Tensor:
    longest = max(map(len, dialogues))
    return torch.tensor([d + [-1] * (longest - len(d)) for d in dialogues])


@pytest.mark.slow
@torch.no_grad()
def test_it_is_the_public_network_and_its_field_is_exact() -> None:
    expected, module = oracle("emotionic"), public()
    mine = {name: list(value.shape) for name, value in module.state_dict().items()}
    buffers = ("one_pad", "eye_pad", "begin_transitions", "begin_seg_path", "continual_seg_value", "output_path")
    assert mine == {k: v for k, v in expected["state"].items() if not k.endswith(buffers)}
    assert sum(p.numel() for p in module.parameters()) == 62_000_144 + 84
    field = field_of(module)
    for case in expected["cases"].values():
        speakers = padded(case["inputs"]["qmask_per_item"])
        batch, longest = speakers.shape
        text = np.random.RandomState(7).standard_normal((longest, batch, 1024)).transpose(1, 0, 2)
        # The public code centres positions on the longest of the batch.
        centred = torch.full((batch,), longest)
        emissions = module.emissions(torch.from_numpy(text.copy()), speakers, centred).numpy()
        each = [emissions[b, : len(d)] for b, d in enumerate(case["inputs"]["qmask_per_item"])]
        flat, figures = np.concatenate([e.ravel() for e in each]), case["emissions"]
        chosen = np.random.RandomState(0).choice(flat.size, len(figures["samples"]), replace=False)
        # The table of positions is float32 in both; its last bits differ.
        np.testing.assert_allclose(flat[chosen], figures["samples"], rtol=0, atol=3e-8)
        for e, d, tags, brute in zip(
            each, case["inputs"]["qmask_per_item"], case["inputs"]["tags_per_item"], case["brute"], strict=True
        ):
            who = np.array(d)
            path = best_path(e, who, field)
            assert path.tolist() == brute["viterbi_brute"]
            assert score_of(path, e, who, field) == pytest.approx(float(brute["best_score"]), abs=1e-7)
            assert score_of(np.array(tags), e, who, field) == pytest.approx(float(brute["score_of_tags"]), abs=1e-7)
            assert log_partition(e, who, field) == pytest.approx(float(brute["log_z_brute"]), abs=1e-7)


@pytest.mark.parametrize(
    "speakers", [[0], [0, 0, 0, 0, 0], [0, 1, 0, 1, 0, 1], [0, 1, 2, 0, 1, 1], [0, 0, 1, 1, 0, 2], [2, 0, 2, 2, 0, 0]]
)
def test_decoding_is_the_best_of_all_labellings(speakers: list[int]) -> None:
    rs, count, who = np.random.RandomState(len(speakers)), 3, np.array(speakers)
    for _ in range(5):
        field = Field(*(2 * rs.standard_normal(s) for s in ((count,), (count,), (count, count), (count, count))))
        emissions = rs.standard_normal((len(who), count))
        ways = np.array(list(itertools.product(range(count), repeat=len(who))))
        scores = np.array([_score(way, emissions, speakers, field) for way in ways])
        assert best_path(emissions, who, field).tolist() == ways[scores.argmax()].tolist()
        assert log_partition(emissions, who, field) == pytest.approx(np.logaddexp.reduce(scores), abs=1e-10)


def _score(tags: np.ndarray, emissions: np.ndarray, speakers: list[int], field: Field) -> float:
    """The score by the definition: edges between runs of one speaker, written without the tables of the decoder."""
    runs = [list(group) for _, group in itertools.groupby(range(len(speakers)), key=lambda i: speakers[i])]
    total = field.start[tags[0]] + field.end[tags[-1]] + sum(emissions[i, tag] for i, tag in enumerate(tags))
    for number, run in enumerate(runs):
        total += sum(field.same[tags[i], tags[j]] for i, j in itertools.pairwise(run))
        if number:
            total += field.other[tags[runs[number - 1][-1]], tags[run[0]]]
        if number > 1 and speakers[runs[number - 2][0]] == speakers[run[0]]:
            total += field.same[tags[runs[number - 2][-1]], tags[run[0]]]
    return total


def test_edges_are_the_public_codes() -> None:
    for case in oracle("emotionic")["cases"].values():
        dialogues = case["inputs"]["qmask_per_item"]
        found = edges(padded(dialogues))
        for b, brute in enumerate(case["brute"]):
            length = len(dialogues[b])
            own = [int(row.nonzero()[0]) if row.any() else -1 for row in found.own[b, :length]]
            assert own == brute["inertia_from"]
            assert (found.contagion[b, :length] > 0).tolist() == brute["contagion"]


def small() -> EmotionIC:
    torch.manual_seed(0)
    return EmotionIC(**SMALL).double().eval()


@torch.no_grad()
def test_padding_and_names_of_speakers_change_nothing() -> None:
    module, text = small(), torch.randn(2, 7, 32).double()
    together = module.emissions(text, padded([[0, 1, 0, 2, 2, 1, 0], [0, 1, 1, 0]]))
    alone = module.emissions(text[1:, :4], padded([[0, 1, 1, 0]]))
    torch.testing.assert_close(together[1, :4], alone[0], rtol=0, atol=1e-12)
    renamed = module.emissions(text, padded([[5, 3, 5, 0, 0, 3, 5], [2, 7, 7, 2]]))
    assert torch.equal(renamed, together)


@torch.no_grad()
def test_equal_keys_make_plain_attention_without_a_scale() -> None:
    layer = IdentityAttention(16, 2).double()
    q, _, own, _, v = layer.qkv_linear.weight.chunk(5)
    layer.qkv_linear.weight[48:64] = own
    layer.qk_pos.weight.zero_()
    x, lengths = torch.randn(1, 5, 16).double(), torch.tensor([5])
    heads = [(x @ w.T).unflatten(2, (2, 8)).transpose(1, 2) for w in (q, own, v)]
    plain = torch.nn.functional.scaled_dot_product_attention(*heads, scale=1.0)
    expected = layer.fc(plain.transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer(x, torch.tensor([[0, 1, 0, 0, 1]]), lengths), expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_the_task_decodes_with_the_field_that_the_graph_gives() -> None:
    module, names = small(), ("emissions", "speakers", "start", "end", "same", "other")
    module.crf.self_transitions.copy_(4 * torch.eye(6))  # emotions last
    speakers = padded([[0, 0, 1, 0, 1], [1, 1, 1]])
    outputs = {n: y.numpy() for n, y in zip(names, module(torch.randn(2, 5, 32).double(), speakers), strict=True)}
    settings = {"skip_chain": {name: name for name in names[1:]}, "classes": list("abcdef")}
    task = SequenceLabelling()
    said = task.predict(outputs, settings)
    for b, length in ((0, 5), (1, 3)):
        path = best_path(outputs["emissions"][b, :length], speakers[b, :length].numpy(), field_of(module))
        assert said[b].tolist() == path.tolist() + [-1] * (5 - length)
    assert len(set(said[1, :3].tolist())) == 1
    assert len(task.answer(said[1], settings)["labels"]) == 3
