"""The faults by name; most at several magnitudes. Each edits a graph, or raises NotApplicableError."""

from tests.mutation.faults import given, neurons, siblings, single, wiring  # registering them
from tests.mutation.faults.registry import FAULTS

__all__ = ["FAULTS", "given", "neurons", "siblings", "single", "wiring"]
