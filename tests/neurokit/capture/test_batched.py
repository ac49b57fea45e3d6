"""Products of one step, made for all steps at once, against one step after the other."""

import itertools

import pytest
import torch

from neurokit.capture.rolling.batched import batched

aten = torch.ops.aten
T = 3
LINEAR = {"rows": ((4, 5), (6, 5), (6,)), "one row": ((5,), (6, 5), (6,)), "maps": ((2, 4, 5), (6, 5), (6,))}
MATMUL = {
    "matrices": ((4, 5), (5, 6)),
    "samples of them": ((2, 4, 5), (2, 5, 6)),
    "one matrix for all samples": ((2, 4, 5), (5, 6)),
    "a matrix and a vector": ((4, 5), (5,)),
    "a vector and a matrix": ((5,), (5, 6)),
    "a vector and samples": ((5,), (2, 5, 6)),
    "vectors": ((5,), (5,)),
}


def _subsets(count):
    return [c for size in range(1, count + 1) for c in itertools.combinations(range(count), size)]


def _compare(target, sizes, places, *more):
    generator = torch.Generator().manual_seed(0)
    values = [
        torch.randn((T, *size) if at in places else size, generator=generator, dtype=torch.float64)
        for at, size in enumerate(sizes)
    ]
    wanted = torch.stack(
        [target(*(v[t] if at in places else v for at, v in enumerate(values)), *more) for t in range(T)]
    )
    found = batched(target, places, (*values, *more), {})
    assert found.shape == wanted.shape
    assert torch.allclose(found, wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("kind", sorted(LINEAR))
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_map_whose_weights_are_others_at_every_step(kind, bias):
    """It was run as if its input alone were stacked: torch's own error about t() of three axes."""
    sizes = LINEAR[kind][: 2 + bias]
    for places in _subsets(len(sizes)):
        _compare(aten.linear.default, sizes, places)


@pytest.mark.parametrize("kind", sorted(MATMUL))
def test_a_product(kind):
    for places in _subsets(2):
        _compare(aten.matmul.default, MATMUL[kind], places)


def test_a_norm_whose_scale_is_another_at_every_step():
    generator = torch.Generator().manual_seed(0)
    x, scale = (torch.randn(size, generator=generator) for size in ((T, 4, 5), (T, 5)))
    found = batched(aten.layer_norm.default, (0, 2), (x, [5], scale), {})
    assert torch.equal(found, torch.stack([aten.layer_norm.default(x[t], [5], scale[t]) for t in range(T)]))


@pytest.mark.parametrize("places", [(0,), (1,), (0, 1)])
def test_a_table_that_is_another_at_every_step(places):
    tables, rows = torch.randn(T, 7, 5), torch.randint(7, (T, 4))
    table, chosen = tables if 0 in places else tables[0], rows if 1 in places else rows[0]
    wanted = torch.stack(
        [
            aten.embedding.default(table[t] if 0 in places else table, chosen[t] if 1 in places else chosen)
            for t in range(T)
        ]
    )
    assert torch.equal(batched(aten.embedding.default, places, (table, chosen), {}), wanted)


@pytest.mark.parametrize("mode", ["constant", "circular", "reflect", "replicate"])
@pytest.mark.parametrize("size", [(4, 5), (2, 4, 5), (2, 3, 4, 5), (2, 3, 4, 5, 4)])
def test_padding(mode, size):
    """Of modes other than the constant one torch takes no axis more than a batch: a traceback."""
    widths = [1, 2, 1, 0, 0, 1][: 2 * max(len(size) - 2, 1)]
    x = torch.randn(T, *size, generator=torch.Generator().manual_seed(0))
    wanted = torch.stack([aten.pad.default(one, widths, mode) for one in x])
    assert torch.equal(batched(aten.pad.default, (0,), (x, widths, mode), {}), wanted)
