"""Scores by masked heads: the oracle in float64, the exported graph, and texts that are none."""

import json

import numpy as np
import pytest

import neurokit as nk
from neurokit.attention.scopes import HeadList, Scope, write_heads
from neurokit.cli import main
from neurokit.data.documents import Document, batches, padded, read_documents
from neurokit.errors import InputError, UnsupportedError
from neurokit.heads.influence import Influence, TorchScoring, influence, ranked, score_file

from .host import as_library, read, spec_in_float64

ORACLE = read("attention_influence")
TEXTS = [Document(tuple(ids), name) for name, ids in ORACLE["documents"].items()]
MASKED = {1: [0, 2], 3: [1]}


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    captured = nk.capture(nk.load("tiny_lm"), transforms=["head_mask"])
    return nk.lower(captured, "onnx", tmp_path_factory.mktemp("scorer") / "a")


@pytest.mark.parametrize("case", ORACLE["cases"])
def test_losses_and_scores_are_the_oracles(case):
    wanted = ORACLE["cases"][case]
    opened = TorchScoring(spec_in_float64(), wide=True)
    as_library(opened.net)
    masked = {int(at): heads for at, heads in wanted["masked_heads_by_layer"].items()}
    for found in influence(opened, TEXTS, masked, batch_tokens=1):
        row = wanted["documents"][found.name]
        assert abs(found.score - row["score"]) < 1e-9
        # The oracle prints nine digits: half a unit of the last one is 5e-8.
        assert abs(found.loss - row["loss_base"]) < 5.1e-8
        assert abs(found.loss_masked - row["loss_masked"]) < 5.1e-8
    if not masked:
        assert found.score == 0.0


def test_the_exported_graph_scores_as_torch_does_padded_and_in_batches(scorer):
    assert scorer.manifest.parity["verdict"] in ("within tolerance", "exact")
    alone = influence("tiny_lm", TEXTS, MASKED, batch_tokens=1)
    for found in (influence(scorer, TEXTS, MASKED), influence("tiny_lm", TEXTS, MASKED)):
        for one, other in zip(found, alone, strict=True):
            assert (one.name, one.rank, one.selected, one.tokens) == (
                other.name,
                other.rank,
                other.selected,
                other.tokens,
            )
            assert one.loss == pytest.approx(other.loss, rel=3e-6)
            assert one.score == pytest.approx(other.score, abs=1e-6)


def test_a_mask_of_ones_is_the_plain_model_bit_for_bit(scorer):
    opened = nk.open(scorer)
    ids = padded(TEXTS)
    ones = np.ones((3, 4, 4), np.float32)
    one = opened({"ids": ids, "head_mask": ones})
    half = ones.copy()
    half[0, 1, 2] = 0.0
    other = opened({"ids": ids, "head_mask": half})
    a, b = (x["loss"] if isinstance(x, dict) else x for x in (one, other))
    assert (a[0] != b[0]).any()
    np.testing.assert_array_equal(a[1:], b[1:])  # the mask of a text is its own
    assert (a[2, : 72 - 37 + 1] == 0).all()  # padding, and the first token


def test_ranks_are_within_a_domain_and_the_earlier_text_comes_first():
    rows = [Influence(str(at), "ab"[at % 2], 9, 1.0, 1.0 + 0.1 * at) for at in range(6)]
    rows.append(Influence("tie", "a", 9, 1.0, 1.4))
    assert [row.rank for row in ranked(rows, 0.5)] == [4, 3, 3, 2, 1, 1, 2]
    assert [row.name for row in ranked(rows, 0.5) if row.selected] == ["3", "4", "5", "tie"]


