"""The model that learns to copy: its induction head is found, and texts with copies need it."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit.data.documents import Document
from neurokit.heads.influence import influence
from neurokit.heads.retrieval import retrieval_scores

FILE = Path(__file__).parents[2] / "examples" / "copy_model.py"


def example():
    spec = importlib.util.spec_from_file_location("copy_model", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def texts(vocabulary, seed=99, count=40):
    draw = np.random.default_rng(seed)
    copies = [np.tile(draw.integers(1, vocabulary, 12), 3)[:32].tolist() for _ in range(count)]
    random = [draw.permutation(np.arange(1, vocabulary))[:32].tolist() for _ in range(count)]
    return [Document(tuple(ids), "copy", "c", (13, 32)) for ids in copies], [Document(tuple(ids)) for ids in random]


def test_texts_repeat_a_segment_or_do_not():
    made = example()
    ids = made.texts(torch.Generator().manual_seed(0))
    assert list(ids.shape) == [made.BATCH, made.LENGTH]
    period = next(n for n in range(1, 33) if (ids[: made.COPIES, n:] == ids[: made.COPIES, :-n]).all())
    assert made.LENGTH // 4 <= period <= made.LENGTH // 2
    assert not (ids[made.COPIES :, period:] == ids[made.COPIES :, :-period]).all(1).any()


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "within", "farthest"), [(0, 40, 0.01), (1, 39, 0.011)])
def test_its_induction_head_is_found_and_copies_need_it_and_random_texts_do_not(seed, within, farthest, tmp_path):
    made = example()
    made.save(made.train(seed=seed), tmp_path / "copier")
    spec = nk.load(tmp_path / "copier")
    copies, random = texts(made.CONFIG.vocabulary)
    found = retrieval_scores(spec, copies)
    heads, (layer, head) = found.top(0.05), found.order()[0]
    ((at, (chosen,)),) = heads.by_layer(2, made.CONFIG.heads).items()
    assert (at, chosen) == (layer, head)  # one of 16
    assert found.scores[layer, head] > 0.9
    # An oracle that does not look at weights: the head of the last layer whose mask hurts copies most.
    damage = [np.mean([one.score for one in influence(spec, copies, {1: [at]})]) for at in range(made.CONFIG.heads)]
    assert (layer, head) == (1, int(np.argmax(damage)))
    assert min(one.score for one in influence(spec, copies, heads)) > 0
    apart = np.abs([one.score for one in influence(spec, random, heads)])
    assert (apart < 0.01).sum() >= within
    assert apart.max() < farthest
