"""Replaying a compiled model from CUDA graphs: what is recorded, when, and that outputs are the caller's own."""

import pytest
import torch

from neurokit.export.aoti.replay import Replayed

ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")


class _Counted:
    """A model that counts its calls; replays are none."""

    def __init__(self):
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        return [x * 2 + 1]


@ON_GPU
def test_a_third_call_of_the_same_shapes_is_replayed():
    model = _Counted()
    run = Replayed(model)
    given = [torch.full((3,), float(i), device="cuda") for i in range(5)]
    kept = [run(x)[0] for x in given]
    assert model.calls == 2  # the first runs, the second records
    assert run.replays
    for x, y in zip(given, kept, strict=True):
        assert torch.equal(y, x * 2 + 1)


@ON_GPU
def test_what_waits_for_the_host_is_called():
    run = Replayed(lambda x: [x * float(x.sum())])
    given = [torch.full((3,), float(i), device="cuda") for i in range(4)]
    found = [run(x)[0] for x in given]
    assert run.refusal
    assert all(torch.equal(y, x * 3 * x[0]) for x, y in zip(given, found, strict=True))


@ON_GPU
def test_what_cannot_be_recorded_leaves_the_process_as_it_was():
    """Random numbers are drawn as before, on the stream of before, and other models are recorded."""
    stream = torch.cuda.current_stream()
    state = torch.cuda.get_rng_state()
    run = Replayed(lambda x: [x * float(x.sum()) + torch.rand_like(x)])
    for _ in range(3):
        torch.cuda.set_rng_state(state)
        found = run(torch.ones(3, device="cuda"))[0]
    assert run.refusal
    torch.cuda.set_rng_state(state)
    assert torch.equal(found, 3 + torch.rand(3, device="cuda"))
    assert torch.cuda.current_stream() == stream
    model = _Counted()
    again = Replayed(model)
    assert [again(torch.ones(2, device="cuda"))[0].tolist() for _ in range(4)] == [[3.0, 3.0]] * 4
    assert again.replays


def test_calls_of_new_shapes_run_the_model():
    model = _Counted()
    run = Replayed(model)
    for size in range(1, 10):
        assert torch.equal(run(torch.ones(size))[0], torch.full((size,), 3.0))
    assert model.calls == 9
    assert not run.replays
