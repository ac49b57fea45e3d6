"""NIR, the interchange graph of neuromorphic tools; see neurokit/export/nir_target.py."""

from neurokit.export.nir_target import NirTarget
from neurokit.target import register_target

register_target(NirTarget)
