"""What libraries log of a refusal, which the error says in better words, or of a default that is meant."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

# Loggers, and how their messages begin. All else that libraries and users log is left alone.
_UNSAID = {
    # An operation that does not fit its input: a traceback of some 20 lines before the error, which names it.
    "torch._subclasses.fake_tensor": ("failed while attempting to run meta for", "fake tensor raised TypeError"),
    # An inequality of sizes that cannot be solved, and then is kept as it is; a size that depends on values.
    "torch.fx.experimental.symbolic_shapes": ("Failed to reduce inequalities", "failed during evaluate_expr"),
    # A list of no numbers is taken for one of whole numbers, as it is meant.
    "onnx_ir._convenience": ("Attribute type is ambiguous because it is an empty sequence",),
}
# Of torch's own tree specs, whenever a program is copied: nothing that a user wrote calls it.
_UNWARNED = r"`isinstance\(treespec, LeafSpec\)` is deprecated"
LOG = logging.getLogger("neurokit.libraries")  # who sets it to DEBUG is shown everything


@contextmanager
def libraries_unsaid() -> Iterator[None]:
    """Keeps those messages off the screen and out of logs, unless the logger `neurokit.libraries` listens to DEBUG."""
    with ExitStack() as stack:
        for name, beginnings in _UNSAID.items() if LOG.level != logging.DEBUG else ():
            stack.enter_context(_without(name, beginnings))
        if LOG.level != logging.DEBUG:
            stack.enter_context(_unwarned(_UNWARNED))
        yield


@contextmanager
def _unwarned(message: str) -> Iterator[None]:
    """Keeps one warning unsaid; whatever filters a user sets meanwhile, and every other warning, stay as they are."""
    known = list(warnings.filters)
    warnings.filterwarnings("ignore", message, FutureWarning)
    ours = warnings.filters[0]
    try:
        yield
    finally:
        if ours not in known and ours in warnings.filters:
            warnings.filters.remove(ours)  # type: ignore[attr-defined]


@contextmanager
def _without(name: str, beginnings: tuple[str, ...]) -> Iterator[None]:
    log = logging.getLogger(name)

    def said(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(beginnings)

    log.addFilter(said)
    try:
        yield
    finally:
        log.removeFilter(said)
