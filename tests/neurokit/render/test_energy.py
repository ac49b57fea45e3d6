"""The energy report and the chips' cards on a terminal of 80 columns."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from neurokit.hw_sim import simulate_workload
from neurokit.hw_sim.chips.file import chip_names, load_chip
from neurokit.hw_sim.chips.profile import chip_card
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.graph.network import Network, NeuronModel, Population
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster
from neurokit.render import energy as render

CHIPS = ("loihi1", "truenorth", "dynapcnn", "speck2f", "cmos45")


def shown(part, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(part)
    return console.export_text()


@pytest.fixture(scope="module")
def report():
    net = Network(
        "toy [bold]net",
        (Population("in", (300,), "input"), Population("out", (10,), model=NeuronModel("if"))),
        (Projection.linear("fc", "in", "out", (300,), 10),),
        outputs=("out",),
    )
    spikes = np.random.default_rng(0).random((6, 300)) < 0.2
    rasters = {"in": SpikeRaster.pack(spikes), "out": SpikeRaster.pack(np.zeros((6, 10), bool))}
    return simulate_workload(Workload(net, rasters, "random"), CHIPS)


@pytest.fixture(scope="module")
def text(report) -> str:
    return shown(render.energy(report), width=160)


def row_of(text: str, title: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(title))


def test_what_is_refused_bounded_and_supposed(text):
    assert "refused: no price" in row_of(text, "SynSense DYNAP-CNN")
    assert "at least" in row_of(text, "Generic CMOS")
    assert row_of(text, "Intel Loihi ").rstrip().endswith("yes")
    truenorth = row_of(text, "IBM TrueNorth")
    assert truenorth.rstrip().endswith("limits)")  # more axons than a core has
    assert "if it" in text
    assert "does not fit IBM TrueNorth" in text


def test_components_stand_in_a_table_of_their_own(text):
    header = row_of(text, "of which").split()
    assert header == ["of", "which", "synapse", "neuron", "routing", "memory", "static", "host"]
    assert text.count("SynSense DYNAP-CNN  ") == 1  # nothing of it is priced, so it is not in the second table


def test_no_line_is_cut_on_a_narrow_terminal(report):
    text = shown(render.energy(report))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", sorted(chip_names()))
def test_card_numbers_every_source(name):
    card = chip_card(load_chip(name))
    text = shown(render.chip_card(card))
    sources = {f"{row['source']} {row['note']}" for key in ("prices", "times") for row in card[key].values()}
    assert f"({len(sources)})" in text or not sources
    assert f"({len(sources) + 1})" not in text
    assert card["title"] in text


def test_list_has_every_chip():
    text = shown(render.chip_list([chip_card(load_chip(name)) for name in chip_names()]))
    assert all(row_of(text, name) for name in chip_names())


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("truenorth", ("supply: 0.8 V (0.7 to 1.05 V)", "static power by V^3", "energy 20%")),
        ("odin", ("supply: 0.55 V (no other was read)",)),
        ("loihi2", ("every total is a bound",)),
    ],
)
def test_a_card_says_at_what_voltage_and_how_well_its_prices_hold(name, parts):
    text = " ".join(shown(render.chip_card(chip_card(load_chip(name)))).split())
    assert all(part in text for part in parts)
