"""scikit-learn, where the metrics of a task need it: imported when asked, missing in one line."""

from __future__ import annotations

from types import ModuleType

from neurokit.errors import MissingRuntimeError


def sklearn_metrics(task: str) -> ModuleType:
    """Returns scikit-learn's metrics.

    Raises:
        MissingRuntimeError: If it is not installed.
    """
    try:
        from sklearn import metrics
    except ImportError as error:
        raise MissingRuntimeError(
            f"the metrics of {task} need scikit-learn", fix='pip install "neurokit-edge[demo]"'
        ) from error
    return metrics
