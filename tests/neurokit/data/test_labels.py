"""Labels as arrays: names, numbers, and what is neither among names."""

import pytest
import torch
from torch import nn

from neurokit.data.labels import labels_of
from neurokit.errors import InputError
from neurokit.spec import ModelSpec, TensorSpec

SPEC = ModelSpec("net", lambda: nn.Linear(4, 2), (TensorSpec("x", (4,)),), classes=("a", "b"))


def test_names_are_numbered_in_the_models_order():
    assert labels_of(["b", "a", "b"], ("a", "b"), SPEC).tolist() == [1, 0, 1]
    assert torch.tensor(labels_of([1, 0], (), SPEC)).tolist() == [1, 0]


@pytest.mark.parametrize("wrong", [{}, [None], 10**30, 2, -0.5, True, "c", "x" * 500])
def test_what_is_no_name_among_names_is_refused(wrong):
    with pytest.raises(InputError, match=r"a label is .* which is no name of a class; expected: one of a, b") as caught:
        labels_of(["a", wrong, "b"], ("a", "b"), SPEC)
    assert len(str(caught.value)) < 200
