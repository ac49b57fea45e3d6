"""The method on a clock of its own: warming up, sample rules, deadlines, the machine's counters and the meters."""

import subprocess
import sys
import time

import pytest

from neurokit.bench import environment, meters
from neurokit.bench.environment import Snapshot, judge, look
from neurokit.bench.job import Job, Rules
from neurokit.bench.meters import base, boards, counters, external
from neurokit.bench.method import at_once, back_to_back, paced, time_left, warm_up
from neurokit.errors import InputError


class Clock:
    """Time that passes only where it is spent."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def ticking(self):
        """Looking at it takes a microsecond, so that waiting awake ends."""
        self.now += 1e-6
        return self.now

    def spend(self, seconds):
        self.now += seconds

    def taking(self, durations):
        durations = iter(durations)
        return lambda: self.spend(next(durations))


def forever(seconds):
    while True:
        yield seconds


def test_measures_until_both_samples_and_seconds_are_enough():
    clock = Clock()
    found, elapsed = back_to_back(clock.taking(forever(0.001)), Rules(seconds=2, samples=100), clock=clock)
    assert len(found) == 2000
    assert elapsed == pytest.approx(2)
    found, elapsed = back_to_back(clock.taking(forever(0.5)), Rules(seconds=2, samples=100), clock=clock)
    assert (len(found), elapsed) == (100, pytest.approx(50))


def test_the_limit_ends_a_slow_run():
    clock = Clock()
    found, elapsed = back_to_back(clock.taking(forever(30)), Rules(limit_s=120), clock=clock)
    assert (len(found), elapsed) == (4, 120)


def test_reporting_is_not_timed():
    clock, seen = Clock(), []

    def observe(found, left):
        seen.append((len(found), left))
        clock.spend(0.3)

    found, _ = back_to_back(clock.taking(forever(0.01)), Rules(seconds=3), clock=clock, observe=observe)
    assert max(found) == pytest.approx(0.01)
    assert len(seen) in (3, 4)  # every half second of 3, of which reporting itself takes a part
    assert [left for _, left in seen] == sorted((left for _, left in seen), reverse=True)


@pytest.mark.usefixtures("whole_rules")
def test_warms_up_until_settled():
    clock = Clock()
    falling = [0.1 / (1 + k) for k in range(30)]
    warm = warm_up(clock.taking([*falling, *[0.002] * 1000]), Rules(), clock)
    assert warm.settled
    assert warm.runs > 35
    assert warm.seconds >= 1


@pytest.mark.usefixtures("whole_rules")
def test_what_never_settles_is_told():
    clock = Clock()
    rising = (0.01 * 1.05**k for k in range(10**6))
    warm = warm_up(clock.taking(rising), Rules(), clock)
    assert not warm.settled
    assert warm.seconds >= 20


def test_deadlines_count_from_the_release():
    """A late step makes the following ones wait: 25 ms in a period of 10 is late itself and delays two more."""
    clock = Clock()
    steps = [0.004] * 10 + [0.025] + [0.004] * 100
    found, elapsed = paced(
        clock.taking(steps), 0.01, Rules(seconds=0.5, samples=50), clock=clock.ticking, sleep=clock.spend
    )
    assert found[9:14] == pytest.approx([0.004, 0.025, 0.019, 0.013, 0.007], abs=1e-4)
    assert found[14] == pytest.approx(0.004, abs=1e-4)
    assert sum(t > 0.01 for t in found) == 3
    assert elapsed == pytest.approx(0.01 * len(found), rel=0.05)


def test_streams_at_once_end_with_the_slowest():
    from concurrent.futures import ThreadPoolExecutor

    ended = []
    with ThreadPoolExecutor(3) as pool:
        at_once([lambda: ended.append(1), lambda: (time.sleep(0.05), ended.append(2)), lambda: ended.append(3)], pool)()
    assert sorted(ended) == [1, 2, 3]


def test_time_left_shrinks_to_nothing():
    rules = Rules(seconds=10, samples=100)
    assert time_left(1000, 4, rules) == 6
    assert time_left(20, 10, rules) == pytest.approx(40)
    assert time_left(1000, 10, rules) == 0


@pytest.mark.parametrize("change", [{"scenario": "fast"}, {"batch": -1}, {"streams": 0}, {"deadline_s": 0.0}])
def test_jobs_refuse_nonsense(change):
    with pytest.raises(InputError):
        Job("artifact", "x", **change)
    with pytest.raises(InputError):
        Rules(seconds=0)


def test_jobs_survive_json():
    job = Job("artifact", "x", "stream", deadline_s=0.01, rules=Rules(seconds=3))
    assert Job.from_json(job.to_json()) == job
    with pytest.raises(InputError):
        Job.from_json({"subject": "artifact"})


def judged(**after):
    base = {"busy_cpu_s": 0.0, "clock_hz": 2e9, "throttled": 0, "temperature_c": 50.0}
    return judge(Snapshot(0.0, 0.0, **base), Snapshot(10.0, 9.9, **{**base, "busy_cpu_s": 10.0, **after}))


def test_a_quiet_machine_gives_no_reason():
    seen, reasons = judged()
    assert reasons == []
    assert seen["competing_cpus"] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        ({"busy_cpu_s": 200.0}, "competing load"),
        ({"throttled": 3}, "throttling: 3"),
        ({"clock_hz": 1.7e9}, "clock fell from 2.00 to 1.70 GHz"),
        ({"gpu": {"reasons": 0x40}}, "GPU reports a slowdown"),
    ],
)
def test_what_disturbs_is_a_reason(after, reason):
    _, reasons = judged(**after)
    assert len(reasons) == 1
    assert reason in reasons[0]


def test_counters_that_the_machine_lacks_are_unknown(tmp_path):
    found = look(tmp_path)
    assert (found.busy_cpu_s, found.clock_hz, found.temperature_c, found.throttled) == (None,) * 4
    assert judge(found, look(tmp_path))[1] == []


def test_counters_are_read_as_the_kernel_documents_them(tmp_path):
    cpu = environment.usable_cpus()[0]
    (tmp_path / "proc").mkdir()
    row = f"cpu{cpu} 100 20 30 5000 7 1 2 4 50 60\n"
    (tmp_path / "proc/stat").write_text(f"cpu  9 9 9 9 9 9 9 9 9 9\n{row}cpu99999 5 5 5 5 5 5 5 5 5 5\n")
    files = {
        f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq": "1800000\n",
        "sys/class/thermal/thermal_zone0/temp": "41500\n",
        "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "7\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = look(tmp_path)
    assert found.busy_cpu_s == pytest.approx((100 + 20 + 30 + 1 + 2 + 4) / 100)
    assert (found.clock_hz, found.temperature_c, found.throttled) == (1.8e9, 41.5, 7)


def test_real_planted_load_is_seen():
    """Whatever else the machine does only adds to it."""
    busy = [sys.executable, "-c", "while True: pass"]
    with subprocess.Popen(busy) as other:
        time.sleep(0.3)
        watch = environment.Watch()
        time.sleep(1.0)
        seen, reasons = watch.stop()
        other.kill()
    if seen["competing_cpus"] is None:
        pytest.skip("this system has no /proc/stat")
    assert any("competing load" in reason for reason in reasons)


def powercap(root, **energies):
    for number, (name, values) in enumerate(energies.items()):
        zone = root / f"sys/class/powercap/intel-rapl:{number}"
        zone.mkdir(parents=True, exist_ok=True)
        (zone / "name").write_text(name.replace("_", "-") + "\n")
        (zone / "energy_uj").write_text(f"{values}\n")
        (zone / "max_energy_range_uj").write_text("1000000\n")


def test_rapl_adds_the_packages_and_survives_a_wrap(tmp_path):
    powercap(tmp_path, package_0=900_000, dram=100, psys=5)
    rapl = counters.Rapl(tmp_path)
    rapl.start()
    powercap(tmp_path, package_0=200_000, dram=50_100, psys=999)
    assert rapl.stop() == pytest.approx(0.3 + 0.05)
    assert rapl.name == "RAPL package-0, dram"


def test_a_power_is_integrated():
    clock = Clock()
    powers = iter([2.0, 4.0])
    polled = base.Polled("p", lambda: next(powers), clock)
    polled._poll = lambda: None
    polled.start()
    clock.spend(3.0)
    assert polled.stop() == pytest.approx(9.0)


def test_ina_takes_the_whole_board_alone(tmp_path):
    device = tmp_path / "sys/class/hwmon/hwmon3"
    device.mkdir(parents=True)
    values = {
        "name": "ina3221",
        "in1_label": "VDD_IN",
        "in1_input": "5000",
        "curr1_input": "800",
        "in2_label": "VDD_CPU",
        "in2_input": "5000",
        "curr2_input": "300",
    }
    for name, text in values.items():
        (device / name).write_text(text)
    found = boards.ina(tmp_path)
    assert found.name == "INA VDD_IN"
    assert found._power() == pytest.approx(4.0)


def test_tegrastats_is_read(tmp_path):
    line = "RAM 1/2MB CPU [1%@1] VDD_IN 4020mW/4010mW VDD_CPU_GPU_CV 500mW/500mW"
    code = f"import time\nwhile True: print({line!r}, flush=True); time.sleep(0.01)"
    found = boards.Tegrastats([sys.executable, "-c", code])
    found.start()
    start = time.monotonic()
    time.sleep(0.5)
    joules = found.stop()
    assert joules == pytest.approx(4.02 * (time.monotonic() - start), rel=0.2)


def test_an_external_meter_must_cover_the_run(tmp_path):
    clock, path = Clock(), tmp_path / "m.csv"
    path.write_text("Time (s),Voltage,Current\n99,5,1\n101,5,1\n103,5,3\n104,5,3\n")
    found = external.Csv(path, clock)
    found.start()
    clock.spend(3.0)
    assert found.stop() == pytest.approx(5 * 1 + 2 * 10)
    clock.spend(5.0)
    with pytest.raises(InputError, match="covers 99"):
        found.stop()


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n3,4\n", "time,power\n1,2\n", "time,power\n1,x\n2,3\n"])
def test_files_that_are_no_meters(tmp_path, text):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(InputError):
        external.read_csv(tmp_path / "m.csv")


def test_a_machine_without_meters_says_so(tmp_path):
    assert meters.find("none") == (None, "not asked for")
    with pytest.raises(meters.Absent, match="no RAPL"):
        counters.Rapl(tmp_path)
    with pytest.raises(meters.Absent, match="no INA"):
        boards.ina(tmp_path)
    with pytest.raises(InputError, match="unknown meter"):
        meters.find("sundial")
