"""Chips as data: every shipped file, and what a damaged or dishonest one is told."""

from __future__ import annotations

import dataclasses
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from neurokit.errors import InputError, UnknownNameError
from neurokit.hw_sim.chips import file as chip_module
from neurokit.hw_sim.chips.file import CHIP_FOLDER, chip_names, load_chip
from neurokit.hw_sim.chips.profile import Constant, chip_card
from neurokit.hw_sim.chips.terms import COMPONENTS, TERMS

EXPECTED = {
    "akida",
    "cmos22",
    "cmos28",
    "cmos45",
    "cmos7",
    "darwin3",
    "dynapcnn",
    "loihi1",
    "loihi1-sanafe",
    "loihi2",
    "odin",
    "speck2f",
    "spinnaker1",
    "spinnaker2",
    "tianjic",
    "truenorth",
    "xylo",
}


def test_all_chips_are_there():
    assert set(chip_names()) >= EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_constant_has_interval_unit_basis_and_source(name):
    profile = load_chip(name)
    assert profile.name == name
    assert profile.limits.source
    assert profile.topology.source
    assert profile.summary
    for constant in (*profile.prices.values(), *profile.times.values()):
        assert constant.low <= constant.value <= constant.high
        assert len(constant.source) > 10
    for reference in profile.references:
        assert reference.why_not_a_price
        assert reference.source
    assert set(profile.limits.assumed) <= {field.name for field in dataclasses.fields(profile.limits)}


UNPRICED = ("akida", "brainscales2", "dynapcnn", "innatera-t1", "northpole", "reckon", "tianjic", "xylo")


@pytest.mark.parametrize("name", UNPRICED)
def test_chips_without_a_published_price_have_none(name):
    assert load_chip(name).pricing == "none"


# From the papers' tables as the facts give them, and not from the files under test.
@pytest.mark.parametrize(
    ("name", "term", "value"),
    [
        ("loihi1", "synaptic_event", 23.6e-12),
        ("loihi1", "neuron_update", 81e-12),
        ("loihi1", "neuron_idle", 52e-12),
        ("loihi1", "hop_x", 3.0e-12),
        ("loihi1", "hop_y", 4.0e-12),
        ("loihi1-sanafe", "synaptic_event_dense", 35.5e-12),
        ("loihi1-sanafe", "packet", 111e-12),
        ("truenorth", "synaptic_event", 2.297e-12),
        ("spinnaker1", "synaptic_event", 13.3e-9),
        ("spinnaker2", "synaptic_event", 450e-12),
        ("darwin3", "synaptic_event", 5.47e-12),
        ("odin", "synaptic_event", 8.43e-12),
        ("cmos45", "weight_read", 2.5e-12),
        ("cmos45", "synaptic_event", 0.05e-12),
    ],
)
def test_published_prices(name, term, value):
    assert load_chip(name).prices[term].value == pytest.approx(value, rel=1e-9)


def test_loihi2s_times_are_loihis_over_the_vendors_factors_and_never_above_loihis_own():
    """Intel's brief: synaptic operations 5 times, simple updates 2 times as fast, chip-wide steps below 200 ns."""
    old, new = load_chip("loihi1"), load_chip("loihi2")
    for term, factor in (("synaptic_event", 5), ("neuron_update", 2), ("neuron_idle", 2), ("hop_x", 1), ("hop_y", 1)):
        assert new.times[term].value == pytest.approx(old.times[term].value / factor)
        assert new.times[term].low == 0.0  # nobody published a measurement: from nothing to Loihi's own
        assert new.times[term].high == old.times[term].value
    assert max(new.barrier.values()) == 200e-9
    assert any("2601.10035" in text for text in new.warnings)


def test_what_was_not_seen_in_a_source_is_in_no_card():
    for reference in load_chip("xylo").references:
        assert not reference.value.startswith("543")
    assert "2208.12991" in " ".join(reference.source for reference in load_chip("xylo").references)
    for name in ("northpole", "reckon"):
        assert not load_chip(name).limits.assumed
    assert load_chip("reckon").limits.inputs_max == load_chip("reckon").limits.hidden_max == 256


def test_card_shows_everything():
    card = chip_card(load_chip("loihi1"))
    assert card["prices"]["synaptic_event"]["basis"] == "simulation"
    assert card["unpriced"] == []
    assert card["limits"]["neurons_per_core"] == 1024
    assert chip_card(load_chip("dynapcnn"))["unpriced"] == sorted(COMPONENTS)


