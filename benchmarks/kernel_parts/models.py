"""Whole models on the kernels, against the strongest opponent, in the same process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from neurokit.kernels import lif
from neurokit.kernels.graph import capture_graph
from neurokit.models.metaspikeformer.fused import FusedMetaSpikeFormer

from . import opponents
from .record import Record, event_time
from .shapes import WIDTHS

STAGES = (
    "downsample1_1",
    "ConvBlock1_1.0",
    "downsample1_2",
    "ConvBlock1_2.0",
    "downsample2",
    "ConvBlock2_1.0",
    "ConvBlock2_2.0",
    "downsample3",
    *(f"block3.{i}" for i in range(6)),
    "downsample4",
    "block4.0",
    "block4.1",
)


def build(size: str) -> nn.Module:
    """Returns a model with random weights whose normalisations have the statistics of 224 x 224 images.

    Those of a smaller image leave channels without variance, whose normalisation then blows currents up to 1e7 at
    224 x 224, beyond float16, and the stages behind them fall silent.
    """
    from neurokit.data.synthetic import repeated_images
    from neurokit.models.common.untrained import build_untrained
    from neurokit.models.metaspikeformer.net import MetaSpikeFormer

    return build_untrained(lambda: MetaSpikeFormer(WIDTHS[size]), repeated_images(4, 4, 0, (3, 224, 224))).to("cuda")


def images_of(batch: int) -> Tensor:
    """Returns `[B, 3, 224, 224]` images that the model was not calibrated on."""
    from neurokit.data.synthetic import images

    return images(batch, (3, 224, 224), 1).to("cuda")


def breakdown(work: Callable[[], Any]) -> dict[str, float]:
    """Returns the GPU time of one call by kernel, in seconds."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        torch.cuda.synchronize()
    total: dict[str, float] = {}
    for event in profile.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            name = event.name[:60]
            total[name] = total.get(name, 0.0) + event.time_range.elapsed_us() * 1e-6
    return dict(sorted(total.items(), key=lambda item: -item[1])[:16])


def stage_rates(model: nn.Module, images: Tensor) -> dict[str, float]:
    """Returns the mean firing rate of the neurons of every stage."""
    from neurokit.models.common.untrained import firing_rates

    grouped: dict[str, list[float]] = {}
    for name, rate in firing_rates(model, images).items():
        grouped.setdefault(name.split(".")[0], []).append(rate)
    return {stage: sum(rates) / len(rates) for stage, rates in grouped.items()}


def blockwise(model: nn.Module, images: Tensor) -> dict[str, float]:
    """Feeds every block of the fused float16 model the float32 model's own currents; returns relative L2 errors.

    Block by block, because a random network is chaotic: one spike that rounding flips changes all that follows.
    """
    from spikingjelly.activation_based import functional

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    outputs: dict[str, Tensor] = {}
    hooks = [model.get_submodule(n).register_forward_hook(lambda m, i, o, n=n: outputs.update({n: o})) for n in STAGES]
    functional.reset_net(model)
    with torch.no_grad():
        model(images)
    functional.reset_net(model)
    for hook in hooks:
        hook.remove()
    errors = {}
    for before, name, block in zip(STAGES, STAGES[1:], FusedMetaSpikeFormer(model).blocks, strict=False):
        x = outputs[before].permute(0, 1, 3, 4, 2).contiguous()
        current, _ = block(x.half(), lif(x, want_v=False)[0].half())
        expected = outputs[name].permute(0, 1, 3, 4, 2)
        errors[name] = float((current.float() - expected).norm() / expected.norm())
    return errors


def _stem_saved(fused: FusedMetaSpikeFormer, images: Tensor) -> float:
    """Returns what convolving the image once instead of T times saves."""
    from gpu_timing import graph_time

    once = images.half().permute(0, 2, 3, 1).unsqueeze(0).contiguous()
    often = once.expand(fused.time_steps, *once.shape[1:]).contiguous()
    return graph_time(lambda: fused.stem(often)) - graph_time(lambda: fused.stem(once))


def measure(record: Record, variants: list[tuple[str, int]], stems: list[str]) -> None:
    """Measures each (size, batch) end to end, against opponents that convolve the image once ("1") or T times ("0")."""
    torch.backends.cudnn.benchmark = True
    for size, batch in variants:
        images, model = images_of(batch), build(size)
        row: dict[str, Any] = {"model": f"metaspikeformer_{size}", "T": 4, "batch": batch, "dtype": "float16"}
        if batch > 1:
            row["rates"] = stage_rates(model, images[:4])
            row["blockwise_relative_l2"] = blockwise(model, images[:4])
        fused: Any = FusedMetaSpikeFormer(model)
        replay: Any = fused.graph(images)
        row["ours_finite"] = bool(replay(images).isfinite().all())
        row["ours_seconds"] = event_time(lambda: replay(images))  # noqa: B023
        row["breakdown_seconds"] = breakdown(lambda: replay(images))  # noqa: B023
        row["stem_saved_seconds"] = _stem_saved(fused, images)
        record.data.setdefault("end_to_end", []).append(row)
        record.write()
        replay = fused = None  # their memory is the opponent's now
        torch.cuda.empty_cache()
        for stem in stems:
            if record.left() > 20:
                key = "opponent" if stem == "1" else "opponent_repeated"
                row |= _opponent(build(size) if len(stems) > 1 else model, images, stem == "1", key)
                record.write()
        if isinstance(row.get("opponent_seconds"), float):
            row["speedup"] = row["opponent_seconds"] / row["ours_seconds"]
        record.write()
        print({k: v for k, v in row.items() if "breakdown" not in k}, flush=True)
        del model


def _opponent(model: nn.Module, images: Tensor, once: bool, key: str) -> dict[str, Any]:
    torch._dynamo.reset()
    try:
        with torch.no_grad():
            half = images.half().contiguous(memory_format=torch.channels_last)
            run = opponents.plain_model(model, once)
            start = time.monotonic()
            for _ in range(4):
                run(half)
            torch.cuda.synchronize()
            compiling = time.monotonic() - start
            called = event_time(lambda: run(half))
            replay = capture_graph(run, half)
            replayed = event_time(lambda: replay(half))
            return {
                f"{key}_seconds": min(called, replayed),
                f"{key}_called_seconds": called,
                f"{key}_replayed_seconds": replayed,
                f"{key}_compile_seconds": compiling,
            }
    except Exception as error:
        return {key: f"{type(error).__name__}: {str(error)[:200]}"}


def prepare(size: str, batch: int, once: bool) -> None:
    """Compiles an opponent once, so that a later process finds it in the compiler's cache."""
    torch.backends.cudnn.benchmark = True
    _opponent(build(size), images_of(batch), once, "")
