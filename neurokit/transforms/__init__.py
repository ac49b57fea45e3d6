"""Transforms: from one model specification to another."""

from neurokit.transforms.transform import TRANSFORMS as TRANSFORMS
from neurokit.transforms.transform import Step as Step
from neurokit.transforms.transform import Transform as Transform
from neurokit.transforms.transform import register_transform as register_transform
from neurokit.transforms.transform import transform as transform
