"""Where trials run: processes of this machine, a Dask scheduler that is there, or a cluster that Dask launches."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from neurokit.errors import InputError, MissingRuntimeError
from neurokit.sweep.study import Workers

INSTALL = 'pip install "neurokit-edge[sweep]"'
_DEATHS = 3  # of workers at one trial, before the trial itself is taken for the cause


class Runs(Protocol):
    """What runs trials."""

    def run(
        self, evaluate: Callable[..., Any], trials: Mapping[int, Sequence[Any]]
    ) -> Iterable[tuple[int, dict[str, Any]]]:
        """Yields trials with their results as they come.

        Args:
            evaluate: Evaluates one trial.
            trials: What it is given, by the trial's number.
        """
        ...


class DaskRuns:
    """Runs trials on the workers of a Dask client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def run(
        self, evaluate: Callable[..., Any], trials: Mapping[int, Sequence[Any]]
    ) -> Iterable[tuple[int, dict[str, Any]]]:
        """Yields trials with their results as they come; one that killed every worker it was given to has failed."""
        from distributed import as_completed

        futures = {self._client.submit(evaluate, *given, pure=False): number for number, given in trials.items()}
        for future in as_completed(list(futures)):
            try:
                yield futures[future], future.result()
            except Exception as error:  # what the scheduler says of a trial whose workers died
                reason = f"{type(error).__name__}: its workers died"
                yield futures[future], {"status": "failed", "reason": reason, "figures": {}}


@contextmanager
def dask_runs(workers: Workers) -> Iterator[Runs]:
    """Starts the workers that a study asks for, and ends them.

    Raises:
        MissingRuntimeError: If Dask, or the launcher's library, is not installed.
        InputError: If the launcher is no class, or the scheduler does not answer.
    """
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise MissingRuntimeError(f"dask is not installed: {error}", fix=INSTALL) from error
    settings = {
        "distributed.scheduler.allowed-failures": _DEATHS,
        "distributed.worker.daemon": False,  # a trial may start processes of its own
        "distributed.comm.timeouts.connect": "30s",
        # A worker's own log, which is set up while Dask is imported there: of trials that are cut off.
        "distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "critical",
    }
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with dask.config.set(settings):
        if workers.address:
            try:
                client = Client(workers.address, timeout="30s")
            except (OSError, ValueError) as error:
                raise InputError(f"no Dask scheduler answers at {workers.address}: {error}") from error
            with client:
                yield DaskRuns(client)
            return
        if workers.launcher:
            cluster = _launched(workers)
            cluster.scale(workers.count)
        else:
            cluster = LocalCluster(
                n_workers=workers.count, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=None
            )
        with cluster, Client(cluster) as client:
            yield DaskRuns(client)


def _launched(workers: Workers) -> Any:
    from distributed.deploy.cluster import Cluster

    module, _, name = workers.launcher.partition(":")
    try:
        made = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise MissingRuntimeError(f"launcher {workers.launcher!r} does not load: {error}", fix="install it") from error
    except AttributeError as error:
        raise InputError(f"{module} has no {name}", expected="the class of a cluster") from error
    if not (isinstance(made, type) and issubclass(made, Cluster)):
        raise InputError(
            f"launcher {workers.launcher!r} is no class of a cluster", expected="dask_jobqueue:SLURMCluster"
        )
    try:
        return made(**workers.options)
    except Exception as error:  # of any library, for options that it does not take
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"launcher {workers.launcher!r} does not start: {said[:200]}", expected="its options"
        ) from error
