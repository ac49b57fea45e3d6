"""The process of one job."""

import subprocess
import sys
import time

import psutil

_JOB = """
import time
from neurokit.bench.worker import end_with_parent
end_with_parent(0.1)
print("on", flush=True)
time.sleep(60)
"""
_BENCHMARK = """
import subprocess, sys, time
job = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
job.stdout.readline()
print(job.pid, flush=True)
time.sleep(60)
"""


def test_a_job_ends_when_its_benchmark_is_killed():
    benchmark = subprocess.Popen([sys.executable, "-c", _BENCHMARK, _JOB], stdout=subprocess.PIPE, text=True)
    assert benchmark.stdout is not None
    job = psutil.Process(int(benchmark.stdout.readline()))
    assert job.is_running()
    benchmark.kill()
    benchmark.wait()
    until = time.monotonic() + 20
    while job.is_running() and job.status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
        time.sleep(0.1)
    ended = not job.is_running() or job.status() == psutil.STATUS_ZOMBIE
    if not ended:
        job.kill()
    assert ended
