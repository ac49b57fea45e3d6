"""The faults by name; most at several magnitudes. Each edits a graph, or raises NotApplicableError."""

from tests.mutation.faults import neurons, wiring  # registering them, in this order
from tests.mutation.faults.registry import FAULTS
from tests.mutation.faults.siblings import MORE

__all__ = ["FAULTS", "MORE", "neurons", "wiring"]
