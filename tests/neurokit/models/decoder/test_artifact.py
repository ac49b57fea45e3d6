"""tiny_lm as files: the tokens of the oracle from ONNX Runtime, and files that are wrong by one thing."""

import json
from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest

import neurokit as nk
from neurokit.cli import main
from neurokit.errors import InputError
from neurokit.models.decoder.public_config import parse_config
from neurokit.models.decoder.rotary import frequencies

from .faults import FAULTS, check, planted
from .oracle import PARTS, padded, read, worst

ORACLE = read("lm_llama")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return nk.lower(nk.capture(nk.load("tiny_lm")), "onnx-step", tmp_path_factory.mktemp("lm") / "tiny")


def test_it_is_verified_and_the_manifest_says_how_to_run_it(artifact):
    manifest = artifact.manifest
    assert manifest.parity["verdict"] == "within tolerance"
    assert [state.name for state in manifest.states] == ["padding", *(f"{p}{n}" for n in range(4) for p in "kv")]
    assert (manifest.states[1].shape, manifest.states[1].next_shape) == (("B", 2, "P", 16), ("B", 2, "P+S", 16))
    assert manifest.task.settings["stop"] == [2]


def own_loop(session, prompt, parts, count):
    """Greedy decoding with nothing of neurokit."""
    caches = [value.name for value in session.get_inputs()[2:]]
    state = {name: np.zeros((1, 2, 0, 16), np.float32) for name in caches} | {"padding_in": np.zeros(1, np.int64)}
    names = ["logits", *(name.replace("_in", "_out") for name in state)]
    tokens, first = [], None
    calls = np.split(np.array([prompt]), np.cumsum(parts)[:-1], 1)
    for at in range(len(calls) + count):
        ids = calls[at] if at < len(calls) else np.array([[tokens[-1]]])
        logits, *new = session.run(names, {"ids": ids, **state})
        state = dict(zip(state, new, strict=True))
        if at >= len(calls) - 1:
            first = logits[0, -1] if first is None else first
            tokens.append(int(logits[0, -1].argmax()))
    return tokens[:count], first


@pytest.mark.parametrize("parts", PARTS, ids=lambda parts: f"{len(parts)} parts")
def test_onnxruntime_alone_gives_the_oracles_tokens(artifact, parts):
    session = ort.InferenceSession(str(artifact.file("model.onnx")))
    tokens, logits = own_loop(session, ORACLE["prompt"], parts, 32)
    assert tokens == ORACLE["greedy_tokens"]
    assert worst(logits, np.array(ORACLE["last_prompt_logits"])) < 1e-5


def test_the_same_graph_with_scaled_frequencies_gives_the_tokens_of_that_oracle(artifact, tamper_tensor, tmp_path):
    oracle = read("lm_llama3_rope")  # the same weights
    scaled = frequencies(parse_config(oracle["config"], "")).numpy()
    other = tamper_tensor(artifact, lambda name: "inverse_frequencies" in name, lambda x: scaled, tmp_path / "rope")
    session = ort.InferenceSession(str(other.file("model.onnx")))
    tokens, logits = own_loop(session, oracle["prompt"], (8, 13, 16), 32)
    assert tokens == oracle["greedy_tokens"]
    assert worst(logits, np.array(oracle["last_prompt_logits"])) < 1e-5


def test_generate_gives_them_whole_in_chunks_and_left_padded(artifact):
    prompt, wanted = ORACLE["prompt"], tuple(ORACLE["greedy_tokens"])
    for chunk in (None, 8, 1):
        (found,) = nk.generate(artifact, prompt, 32, chunk=chunk)
        assert (found.tokens, found.ended) == (wanted, "length")
    alone = nk.generate(artifact, prompt[:20], 8)
    assert nk.generate(artifact, [prompt, prompt[:20]], 8, chunk=9) == [nk.generate(artifact, prompt, 8)[0], *alone]
    (short,) = nk.generate(artifact, prompt, 32, stop=[45])
    assert (short.tokens, short.ended) == (wanted[:3], "stop")


