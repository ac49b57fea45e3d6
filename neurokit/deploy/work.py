"""The steps of a deployment: capture once, lower, score and price; each is done at most once for the same inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit import pipeline
from neurokit.artifact import Artifact, file_info
from neurokit.bench.data import save_labelled
from neurokit.data.files import as_sample
from neurokit.data.labelled import Labelled, read_labelled
from neurokit.data.sets import SampleFiles
from neurokit.deploy.plan import CALIBRATION_SAMPLES, DeployOptions, Form, Plan, said
from neurokit.deploy.store import Store, key_of
from neurokit.errors import NeurokitError
from neurokit.soundness import digest_of
from neurokit.spec import ModelSpec
from neurokit.target import TARGETS

if TYPE_CHECKING:
    from torch import nn

    from neurokit.capture import Captured


class Work:
    """What the steps of one deployment share; heavy things are made when a step first needs them.

    Attributes:
        spec: The model.
        files: The data.
        plan: What will be done.
        options: The user's choices.
        store: Results by their inputs.
        model: What tells the model from another: its definition and weights.
    """

    def __init__(
        self, spec: ModelSpec, module: nn.Module, files: SampleFiles, plan: Plan, options: DeployOptions, store: Store
    ) -> None:
        self.spec, self.files, self.plan, self.options, self.store = spec, files, plan, options, store
        ports = [(port.name, list(map(str, port.shape)), port.dtype, port.low, port.high) for port in spec.inputs]
        task = None if spec.task is None else asdict(spec.task)
        before = [asdict(step) for step in spec.preprocess], spec.options.get("preprocess_in_graph", "")
        known = {"weights": digest_of(module), "ports": ports, "task": task, "source": _source(spec)}
        self.model = key_of("model", {**known, "T": spec.time_steps, "preprocess": before})

    @cached_property
    def data(self) -> str:
        """What tells the data from other data."""
        return self.files.digest(self.options.samples)

    @cached_property
    def captured(self) -> Captured:
        """The model as one program."""
        return pipeline.capture(self.spec)

    @cached_property
    def calibration(self) -> SampleFiles:
        """Where the samples to calibrate on come from."""
        given = self.options.calibration
        return self.files if given is None else SampleFiles.find(given, self.spec, self.spec.time_steps)

    @cached_property
    def calibration_count(self) -> int:
        """How many samples ranges are chosen on."""
        return min(self.calibration.count, CALIBRATION_SAMPLES)

    @cached_property
    def labelled(self) -> Path | None:
        """The labelled samples in one file that other processes and devices read, or None without labels."""
        if not self.plan.labelled:
            return None
        place = self.store.folder / "steps" / f"data-{key_of('data', self._data_key)}.npz"
        if not place.is_file():
            partial = place.with_name(f".{place.name}")
            save_labelled(partial.with_suffix(".npz"), self.files.labelled(self.options.samples))
            partial.with_suffix(".npz").replace(place)
        return place

    @property
    def _data_key(self) -> dict[str, Any]:
        return {"data": self.data, "model": self.model}

    def labelled_data(self) -> Labelled:
        """Returns the labelled samples."""
        assert self.labelled is not None
        return read_labelled(self.labelled)

    def source_score(self) -> dict[str, Any] | None:
        """Returns what the task measures of the model itself, or None without labels."""
        if not self.plan.labelled:
            return None
        from neurokit.tasks.evaluate import source_scores

        return dict(
            self.store.step("score", self._data_key, lambda key: source_scores(self.captured, self.labelled_data()))
        )

    def lower(self, form: Form) -> dict[str, Any]:
        """Lowers a form and verifies it; returns its folder and verdict, or why there is none."""
        calibrated = TARGETS.get(form.target).info.quantised or form.numerics == "exact"
        inputs: dict[str, Any] = {"model": self.model, "target": form.target, "numerics": form.numerics}
        if calibrated:
            inputs["calibration"] = self.calibration.digest(self.calibration_count)
        return dict(self.store.step("lower", inputs, lambda key: self._lower(form, key, calibrated), self._whole))

    def _lower(self, form: Form, key: str, calibrated: bool) -> dict[str, Any]:
        name = f"{form.name.replace(' ', '-')}-{key[:8]}"
        place = self.store.folder / "artifacts" / name
        weights = self.options.weights
        more: dict[str, Any] = {"calibration": self.calibration.inputs(self.calibration_count)} if calibrated else {}
        try:
            artifact = pipeline.lower(
                self.captured,
                form.target,
                place,
                numerics=form.numerics,
                force=True,
                weights_sha256=file_info(weights).sha256 if weights and weights.is_file() else None,
                **more,
            )
        except NeurokitError as error:
            return {"failed": said(error)}
        except Exception as error:  # a runtime's own exceptions have no common base; the row says which
            return {"failed": said(error)}
        return {"artifact": f"artifacts/{name}", **_verdict(artifact)}

    def _whole(self, result: Mapping[str, Any]) -> bool:
        """Returns whether a kept form is still there; one that failed is tried again only by choice."""
        if "failed" in result:
            return True
        try:
            Artifact.load(self.store.folder / result["artifact"])
        except NeurokitError:
            return False
        return True

    def price(self) -> list[dict[str, Any]]:
        """Prices the samples on the chips; returns the energy report as JSON with what is to be known of it."""
        if not self.plan.chips:
            return []
        rates = 0 if self.spec.spiking else self.options.rate_steps
        inputs = {**self._data_key, "chips": list(self.plan.chips), "rates": rates}
        return list(self.store.step("energy", inputs, self._price))

    def _price(self, key: str) -> list[dict[str, Any]]:
        notes: list[str] = []
        try:
            captured, score = self._spiking(notes)
            spec = captured.spec
            chosen = self.files.chosen(self.options.samples)
            parts = [part for at, (_, part, _) in enumerate(self.files.arrays()) if at in set(chosen)]
            samples = [as_sample(part, spec, spec.time_steps) for part in parts]
            report = pipeline.simulate(captured, samples, list(self.plan.chips))
        except NeurokitError as error:
            return [{"failed": said(error)}]
        return [{"report": report.to_json(), "score": score, "notes": notes, "time_steps": spec.time_steps}]

    def _spiking(self, notes: list[str]) -> tuple[Captured, dict[str, Any] | None]:
        """Returns the model as a spiking one, and its score: of a network of ReLUs that of its rates."""
        if self.spec.spiking:
            return self.captured, self.source_score()
        from neurokit.tasks.evaluate import source_scores
        from neurokit.transforms.rate_coding.convert import rate_coded

        steps = self.options.rate_steps
        inputs = self.calibration.inputs(self.calibration_count)
        made = rate_coded(self.spec, steps, inputs if not isinstance(inputs, dict) else next(iter(inputs.values())))
        notes.append(made.summary())
        captured = pipeline.capture(made.spec)
        return captured, source_scores(captured, self.labelled_data()) if self.plan.labelled else None


def _verdict(artifact: Artifact) -> dict[str, Any]:
    parity = artifact.manifest.parity or {}
    return {
        "parity": str(parity.get("verdict", "not verified")),
        "notes": [str(n) for n in parity.get("notes", ())][:4],
    }


def _source(spec: ModelSpec) -> str:
    """Returns a sum over the file that defines a model, where it is one."""
    path = Path(spec.source.partition(":")[0])
    return file_info(path).sha256 if path.suffix and path.is_file() else spec.source
