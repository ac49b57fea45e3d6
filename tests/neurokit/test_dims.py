"""Sizes are read, written and solved as the arithmetic on numbers says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurokit.dims import Dim, Linear, as_size, collect, evaluate, example_sizes, solve, substitute, text_of
from neurokit.errors import InputError

NAMES = st.sampled_from(["B", "T", "P", "S", "frames"])
TERMS = st.lists(st.tuples(st.integers(1, 9), NAMES), max_size=4)
VALUES = st.fixed_dictionaries({name: st.integers(0, 50) for name in ("B", "T", "P", "S", "frames")})


@given(TERMS, st.integers(0, 20), VALUES)
def test_an_expression_is_read_and_written_without_loss_and_is_worth_its_arithmetic(terms, constant, values):
    text = "+".join([*(f"{factor}*{name}" for factor, name in terms), str(constant)])
    size = as_size(text)
    assert evaluate(size, values) == sum(f * values[n] for f, n in terms) + constant
    assert as_size(text_of(size)) == size
    assert substitute(size, values) == evaluate(size, values)


def test_operators_and_text_mean_the_same():
    past, new = Dim("P", min=0), Dim("S")
    assert past + new == as_size("P+S") == as_size("S + P")
    assert 2 * Dim("B") == Dim("B") * 2 == as_size("2*B")
    assert past + 1 == as_size("P+1")
    assert str(past + new + 3) == "P+S+3"
    assert (as_size(7), as_size("7"), as_size("0*B")) == (7, 7, 0)


@pytest.mark.parametrize("text", ["", "B*2", "-1", "2B", "B+", "B-1", "a b", -1, True, 1.5, None, "T/2"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(InputError):
        as_size(text)


@pytest.mark.parametrize("wrong", [{"name": "2x"}, {"name": "x", "min": -1}, {"name": "x", "min": 5, "max": 4}])
def test_bounds_that_contradict_are_refused(wrong):
    with pytest.raises(InputError):
        Dim(**wrong)


def test_axes_are_found_from_shapes_whatever_the_order():
    wanted = [("mask", ("B", "P+S"), (2, 9)), ("ids", ("B", "S"), (2, 4)), ("fold", ("2*B", 3), (4, 3))]
    assert solve(wanted, {}) == {"B": 2, "S": 4, "P": 5}


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ([("ids", ("B", "S"), (2, 4)), ("mask", ("B", "S"), (2, 5))], "'mask' has shape [2, 5]"),
        ([("fold", ("2*B",), (3,))], "'fold' has shape [3]"),
        ([("x", ("B", 3), (1, 3, 1))], "'x' has shape [1, 3, 1]"),
        ([("ids", ("S",), (6,)), ("mask", ("P+S",), (4,))], "'mask' has shape [4]"),
    ],
)
def test_shapes_that_contradict_are_named(wanted, said):
    with pytest.raises(InputError) as error:
        solve(wanted, {})
    assert said in str(error.value)


def test_one_name_has_one_meaning():
    assert collect((Dim("S", max=8), 3), ("S", "2*B")) == {"S": Dim("S", max=8), "B": Dim("B")}
    with pytest.raises(InputError):
        collect((Dim("S", max=8),), (Dim("S", max=9),))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), min_size=1, max_size=4))
def test_example_sizes_lie_within_bounds_and_differ(bounds):
    dims = [Dim(f"d{i}", min=low, max=low + 40 * step, multiple=step) for i, (low, step) in enumerate(bounds)]
    sizes = example_sizes(dims)
    assert all(not dim.refusal(sizes[dim.name]) for dim in dims)
    assert len(set(sizes.values())) == len(dims)
    assert isinstance(dims[0] + dims[0], Linear)


def test_an_axis_of_multiples_has_several_of_them():
    """Traced at one hop of a recording, a network would be one for a single frame."""
    assert example_sizes([Dim("samples", min=160, multiple=160), Dim("S")]) == {"samples": 480, "S": 4}
    assert example_sizes([Dim("samples", min=160, max=320, multiple=160)]) == {"samples": 320}


def test_examples_are_larger_than_a_block():
    assert example_sizes([Dim("S", beyond=16), Dim("P")]) == {"S": 17, "P": 18}
