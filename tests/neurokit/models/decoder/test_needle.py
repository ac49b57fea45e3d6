"""A needle through files: recycled attention has it back at the next full step, a window of equal budget has not."""

import numpy as np
import onnxruntime
import pytest
import torch

import neurokit as nk
from neurokit.attention.patterns.recycled import Recycled
from neurokit.models.decoder import decoder_spec
from neurokit.models.decoder.config import DecoderConfig
from neurokit.models.decoder.net import blank
from neurokit.models.decoder.recycled import recycled_spec

ASK, FILLER, EVERY, COUNT, LENGTH = 1, 40, 4, 37, 400
DEPTHS = tuple(range(20, 400, 45))  # nine places; the last alone is among the latest COUNT
NEEDLES = tuple(range(2, 11))  # one word a depth, which the answer names
ANSWER = 20  # the word that names needle n is ANSWER + n
SIZES = {"vocabulary": 48, "width": 48, "inner": 4, "layers": 1, "heads": 1, "kv_heads": 1, "head_size": 24}
# The third pair turns by next to nothing, so that the words alone decide.
CONFIG = DecoderConfig(**SIZES, longest=512, theta=1e30)


def fill(module):
    """Weights by hand: ASK looks for needles, a needle's value is its name, and the head reads names."""
    state = {name: torch.zeros_like(value) for name, value in module.state_dict().items()}
    state["model.embed_tokens.weight"] = torch.eye(48)
    for name in state:
        if name.endswith("norm.weight"):
            state[name] += 1
    layer = "model.layers.0.self_attn."
    state[layer + "q_proj.weight"][2, ASK] = 2.0
    for needle in NEEDLES:
        state[layer + "k_proj.weight"][2, needle] = 1.0
        state[layer + "v_proj.weight"][needle, needle] = 1.0
        state[layer + "o_proj.weight"][ANSWER + needle, needle] = 1.0
        state["lm_head.weight"][ANSWER + needle, ANSWER + needle] = 1.0
    state["lm_head.weight"][0, ASK] = 0.05  # what is said where nothing is found
    module.load_state_dict(state)
    return module.eval()


@pytest.fixture(scope="module")
def prompts():
    ids = np.full((len(DEPTHS), LENGTH), FILLER)
    ids[np.arange(len(DEPTHS)), DEPTHS] = NEEDLES
    return ids


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    spec = recycled_spec("needle", CONFIG, fill, Recycled(COUNT, EVERY, pool=1))
    return nk.lower(nk.capture(spec), "onnx-step", tmp_path_factory.mktemp("needle") / "lm", verified=False)


def test_it_is_back_within_one_refresh_at_nine_depths(artifact, prompts):
    wanted = ANSWER + np.array(NEEDLES)
    asked = np.full((len(DEPTHS), 1), ASK)
    found = []
    with nk.open(artifact) as runner:
        runner.reset(len(DEPTHS))
        runner.run("full", {"ids": prompts})
        for step in range(1, 2 * EVERY):
            graph = "full" if step % EVERY == 0 else "partial"
            found.append(runner.run(graph, {"ids": asked})["logits"][:, -1].argmax(-1))
        held = runner.states()["set0"]
    for at, answers in enumerate(found, 1):
        if at >= EVERY:
            np.testing.assert_array_equal(answers, wanted, err_msg=f"step {at}")
    assert (held == np.array(DEPTHS)[:, None, None]).any(-1).all()  # the needle is in the small cache
    # The prompt's last word asks for nothing: of equal weights the first COUNT keys are kept, one needle among them.
    assert [int(each) for each in found[0] == wanted] == [1, 0, 0, 0, 0, 0, 0, 0, 0]


def test_a_window_of_equal_budget_loses_all_but_the_last(prompts):
    """A threshold that nothing passes leaves the first key and the latest ones, no more than the small cache holds."""
    settings = {"block_k": 1, "segment": 1, "window": COUNT - 2, "thresholds": (1e30,)}
    config = DecoderConfig(**SIZES, longest=512, theta=1e30, mixers=("sale",), patterns={"sale": settings})
    spec = decoder_spec("window", config, lambda sizes: fill(blank(sizes)))
    module = spec.build()
    ids = torch.from_numpy(np.concatenate([prompts, np.full((len(DEPTHS), 2 * EVERY - 1), ASK)], 1))
    empty = torch.zeros(len(ids), 1, 0, 24)
    with torch.no_grad():
        logits = module(ids, torch.zeros(len(ids), dtype=torch.int64), empty, empty)["logits"]
    answers = logits[:, -1].argmax(-1).numpy()
    kept = answers == ANSWER + np.array(NEEDLES)
    assert kept.tolist() == [False] * 8 + [True]


def test_two_graphs_share_their_states_and_a_partial_step_gathers_the_set(artifact):
    manifest = artifact.manifest
    assert [graph.name for graph in manifest.graphs] == ["full", "partial"]
    full, partial = (
        {state.name: (state.dtype, state.shape[1:]) for state in graph.states} for graph in manifest.graphs
    )
    assert full == partial
    assert full["set0"] == ("int64", (1, COUNT))
    (file,) = [name for name in artifact.manifest.files if "partial" in name and name.endswith(".onnx")]
    session = onnxruntime.InferenceSession(str(artifact.file(file)))
    assert {"k0_in", "v0_in", "set0_in"} <= {value.name for value in session.get_inputs()}


def test_the_bytes_of_a_partial_step_of_the_artifacts_model():
    """Cache bytes read and written of a partial step over those of a dense one: (K + 1) / (N + t)."""
    dense = decoder_spec("dense", CONFIG, fill).token_work
    small = recycled_spec("needle", CONFIG, fill, Recycled(COUNT, EVERY, pool=1)).token_work
    for step in range(1, 8):
        before = LENGTH + step - 1
        moved = [sum(part.read + part.written for part in work(before)) for work in (small, dense)]
        assert moved[0] * (LENGTH + step) == moved[1] * (COUNT + 1)
