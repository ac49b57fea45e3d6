"""Quantities: the laws of interval arithmetic, of trust, and of what is printed."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from neurokit.errors import InputError
from neurokit.quantity import Quantity, worst_kind

KINDS = ["measured", "simulated", "analytic", "assumed"]
numbers = st.floats(-1e12, 1e12)


@st.composite
def quantities(draw, unit="J"):
    low, value, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    return Quantity(value, low, high, unit, draw(st.sampled_from(KINDS)), draw(st.sampled_from(["a", "b"])))


@given(quantities(), quantities())
def test_addition_is_commutative_in_its_numbers(a, b):
    left, right = a + b, b + a
    assert (left.value, left.low, left.high, left.kind) == (right.value, right.low, right.high, right.kind)
    assert left.low <= left.value <= left.high


@given(quantities(), quantities(), st.floats(0, 1), st.floats(0, 1))
def test_a_sum_holds_every_sum_of_its_parts(a, b, s, t):
    x = a.low + s * (a.high - a.low)
    y = b.low + t * (b.high - b.low)
    total = a + b
    slack = 1e-9 * (1 + max(abs(number) for number in (a.low, a.high, b.low, b.high)))
    assert total.low - slack <= x + y <= total.high + slack


@given(quantities(), quantities())
def test_a_sum_is_as_trustworthy_as_its_worst_part(a, b):
    assert KINDS.index((a + b).kind) == max(KINDS.index(a.kind), KINDS.index(b.kind))
    assert worst_kind(a.kind, b.kind) == (a + b).kind


@given(quantities(), st.floats(0, 1e6))
def test_scaling_keeps_the_interval(a, factor):
    scaled = a.scaled(factor, unit="W")
    assert scaled.low <= scaled.value <= scaled.high
    assert scaled.value == a.value * factor
    assert (scaled.unit, scaled.kind, scaled.source) == ("W", a.kind, a.source)


@given(st.sampled_from(KINDS), st.sampled_from(KINDS))
def test_scaling_never_makes_a_quantity_more_trustworthy(before, asked):
    kind = Quantity.exact(1.0, "J", before, "").scaled(2.0, kind=asked).kind
    assert KINDS.index(kind) >= KINDS.index(before)


@given(quantities())
def test_json_holds_everything(a):
    assert Quantity(**a.to_json()) == a


@given(numbers, numbers, numbers)
def test_an_interval_that_does_not_hold_its_value_is_refused(value, low, high):
    assume(not low <= value <= high)
    with pytest.raises(InputError, match="outside its interval"):
        Quantity(value, low, high, "J", "measured", "")


@pytest.mark.parametrize("position", range(3))
def test_nan_is_refused(position):
    values = [1.0, 1.0, 1.0]
    values[position] = math.nan
    with pytest.raises(InputError):
        Quantity(*values, "J", "measured", "")


def test_wrong_use_is_refused():
    joule, second = Quantity.exact(1, "J", "measured", "a"), Quantity.exact(1, "s", "measured", "a")
    with pytest.raises(InputError, match="cannot add 'J' and 's'"):
        joule + second
    with pytest.raises(InputError, match="kind 'guessed'"):
        Quantity.exact(1, "J", "guessed", "a")
    for factor in (-1.0, math.nan):
        with pytest.raises(InputError, match="scale factor"):
            joule.scaled(factor)


def test_sources_are_joined_once():
    a, b = Quantity.exact(1, "J", "measured", "a"), Quantity.exact(1, "J", "measured", "b")
    assert (a + a).source == "a"
    assert (a + b).source == "a; b"


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        (Quantity.exact(1.4e-3, "J", "measured", ""), "1.4 mJ"),
        (Quantity(1.4e-3, 1.2e-3, 1.6e-3, "J", "measured", ""), "1.4 mJ [1.2, 1.6]"),
        (Quantity.exact(0.0, "J", "measured", ""), "0 J"),
        (Quantity(0.0, 0.0, 2e-6, "J", "measured", ""), "0 µJ [0, 2]"),
        (Quantity.exact(-2500.0, "W", "measured", ""), "-2.5 kW"),
        (Quantity.exact(3e12, "B", "measured", ""), "3000 GB"),
        (Quantity.exact(3e-18, "J", "measured", ""), "0.003 fJ"),
        (Quantity.exact(12345.0, "", "measured", ""), "1.234e+04"),
        (Quantity.exact(77.0, "", "measured", ""), "77"),
    ],
)
def test_text_is_scaled_to_be_read(quantity, text):
    assert quantity.text() == text


@given(st.floats(1e-15, 1e11))
def test_text_reads_back_as_the_value(value):
    scales = {"G": 1e9, "M": 1e6, "k": 1e3, "": 1.0, "m": 1e-3, "µ": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}
    number, unit = Quantity.exact(value, "J", "measured", "").text().split()
    assert float(number) * scales[unit.removesuffix("J")] == pytest.approx(value, rel=1e-3)
    assert 1 <= float(number) <= 1000
