"""The spiking TransDAE: its attention by brute force, spikes alone at its weights, ellipses learnt and kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

import neurokit as nk
from neurokit.data.labelled import Labelled
from neurokit.models.common.untrained import firing_rates
from neurokit.models.dae_former import TIME_STEPS, trans_dae_spiking_small
from neurokit.models.dae_former.spiking import counted
from neurokit.tasks.evaluate import evaluate
from tests.neurokit.models import edge_tasks as tasks


def test_attention_counts_where_spikes_meet() -> None:
    drawn = np.random.default_rng(0)
    q, k, v = (drawn.integers(0, 2, (2, size, n)) for size, n in ((3, 5), (3, 4), (2, 4)))
    found = counted(*(torch.from_numpy(x).float() for x in (q, k, v))).numpy()
    for b in range(2):
        for channel in range(2):
            for token in range(5):
                met = sum(v[b, channel, m] * k[b, c, m] * q[b, c, token] for m in range(4) for c in range(3))
                assert found[b, channel, token] == met
    assert found.max() > 1


def test_weights_meet_spikes_alone_and_every_neuron_fires() -> None:
    spec = trans_dae_spiking_small()
    module = spec.build()
    kinds: dict[str, set[float]] = {}

    def watched(name: str):
        def hook(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            kinds[name] = set(given[0].unique()[:4].tolist())

        return hook

    for name, part in module.named_modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_pre_hook(watched(name))
    x = spec.example(2, TIME_STEPS, 0)
    with torch.no_grad():
        assert module(x).shape == (2, 9, 64, 64)
    assert [name for name, values in kinds.items() if values - {0.0, 1.0}] == ["patches.0.conv"]
    assert len(kinds) > 70
    rates = firing_rates(module, x)
    assert min(rates.values()) > 0
    assert 0.02 < sum(rates.values()) / len(rates) < 0.3


@pytest.mark.slow
def test_it_finds_ellipses_and_knows_them_as_onnx(tmp_path: Path) -> None:
    spec = trans_dae_spiking_small()
    torch.manual_seed(0)
    module = spec.build()
    tasks.find_ellipses(tasks.EveryStep(module), 1, 64, 150, 5e-3)
    functional.reset_net(module)
    x, mask = tasks.ellipses(64, 7, 1, 64)
    captured = nk.capture(replace(spec, build=lambda: module))
    artifact = nk.lower(captured, "onnx", tmp_path / "onnx")
    assert nk.verify(artifact).passed
    said = evaluate(captured, artifact, Labelled(x.numpy(), mask.numpy()))
    print("trans_dae_spiking", said["before"], said["after"])
    assert said["before"] > 0.75
    assert abs(said["after"] - said["before"]) <= tasks.FLOAT
    report = nk.simulate(captured, x[:1].expand(TIME_STEPS, 1, *x.shape[1:]), ["loihi2"])
    assert report.to_json()
