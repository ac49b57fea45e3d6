"""Small tasks that models of the edge zoo learn in a minute: ellipses, emotions with inertia, reading order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional
from torch import Tensor, nn

import neurokit as nk
from neurokit.data.labelled import Labelled
from neurokit.models.dae_former import TIME_STEPS
from neurokit.models.ecapa_tdnn.voice import Voice, voices
from neurokit.models.emotionic.net import EmotionIC
from neurokit.models.oat.net import OAT
from neurokit.spec import ModelSpec, TaskSpec, TensorSpec
from neurokit.tasks.evaluate import evaluate
from neurokit.tasks.skip_chain import Field, best_path

FLOAT, INT8 = 0.005, 0.02  # by which a deployed form's metric may differ from torch's
SAMPLES = 8000  # of a recording


def assert_knows(spec: ModelSpec, data: Labelled, kept: object, path: Path, bound: float) -> None:
    """Holds the headline metric of torch against a bound, and those of float and int8 artifacts against torch's."""
    captured = nk.capture(spec)
    for target, allowed in (("onnx", FLOAT), ("onnx-int8", INT8)):
        more = {"calibration": kept} if target == "onnx-int8" else {}
        artifact = nk.lower(captured, target, path / target, verified=False, **more)
        said = evaluate(captured, artifact, data)
        before, after = said["before"], said["after"]
        print(spec.name, target, said["headline"], before, after)
        assert (before < bound) if said["less_is_better"] else (before > bound), said
        assert abs(after - before) <= allowed, (target, said)


def learn(parameters: object, loss: Callable[[int], Tensor], steps: int, rate: float) -> None:
    """Takes so many steps of Adam, with a rate that falls to a tenth by a cosine."""
    optimiser = torch.optim.Adam(parameters, lr=rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, rate / 10)
    for step in range(steps):
        optimiser.zero_grad()
        loss(step).backward()
        optimiser.step()
        falling.step()


def speakers_learnt(steps: int = 200) -> tuple[ModelSpec, Labelled, Tensor]:
    """Returns a small ECAPA that tells speakers apart, recordings of unheard speakers, and some to calibrate on."""
    torch.manual_seed(0)
    module, count = Voice(32, pooled=48, scale=4, inner=16), 24
    head = nn.Parameter(torch.randn(count, 192) * 0.1)
    optimiser = torch.optim.Adam([*module.parameters(), head], lr=2e-3)
    for step in range(steps):
        speakers = torch.randint(count, (16,))
        cosine = F.linear(F.normalize(module(voices(speakers, SAMPLES, 1000 + step))), F.normalize(head))
        margin = 0.2 * F.one_hot(speakers, count)  # additive margin, scale 30
        loss = F.cross_entropy(30 * (cosine - margin), speakers)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    module.eval()
    spec = ModelSpec(
        "speakers",
        lambda: module,
        (TensorSpec("waveform", (SAMPLES,), layout="L", low=-1.0),),
        task=TaskSpec("verification", {"sample_rate": 16_000}),
    )
    who = torch.arange(100, 112).repeat_interleave(5)  # speakers that were not heard in training
    data = Labelled(voices(who, SAMPLES, 7).numpy(), who.numpy())
    return spec, data, voices(torch.arange(48) % 24, SAMPLES, 8)


def ellipses(count: int, seed: int, channels: int = 3, side: int = 64) -> tuple[Tensor, Tensor]:
    """Returns pictures `[count, channels, side, side]` of a bright ellipse in noise, and its mask."""
    drawn = torch.Generator().manual_seed(seed)
    row, column = torch.meshgrid(torch.arange(float(side)), torch.arange(float(side)), indexing="ij")
    centre = side * (0.25 + 0.5 * torch.rand(count, 2, 1, 1, generator=drawn))
    axes = side * (0.1 + 0.15 * torch.rand(count, 2, 1, 1, generator=drawn))
    inside = ((row - centre[:, 0]) / axes[:, 0]) ** 2 + ((column - centre[:, 1]) / axes[:, 1]) ** 2 < 1
    noise = torch.rand(count, channels, side, side, generator=drawn)
    return 0.5 * noise + 0.4 * inside[:, None], inside.long()


