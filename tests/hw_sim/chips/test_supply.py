"""Prices at another voltage against TrueNorth's own measurements, and refusals."""

from __future__ import annotations

import pytest

from neurokit.errors import InputError
from neurokit.hw_sim.chips.file import load_chip
from neurokit.hw_sim.estimators.affine import affine_energy

EVENTS = 2**20 * 128 * 20.0  # 20 Hz, 128 synapses


@pytest.mark.parametrize(
    ("volts", "events", "watts", "within"),
    [
        (0.70, 0.0, 42e-3, 0.03),  # F. Akopyan et al., IEEE TCAD 34(10), 2015, sec. VII: no activity
        (0.775, EVENTS, 72e-3, 0.12),  # P. Merolla et al., Science 345, 2014
        (0.75, EVENTS, 65e-3, 0.12),  # Akopyan, sec. VII
        (1.05, 2**20 * 256 * 200.0, 323e-3, 0.12),  # Akopyan, sec. VII: 200 Hz, 256 synapses
    ],
)
def test_truenorth_at_other_voltages(volts, events, watts, within):
    """None of these gave a constant; the constants are of 0.8 V."""
    found = affine_energy(load_chip("truenorth").at_voltage(volts), events, 1.0)
    assert found.value == pytest.approx(watts, rel=within)


def test_the_laws():
    chip = load_chip("loihi1")
    half = chip.at_voltage(0.5)
    assert half.prices["synaptic_event"].value == pytest.approx(chip.prices["synaptic_event"].value * (0.5 / 0.75) ** 2)
    assert half.prices["static_chip"].value == pytest.approx(chip.prices["static_chip"].value * (0.5 / 0.75) ** 3)
    assert half.times == chip.times
    assert "0.5 V" in half.warnings[-1]


@pytest.mark.parametrize(
    ("chip", "volts", "says"),
    [("truenorth", 0.6, "0.7 to 1.05 V"), ("odin", 0.8, "0.55 V"), ("speck2f", 1.0, "no range")],
)
def test_a_voltage_outside_the_range_is_refused_in_one_line(chip, volts, says):
    with pytest.raises(InputError) as error:
        load_chip(chip).at_voltage(volts)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
