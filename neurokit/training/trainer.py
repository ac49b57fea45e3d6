"""Lightning's trainer, set up: devices, precision, checkpoints, TensorBoard, and a row an epoch."""

from __future__ import annotations

import io
import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO

from neurokit.atomic import write_bytes
from neurokit.disk_space import FULL

Progress = Callable[[int, int, Mapping[str, float]], None]
_EVENTS_S = 2  # seconds after which TensorBoard's events are written at the latest


class History(pl.Callback):
    """Keeps every epoch's metrics and loss, and passes them on.

    Attributes:
        rows: One an epoch of this run.
        restoring: Whether a checkpoint is being restored: from setting up to the first step.
    """

    def __init__(self, progress: Progress | None, epochs: int) -> None:
        self.rows: list[dict[str, float]] = []
        self.restoring = False
        self._progress, self._epochs = progress, epochs

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Is called before a checkpoint is restored."""
        self.restoring = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Is called when it has been."""
        self.restoring = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Adds a row; validation has been done by now."""
        row = {"epoch": trainer.current_epoch + 1.0}
        row |= {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.rows.append(row)
        if self._progress and trainer.is_global_zero:
            self._progress(trainer.current_epoch + 1, self._epochs, row)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it, so that one file is whole whenever a process is killed."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Replaces a checkpoint.

        Raises:
            OutputError: If it cannot be written.
        """
        held = io.BytesIO()  # where writing to a file fails, PyTorch's writer of archives ends the process
        torch.save(checkpoint, held)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(Path(path), held.getbuffer())


@contextmanager
def events_unwritten_unsaid() -> Iterator[None]:
    """Keeps a traceback off the screen: of TensorBoard's thread on a full disk, of which the next line to it tells."""
    usual = threading.excepthook

    def said(given: threading.ExceptHookArgs) -> None:
        full = isinstance(given.exc_value, OSError) and given.exc_value.errno in FULL
        if not (full and type(given.thread).__module__.startswith("tensorboard.")):
            usual(given)

    threading.excepthook = said
    try:
        yield
    finally:
        threading.excepthook = usual


@contextmanager
def passing_on_ctrl_c() -> Iterator[None]:
    """Raises KeyboardInterrupt where somebody interrupts; Lightning would end the process and ignore the next one."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def trainer_of(
    folder: Path,
    epochs: int,
    precision: Any,
    devices: int,
    kind: str,
    history: History,
    tensorboard: bool,
) -> pl.Trainer:
    """Returns a trainer that keeps its last checkpoint in a folder.

    Args:
        folder: For checkpoint and TensorBoard's files.
        epochs: How many epochs, those before a resumption included.
        precision: In Lightning's words.
        devices: How many.
        kind: "gpu" or "cpu".
        history: Takes the metrics.
        tensorboard: Whether to write for TensorBoard.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # it tells of its cloud at every start
    for text in (".*does not have many workers.*", ".*The number of training batches.*", ".*Checkpoint directory.*"):
        warnings.filterwarnings("ignore", text)  # images are in memory; folders are as they should be
    # What is ended in between may leave its writer unwoken: then it is waited for until it writes next.
    events = TensorBoardLogger(folder, name="tensorboard", version="", flush_secs=_EVENTS_S) if tensorboard else False
    last = ModelCheckpoint(folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
    return pl.Trainer(
        accelerator=kind,
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        precision=precision,
        max_epochs=epochs,
        default_root_dir=folder,
        callbacks=[last, history],
        logger=events,
        plugins=[WholeCheckpoints()],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,  # each epoch's order depends on its number alone
        benchmark=False,
    )