def find_ellipses(module: nn.Module, channels: int, side: int, steps: int, rate: float) -> None:
    """Trains a segmenter of one or several classes on ellipses, by cross-entropy and soft Dice."""
    module.train()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 0.1

    def loss(step: int) -> Tensor:
        x, mask = ellipses(8, 1000 + step, channels, side)
        scores = module(x)
        scores = scores[0] if isinstance(scores, tuple) else scores
        target = mask.float()
        if scores.shape[1] == 1:
            crossed, said = F.binary_cross_entropy_with_logits(scores[:, 0], target), scores[:, 0].sigmoid()
        else:
            crossed, said = F.cross_entropy(scores, mask), scores.softmax(1)[:, 1]
        return crossed + 1 - (2 * (said * target).sum() + 1) / (said.sum() + target.sum() + 1)

    learn(module.parameters(), loss, steps, rate)
    module.eval()


class EveryStep(nn.Module):
    """Gives the network an image in every step, from rest."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        functional.reset_net(self.net)
        return self.net(image.expand(TIME_STEPS, *image.shape))


def ellipsoids(count: int, seed: int, sides: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Returns volumes `[count, 4, *sides]` of an ellipsoid in noise, and three regions that lie inside each other."""
    drawn = torch.Generator().manual_seed(seed)
    places = torch.meshgrid(*(torch.arange(float(side)) / side for side in sides), indexing="ij")
    centre = 0.35 + 0.3 * torch.rand(count, 3, 1, 1, 1, generator=drawn)
    axes = 0.25 + 0.1 * torch.rand(count, 3, 1, 1, 1, generator=drawn)
    away = sum(((place - centre[:, at]) / axes[:, at]) ** 2 for at, place in enumerate(places))
    regions = torch.stack([away < share for share in (0.3, 1.0, 0.6)], 1)  # enhancing, whole and core
    noise = torch.rand(count, 4, *sides, generator=drawn)
    return 0.5 * noise + 0.3 * regions.sum(1, keepdim=True), regions.long()


def find_ellipsoids(module: nn.Module, sides: tuple[int, ...], steps: int, rate: float) -> None:
    """Trains a segmenter of volumes on ellipsoids, by the cross-entropy of every region."""
    module.train()

    def loss(step: int) -> Tensor:
        x, regions = ellipsoids(1, 1000 + step, sides)
        return F.binary_cross_entropy_with_logits(module(x), regions.float())

    learn(module.parameters(), loss, steps, rate)
    module.eval()


