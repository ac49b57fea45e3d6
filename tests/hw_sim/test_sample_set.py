"""A test set in batches: every figure as sample by sample, interrupted runs, and folders that cannot be run."""

import json

import numpy as np
import pytest
import torch
from scipy import stats
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.capture import capture
from neurokit.errors import InputError
from neurokit.hw_sim.sample_set import spread_of, student
from neurokit.hw_sim.trace import trace

STEPS, SHAPE, CHIPS = 4, (2, 8, 8), ["loihi1", "truenorth"]


def _net() -> nn.Module:
    torch.manual_seed(0)
    parts = (
        layer.Conv2d(2, 4, 3, padding=1),
        neuron.LIFNode(v_threshold=0.3),
        layer.MaxPool2d(2),
        layer.Conv2d(4, 6, 3, padding=1, bias=False),
        neuron.IFNode(v_threshold=0.4),
        layer.AvgPool2d(2),
        layer.Flatten(),
        layer.Linear(24, 5),
        neuron.IFNode(),
    )
    net = nn.Sequential(*parts)
    functional.set_step_mode(net, "m")
    return net.eval()


@pytest.fixture(scope="module")
def captured():
    spec = nk.ModelSpec("net", _net, (nk.TensorSpec("x", SHAPE),), time_steps=STEPS)
    return capture(spec)


@pytest.fixture(scope="module")
def samples() -> list[torch.Tensor]:
    rates = torch.linspace(0.05, 0.9, 7)
    generator = torch.Generator().manual_seed(1)
    return [(torch.rand(STEPS, 1, *SHAPE, generator=generator) < rate).float() for rate in rates]


@pytest.fixture(scope="module")
def singles(captured, samples):
    return [nk.simulate(captured, x, CHIPS) for x in samples]


def _equals(report, singles) -> None:
    for chip in CHIPS:
        totals = [single.chip(chip).total.value for single in singles]
        spread = report.test_set.energy[chip]
        assert spread.mean == pytest.approx(np.mean(totals), rel=1e-9)
        assert spread.deviation == pytest.approx(np.std(totals, ddof=1), rel=1e-6)
        interval = stats.t.interval(0.95, len(totals) - 1, np.mean(totals), stats.sem(totals))
        assert (spread.low, spread.high) == pytest.approx(interval, rel=1e-3)
    events = [single.totals["synaptic_events"] for single in singles]
    assert report.test_set.events.mean == pytest.approx(np.mean(events))
    fired = sum(sum(layer.spikes) for single in singles for layer in single.layers if layer.name == "1")
    assert report.test_set.rates["1"] == pytest.approx(fired / (len(singles) * STEPS * 4 * 64))


def test_a_batch_is_the_samples_one_by_one(captured, samples, singles):
    report = nk.simulate(captured, samples, CHIPS)
    assert (report.samples, report.test_set.asked) == (7, 7)
    _equals(report, singles)


def test_the_program_is_run_in_batches(captured, samples):
    from neurokit.hw_sim.trace.replay import Replay

    first = trace(captured, samples[0])
    replay = Replay(captured, samples[0], first)
    assert replay.possible
    together = replay.workload(samples[:3])
    assert together.time_steps == 3 * STEPS
    for k, x in enumerate(samples[:3]):
        alone = trace(captured, x)
        for name, raster in alone.rasters.items():
            rows = together.rasters[name].unpack()[k * STEPS : (k + 1) * STEPS]
            np.testing.assert_array_equal(rows, raster.unpack(), err_msg=name)


