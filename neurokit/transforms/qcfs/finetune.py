"""Training of a converted network: its weights and scales, taught by the labels and by the network it came from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional
from torch import Tensor, fx, nn

from neurokit.errors import InputError
from neurokit.transforms.common.graph import set_norms_training
from neurokit.transforms.qcfs.recorded import Recorded

Step = Callable[[Tensor, Tensor | None], None]

_LEAST_SCALE = 1e-4


@dataclass(frozen=True)
class Training:
    """How to train.

    Attributes:
        epochs: Passes with activations of L levels.
        spiking_epochs: Passes as the spiking network.
        learning_rate: Largest rate of AdamW; see `one_cycle`.
        batch: Samples a step.
        seed: Of the order of the samples, and of what is mirrored.
        mirror: Whether half of the images are mirrored, anew in each epoch.
        augment: Changes a batch of inputs, in the place of mirroring, or None.
        device: Where to train ("cuda").
        seconds: Largest wall time of the training with levels, or None. The rate falls to nothing by then, so the
            weights are usable; but how far they came depends on the machine.
        spiking_seconds: The same of the training as the spiking network.
        recorded: Whether steps are replayed as a CUDA graph (`recorded.py`); the last batch of an epoch, where it is
            smaller, is left out then.
    """

    epochs: int = 4
    spiking_epochs: int = 4
    learning_rate: float = 1e-3
    batch: int = 64
    seed: int = 0
    mirror: bool = False
    augment: Callable[[Tensor], Tensor] | None = None
    device: str = "cpu"
    seconds: float | None = None
    spiking_seconds: float | None = None
    recorded: bool = False

    def __post_init__(self) -> None:
        given = (self.learning_rate, _limit(self.seconds), _limit(self.spiking_seconds))
        if min(self.epochs, self.spiking_epochs) < 0 or self.batch < 1 or not all(number > 0 for number in given):
            raise InputError(
                f"training with epochs {self.epochs} and {self.spiking_epochs}, batch {self.batch}, rate "
                f"{self.learning_rate}",
                expected="epochs of 0 or more, and positive numbers",
            )
        if self.recorded and not self.device.startswith("cuda"):
            raise InputError(f"training recorded on {self.device!r}", expected="a GPU", fix="leave recorded away")


def train(
    net: nn.Module,
    graph: fx.GraphModule,
    teacher: nn.Module,
    data: tuple[Tensor, Tensor | None],
    how: Training,
    epochs: int,
    time_steps: int | None,
) -> str:
    """Trains all of a network's parameters; returns a line on what was done.

    The loss is the divergence from the teacher's distribution (Hinton et al., 2015, temperature 1), and with labels
    the cross entropy beside it.

    Args:
        net: The network, changed in place.
        graph: The graph in it, whose normalisations follow the batches meanwhile.
        teacher: The network that it came from.
        data: Inputs `[N, *shape]`, and labels `[N]` or None.
        how: Rate, batch, seed.
        epochs: Passes over the data.
        time_steps: T of a spiking network, which is shown each input T times; None for one without time.
    """
    x, y = (None if part is None else part.to(how.device) for part in data)
    assert x is not None
    net, teacher = net.to(how.device), teacher.to(how.device)
    start = time.perf_counter()
    net.requires_grad_(True)
    set_norms_training(graph, True)
    with torch.random.fork_rng():
        torch.manual_seed(how.seed)
        shown = _fit(net, teacher, x, y, how, epochs, time_steps)
    set_norms_training(graph, False)
    net.requires_grad_(False).cpu()
    teacher.cpu()
    form = "with activations of few levels" if time_steps is None else f"as a spiking network of {time_steps} steps"
    return f"trained {form}: {shown / len(x):.3g} epochs of {len(x)} samples, {time.perf_counter() - start:.0f} s"


def one_cycle(share: float, warm: float = 0.1) -> float:
    """Returns the learning rate's share of its largest, where a share of a training is done (Smith and Topin, 2019).

    It rises from 1/25 over the first part and falls to almost nothing, both along a cosine: torch's OneCycleLR with
    its default factors, for a share of the work or of the time instead of a number of steps.

    Args:
        share: How much of the training is done, 0 to 1.
        warm: The part in which it rises.
    """
    low, end = 1 / 25, 1 / 25e4
    if share < warm:
        return low + (1 - low) * (1 - math.cos(math.pi * share / warm)) / 2
    return end + (1 - end) * (1 + math.cos(math.pi * min((share - warm) / (1 - warm), 1.0))) / 2


def _fit(
    net: nn.Module,
    teacher: nn.Module,
    x: Tensor,
    y: Tensor | None,
    how: Training,
    epochs: int,
    time_steps: int | None,
) -> int:
    """Trains for the epochs or the seconds, whichever end first; returns how many samples were shown."""
    rate = torch.tensor(how.learning_rate, device=x.device) if how.recorded else how.learning_rate
    optimiser = torch.optim.AdamW(net.parameters(), rate, weight_decay=0.0, capturable=how.recorded)
    seconds = _limit(how.seconds if time_steps is None else how.spiking_seconds)
    step: Step = partial(_step, net, teacher, optimiser, time_steps)
    begun, shown = time.perf_counter(), 0
    for _ in range(epochs):
        for rows in torch.randperm(len(x), device=x.device).split(how.batch):
            share = max(shown / (epochs * len(x)), (time.perf_counter() - begun) / seconds)
            if share >= 1:
                return shown
            shown += len(rows)
            if how.recorded and len(rows) < min(how.batch, len(x)):
                continue
            _set_rate(optimiser, how.learning_rate * one_cycle(share))
            given, labels = _varied(x[rows], how), None if y is None else y[rows]
            if how.recorded and not isinstance(step, Recorded):
                step = Recorded(step, given, labels)
            step(given, labels)
    return shown


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _limit(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds


def _step(
    net: nn.Module,
    teacher: nn.Module,
    optimiser: torch.optim.Optimizer,
    time_steps: int | None,
    given: Tensor,
    labels: Tensor | None,
) -> None:
    with torch.no_grad():
        wanted = teacher(given).log_softmax(1)
    scores = net(given if time_steps is None else given.unsqueeze(0).expand(time_steps, *given.shape))
    loss = F.kl_div(scores.log_softmax(1), wanted, reduction="batchmean", log_target=True)
    loss = loss if labels is None else loss + F.cross_entropy(scores, labels)
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimiser.step()
    functional.reset_net(net)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("scale"):
                parameter.clamp_(min=_LEAST_SCALE)


def _varied(x: Tensor, how: Training) -> Tensor:
    if how.augment is not None:
        return how.augment(x)
    if not how.mirror:
        return x
    chosen = torch.rand(len(x), device=x.device) < 0.5
    return torch.where(chosen.reshape(-1, *(1,) * (x.dim() - 1)), x.flip(-1), x)