def test_the_runner_takes_padding_as_minus_one(artifact):
    wanted = read("lm_llama")["left_padded"]
    with nk.open(artifact) as runner:
        runner.reset(2)
        parts = np.split(padded("lm_llama"), [5], 1)
        logits = np.concatenate([runner.step({"ids": part})["logits"] for part in parts], 1)
        assert runner.states()["padding"].tolist() == [0, 17]
    assert worst(logits[1, -20:].ravel()[wanted["index"]], np.array(wanted["value"])) < 1e-5


def test_a_token_outside_the_vocabulary_and_a_text_that_is_too_long_leave_the_caches_as_they_were(artifact):
    with nk.open(artifact) as runner:
        runner.reset(1)
        runner.step({"ids": np.full((1, 500), 7)})
        for ids, said in (
            (np.array([[256]]), "indices element out of data bounds"),
            (np.ones((1, 13), int), "have 513"),
        ):
            with pytest.raises(InputError, match=said) as error:
                runner.step({"ids": ids})
            assert "\n" not in str(error.value)
        assert runner.states()["k0"].shape == (1, 2, 500, 16)
        runner.step({"ids": np.ones((1, 12), int)})


def test_padding_behind_a_token_and_another_batch_are_refused(artifact):
    with nk.open(artifact) as runner:
        runner.reset(2)
        with pytest.raises(InputError, match="text 2 has padding behind a token"):
            runner.step({"ids": np.array([[-1, 5, 6], [5, -1, 6]])})
        runner.step({"ids": np.array([[-1, -1], [-1, 5]])})
        runner.step({"ids": np.array([[-1], [5]])})
        with pytest.raises(InputError, match="text 2 has padding behind a token"):
            runner.step({"ids": np.array([[5], [-1]])})
        with pytest.raises(InputError, match="1 streams after reset for 2"):
            runner.step({"ids": np.array([[5]])})
        assert runner.states()["k0"].shape == (2, 2, 3, 16)


def test_the_command_prints_tokens_and_refuses_in_one_line(artifact, capsys):
    prompt = ",".join(map(str, ORACLE["prompt"]))
    assert main(["run", str(artifact.path), "--prompt-ids", prompt, "--tokens", "5", "--json"]) == 0
    (text,) = json.loads(capsys.readouterr().out)["texts"]
    assert text["tokens"] == ORACLE["greedy_tokens"][:5]
    for options, said in (
        (["1,256"], "256 at place 1"),
        ([""], "no token"),
        (["1,x"], "--prompt-ids is '1,x'"),
        (["1", "--tokens", "512"], "1 tokens of prompt and 512 new ones are 513"),
        (["1", "--tokens", "0"], "0 tokens are asked for"),
        (["1", "--top-p", "0"], "top_p is 0"),
    ):
        assert main(["run", str(artifact.path), "--prompt-ids", *options]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert "Traceback" not in error


@pytest.mark.parametrize(
    ("change", "said"), [({"task": None}, "does not say how it writes a text"), ({"form": "sequence"}, "no caches")]
)
def test_an_artifact_that_cannot_write_is_refused(artifact, change, said):
    with pytest.raises(InputError, match=said):
        nk.generate(replace(artifact, manifest=artifact.manifest.model_copy(update=change)), [1])


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_fail_verify(fault, artifact, tamper, tmp_path):
    check(nk.verify(tamper(artifact, planted(fault), tmp_path / "wrong"), record=False), fault)


@pytest.mark.slow
def test_qwen3s_form_gives_its_oracles_tokens(tmp_path):
    oracle = read("lm_qwen3")
    made = nk.lower(nk.capture(nk.load("tiny_lm_qwen3")), "onnx-step", tmp_path / "q")
    assert made.manifest.parity["verdict"] == "within tolerance"
    for chunk in (None, 8, 1):
        assert list(nk.generate(made, oracle["prompt"], 32, chunk=chunk)[0].tokens) == oracle["greedy_tokens"]
