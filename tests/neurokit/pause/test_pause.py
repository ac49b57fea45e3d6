"""Pauses: one row more and nothing else changed, places by rule, and the text back without them."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

import neurokit as nk
from neurokit.cli import main
from neurokit.errors import InputError, UnsupportedError
from neurokit.hw_sim.chips.file import load_chip
from neurokit.hw_sim.tokens import token_energy
from neurokit.models.decoder import TINY_LM, decoder_spec
from neurokit.models.decoder.drawn import fill
from neurokit.models.decoder.net import Decoder
from neurokit.pause.cost import pause_cost
from neurokit.pause.placement import (
    default_rules,
    insert_pauses,
    place_pauses,
    places_of,
    read_rules,
    remove_pauses,
    strip_pauses,
)
from neurokit.transforms import transform

TEXT = "The cat sat on the mat, because the idea of ownership is an abstraction. It slept!"


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pause")
    spec = decoder_spec("one_layer", replace(TINY_LM, layers=1), lambda config: fill(Decoder(config)).eval())
    made = [nk.capture(spec), nk.capture(spec, transforms=["pause"])]
    return tuple(nk.lower(one, "onnx-step", folder / str(at), verified=False) for at, one in enumerate(made))


def tables(artifact):
    model = onnx.load(artifact.file("model.onnx"))
    arrays = [numpy_helper.to_array(one) for one in model.graph.initializer]
    return [array for array in arrays if array.ndim == 2 and {256, 257} & set(array.shape)]


def test_the_graph_has_a_row_more_in_embedding_and_head_and_the_others_are_bit_equal(artifacts):
    plain, paused = (sorted(tables(one), key=lambda array: float(np.abs(array).sum())) for one in artifacts)
    assert len(plain) == len(paused) == 2
    for old, new in zip(plain, paused, strict=True):
        axis = int(old.shape[1] == 256)
        np.testing.assert_array_equal(np.take(new, range(256), axis), old)
        np.testing.assert_allclose(np.take(new, 256, axis), old.mean(axis), atol=1e-6)
    assert artifacts[1].manifest.task.settings["vocabulary"] == 257
    assert "token 256 is the pause" in str(artifacts[1].manifest)


def test_a_text_without_pauses_is_written_as_before_and_one_with_them_runs(artifacts):
    plain, paused = artifacts
    (one,), (other,) = (nk.generate(artifact, [175, 50, 120], 4) for artifact in artifacts)
    assert one == other
    (found,) = nk.generate(paused, insert_pauses([175, 50, 120], {1: 2}, 256), 2)
    assert len(found.tokens) == 2
    with pytest.raises(InputError, match="256"):
        nk.generate(plain, [175, 256], 2)


def test_rows_of_a_token_and_of_a_file(tmp_path):
    spec = nk.load("tiny_lm")
    old = spec.build()
    learned = np.stack([np.full(64, 0.5), np.full(64, -0.25)]).astype(np.float32)
    np.save(tmp_path / "rows.npy", learned)
    one = transform(spec, ["pause:row=17"]).build()
    two = transform(spec, [("pause", {"row": str(tmp_path / "rows.npy")})]).build()
    for at, name in enumerate(("model.embed_tokens.weight", "lm_head.weight")):
        assert (one.state_dict()[name][256] == old.state_dict()[name][17]).all()
        np.testing.assert_array_equal(two.state_dict()[name][256].numpy(), learned[at])
        assert (two.state_dict()[name][:256] == old.state_dict()[name]).all()
    np.save(tmp_path / "bad.npy", learned[0])
    np.save(tmp_path / "short.npy", learned[:, :9])
    for row, said in (("256", "token 256"), ("x", "'x'"), (str(tmp_path / "bad.npy"), r"\[64\]")):
        with pytest.raises(InputError, match=said):
            transform(spec, [("pause", {"row": row})])
    with pytest.raises(InputError, match=r"new rows are \[1, 9\]"):
        transform(spec, [("pause", {"row": str(tmp_path / "short.npy")})]).build()
    with pytest.raises(UnsupportedError, match="no decoder"):
        transform(nk.load("spiking_cnn"), ["pause"])


def test_clauses_end_at_marks_and_conjunctions_and_abstract_ones_get_more():
    found = place_pauses(TEXT)
    assert found.marked == (
        "The cat sat on the mat, [PAUSE] because the idea of ownership is an abstraction. [PAUSE] [PAUSE] "
        "It slept! [PAUSE]"
    )
    concrete, abstract = (len(place_pauses(text).places) for text in ("the red cat", "truth idea abstraction"))
    assert (concrete, abstract) == (1, 4)
    rules = default_rules().model_copy(update={"abstractness": {"cat": 1.0}})
    assert len(place_pauses("cat", rules).places) == 4
    assert place_pauses("").places == place_pauses(" ... ").places == ()
    assert place_pauses("3.5 units of 1,000 things").marked == "3.5 units of 1,000 things [PAUSE]"


@settings(deadline=None)
@given(st.text(st.sampled_from("ab ,.;\n'and of ness"), max_size=60))
def test_without_pauses_the_text_is_back_and_spans_hold_the_same_characters(text):
    found = place_pauses(text)
    assert strip_pauses(found.marked) == text
    for start in range(len(text)):
        for end in range(start + 1, min(len(text), start + 9) + 1):
            first, last = found.span(start, end)
            assert strip_pauses(found.marked[first:last]) == text[start:end]


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.dictionaries(st.integers(0, 11), st.integers(0, 3)))
def test_tokens_without_pauses_are_back(ids, counts):
    counts = {at: count for at, count in counts.items() if at < len(ids)}
    found = insert_pauses(ids, counts, 10)
    assert remove_pauses(found, 10) == ids
    assert found.count(10) == sum(counts.values())
    assert [found[at] for at in places_of(found, 10)] == ids


def test_what_is_refused(tmp_path):
    with pytest.raises(InputError, match="already"):
        insert_pauses([1, 10], {}, 10)
    with pytest.raises(InputError, match="place 5"):
        insert_pauses([1], {5: 1}, 10)
    for text, mark in (("a [PAUSE]", "[PAUSE]"), ("a", ""), ("a", "x y")):
        with pytest.raises(InputError, match="pauses are written"):
            place_pauses(text, mark=mark)
    for text, said in (("marks = 1", "conjunctions|marks"), ("x", "no TOML")):
        (tmp_path / "r.toml").write_text(text)
        with pytest.raises(InputError, match=said):
            read_rules(tmp_path / "r.toml")
    assert main(["pause"]) == 2


def test_a_pause_costs_a_token_in_joules_and_a_step_in_time(artifacts, capsys):
    spec, chip = nk.load("tiny_lm"), load_chip("cmos45")
    found = pause_cost(spec, 20, [chip], artifacts[0])
    priced = token_energy(spec, 21, [chip]).chips[0].energy
    (energy,) = found.joules.values()
    assert energy.value == pytest.approx(sum(one.value for one in priced.values()))
    assert found.time.kind == "measured"
    assert 0 < found.time.low <= found.time.value <= found.time.high < 1
    assert main(["pause", TEXT, "--cost", "tiny_lm", "--before", "20", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["pauses"] == 4
    assert said["cost"]["joules"]["cmos45"]["unit"] == "J"