def dialogues(count: int, seed: int, prototypes: Tensor, longest: int, keep: float = 0.9) -> tuple[Tensor, ...]:
    """Returns dialogues of two speakers whose emotions last: features, speakers and emotions, -1 behind the end.

    An utterance has its emotion's prototype under strong noise, so alone it says little; a speaker's next emotion is
    the last one with probability `keep`, else any.
    """
    drawn = np.random.default_rng(seed)
    classes = len(prototypes)
    speaker = np.full((count, longest), -1)
    emotion = np.full((count, longest), -1)
    for row in range(count):
        length = int(drawn.integers(longest // 2, longest + 1))
        held = drawn.integers(classes, size=2)
        for at in range(length):
            who = int(drawn.integers(2))
            if drawn.random() > keep:
                held[who] = drawn.integers(classes)
            speaker[row, at], emotion[row, at] = who, held[who]
    noise = torch.from_numpy(drawn.standard_normal((count, longest, prototypes.shape[1])).astype(np.float32))
    labels = torch.from_numpy(emotion)
    text = torch.where((labels >= 0)[..., None], prototypes[labels.clamp(min=0)] + noise, 0)
    return text, torch.from_numpy(speaker), labels


def learn_emotions(module: EmotionIC, prototypes: Tensor, longest: int, steps: int) -> None:
    """Trains emissions by cross-entropy, and emissions and field by the structured perceptron (Collins, 2002)."""
    module.train()
    field = module.crf

    def loss(step: int) -> Tensor:
        text, speaker, labels = dialogues(32, 1000 + step, prototypes, longest)
        emissions, *_ = module(text, speaker)
        crossed = F.nll_loss(emissions.flatten(0, 1), labels.flatten(), ignore_index=-1)
        parts = [field.start_transitions, field.end_transitions, field.self_transitions, field.other_transitions]
        held = Field(*(part.detach().numpy() for part in parts))
        margin = torch.zeros(())
        for row in range(len(text)):
            valid = speaker[row] >= 0
            who, right, scores = speaker[row][valid].numpy(), labels[row][valid].numpy(), emissions[row][valid]
            path = best_path(scores.detach().numpy(), who, held)
            margin = margin + _score(path, scores, who, parts) - _score(right, scores, who, parts)
        return crossed + margin / len(text)

    learn(module.parameters(), loss, steps, 3e-3)
    module.eval()


def _score(tags: np.ndarray, emissions: Tensor, speakers: np.ndarray, parts: list[nn.Parameter]) -> Tensor:
    """Returns the score of emotions by the field's equations, in torch."""
    start, end, same, other = parts
    total = start[tags[0]] + end[tags[-1]] + emissions[torch.arange(len(tags)), torch.from_numpy(tags)].sum()
    run_before = -1
    for at in range(1, len(tags)):
        if speakers[at] == speakers[at - 1]:
            total = total + same[tags[at - 1], tags[at]]
            continue
        total = total + other[tags[at - 1], tags[at]]
        if run_before >= 0 and speakers[run_before] == speakers[at]:
            total = total + same[tags[run_before], tags[at]]
        run_before = at - 1
    return total


def shelves(count: int, seed: int, module: OAT) -> tuple[Tensor, Tensor]:
    """Returns pictures of the objects of shelves, and which is searched for."""
    drawn = torch.Generator().manual_seed(seed)
    shelf = module.shelf
    images = torch.rand(count, shelf.objects, *shelf.image, 3, generator=drawn)
    return images, torch.randint(shelf.objects, (count,), generator=drawn)


def learn_reading_order(module: OAT, steps: int) -> None:
    """Trains on somebody who reads a shelf in order up to what is searched for; the next fixation, given the last."""
    objects, cache = module.shelf.objects, module.shelf.width // module.shelf.heads
    module.train()

    def loss(step: int) -> Tensor:
        images, target = shelves(32, 1000 + step, module)
        memory, fixations = module.encode(images, target)
        place = torch.arange(objects + 1)
        said = torch.where(place <= target[:, None], place, -1)  # the objects up to the target,
        said.scatter_(1, target[:, None] + 1, objects)  # and then the end
        begin = torch.full((len(target), 1), objects + 2)
        token = torch.cat([begin, said[:, :-1].clamp(min=0)], 1)
        empty = torch.zeros(len(target), module.shelf.layers * module.shelf.heads, 0, cache)
        scores, *_ = module.step(token, memory, fixations, empty, empty)
        return F.cross_entropy(scores[..., : objects + 1].flatten(0, 1), said.flatten(), ignore_index=-1)

    learn(module.parameters(), loss, steps, 1e-3)
    module.eval()


def read_in_order(target: Tensor, places: np.ndarray) -> np.ndarray:
    """Returns right scanpaths `[N, objects, 3]` (x, y, milliseconds), -1 behind the end."""
    right = np.full((len(target), len(places), 3), -1.0)
    for row, at in zip(right, target.tolist(), strict=True):
        row[: at + 1] = np.c_[places[: at + 1], np.zeros(at + 1)]
    return right


def path_of(module: OAT, image: Tensor, target: int, longest: int = 32) -> list[int]:
    """Returns torch's greedy search of one shelf."""
    objects = module.shelf.objects
    memory, fixations = module.encode(image[None], torch.tensor([target]))
    empty = torch.zeros(1, module.shelf.layers * module.shelf.heads, 0, module.shelf.width // module.shelf.heads)
    keys, values, token, path = empty, empty, torch.tensor([[objects + 2]]), []
    while len(path) < longest:
        scores, keys, values = module.step(token, memory, fixations, keys, values)
        token = scores[:, -1, : objects + bool(path)].argmax(1, keepdim=True)
        if int(token) == objects:
            break
        path.append(int(token))
    return path
