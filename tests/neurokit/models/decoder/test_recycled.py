"""Recycled attention in a decoder: two functions over one state, against the pattern step by step; its bytes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit.attention import Call, attend
from neurokit.attention.patterns.recycled import Recycled
from neurokit.errors import InputError
from neurokit.models.decoder import TINY_LM
from neurokit.models.decoder.drawn import fill
from neurokit.models.decoder.recycled import recycled_spec
from neurokit.models.decoder.tokens import locate
from neurokit.tasks.decoding import Loop, decode
from neurokit.transforms import transform

from .oracle import read, worst

ORACLE = read("lm_llama")
SMALL = Recycled(count=6, every=4, pool=3)


class Torch:
    """The module as a stream: its two functions over the states of both."""

    def __init__(self, spec):
        self.spec, self.module, self.ran = spec, spec.build(), []

    def reset(self, batch=1):
        self.values = []
        for state in self.spec.graphs[0].states:
            sizes = [size if isinstance(size, int) else 0 for size in state.sizes]
            self.values.append(torch.full((batch, *sizes), state.init, dtype=getattr(torch, state.dtype)))

    def run(self, graph, feeds):
        with torch.no_grad():
            out = getattr(self.module, graph)(torch.from_numpy(feeds["ids"]), *self.values)
        self.values = [out[state.name] for state in self.spec.graphs[0].states]
        self.ran.append(graph)
        return {"logits": out["logits"].numpy()}

    def mark(self):
        return self.values, list(self.ran)

    def rewind(self, to):
        self.values, self.ran = to

    def state(self, name):
        names = [state.name for state in self.spec.graphs[0].states]
        return self.values[names.index(name)].numpy()


def spec_of(recycled):
    return recycled_spec("tiny_recycled", TINY_LM, fill, recycled)


def by_pattern(module, ids, prompt, recycled=SMALL, modes=None):
    """Logits of every call, with the pattern's own `start` and `step` in the place of the layers' attention."""
    logits, keys, states = [], [], {}
    for at in [0, *range(prompt, len(ids))]:
        new = ids[:prompt] if at == 0 else ids[at : at + 1]
        given = torch.tensor([new])
        tokens = locate(given, torch.zeros(1, dtype=torch.int64), module.inverse_frequencies, at, None, None)
        x = module.model.embed_tokens(given)
        for n, layer in enumerate(module.model.layers):
            q, k, v = layer.self_attn.project(layer.input_layernorm(x), tokens)
            if at:
                k, v = torch.cat([keys[n][0], k], 2), torch.cat([keys[n][1], v], 2)
                keys[n] = (k, v)
                if modes is not None:
                    modes.append(recycled.mode(Call(q, k, v), states[n]))
                out, states[n], _ = recycled.step(Call(q, k, v), states[n])
            else:
                keys.append((k, v))
                call = Call(q, k, v)
                out, states[n] = attend(q, k, v, call.seen()[None, None])[0], recycled.start(call)
            x = x + layer.self_attn.joined(out)
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        logits.append(module.lm_head(module.model.norm(x))[:, -1])
    return torch.cat(logits)


def test_full_and_partial_steps_are_those_of_the_pattern():
    stream = Torch(spec_of(SMALL))
    ids = [*ORACLE["prompt"][:20], *ORACLE["greedy_tokens"][:11]]
    stream.reset()
    found = [stream.run("full", {"ids": np.array([ids[:20]])})["logits"][:, -1]]
    for count, token in enumerate(ids[20:], 1):
        found.append(stream.run("full" if count % 4 == 0 else "partial", {"ids": np.array([[token]])})["logits"][:, -1])
    with torch.no_grad():
        wanted = by_pattern(stream.module, ids, 20).numpy()
    assert worst(np.concatenate(found), wanted) < 3e-6
    stream.reset()
    dense = stream.run("full", {"ids": np.array([ids])})["logits"][0, 19:]
    assert worst(np.concatenate(found), dense) > 1e-3  # partial steps are no full ones


def test_a_prompt_shorter_than_the_set_and_a_row_with_padding_are_the_text_alone():
    stream = Torch(spec_of(Recycled(count=16, every=9, pool=3)))
    text = ORACLE["prompt"][:5]
    ids = np.array([[-1, -1, *text], ORACLE["prompt"][10:17]])
    stream.reset(2)
    both = [stream.run("full", {"ids": ids})["logits"][0, 2:]]
    stream.reset()
    alone = [stream.run("full", {"ids": np.array([text])})["logits"][0]]
    assert worst(both[0], alone[0]) < 2e-6
    for row, values in ((2, both), (1, alone)):
        stream.reset(row)
        stream.run("full", {"ids": ids if row == 2 else np.array([text])})
        values.extend(stream.run("partial", {"ids": np.full((row, 1), token)})["logits"][0] for token in range(9))
    for one, other in zip(both, alone, strict=True):
        assert worst(one, other) < 2e-6


def test_a_schedule_of_full_steps_gives_the_dense_models_tokens():
    spec = spec_of(Recycled(count=6, every=1, pool=3))
    loop = Loop.of(spec.task.settings, "")
    assert (loop.full, loop.partial, loop.every) == ("full", "partial", 1)
    (found,) = decode(Torch(spec), loop, [ORACLE["prompt"]], 32)
    assert list(found.tokens) == ORACLE["greedy_tokens"]
    other = spec_of(SMALL)
    (small,) = decode(Torch(other), Loop.of(other.task.settings, ""), [ORACLE["prompt"]], 32)
    assert small.tokens != found.tokens


def test_the_bytes_of_a_partial_step():
    dense, small = nk.load("tiny_lm").token_work, spec_of(SMALL).token_work

    def moved(work):
        return sum(part.read + part.written for part in work)

    for before in (6, 37, 400):
        assert moved(small(before)) * (before + 1) == moved(dense(before)) * (6 + 1)


def test_a_schedule_without_full_steps_is_refused():
    with pytest.raises(InputError, match="one of them at least 1") as error:
        spec_of(Recycled(count=6, every=0))
    assert "\n" not in str(error.value)


def compared(layers=1, every=0):
    recycled = Recycled(count=6, every=every, check_every=2, threshold=0.3, pool=3)
    return recycled, recycled_spec("compared", replace(TINY_LM, layers=layers), fill, recycled)


@pytest.mark.parametrize("every", [0, 5])
def test_queries_that_turned_away_make_a_step_full(every):
    """One layer, so that the pattern's own rule is the model's; tokens, logits and graphs are those of the pattern."""
    recycled, spec = compared(every=every)
    stream, prompt = Torch(spec), ORACLE["prompt"][:20]
    (found,) = decode(stream, Loop.of(spec.task.settings, ""), [prompt], 24)
    modes = []
    with torch.no_grad():
        wanted = by_pattern(stream.module, [*prompt, *found.tokens[:-1]], 20, recycled, modes).numpy()
    assert stream.ran == ["full", *modes]
    assert {"full", "partial"} <= set(modes)
    assert [int(row.argmax()) for row in wanted] == list(found.tokens)


def test_a_runtime_that_cannot_go_back_is_told():
    class Forgetful(Torch):
        mark = property()

    _, spec = compared()
    with pytest.raises(InputError, match="cannot take a token back"):
        decode(Forgetful(spec), Loop.of(spec.task.settings, ""), [ORACLE["prompt"][:20]], 4)


def test_the_transform_makes_it_of_a_dense_model_with_its_weights():
    made = transform(nk.load("tiny_lm"), ["sparse:pattern=recycled,count=6,every=1"])
    assert [graph.name for graph in made.graphs] == ["full", "partial"]
    (found,) = decode(Torch(made), Loop.of(made.task.settings, ""), [ORACLE["prompt"]], 6)
    assert list(found.tokens) == ORACLE["greedy_tokens"][:6]
    with pytest.raises(InputError, match="as a whole"):
        transform(nk.load("tiny_lm"), ["sparse:pattern=recycled,layers=1"])


@pytest.mark.slow
def test_a_schedule_that_compares_queries_in_files(tmp_path):
    _, spec = compared(layers=2)
    artifact = nk.lower(nk.capture(spec), "onnx-step", tmp_path / "lm")
    assert artifact.manifest.parity["verdict"] == "within tolerance"
    stream = Torch(spec)
    wanted = decode(stream, Loop.of(spec.task.settings, ""), [ORACLE["prompt"]], 24)
    assert "partial" in stream.ran
    assert "full" in stream.ran[1:]
    assert nk.generate(artifact, ORACLE["prompt"], 24) == wanted


@pytest.mark.slow
@pytest.mark.parametrize("form", ["decomposed", "standard", "ort"])
def test_two_graphs_and_a_set_in_one_artifact(form, tmp_path):
    spec = spec_of(SMALL)
    artifact = nk.lower(nk.capture(spec), "onnx-step", tmp_path / "lm", attention=form)
    assert artifact.manifest.parity["verdict"] == "within tolerance"
    assert [graph.name for graph in artifact.manifest.graphs] == ["full", "partial"]
    sets = [state for state in artifact.manifest.graphs[1].states if state.name == "set0"]
    assert (sets[0].dtype, sets[0].shape) == ("int64", ("B", 2, 6))
    wanted = decode(Torch(spec), Loop.of(spec.task.settings, ""), [ORACLE["prompt"]], 24)
    for chunk in (None, 8):
        assert nk.generate(artifact, ORACLE["prompt"], 24, chunk=chunk) == wanted
