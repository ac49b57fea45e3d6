"""The process in which one job runs on this machine: a crash ends the job, not the benchmark."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import AbstractContextManager, nullcontext

from neurokit import stuck
from neurokit.artifact import Artifact
from neurokit.bench.device import emit
from neurokit.bench.events import failed
from neurokit.bench.job import Job
from neurokit.bench.measure import measure
from neurokit.errors import NeurokitError


def end_with_parent(every_s: float = 1.0) -> None:
    """Ends this process, whatever it computes, soon after the one that started it: nobody reads its events then."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every_s)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _calls_ending(job: Job) -> AbstractContextManager[None]:
    if job.subject != "artifact":
        return nullcontext()
    stuck.watch(_end)
    return stuck.allowing(Artifact.load(job.source), job.calls_of)


def _end(error: NeurokitError) -> None:
    emit(failed(error))
    sys.stdout.flush()
    os._exit(error.exit_code)


def main() -> int:
    """Runs the job given as JSON on the command line and prints its events."""
    end_with_parent()
    try:
        job = Job.from_json(json.loads(sys.argv[1]))
        from neurokit.bench.subjects import find_subject

        with _calls_ending(job):
            row = measure(find_subject(job), job, emit=emit)
    except NeurokitError as error:
        emit(failed(error))
        return error.exit_code
    except Exception as error:  # a runtime's own exceptions have no common base; the row says which
        emit(failed(error))
        return 1
    emit({"event": "row", "row": row})
    return 0


if __name__ == "__main__":
    sys.exit(main())
