"""What verification and measurement found: frozen records that survive a trip through JSON."""

from neurokit.reports._base import SCHEMA_VERSION
from neurokit.reports.fidelity import Comparison, Fidelity
from neurokit.reports.latency import LatencyReport, LatencyVerdict
from neurokit.reports.parity import LayerParity, ParityReport, ParityVerdict, SimulatorParity, WayParity

__all__ = [
    "SCHEMA_VERSION",
    "Comparison",
    "Fidelity",
    "LatencyReport",
    "LatencyVerdict",
    "LayerParity",
    "ParityReport",
    "ParityVerdict",
    "SimulatorParity",
    "WayParity",
]