def test_an_interrupted_run_goes_on_where_it_was(captured, samples, singles, tmp_path, monkeypatch):
    import neurokit.simulation

    monkeypatch.setattr(neurokit.simulation, "_MOST_AT_ONCE", 2)
    for k, x in enumerate(samples):
        np.save(tmp_path / f"{k}.npy", x[:, 0].numpy())
    kept, seen = tmp_path / "out.json.partial", []

    def stop(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 4:
            raise KeyboardInterrupt

    part = nk.simulate(captured, tmp_path, CHIPS, keep=kept, progress=stop)
    assert seen == [(2, 7), (4, 7)]
    assert (part.samples, part.test_set.asked) == (4, 7)
    assert any("interrupted: 4 of 7" in note for note in part.assumptions)
    assert len(kept.read_text().splitlines()) == 3
    with kept.open("a") as file:
        file.write('{"rows": [{"ener')  # killed while it wrote
    seen.clear()
    whole = nk.simulate(captured, tmp_path, CHIPS, keep=kept, progress=lambda *numbers: seen.append(numbers))
    assert seen == [(6, 7), (7, 7)]
    _equals(whole, singles)
    assert not kept.exists()


def test_another_run_is_not_gone_on_with(captured, samples, tmp_path):
    kept = tmp_path / "partial"
    kept.write_text(json.dumps({"model": "other"}) + "\n" + json.dumps({"rows": [{"spikes": 1e9}], "fired": {}}) + "\n")
    report = nk.simulate(captured, samples[:2], keep=kept)
    assert report.test_set.spikes.largest < 1e6


@pytest.mark.parametrize(
    ("files", "asked", "message"),
    [
        ({}, None, "no readable sample"),
        ({"a.txt": None}, None, "no readable sample"),
        ({"a.npy": (STEPS, *SHAPE), "b.npy": (STEPS, 2, 9, 8)}, None, "different shapes"),
        ({"a.npy": (STEPS, *SHAPE), "b.npy": (3, STEPS, *SHAPE)}, 5, "--samples is 5, the input holds 4"),
    ],
)
def test_a_folder_that_cannot_be_run_is_one_line(captured, tmp_path, files, asked, message):
    for name, shape in files.items():
        if shape is None:
            (tmp_path / name).write_text("nothing")
        else:
            np.save(tmp_path / name, np.zeros(shape, np.float32))
    with pytest.raises(InputError, match=message):
        nk.simulate(captured, tmp_path, samples=asked)


@pytest.mark.parametrize("freedom", [1, 2, 3, 5, 12, 40, 999])
def test_students_t(freedom):
    assert student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=3e-3)


def test_one_sample_has_no_spread():
    assert spread_of([3.0], "J").deviation == 0.0


def test_samples_of_spikes_and_of_counts_in_one_set_are_each_what_they_are(captured, samples):
    """Of a sample with several events in a bin the first layer's events are graded, of one with spikes they are not."""
    mixed = [samples[2], samples[3] * 2, samples[4]]
    alone = [nk.simulate(captured, x, ["loihi1"]) for x in mixed]
    report = nk.simulate(captured, mixed, ["loihi1"])
    assert len({single.totals["graded_events"] > alone[0].totals["graded_events"] for single in alone}) == 2
    assert report.test_set.events.mean == pytest.approx(np.mean([s.totals["synaptic_events"] for s in alone]))
    totals = [single.chip("loihi1").total.value for single in alone]
    assert report.test_set.energy["loihi1"].mean == pytest.approx(np.mean(totals), rel=1e-9)


def test_an_interrupted_command_reports_what_was_done_and_ends_as_shells_count_it(samples, tmp_path, monkeypatch):
    """Ctrl-C in the third batch: status 130, a report of four samples, and the same command goes on from there."""
    import neurokit.simulation
    from neurokit.cli import main
    from neurokit.hw_sim.trace.replay import Replay

    monkeypatch.setattr(neurokit.simulation, "_MOST_AT_ONCE", 2)
    folder, out, calls = tmp_path / "set", tmp_path / "out.json", []
    folder.mkdir()
    for k, x in enumerate(samples):
        np.save(folder / f"{k}.npy", x[:, 0].numpy())
    run = Replay.workload

    def stopped(self, some):
        calls.append(len(some))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run(self, some)

    monkeypatch.setattr(Replay, "workload", stopped)
    command = ["energy", f"{__file__}:_net", "--input-shape", "2,8,8", "--time-steps", str(STEPS)]
    command += ["--chip", "loihi1", "--input", str(folder), "--out", str(out)]
    assert main(command) == 130
    part = json.loads(out.read_text())
    assert part["test_set"]["samples"] == 4
    assert part["test_set"]["asked"] == len(samples)
    assert main(command) == 0
    assert calls == [2, 2, 2, 2, 1]
    assert json.loads(out.read_text())["test_set"]["samples"] == len(samples)
    assert not out.with_name(out.name + ".partial").exists()
