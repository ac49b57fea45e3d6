"""Reading and writing at computed places over all steps, against one step after the other."""

import pytest
import torch

from neurokit.capture.rolling.batched import batched

aten = torch.ops.aten
T, B, C = 3, 4, 5


def _stacked(kind):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(T, B, C, generator=generator)
    rows, columns = torch.arange(B), torch.randint(C, (T, B), generator=generator)
    values = torch.rand(T, B, generator=generator)
    several = torch.randint(B, (T, 2, 3), generator=generator)
    return {
        "a place a row": (aten.index_put.default, (x, [rows, columns], values)),
        "one value": (aten.index_put.default, (x, [rows, columns], torch.tensor(1.0))),
        "of the same tensor": (aten.index_put.default, (x[0], [rows, columns], values)),
        "added": (aten.index_put.default, (x, [rows, columns], values, True)),
        "whole rows": (aten.index_put.default, (x, [columns.clamp(max=B - 1)], torch.zeros(C))),
        "read": (aten.index.Tensor, (x, [rows, columns])),
        "read rows": (aten.index.Tensor, (x, [several])),
        "read of the same": (aten.index.Tensor, (x[0], [rows, columns])),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "a place a row",
        "one value",
        "of the same tensor",
        "added",
        "whole rows",
        "read",
        "read rows",
        "read of the same",
    ],
)
def test_all_steps_are_one_after_the_other(kind):
    target, args = _stacked(kind)
    leaves, spec = torch.utils._pytree.tree_flatten((args, {}))
    over_steps = {at for at, value in enumerate(leaves) if isinstance(value, torch.Tensor) and value.shape[:1] == (T,)}

    def at_step(t):
        given, named = torch.utils._pytree.tree_unflatten(
            [value[t] if at in over_steps else value for at, value in enumerate(leaves)], spec
        )
        return target(*given, **named)

    assert torch.equal(batched(target, over_steps, args, {}), torch.stack([at_step(t) for t in range(T)]))
