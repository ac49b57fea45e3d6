"""The Lightning side: loss, optimiser, schedule and metrics of a classifier."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassF1Score

from neurokit.training.augment import Augmented, as_it_is
from neurokit.training.network import Classifier
from neurokit.training.recipe import Recipe
from neurokit.training.restored import fault_of_training, fault_of_weights
from neurokit.training.resumption import cannot_go_on

NOTE = "neurokit"  # key in a checkpoint
_SEEDS = 1_000_003  # a prime, so that neighbouring seeds share no stream


def metrics_of(classes: int) -> MetricCollection:
    """Returns top-1, top-2 and top-3 accuracy over all samples, macro F1, and the confusion matrix."""
    tops = {
        f"top_{k}": MulticlassAccuracy(classes, top_k=k, average="micro") for k in (1, 2, 3) if k == 1 or k < classes
    }
    return MetricCollection(
        {
            **tops,
            "macro_f1": MulticlassF1Score(classes, average="macro"),
            "confusion": MulticlassConfusionMatrix(classes),
        },
        # Groups are found by equal counts in the first batch, and top-1 and top-2 may happen to be equal there.
        compute_groups=False,
    )


class Training(pl.LightningModule):
    """Trains one classifier; chance depends on seed, epoch, step and image alone, so runs can be resumed."""

    def __init__(
        self,
        classifier: Classifier,
        recipe: Recipe,
        train: Augmented,
        val: Augmented,
        classes: int,
        seed: int,
        preprocess: str = "",
    ) -> None:
        super().__init__()
        self.classifier, self.recipe, self.seed, self.preprocess = classifier, recipe, seed, preprocess
        self.train_set, self.val_set = train, val
        self.metrics = metrics_of(classes)
        self.results: dict[str, torch.Tensor] = {}
        self._checkpoint: dict[str, Any] = {}

    def train_dataloader(self) -> DataLoader[Any]:
        """Returns shuffled batches; asked for at the start of each epoch."""
        # Shuffled here: Lightning may begin to read a loader twice, which would move a sampler's generator on.
        part = self.train_set.shuffled(self.seed, self.current_epoch)
        size = min(self.recipe.batch, len(part))
        drop = len(part) % size == 1  # a last batch of one image has no statistics for batch normalisation
        return DataLoader(part, size, drop_last=drop, collate_fn=as_it_is)

    def val_dataloader(self) -> DataLoader[Any]:
        """Returns the validation set in order."""
        return DataLoader(self.val_set, max(self.recipe.batch, 64), collate_fn=as_it_is)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        """Returns the cross-entropy of a batch."""
        images, labels = batch
        # What is random inside the network depends on the step alone, so that a run in pieces is one run.
        torch.manual_seed(self.seed * _SEEDS + self.global_step * self.trainer.world_size + self.global_rank)
        loss = F.cross_entropy(self.classifier(images), labels, label_smoothing=self.recipe.label_smoothing)
        self.log("loss", loss, on_epoch=True, on_step=False, batch_size=len(labels))
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> None:
        """Adds a batch to the metrics."""
        images, labels = batch
        self.metrics.update(self.classifier(images).float(), labels)

    def on_validation_epoch_end(self) -> None:
        """Computes the metrics, over all processes."""
        self.results = {name: value.detach().cpu() for name, value in self.metrics.compute().items()}
        self.metrics.reset()
        for name, value in self.results.items():
            if value.dim() == 0:
                self.log(name, value)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Notes what the training was, so that another one does not go on from it."""
        checkpoint[NOTE] = {**asdict(self.recipe), "seed": self.seed, "preprocess": self.preprocess}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses weights that are not this network's.

        Raises:
            InputError: Names the first that does not fit.
        """
        if fault := fault_of_weights(checkpoint.get("state_dict"), self.state_dict()):
            raise cannot_go_on(self.trainer.ckpt_path, fault)
        # The last checkpoint is written over in any case; what another file says of it could have a file removed.
        checkpoint["callbacks"] = {}
        self._checkpoint = checkpoint

    def on_fit_start(self) -> None:
        """Refuses a checkpoint whose optimiser, schedule or loops are not this training's; they come next.

        Raises:
            InputError: Names the first that does not fit.
        """
        checkpoint, self._checkpoint = self._checkpoint, {}
        fault = fault_of_training(checkpoint, self.trainer) if checkpoint else ""
        if fault:
            raise cannot_go_on(self.trainer.ckpt_path, fault)

    def configure_optimizers(self) -> Any:
        """Returns the recipe's optimiser and schedule."""
        recipe, weights = self.recipe, [p for p in self.classifier.parameters() if p.requires_grad]
        optimiser: torch.optim.Optimizer
        if recipe.optimiser == "sgd":
            optimiser = torch.optim.SGD(weights, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)
        else:
            optimiser = torch.optim.AdamW(weights, recipe.lr, weight_decay=recipe.weight_decay)
        if recipe.schedule == "step":
            step = torch.optim.lr_scheduler.StepLR(optimiser, recipe.step_epochs, recipe.gamma)
            return {"optimizer": optimiser, "lr_scheduler": {"scheduler": step, "interval": "epoch"}}
        total = max(int(self.trainer.estimated_stepping_batches), 2)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, total_steps=total)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}
