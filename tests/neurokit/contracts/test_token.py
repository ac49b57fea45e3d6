"""A token model with two inputs, a free length and a growing cache, through every stage; judged by torch in float64."""

import copy
import json

import numpy as np
import onnxruntime as ort
import pytest
import torch

import neurokit as nk
from neurokit.artifact import write_artifact
from neurokit.errors import InputError

from .nets import HEADS, WIDTH, WORDS, build_token, causal, token_example, token_model

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("token")
    captured = nk.capture(token_model())
    return {name: nk.lower(captured, name, folder / name) for name in ("onnx", "onnx-step")}


@pytest.fixture(scope="module")
def reference():
    """The whole text at once, in float64, with an empty cache."""
    net = copy.deepcopy(build_token()).double()
    ids = torch.randint(0, WORDS, (2, 9), generator=torch.Generator().manual_seed(7))
    empty = torch.zeros(2, HEADS, 0, WIDTH // HEADS, dtype=torch.float64)
    with torch.no_grad():
        out = net(ids, causal(2, 9), empty, empty)
    return ids.numpy(), {name: value.numpy() for name, value in out.items()}


def feeds(ids, start, stop):
    return {"ids": ids[:, start:stop], "mask": causal(len(ids), stop - start, start).numpy()}


def test_the_manifest_names_types_and_initialises_every_port(artifacts):
    manifest = json.loads((artifacts["onnx-step"].path / "manifest.json").read_text())
    assert manifest["schema_version"] == 2
    (graph,) = manifest["graphs"]
    assert [(p["name"], p["shape"], p["dtype"]) for p in graph["inputs"]] == [
        ("ids", ["B", "S"], "int64"),
        ("mask", ["B", "S", "P+S"], "bool"),
    ]
    assert [(p["name"], p["shape"]) for p in graph["outputs"]] == [("logits", ["B", "S", WORDS])]
    assert [(s["name"], s["shape"], s["next_shape"], s["init"]) for s in graph["states"]] == [
        (name, ["B", HEADS, "P", WIDTH // HEADS], ["B", HEADS, "P+S", WIDTH // HEADS], 0.0) for name in "kv"
    ]
    assert graph["dims"]["P"] == {"min": 0, "max": 64, "multiple": 1}
    whole = artifacts["onnx"].manifest
    assert (whole.inputs[1].shape, whole.states) == (("B", "S", "S"), ())


@pytest.mark.parametrize("name", ["onnx", "onnx-step"])
def test_it_is_verified_with_other_lengths_and_again_from_the_folder(artifacts, name):
    artifact = artifacts[name]
    assert artifact.manifest.parity["verdict"] in ("within tolerance", "exact")
    report = nk.verify(nk.Artifact.load(artifact.path))
    assert report.passed
    assert report.output_error_free < 1e-5


@pytest.mark.parametrize("lengths", [(9,), (1, 1, 7), (4, 1, 1, 1, 2)])
def test_the_file_alone_in_onnxruntime_gives_the_float64_tokens_in_any_parts(artifacts, reference, lengths):
    ids, wanted = reference
    session = ort.InferenceSession(str(artifacts["onnx-step"].path / "model.onnx"))
    cache = {f"{n}_in": np.zeros((2, HEADS, 0, WIDTH // HEADS), np.float32) for n in "kv"}
    found, start = [], 0
    for length in lengths:
        logits, k, v = session.run(["logits", "k_out", "v_out"], {**feeds(ids, start, start + length), **cache})
        cache, start = {"k_in": k, "v_in": v}, start + length
        found.append(logits)
    np.testing.assert_allclose(np.concatenate(found, 1), wanted["logits"], **CLOSE)
    np.testing.assert_allclose(cache["k_in"], wanted["k"], **CLOSE)


@pytest.mark.parametrize("length", [1, 2, 9])
def test_the_sequence_file_takes_any_length_and_starts_anew(artifacts, reference, length):
    ids, wanted = reference
    session = ort.InferenceSession(str(artifacts["onnx"].path / "model.onnx"))
    assert [value.name for value in session.get_inputs()] == ["ids", "mask"]
    (logits,) = session.run(None, feeds(ids, 0, length))
    np.testing.assert_allclose(logits, wanted["logits"][:, :length], **CLOSE)


def test_the_runner_keeps_the_cache_and_names_it(artifacts, reference):
    ids, wanted = reference
    with nk.open(artifacts["onnx-step"]) as runner:
        runner.reset(2)
        assert runner.states()["k"].shape == (2, HEADS, 0, WIDTH // HEADS)
        first = runner.step(feeds(ids, 0, 5))["logits"]
        second = runner.step(feeds(ids, 5, 9))["logits"]
        np.testing.assert_allclose(np.concatenate([first, second], 1), wanted["logits"], **CLOSE)
        np.testing.assert_allclose(runner.states()["v"], wanted["v"], **CLOSE)
        np.testing.assert_allclose(runner(feeds(ids, 0, 9))["logits"], wanted["logits"], **CLOSE)


def refusal(call):
    with pytest.raises(InputError) as error:
        call()
    return str(error.value)


def test_wrong_feeds_are_named(artifacts, reference):
    ids, _ = reference
    with nk.open(artifacts["onnx-step"]) as runner:
        runner.reset(2)
        assert "2 inputs: ids, mask" in refusal(lambda: runner.step(ids))
        assert "'mask' is missing" in refusal(lambda: runner.step({"ids": ids}))
        assert "no input 'extra'" in refusal(lambda: runner.step({**feeds(ids, 0, 9), "extra": ids}))
        assert "'ids' is [2, 9] int32" in refusal(lambda: runner.step({**feeds(ids, 0, 9), "ids": ids.astype("i4")}))
        assert "'mask' has shape [2, 9, 9]" in refusal(lambda: runner.step({**feeds(ids, 0, 9), "ids": ids[:, :4]}))
        runner.step(feeds(ids, 0, 3))
        assert "with B = 2, S = 6, P = 3" in refusal(lambda: runner.step(feeds(ids, 0, 6)))
        assert "after reset for 2" in refusal(lambda: runner.step(feeds(ids[:1], 3, 6)))
        long = np.zeros((2, 65), np.int64)
        runner.reset(2)
        assert "S is 65" in refusal(lambda: runner.step(feeds(long, 0, 65)))


def test_a_cache_that_goes_back_to_the_wrong_place_fails(artifacts, tmp_path):
    """The file hands the keys out as values and the values as keys: one call is right, the next is not."""
    import shutil

    import onnx

    source = artifacts["onnx-step"]
    with write_artifact(tmp_path / "wrong") as draft:
        for name in source.manifest.files:
            shutil.copy(source.path / name, draft.path / name)
        model = onnx.load(str(draft.path / "model.onnx"))
        k, v = (next(o for o in model.graph.output if o.name == f"{n}_out") for n in "kv")
        for node in model.graph.node:
            swap = {"k_out": "v_out", "v_out": "k_out"}
            node.output[:] = [swap.get(name, name) for name in node.output]
            node.input[:] = [swap.get(name, name) for name in node.input]
        assert k.name != v.name
        onnx.save(model, str(draft.path / "model.onnx"))
        draft.manifest = source.manifest
    report = nk.verify(draft.artifact)
    assert report.verdict == "failed"
    assert any("call 2 of 3" in note for note in report.notes)


def test_an_example_without_sizes_says_what_is_not_covered(tmp_path):
    import dataclasses

    spec = dataclasses.replace(token_model(), example=lambda batch, time_steps, seed: token_example(batch, 0, seed))
    artifact = nk.lower(nk.capture(spec), "onnx-step", tmp_path / "a")
    assert any("one call only" in note for note in artifact.manifest.parity["notes"])