def damaged(tmp_path: Path, old: str, new: str, name: str = "odin") -> Path:
    text = (CHIP_FOLDER / f"{name}.toml").read_text()
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "odin"', "name = odin", r"mine\.toml: not valid TOML.*line 1"),
        ("cores = 1", f"cores = {'9' * 5_000}", r"mine\.toml: not valid TOML.*4300"),
        ("cores = 1", f"cores = {'[' * 900}{']' * 900}", r"mine\.toml: not valid TOML: it nests too deep"),
        ("cores = 1", f"{'a.' * 900}b = 1", r"mine\.toml: not valid TOML: it nests too deep"),
        ("value = 8.43e-12", "value = 9.43e-12", r"line \d+, field prices\.synaptic_event: .*interval"),
        ("value = 8.43e-12", 'value = "cheap"', r"line \d+, field prices\.synaptic_event\.value"),
        ("value = 8.43e-12\n", "", r"line \d+, field prices\.synaptic_event\.value: Field required"),
        ('basis = "silicon"', 'basis = "rumour"', r"line \d+, field prices\.synaptic_event\.basis"),
        ('unit = "J"', 'unit = "pJ"', r"line \d+, field prices\.synaptic_event\.unit"),
        ("[prices.clock_cycle]", "[prices.magic]", "unknown price 'magic'"),
        ("cores = 1", "cores = 1\ncolour = 3", r"line \d+, field limits\.colour"),
        ("clock_hz = 75000000.0", "", "clock_hz"),
        ('unit = "W"', 'unit = "J"', "static_chip"),
    ],
)
def test_damaged_files_name_line_and_field(tmp_path, old, new, message):
    with pytest.raises(InputError, match=message):
        load_chip(damaged(tmp_path, old, new))


def test_the_line_is_the_right_one(tmp_path):
    path = damaged(tmp_path, "value = 8.43e-12", 'value = "cheap"')
    line = next(n for n, text in enumerate(path.read_text().splitlines(), start=1) if "cheap" in text)
    with pytest.raises(InputError, match=f"line {line}, field prices.synaptic_event.value"):
        load_chip(path)


def test_a_price_without_a_source_is_refused(tmp_path):
    source = next(line for line in (CHIP_FOLDER / "odin.toml").read_text().splitlines() if "Eq. 2, incremental" in line)
    with pytest.raises(InputError, match="has no source"):
        load_chip(damaged(tmp_path, source, 'source = " "'))
    with pytest.raises(InputError, match=r"prices\.synaptic_event\.source: Field required"):
        load_chip(damaged(tmp_path, source + "\n", ""))


def test_all_in_and_per_term_prices_do_not_mix(tmp_path):
    with pytest.raises(InputError, match="all-in price of synaptic_event is mixed"):
        load_chip(damaged(tmp_path, 'scope = "marginal"', 'scope = "all-in"'))
    all_in = Constant(12.7e-12, 12.7e-12, 12.7e-12, "J", "silicon", "headline of the paper", scope="all-in")
    with pytest.raises(InputError, match="mixed"):
        load_chip("odin").with_prices({"synaptic_event": all_in})


def test_missing_and_unreadable_files(tmp_path):
    with pytest.raises(InputError, match="cannot read chip file"):
        load_chip(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot read chip file"):
        load_chip(tmp_path / "binary.toml")


def test_unknown_chip_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean"):
        load_chip("loihi")


def test_users_prices_are_marked_as_assumed():
    priced = load_chip("dynapcnn").with_prices({"synaptic_event": 10e-12}, source="my own guess")
    assert priced.pricing == "per-term"
    assert priced.prices["synaptic_event"].basis == "assumed"
    assert load_chip("dynapcnn").pricing == "none"
    with pytest.raises(InputError, match="unknown price"):
        load_chip("dynapcnn").with_prices({"warp": 1.0})
    with pytest.raises(InputError, match="interval"):
        load_chip("dynapcnn").with_prices({"synaptic_event": -1.0})


def test_a_third_party_adds_a_chip_by_entry_point(monkeypatch, tmp_path):
    path = tmp_path / "theirs.toml"
    path.write_text((CHIP_FOLDER / "odin.toml").read_text().replace('name = "odin"', 'name = "theirs"'))
    module = tmp_path / "their_plugin.py"
    module.write_text(f"CHIP = {str(path)!r}\n")
    monkeypatch.syspath_prepend(tmp_path)
    points = [
        EntryPoint("theirs", "their_plugin:CHIP", "neurokit.chips"),
        EntryPoint("broken", "no_such_module:CHIP", "neurokit.chips"),
    ]
    monkeypatch.setattr(chip_module, "entry_points", lambda group: points)
    chip_module._registry.cache_clear()
    try:
        assert load_chip("theirs").name == "theirs"
        with pytest.raises(UnknownNameError, match="failed to load"):
            load_chip("broken")
        assert "odin" in chip_names()
    finally:
        chip_module._registry.cache_clear()


def test_every_term_says_what_it_counts():
    assert all(term.meaning and term.unit in ("J", "W") for term in TERMS.values())


@pytest.mark.parametrize("name", chip_names())
def test_no_price_or_time_rests_on_memory(name):
    profile = load_chip(name)
    for term, constant in {**profile.prices, **profile.times}.items():
        assert "recall" not in f"{constant.source} {constant.note}".lower(), term
        assert constant.basis != "assumed", term
        assert constant.source, term
