"""Statistics and the comparison: against scipy and brute force, with planted slow-downs from fixed streams."""

import itertools
import json
import statistics

import numpy as np
import pytest

from neurokit import cli
from neurokit import statistics as samples
from neurokit.bench.compare import compare_runs, compare_samples, hodges_lehmann
from neurokit.bench.history import append, read
from neurokit.bench.run import BenchRun
from neurokit.errors import InputError
from neurokit.reports import LatencyReport


def stream(seed, count=2000, median=1e-3, spread=0.04):
    """Times with an autocorrelated part, as a machine shows them."""
    rng = np.random.default_rng(seed)
    slow = np.convolve(rng.normal(0, 1, count + 49), np.ones(50) / 50, "valid") * 0.05
    return (median * np.exp(rng.normal(0, spread, count) + slow)).tolist()


def run(times, model="m", **more):
    return BenchRun((LatencyReport.judged(model, "onnx", "single", times, elapsed_s=12.0, **more),))


def test_batch_means_cover_the_mean_of_correlated_samples():
    """The plain interval of independent samples covers far too rarely here."""
    covered = plain = 0
    for seed in range(200):
        times = np.array(stream(seed, spread=0.01))
        truth = 1e-3 * np.exp(0.5 * (0.01**2 + 0.05**2 / 50))
        _, low, high = samples.mean(times.tolist())
        half = 1.96 * times.std(ddof=1) / len(times) ** 0.5
        covered += low <= truth <= high
        plain += abs(times.mean() - truth) <= half
    assert covered >= 180
    assert plain < covered - 40


def test_drift_is_a_reason_and_steady_is_not():
    steady = [0.1 + 0.001 * (i % 3) for i in range(150)]
    rising = [0.1 * (1 + 0.1 * i / 150) for i in range(150)]
    assert samples.faults(steady) == []
    assert [reason.split(":")[0] for reason in samples.faults(rising)] == ["drift"]


def test_blocks_are_all_of_it_in_order():
    parts = samples.blocks(list(range(103)), 20)
    assert list(itertools.chain(*parts)) == list(range(103))
    assert {len(part) for part in parts} == {5, 6}


@pytest.mark.parametrize("count", [6, 10, 20])
def test_the_interval_is_that_of_the_signed_rank_test(count):
    """Oracle: the shifts that scipy's exact test does not reject."""
    from scipy.stats import wilcoxon

    differences = np.random.default_rng(count).normal(0.02, 0.05, count)
    middle, low, high, confidence = hodges_lehmann(differences.tolist(), 0.95)
    assert confidence >= 0.95
    walsh = [(a + b) / 2 for i, a in enumerate(differences) for b in differences[i:]]
    assert middle == pytest.approx(statistics.median(walsh))
    for shift, rejected in ((low - 1e-9, True), (low + 1e-9, False), (high - 1e-9, False), (high + 1e-9, True)):
        p = wilcoxon(differences - shift, method="exact").pvalue
        assert bool(p <= 1 - confidence + 1e-12) is rejected


def test_too_few_pairs_give_no_interval():
    with pytest.raises(InputError, match="pairs"):
        hodges_lehmann([0.1] * 4, 0.95)


@pytest.mark.parametrize("seed", range(20))
def test_planted_changes(seed):
    """10 % is found either way, 1 % and nothing are not called."""
    before, after = stream(2 * seed), stream(2 * seed + 1)
    assert compare_samples(before, [1.10 * t for t in after])[0] == "slower"
    assert compare_samples([1.10 * t for t in before], after)[0] == "faster"
    assert compare_samples(before, [1.01 * t for t in after])[0] == "noise"
    assert compare_samples(before, after)[0] == "noise"


def test_the_interval_holds_the_planted_ratio():
    held = 0
    for seed in range(100):
        _, _, low, high, _, _ = compare_samples(stream(seed), [1.1 * t for t in stream(1000 + seed)])
        held += low <= 1.1 <= high
    assert held >= 88  # 95 % of 100, less four standard deviations rounded up


def test_runs_are_matched_and_what_differs_is_said():
    a = run(stream(0, spread=0.02), environment={"machine": {"cpu": "A"}})
    b = run([1.1 * t for t in stream(1, spread=0.02)], environment={"machine": {"cpu": "B"}})
    (found,) = compare_runs(a, b)
    assert found.outcome == "slower"
    assert "95.2% confidence" in found.text()
    assert found.notes == ("another cpu: A and B",)
    with pytest.raises(InputError, match="no subject in common"):
        compare_runs(a, run(stream(0), model="other"))
    with pytest.raises(InputError, match="margin"):
        compare_runs(a, b, margin=-1)


def test_invalid_runs_are_not_compared_unasked():
    a, bad = run(stream(0, spread=0.02)), run(stream(1), reasons=["competing load"])
    with pytest.raises(InputError, match="b is INVALID: competing load"):
        compare_runs(a, bad)
    (found,) = compare_runs(a, bad, allow_invalid=True)
    assert "competing load" in found.notes[0]


def test_the_command_is_a_gate(tmp_path, capsys):
    names = [str(tmp_path / name) for name in ("a.json", "b.json", "c.json")]
    for name, factor, seed in zip(names, (1.0, 1.1, 1.01), (0, 1, 2), strict=True):
        run([factor * t for t in stream(seed, spread=0.02)]).save(tmp_path / name)
    assert cli.main(["bench", "--compare", names[0], names[1]]) == 1
    assert "slower" in capsys.readouterr().out
    assert cli.main(["bench", "--compare", names[0], names[2], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["comparisons"][0]["outcome"] == "noise"
    assert cli.main(["bench", "--compare", names[0]]) == 2
    assert cli.main(["bench", "--compare", names[0], str(tmp_path / "no.json")]) == 2


def test_history_grows_and_refuses_what_is_none(tmp_path):
    path = tmp_path / "h.jsonl"
    for seed in range(3):
        append(path, run(stream(seed)))
    entries = read(path)
    assert len(entries) == 3
    assert entries[0].p50_s == pytest.approx(1e-3, rel=0.05)
    path.write_text("what\n")
    with pytest.raises(InputError, match="line 1"):
        append(path, run(stream(0)))
    assert path.read_text() == "what\n"


def test_a_run_survives_its_file(tmp_path):
    whole = run(stream(0))
    whole.save(tmp_path / "a.json")
    assert BenchRun.load(tmp_path / "a.json") == whole


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("failures", 0.5, "failures"),
        ("failures", ["late"], "failures.0"),
        ("failures", [{"subject": "m"}], "failures.0: it says no variant"),
        ("notes", {"a": 1}, "notes"),
        ("notes", [7], "notes.0"),
        ("provenance", [1], "provenance"),
    ],
)
def test_a_file_with_fields_of_another_kind_is_refused_by_the_field(field, value, said):
    with pytest.raises(InputError, match=f"the benchmark is invalid at {said}"):
        BenchRun.from_json({**run([1e-3] * 8).to_json(), field: value})
