"""Retrieval heads: the oracle's shares, a planted head, and no matrix of weights on the way."""

import json

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import neurokit as nk
from neurokit.attention.scopes import read_heads
from neurokit.cli import main
from neurokit.data.documents import Document, retrieval_documents
from neurokit.errors import InputError, UnsupportedError
from neurokit.heads.api import find_heads
from neurokit.heads.retrieval import HeadScores, largest_keys, retrieval_scores

from .host import read

ORACLE = read("attention_influence")
COPIES = Document(tuple(ORACLE["documents"]["copies"]), answer=(25, 72))


def test_induction_scores_are_the_oracles():
    wanted = next(value for key, value in ORACLE.items() if key.startswith("induction_scores"))["full"]
    found = retrieval_scores(nk.load("tiny_lm"), [COPIES]).scores
    np.testing.assert_allclose(found, wanted, atol=1e-9)


@pytest.mark.parametrize("rows", [1, 7, 128])
def test_the_largest_keys_are_those_of_the_whole_matrix(rows):
    net = nk.load("tiny_lm").build()
    ids = torch.tensor([[-1] * 5 + list(COPIES.ids[:40]), list(COPIES.ids[:45])])
    found = largest_keys(net, ids, rows)
    matrices = []

    def hook(module, args, kwargs=None):
        x, tokens = args[:2]
        q, k, _ = module.project(x, tokens)
        k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
        scores = (q @ k.transpose(-1, -2)).masked_fill(~tokens.visible, -np.inf)
        matrices.append(scores.numpy().argmax(-1))

    for layer in net.model.layers:
        layer.self_attn.register_forward_pre_hook(hook)
    with torch.no_grad():
        caches = [torch.zeros(2, dtype=torch.int64), *[torch.zeros(2, 2, 0, 16)] * 8]
        net(ids, *caches)
    for at, wanted in enumerate(matrices):
        np.testing.assert_array_equal(found[at][1].numpy(), wanted[1])
        np.testing.assert_array_equal(found[at][0, :, 5:].numpy(), wanted[0, :, 5:])


class Largest(TorchDispatchMode):
    most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.most = max(self.most, out.numel())
        return out


def test_no_matrix_of_weights_is_kept():
    net, ids = nk.load("tiny_lm").build(), torch.randint(0, 256, (1, 512))
    with torch.no_grad(), Largest() as seen:
        found = largest_keys(net, ids, 32)
    assert [list(keys.shape) for keys in found] == [[1, 4, 512]] * 4
    assert seen.most <= max(4 * 32 * 512, 512 * 512)  # scores of 32 rows; the mask of what is visible, of all heads
    assert seen.most < 4 * 512 * 512


def test_questions_ask_for_a_key_that_stands_before_its_value():
    for document in retrieval_documents(64, 20, pairs=8, key=2, value=3, shots=3, seed=5):
        entries = [document.ids[at + 1 : at + 6] for at in range(0, len(document.ids), 6)]
        assert len(entries) == 12
        assert len({entry[:2] for entry in entries[:8]}) == 8
        assert entries[-1] in entries[:8]
        first, last = document.answer
        assert document.ids[first:last] == entries[-1][2:]
        assert len(set(entries[8:])) == 4


def test_the_top_heads_are_counted_upwards_and_ties_go_to_the_lower_head():
    scores = np.array([[0.1, 0.9, 0.3], [0.9, 0.2, 0.3]])
    found = HeadScores("m", "retrieval", scores, 1)
    assert found.top(0.5).by_layer(2, 3) == {0: (1, 2), 1: (0,)}
    assert found.top(0.05).by_layer(2, 3) == {0: (1,)}
    with pytest.raises(InputError, match="share is 0"):
        found.top(0)


def test_the_command_writes_a_list_that_is_read_again(tmp_path, capsys):
    file, out = tmp_path / "d.jsonl", tmp_path / "h.toml"
    file.write_text(json.dumps({"ids": COPIES.ids, "answer": COPIES.answer}) + "\n")
    assert main(["heads", "tiny_lm", "--documents", str(file), "--share", "0.1", "--out", str(out)]) == 0
    assert "layer 1 head 1: 0.1702" in capsys.readouterr().out
    heads = read_heads(out)
    assert heads.by_layer(4, 4) == {1: (1,), 3: (3,)}
    assert (heads.method, heads.model, heads.layers, heads.query_heads) == ("retrieval", "tiny_lm", 4, 4)


def test_what_has_no_heads_is_refused():
    with pytest.raises(UnsupportedError, match="no query heads"):
        find_heads(nk.load("tiny_tnl"))
    with pytest.raises(InputError, match="method is 'x'"):
        find_heads(nk.load("tiny_lm"), "x")
    with pytest.raises(InputError, match="no document"):
        find_heads(nk.load("tiny_lm"), documents=[])
    with pytest.raises(InputError, match="more pairs than shots"):
        retrieval_documents(64, pairs=3, shots=3)
    with pytest.raises(InputError, match="has 1 token"):
        find_heads(nk.load("tiny_lm"), documents=[Document((5,))])
