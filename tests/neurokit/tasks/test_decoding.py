"""The host's loop, by counts and probabilities worked out by hand."""

import numpy as np
import pytest

from neurokit.errors import InputError
from neurokit.tasks.decoding import Continuation, Loop, Sampling, choose, decode, probabilities

LOOP = Loop("ids", "logits", 5, -1, 12, (4,))


class Counter:
    """A model whose next token is the last one plus 1; keeps what it was fed."""

    def reset(self, batch=1):
        self.fed = np.zeros((batch, 0), np.int64)

    def step(self, given):
        self.fed = np.concatenate([self.fed, given["ids"]], 1)
        return {"logits": np.eye(5, dtype=np.float32)[(given["ids"] + 1) % 5]}


def test_each_text_ends_at_its_own_stop_token():
    found = decode(Counter(), LOOP, [[0], [3, 2], [1, 1, 1]], 3)
    assert found == [Continuation((1, 2, 3), "length"), Continuation((3, 4), "stop"), Continuation((2, 3, 4), "stop")]


def test_shorter_prompts_are_padded_on_the_left_and_chunks_are_fed_in_turn():
    stream = Counter()
    decode(stream, LOOP, [[0], [3, 2, 0]], 2, chunk=2)
    assert stream.fed.tolist() == [[-1, -1, 0, 1], [3, 2, 0, 1]]


def test_the_smallest_set_that_reaches_top_p_is_kept():
    logits = np.log([0.1, 0.4, 0.2, 0.2, 0.1])
    np.testing.assert_allclose(probabilities(logits, Sampling(1.0, 0.39)), [0, 1, 0, 0, 0])
    np.testing.assert_allclose(probabilities(logits, Sampling(1.0, 0.5)), [0, 2 / 3, 1 / 3, 0, 0])
    np.testing.assert_allclose(probabilities(logits, Sampling(0.5)), np.array([1, 16, 4, 4, 1]) / 26)


def test_draws_follow_the_probabilities_and_the_seed():
    logits, sampling = np.log([0.1, 0.4, 0.2, 0.2, 0.1]), Sampling(1.0, 1.0, 3)
    draw = lambda: [choose(logits, sampling, generator) for _ in range(4000)]  # noqa: E731
    generator = np.random.default_rng(1)
    first = draw()
    counts = np.bincount(first, minlength=5) / 4000
    np.testing.assert_allclose(counts, [0.1, 0.4, 0.2, 0.2, 0.1], atol=5 * np.sqrt(0.25 / 4000))
    generator = np.random.default_rng(1)
    assert draw() == first
    assert choose(np.array([0.0, 2.0, 2.0]), Sampling(), generator) == 1


@pytest.mark.parametrize(
    ("prompts", "options", "said"),
    [
        ([], {}, "no prompt"),
        ([[1], []], {}, "prompt 2 has no token"),
        ([[1, 5]], {}, "5 at place 1"),
        ([[-1, 1]], {}, "-1 at place 0"),
        ([[1, True]], {}, "True at place 1"),
        ([[1] * 10], {}, "at most 12"),
        ([[1]], {"stop": [9]}, "list of stop tokens has 9"),
        ([[1]], {"chunk": 0}, "chunk is 0"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(prompts, options, said):
    stream = Counter()
    with pytest.raises(InputError) as error:
        decode(stream, LOOP, prompts, 3, **options)
    assert said in str(error.value)
    assert not hasattr(stream, "fed")


@pytest.mark.parametrize(
    "settings", [{"temperature": -1.0}, {"temperature": float("nan")}, {"top_p": 1.1}, {"seed": -1}]
)
def test_settings_of_the_draw_are_checked(settings):
    with pytest.raises(InputError):
        Sampling(**settings)


def test_a_manifest_that_records_no_loop_is_refused():
    with pytest.raises(InputError, match="does not say how"):
        Loop.of({"ids": "ids", "logits": "y", "vocabulary": True, "padding": -1, "longest": 3}, "x")
