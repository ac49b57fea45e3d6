"""`nk.train`: from a model and labelled images to weights and a record of how good they are."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from neurokit.atomic import write_vouched
from neurokit.errors import InputError, OutputError
from neurokit.loading import load
from neurokit.quantity import Quantity
from neurokit.reports.training import TrainingReport
from neurokit.soundness import preprocessing_said
from neurokit.spec import ModelSpec
from neurokit.training.libraries import has_tensorboard, require
from neurokit.training.places import CHECKPOINT, RECORD, WEIGHTS, is_begun, whole_or_gone
from neurokit.training.recipe import Recipe, recipe_of

if TYPE_CHECKING:
    from neurokit.training.lightning_module import Training
    from neurokit.training.sources import Source

Precision = Literal["fp32", "fp16", "bf16"]

_PRECISIONS = {"fp32": "32-true", "fp16": "16-mixed", "bf16": "bf16-mixed"}
_LIBRARIES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics")
_MOST_DEVICES = 1024


def train(
    model: str | ModelSpec,
    data: Any,
    out: str | Path,
    *,
    recipe: str | Recipe = "published",
    seed: int = 0,
    precision: Precision = "fp32",
    devices: int = 1,
    resume: bool = False,
    force: bool = False,
    cache: bool = True,
    reading: Callable[[int, int], None] | None = None,
    progress: Callable[[int, int, Mapping[str, float]], None] | None = None,
    **settings: Any,
) -> TrainingReport:
    """Trains a classifier and writes its weights, a record and what is needed to go on later.

    Args:
        model: A model's specification, or what `neurokit.load` takes. It begins with the weights that the
            specification builds, so with `load(name, weights=FILE)` it is fine-tuned; with `load(name, preprocess=...)`
            it learns on images that are prepared so.
        data: "puppets" (synthetic), a folder of images, or two datasets; see `neurokit.training.sources.open_source`.
        out: Folder for weights.safetensors, record.json, last.ckpt and TensorBoard's files.
        recipe: "published" (HaSPeR's, for networks with ImageNet's weights), "scratch" (for those that begin with
            nothing), or a `Recipe`.
        seed: Seed of all chance. The same seed on the same machine gives the same weights, also in several pieces.
        precision: "fp32", or mixed "fp16" (on GPUs) or "bf16".
        devices: How many GPUs, or processes without GPU; more than one train the same network on different images.
        resume: Whether to go on from `out`/last.ckpt with the same settings.
        force: Whether to replace an earlier training in `out`.
        cache: Whether decoded images are kept for the next time.
        reading: Called with how many image files are read, and of how many.
        progress: Called after every epoch with its number, how many there are, and its metrics.
        settings: Settings of the recipe to change, such as `epochs=10` (`neurokit.training.recipe.Recipe`).

    Returns:
        The record, as it is written to record.json.

    Raises:
        InputError: If a setting, the data or the model do not fit.
        OutputError: If `out` holds something else, or an earlier training without `force` or `resume`.
        MissingRuntimeError: If Lightning or torchmetrics is not installed.
        KeyboardInterrupt: If it is interrupted; `out`/last.ckpt then holds the last whole epoch, for `resume`.
    """
    chosen = recipe_of(recipe, settings)
    _check(seed, precision, devices)
    folder = Path(out)
    _check_place(folder, resume, force)
    require()
    from neurokit.training.resumption import check_resumable
    from neurokit.training.sources import open_source

    spec = load(model)
    if resume:
        check_resumable(folder / CHECKPOINT, chosen, seed, preprocessing_said(spec))
    source = open_source(data, spec, seed, cache, reading)
    with whole_or_gone(folder):
        module, report = _fit(spec, source, chosen, folder, seed, precision, devices, resume, progress)
        if module.trainer.is_global_zero:
            _save(module, report, folder)
    return report


def _check(seed: int, precision: str, devices: int) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise InputError(f"seed is {seed!r}", expected="a whole number from 0 to 4294967295")
    if precision not in _PRECISIONS:
        raise InputError(f"precision is {precision!r}", expected=" or ".join(_PRECISIONS))
    if isinstance(devices, bool) or not isinstance(devices, int) or not 1 <= devices <= _MOST_DEVICES:
        raise InputError(f"devices is {devices!r}", expected=f"a whole number from 1 to {_MOST_DEVICES}")


def _check_place(folder: Path, resume: bool, force: bool) -> None:
    """Refuses to write over something, before any work."""
    if resume:
        if not (folder / CHECKPOINT).is_file():
            raise InputError(f"{folder} holds no {CHECKPOINT} to go on from", expected="the folder of a training")
        return
    if not folder.exists():
        return
    ours = folder.is_dir() and any((folder / name).is_file() for name in (RECORD, CHECKPOINT))
    if not folder.is_dir() or not (ours or is_begun(folder)):
        raise OutputError(f"{folder} is no training of neurokit", expected="a new folder", fix="give another one")
    if ours and not force:
        raise OutputError(f"{folder} holds a training already", fix="--resume to go on, --force to begin again")


def _fit(
    spec: ModelSpec,
    source: Source,
    recipe: Recipe,
    folder: Path,
    seed: int,
    precision: Precision,
    devices: int,
    resume: bool,
    progress: Callable[[int, int, Mapping[str, float]], None] | None,
) -> tuple[Training, TrainingReport]:
    import torch

    from neurokit.training.augment import Augmented, augmentation
    from neurokit.training.lightning_module import Training
    from neurokit.training.network import Classifier
    from neurokit.training.resumption import cannot_go_on, restoring
    from neurokit.training.trainer import History, events_unwritten_unsaid, passing_on_ctrl_c, trainer_of

    gpus = torch.cuda.device_count()
    if precision == "fp16" and not gpus:
        raise InputError("precision fp16 needs a GPU", expected="fp32 or bf16 here")
    if gpus and devices > gpus:
        raise InputError(f"devices is {devices}, this machine has {gpus} GPUs", expected=f"at most {gpus}")
    change = augmentation(recipe.augmentation, source.shadows)
    parts = Augmented(source.train.x, source.train.y, change), Augmented(source.val.x, source.val.y)
    with torch.random.fork_rng(devices=range(gpus)):
        torch.manual_seed(seed)
        # Convolutions on a CPU, depthwise ones most of all, are faster so (1.6 times for a small MobileNetV2).
        classifier = Classifier(spec).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        classes = _outputs(classifier, source, spec)
        module = Training(classifier, recipe, *parts, classes, seed, preprocessing_said(spec))
        history = History(progress, recipe.epochs)
        kind = "gpu" if gpus else "cpu"
        trainer = trainer_of(folder, recipe.epochs, _PRECISIONS[precision], devices, kind, history, has_tensorboard())
        start = time.perf_counter()
        module.train()
        checkpoint = folder / CHECKPOINT if resume else None
        with events_unwritten_unsaid(), passing_on_ctrl_c(), restoring(checkpoint, lambda: history.restoring):
            trainer.fit(module, ckpt_path=None if checkpoint is None else str(checkpoint))
        if checkpoint is not None and not history.rows:
            raise cannot_go_on(checkpoint, "it leaves no epoch to train")
        seconds = time.perf_counter() - start
    where = f"{devices} x {torch.cuda.get_device_name() if gpus else platform.processor() or platform.machine()}"
    report = TrainingReport(
        model=spec.name,
        folder=str(folder),
        weights=WEIGHTS,
        train_data=source.train.name,
        val_data=source.val.name,
        synthetic=source.synthetic,
        train_images=len(source.train.y),
        val_images=len(source.val.y),
        classes=tuple(source.classes),
        recipe=asdict(recipe),
        seed=seed,
        epochs=trainer.current_epoch,
        precision=precision,
        devices=where,
        metrics=_metrics(module),
        confusion=tuple(tuple(int(n) for n in row) for row in module.results["confusion"].tolist()),
        history=tuple(history.rows),
        unreadable=source.unreadable,
        seconds=seconds,
        versions={name: version(name) for name in _LIBRARIES},
        preprocess=preprocessing_said(spec),
    )
    return module, report


def _outputs(classifier: Any, source: Source, spec: ModelSpec) -> int:
    """Returns how many classes the network answers with, by one run.

    Raises:
        InputError: If the data have a class that it cannot answer.
    """
    import torch

    classifier.eval()
    with torch.no_grad():
        y = classifier(source.train.x[:2])
    most = int(max(source.train.y.max(), source.val.y.max()))
    if y.dim() != 2 or most >= y.shape[1]:
        raise InputError(
            f"model {spec.name!r} gives {list(y.shape[1:])} numbers an image, the data have {most + 1} classes",
            expected="one number a class",
        )
    return int(y.shape[1])


def _metrics(module: Training) -> dict[str, Quantity]:
    from neurokit.tasks.intervals import wilson

    confusion = module.results["confusion"]
    count = int(confusion.sum())
    found = {}
    for name, value in module.results.items():
        if name.startswith("top_"):
            found[name] = wilson(round(float(value) * count), count, "validation images")
        elif name != "confusion":
            found[name] = Quantity.exact(float(value), "", "measured", f"torchmetrics {version('torchmetrics')}")
    return found


def _save(module: Training, report: TrainingReport, folder: Path) -> None:
    """Writes the weights and the record, which speaks of them."""
    from safetensors.torch import save

    state = {name: value.detach().cpu().contiguous() for name, value in module.classifier.saved.state_dict().items()}
    record = json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n"
    write_vouched(folder / RECORD, record.encode(), {WEIGHTS: save(state)})
