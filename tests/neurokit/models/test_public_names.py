"""Checkpoints by the names of the public code load into the zoo's modules; those of another width are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from neurokit.errors import WeightsError
from neurokit.models.acdit.net import ACDiT, Sizes
from neurokit.models.att_swin_unet.net import AttSwinUNet
from neurokit.models.common.pvt import TINY
from neurokit.models.dae_former.net import DAEFormer
from neurokit.models.ecapa_tdnn.voice import Voice
from neurokit.models.emotionic.net import EmotionIC
from neurokit.models.macmd.net import MACMD
from neurokit.models.oat.net import OAT
from neurokit.models.para_trans_cnn.net import ParaTransCNN
from neurokit.weights import load_weights
from tests.neurokit.models.zoo_oracles import CONSTANT, oracle

PUBLIC = {
    "acdit_b": lambda: ACDiT(Sizes()),
    "att_swin_unet": AttSwinUNet,
    "dae_former": DAEFormer,
    "ecapa_tdnn_512": lambda: Voice(512),
    "emotionic": EmotionIC,
    "macmd_b0": MACMD,
    "oat": OAT,
    "para_trans_cnn_32": lambda: ParaTransCNN(32),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "make"), PUBLIC.items(), ids=PUBLIC)
def test_a_checkpoint_by_the_public_names_loads(name: str, make: Callable[[], nn.Module], tmp_path: Path) -> None:
    with torch.device("meta"):
        module = make()
    # The figures hold no whole numbers (counters, indices) and no computed tables, which a checkpoint has.
    whole = {
        key: torch.zeros_like(value, device="cpu")
        for key, value in module.state_dict().items()
        if "int" in str(value.dtype) or key.endswith(CONSTANT)
    }
    public = {key: torch.zeros(size) for key, size in oracle(name)["state"].items() if key not in whole}
    prefix = "embedding." if name.startswith("ecapa") else ""
    whole = {key.removeprefix(prefix): value for key, value in whole.items()}
    torch.save({**whole, **{key: v for key, v in public.items() if key not in whole}}, tmp_path / "public.pt")
    load_weights(module, tmp_path / "public.pt")


def ecapa(width: int) -> Voice:
    return Voice(width, pooled=48, scale=4, inner=16)


def test_speechbrains_names_are_those_of_the_embedding(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first, second = ecapa(32), ecapa(32)
    save_file(first.embedding.state_dict(), tmp_path / "public.safetensors")
    save_file(first.state_dict(), tmp_path / "own.safetensors")
    for file in ("public", "own"):
        load_weights(second, tmp_path / f"{file}.safetensors")
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
        nn.init.zeros_(next(second.parameters()))


def test_released_blocks_of_macmd_stay_the_modules_own(tmp_path: Path) -> None:
    module = MACMD(TINY, last=16)
    released = {name: torch.zeros_like(v) for name, v in module.state_dict().items() if "up_blocks" not in name}
    torch.save(released, tmp_path / "released.pt")
    own = [p.clone() for p in module.decoder.apm.up_blocks.parameters()]
    load_weights(module, tmp_path / "released.pt")
    assert not next(module.backbone.parameters()).any()
    assert all(torch.equal(a, b) for a, b in zip(own, module.decoder.apm.up_blocks.parameters(), strict=True))


def test_a_checkpoint_of_another_width_is_refused_in_a_line(tmp_path: Path) -> None:
    save_file(ecapa(48).embedding.state_dict(), tmp_path / "wide.safetensors")
    module = ecapa(32)
    with pytest.raises(WeightsError) as refused:
        load_weights(module, tmp_path / "wide.safetensors")
    assert "\n" not in str(refused.value)
    assert "48" in str(refused.value)
    assert "32" in str(refused.value)
