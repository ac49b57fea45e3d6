"""The transform `qcfs`: a trained network of ReLUs as one of IF neurons over few steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neurokit.errors import InputError, Unsupported
from neurokit.spec import ModelSpec
from neurokit.transforms.common.refusals import MOST_STEPS, refusals
from neurokit.transforms.transform import Option, Transformed, TransformInfo, register_transform

_TRAINING = ("epochs", "spiking_epochs", "learning_rate", "mirror", "seed")


@register_transform
class FewSteps:
    """Each ReLU becomes IF neurons whose mean over few steps is its value in as many levels.

    Normalisations are folded, thresholds are balanced on calibration data, channel by channel where weights can hold
    them, and the membrane begins at half the threshold. With labelled data the network is trained on: first with
    activations of L levels, then as the spiking network. docs/spiking-puppets.md has what either gives.
    """

    info = TransformInfo(
        name="qcfs",
        summary="a trained network of ReLUs as IF neurons over few steps: calibrated, and trained where data are given",
        source="Bu et al., Optimal ANN-SNN Conversion, ICLR 2022; Li et al., A Free Lunch From ANN, ICML 2021",
        options={
            "time_steps": Option(4, "T, 1 to 1024"),
            "levels": Option(0, "levels L of the activations that thresholds are balanced for, >= 0; 0: T"),
            "calibration": Option(
                "", "file of inputs [N, *shape] (.npy, or .npz with x); default: the model's example"
            ),
            "train": Option("", ".npz file with x [N, *shape] and y [N] to train on; default: no training"),
            "epochs": Option(4, "passes over it with activations of L levels, >= 0"),
            "spiking_epochs": Option(4, "passes over it as the spiking network, >= 0"),
            "learning_rate": Option(1e-3, "largest learning rate, > 0"),
            "mirror": Option(False, "true to mirror half of the images, anew in each epoch"),
            "keep": Option("", "file (.safetensors) of the converted weights: read where it exists, else written"),
            "seed": Option(0, "of all chance in training"),
        },
    )

    def check(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Sequence[Unsupported]:
        """Returns why the model cannot be converted, as far as its specification tells."""
        if not 1 <= settings["time_steps"] <= MOST_STEPS or settings["levels"] < 0:
            raise InputError(
                f"transform 'qcfs': time_steps={settings['time_steps']}, levels={settings['levels']}",
                expected=f"time_steps from 1 to {MOST_STEPS}, levels of 0 or more",
            )
        return refusals(spec)

    def apply(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Transformed:
        """Converts the network, trains it where data are given, and states its error against the source."""
        from neurokit.transforms.common.files import read_inputs, read_training
        from neurokit.transforms.qcfs.convert import converted
        from neurokit.transforms.qcfs.finetune import Training

        training = Training(**{key: settings[key] for key in _TRAINING})
        done = converted(
            spec,
            settings["time_steps"],
            read_inputs(spec, settings["calibration"]),
            levels=settings["levels"],
            data=read_training(spec, settings["train"]),
            training=training,
            keep=Path(settings["keep"]) if settings["keep"] else None,
        )
        return Transformed(done.spec, (*done.notes, done.summary()))