def test_batches_hold_all_documents_and_no_more_tokens_than_asked():
    texts = [Document((1,) * (2 + at % 5)) for at in range(20)]
    found = list(batches(texts, 12))
    assert [one for group in found for one in group] == texts
    assert all(len(group) == 1 or len(group) * max(len(d.ids) for d in group) <= 12 for group in found)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"ids": [5]}', "line 2 has 1 token"),
        ('{"ids": []}', "line 2 has 0 tokens"),
        ('{"ids": [5, 256]}', "token 256"),
        ('{"ids": [5, -1]}', "token -1"),
        ('{"ids": [5, 1.5]}', r"ids\.1"),
        ('{"ids": [true, 5]}', r"ids\.0"),
        ('{"ids": "abc"}', "ids: Input should be a valid list"),
        ("{}", "ids: Field required"),
        ("[1, 2]", "valid dictionary"),
        ('{"ids": [5, 7}', "line 2 is no JSON"),
        ("\udcff", "line 2 is no JSON"),
        ('{"ids": [5, 7, 9], "answer": [0, 2]}', "answer at"),
        ('{"ids": [5, 7, 9], "answer": [2, 4]}', "answer at"),
        ('{"ids": [5, 7, 9], "answer": [2]}', "answer"),
        ('{"ids": [5, 7], "label": 3, "choices": [4]}', "label 3"),
        (json.dumps({"ids": [1] * 513}), "513 tokens"),
    ],
)
def test_a_line_that_is_no_document_is_named_and_nothing_is_written(tmp_path, capsys, line, said):
    file, heads = tmp_path / "d.jsonl", tmp_path / "h.toml"
    file.write_bytes(b'{"ids": [5, 7]}\n' + line.encode("utf-8", "surrogateescape") + b"\n")
    write_heads(HeadList((Scope((0,), (1,)),)), heads)
    with pytest.raises(InputError, match=said):
        list(read_documents(file, 256, 512))
    arguments = ["score", str(file), "--model", "tiny_lm", "--heads", str(heads), "--out", str(tmp_path / "o.jsonl")]
    if "has 1 token" in said:  # one of them through the command line
        assert main(arguments) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "o.jsonl").exists()


def test_heads_models_and_shares_that_do_not_exist(tmp_path, scorer):
    file = tmp_path / "d.jsonl"
    file.write_text('\n{"ids": [5, 7]}\n')
    with pytest.raises(InputError, match="head 4 of layer 1"):
        score_file("tiny_lm", file, {1: [4]})
    with pytest.raises(InputError, match="names layer 4"):
        score_file(scorer, file, {4: [0]})
    with pytest.raises(InputError, match="share is 0"):
        influence("tiny_lm", TEXTS, MASKED, selected=0)
    with pytest.raises(UnsupportedError, match="no heads to mask"):
        influence("tiny_tnl", TEXTS, MASKED)
    with pytest.raises(UnsupportedError, match="no decoder"):
        nk.capture(nk.load("spiking_cnn"), transforms=["head_mask"])
    (tmp_path / "empty.jsonl").write_text("\n")
    for name in ("none.jsonl", "empty.jsonl"):
        with pytest.raises(InputError, match=name):
            score_file("tiny_lm", tmp_path / name, MASKED)


def test_the_command_writes_the_scores_of_the_graph(tmp_path, capsys, scorer):
    file, heads, out = tmp_path / "d.jsonl", tmp_path / "h.toml", tmp_path / "o.jsonl"
    file.write_text("".join(json.dumps({"ids": d.ids, "id": d.name, "domain": "x"}) + "\n" for d in TEXTS))
    write_heads(HeadList((Scope((1,), (0, 2)), Scope((3,), (1,)))), heads)
    assert main(["score", str(file), "--model", str(scorer.path), "--heads", str(heads), "--out", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows] == [d.name for d in TEXTS]
    wanted = next(iter(ORACLE["cases"].values()))["documents"]
    assert [row["score"] for row in rows] == pytest.approx([wanted[row["id"]]["score"] for row in rows], abs=1e-6)
    assert "1 of 3 texts" in capsys.readouterr().out
