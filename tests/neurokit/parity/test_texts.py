"""Texts: what is wrong fails, what rounding may decide is counted, whichever way the text is fed."""

from dataclasses import replace

import numpy as np
import pytest

from neurokit.parity.texts import Text, judge_text

V, N, PROMPT = 7, 12, 5
PADDING = -1


def logits_of(seen):
    """A model of its own: logits after a token depend on all tokens before it, and a cache is their list."""
    rng = np.random.default_rng([len(seen), *seen])
    return rng.standard_normal(V)


def reference():
    tokens = np.full((2, N), PADDING)
    tokens[:, :PROMPT] = [[1, 2, 3, 4, 5], [PADDING, PADDING, 3, 0, 6]]
    wanted = np.zeros((2, N, V))
    for at in range(N):
        for row in range(2):
            seen = [t for t in tokens[row, : at + 1] if t != PADDING]
            wanted[row, at] = logits_of(seen)
            if PROMPT <= at + 1 < N:
                tokens[row, at + 1] = wanted[row, at].argmax()
    return Text("model", "ids", "logits", PADDING, tokens, PROMPT, wanted, np.full((2, N), 1e-6), free=True)


class Runner:
    """Runs the model from what it was fed; `change(seen, logits)` is a fault."""

    def __init__(self, change=lambda seen, logits: logits, keeps=True):
        self.change, self.keeps = change, keeps

    def reset(self, batch):
        self.seen = [[] for _ in range(batch)]

    def run(self, graph, feeds):
        ids = feeds["ids"]
        out = np.zeros((*ids.shape, V), np.float32)
        if not self.keeps:
            self.seen = [[] for _ in ids]
        for row, at in np.ndindex(ids.shape):
            if ids[row, at] != PADDING:
                self.seen[row].append(int(ids[row, at]))
            out[row, at] = self.change(self.seen[row], logits_of(self.seen[row]))
        return {"logits": out}


def test_the_model_itself_passes_in_all_five_ways():
    found = judge_text(Runner(), reference())
    assert found.faults == ()
    assert (found.tokens, found.undecided) == (4 * (2 * N - 2) + N, 0)
    assert found.error < 1e-6


def test_a_model_that_forgets_is_right_in_one_pass_alone():
    found = judge_text(Runner(keeps=False), reference())
    assert sorted(fault.split(":")[0] for fault in found.faults) == [
        "text in chunks",
        "text step by step",
        "text written freely",
    ]


def test_a_faster_way_for_one_text_is_run_too():
    class Single(Runner):
        def run(self, graph, feeds):
            (logits,) = super().run(graph, feeds).values()
            return {"logits": logits + (len(logits) == 1)}

    (fault,) = judge_text(Single(), reference()).faults
    assert fault.startswith("text alone: after token 1 of 12 of text 1 a logit is off by 1")


@pytest.mark.parametrize("at", [3, 8])
def test_one_logit_that_is_off_is_named_although_no_token_changes(at):
    def change(seen, logits):
        if len(seen) == at:
            logits[logits.argmin()] -= 1e-4
        return logits

    found = judge_text(Runner(change), reference())
    assert len(found.faults) == 5
    assert all(f"after token {at} of {N}" in fault and "a logit is off by 0.0001" in fault for fault in found.faults)


def test_another_token_is_wrong_where_the_margin_exceeds_the_bound_and_undecided_inside():
    text = reference()
    tie, place = text.wanted.copy(), 8
    first, second = tie[0, place].argsort()[::-1][:2]
    tie[0, place, second] = tie[0, place, first] - 5e-7

    def change(seen, logits):
        if len(seen) == place + 1 and seen[0] == 1:
            logits[second] = logits[first] + 5e-7
        return logits

    found = judge_text(Runner(change), replace(text, wanted=tie, bound=np.full((2, N), 1e-6)))
    assert found.faults == ()
    assert found.undecided == 5  # once in every way to feed it; the free run goes on with the reference's token
    strict = judge_text(Runner(change), replace(text, wanted=tie, bound=np.full((2, N), 1e-7)))
    assert len(strict.faults) == 5
    assert all("whose margin of 5e-07 exceeds rounding" in fault for fault in strict.faults)


def test_numbers_that_are_none_and_other_shapes_fail():
    assert "no numbers" in judge_text(Runner(lambda s, y: y * np.nan), reference()).faults[0]


def test_texts_that_do_not_fit_are_refused_when_they_are_read():
    text = reference()
    assert Text.read(text.head(), text.arrays()).prompt == PROMPT
    for wrong in (
        {"text.tokens": text.tokens[:, :-1]},
        {"text.bound": -text.bound},
        {"text.wanted": text.wanted * np.inf},
    ):
        with pytest.raises(ValueError, match="text"):
            Text.read(text.head(), {**text.arrays(), **wrong})
