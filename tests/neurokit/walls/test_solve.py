"""Planted walls through an exported encoder: nearly all are solved, fewer with red herrings."""

import json
from dataclasses import replace

import numpy as np
import pytest

import neurokit as nk
from neurokit.cli import main
from neurokit.errors import InputError
from neurokit.walls.encoder import exported_encoder, ngrams, vectors_from
from neurokit.walls.metrics import score_walls
from neurokit.walls.planted import planted_walls
from neurokit.walls.solve import solve


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return nk.lower(nk.capture(nk.load("ngram_encoder")), "onnx", tmp_path_factory.mktemp("encoder") / "a")


def test_planted_walls_are_solved_less_often_with_red_herrings(encoder):
    encode = exported_encoder(encoder)
    shares = []
    for herrings in (0, 6, 10, 14):
        walls = planted_walls(60, herrings, seed=1)
        shares.append(score_walls(walls, solve(walls, encode))[0].solved / len(walls))
    assert shares[0] >= 0.95
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.5


def test_the_graph_gives_the_mean_of_the_rows_that_n_grams_name(encoder):
    table = nk.load("ngram_encoder").build().table.weight.detach().numpy().astype(np.float64)
    words = ["Elastic band", "Puck", "%", "É"]
    found = exported_encoder(encoder)(words)
    for word, vector in zip(words, found, strict=True):
        mean = table[ngrams(word, 8192)].mean(0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)


def test_n_grams_are_counted_and_hashed():
    # FNV-1a's published test vectors: the empty text, "a" and "foobar".
    from neurokit.walls.encoder import _hash

    assert [_hash(text) for text in ("", "a", "foobar")] == [0x811C9DC5, 0xE40C292C, 0xBF9CF968]
    assert len(ngrams("cat", 8192)) == 3 + 2 + 1  # <ca cat at> <cat cat> <cat>
    assert len(ngrams("house", 8192)) == 5 + 4 + 3 + 2 + 1  # and the word itself
    assert ngrams("Cat", 64) == ngrams("cAT", 64)
    assert ngrams("  ", 64) == []


def test_walls_are_drawn_by_number_and_herrings_hold_two_stems():
    assert planted_walls(3, 2, 5)[2] == planted_walls(9, 2, 5)[2]
    for wall in planted_walls(5, 6, 0):
        stems = [name[:6] for name in wall.connections]
        double = [word for word in wall.words if sum(stem in word for stem in stems) == 2]
        assert len(double) == 6
        assert all(word.startswith(stem) for stem, g in zip(stems, wall.groups, strict=True) for word in g)
    for bad in ((0, 0), (1, 17), (1, -1)):
        with pytest.raises(InputError, match="red herrings"):
            planted_walls(*bad)


def test_the_command_solves_and_scores(encoder, tmp_path, capsys):
    out = tmp_path / "p.json"
    asked = ["walls", "--planted", "5", "--seed", "2"]
    assert main([*asked, "--encoder", str(encoder.path), "--out", str(out)]) == 0
    assert "of 5 walls solved" in capsys.readouterr().out
    assert main([*asked, "--predictions", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["score"]["walls"] == 5
    assert main(asked) == 2
    assert "not said once" in capsys.readouterr().err


def test_vectors_of_another_encoder(tmp_path):
    walls = planted_walls(2)
    words = [word for wall in walls for word in wall.words]
    vectors = np.random.default_rng(0).normal(size=(len(words), 8))
    np.savez(tmp_path / "v.npz", words=np.array(words), vectors=vectors)
    encode = vectors_from(tmp_path / "v.npz")
    np.testing.assert_array_equal(encode([words[3].upper()]), vectors[3:4])
    with pytest.raises(InputError, match="no vector for 'nothing'"):
        encode(["nothing"])
    np.savez(tmp_path / "bad.npz", words=np.array(words), vectors=vectors[:3])
    (tmp_path / "no.npz").write_text("x")
    for name in ("bad.npz", "no.npz", "none.npz"):
        with pytest.raises(InputError, match=name):
            vectors_from(tmp_path / name)


def test_what_is_no_encoder_is_refused(encoder):
    model = encoder.manifest.model.model_copy(update={"options": {}})
    other = replace(encoder, manifest=encoder.manifest.model_copy(update={"model": model}))
    with pytest.raises(InputError, match="no encoder of n-grams"):
        exported_encoder(other)
