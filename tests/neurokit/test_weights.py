"""Weights files that fit, and every way in which one does not."""

from __future__ import annotations

import argparse
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from neurokit import cli
from neurokit.errors import WeightsError
from neurokit.weights import check_finite, load_weights

State = dict[str, torch.Tensor]


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


@pytest.fixture
def target() -> nn.Module:
    return network(1)


@pytest.fixture
def state() -> State:
    return network(2).state_dict()


def same(first: State, second: State) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".PTH"])
def test_loads_each_format(tmp_path: Path, target: nn.Module, state: State, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    (safetensors.torch.save_file if suffix == ".safetensors" else torch.save)(state, path)
    load_weights(target, path)
    assert same(target.state_dict(), state)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "args": argparse.Namespace(lr=0.1), "optimizer": {"state": {}}},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {"model": {f"module._orig_mod.{name}": value for name, value in state.items()}},
        lambda state: {f"_orig_mod.module.{name}": value for name, value in state.items()},
    ],
    ids=["state_dict", "model with options", "twice", "module.", "model, module._orig_mod.", "_orig_mod.module."],
)
def test_finds_the_weights_inside_a_checkpoint(
    tmp_path: Path, target: nn.Module, state: State, wrap: Callable[[State], object]
) -> None:
    torch.save(wrap(state), tmp_path / "w.pt")
    load_weights(target, tmp_path / "w.pt")
    assert same(target.state_dict(), state)


def test_keeps_a_prefix_that_the_model_has_itself(tmp_path: Path) -> None:
    wrapped, other = nn.Module(), nn.Module()
    wrapped.module, other.module = network(1), network(2)
    torch.save(other.state_dict(), tmp_path / "w.pt")
    load_weights(wrapped, tmp_path / "w.pt")
    assert same(wrapped.state_dict(), other.state_dict())


def test_converts_to_the_type_of_the_module(tmp_path: Path, target: nn.Module, state: State) -> None:
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    safetensors.torch.save_file(halves, tmp_path / "w.safetensors")
    load_weights(target, tmp_path / "w.safetensors")
    assert target[0].weight.dtype == torch.float32
    assert torch.equal(target[0].weight, halves["0.weight"].float())


def without(*names: str) -> Callable[[State], State]:
    return lambda state: {name: value for name, value in state.items() if name not in names}


def with_value(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[State], State]:
    return lambda state: {**state, name: change(state[name].clone())}


def one_bad(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(tensor: torch.Tensor) -> torch.Tensor:
        tensor.view(-1)[-1] = value
        return tensor

    return change


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("0.bias"), r"1 missing \(0\.bias\)"),
        (without("0.bias", "0.weight", "1.bias", "3.bias"), r"4 missing \(0\.weight, 0\.bias, 1\.bias, \.\.\.\)"),
        (lambda state: {**state, "head_kd.weight": torch.ones(1)}, r"1 not in the model \(head_kd\.weight\)"),
        (lambda _state: {}, "8 missing|9 missing"),
        (with_value("3.weight", lambda value: value[:2]), r"3\.weight is \[2, 8\] for \[3, 8\]"),
        (with_value("0.weight", one_bad(float("nan"))), r"NaN or infinity in 1 tensors: 0\.weight"),
        (with_value("1.running_var", one_bad(float("-inf"))), r"NaN or infinity in 1 tensors: 1\.running_var"),
        # finite in double, infinite in the module's float32
        (with_value("3.bias", lambda value: value.double() + 1e300), r"NaN or infinity in 1 tensors: 3\.bias"),
        (with_value("3.bias", lambda value: value.to(torch.int8)), r"3\.bias is torch\.int8 for torch\.float32"),
        (lambda state: {**state, "note": "hello"}, "more than tensors: note"),
        (lambda state: list(state.values()), "holds a list"),
        (lambda _state: network(2), "cannot be read"),  # a pickled module could run anything
    ],
)
def test_refuses_what_does_not_fit_and_leaves_the_module_alone(
    tmp_path: Path, target: nn.Module, state: State, spoil: Callable[[State], object], message: str
) -> None:
    before = {name: value.clone() for name, value in target.state_dict().items()}
    torch.save(spoil(state), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(target, tmp_path / "w.pt")
    assert "\n" not in str(caught.value)
    assert same(target.state_dict(), before)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("keep", [0, 3, 0.5, 0.97])
def test_refuses_a_truncated_file_in_one_line(
    tmp_path: Path, target: nn.Module, state: State, suffix: str, keep: float
) -> None:
    path = tmp_path / f"w{suffix}"
    (safetensors.torch.save_file if suffix == ".safetensors" else torch.save)(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(len(content) * keep)])
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(WeightsError, match="cannot be read") as caught:
        load_weights(target, path)
    assert "\n" not in str(caught.value)
    assert same(target.state_dict(), before)


def test_refuses_a_file_that_is_something_else(tmp_path: Path, target: nn.Module) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(b"not a checkpoint at all" * 50)
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(target, path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.pt", "does not exist"),
        (".", "is a folder"),
        ("pipe.pt", "is no regular file"),
        ("w.onnx", "unknown suffix"),
    ],
)
def test_refuses_a_path_that_is_no_weights_file(tmp_path: Path, target: nn.Module, name: str, message: str) -> None:
    (tmp_path / "w.onnx").touch()
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(WeightsError, match=message):
        load_weights(target, tmp_path / name)


def test_restores_the_module_when_its_own_hook_refuses(tmp_path: Path, target: nn.Module, state: State) -> None:
    refused = []

    def refuse_once(*_args: object) -> None:
        if not refused:
            refused.append(True)
            raise ValueError("old format")

    target[3].register_load_state_dict_pre_hook(refuse_once)  # after the convolution has been loaded
    before = {name: value.clone() for name, value in target.state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="old format"):
        load_weights(target, tmp_path / "w.pt")
    assert same(target.state_dict(), before)


def test_a_module_that_is_not_finite_is_refused():
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    check_finite(module, "m")
    module.register_buffer("mask", torch.tensor([0.0, -torch.inf]))  # what attention masks hold
    check_finite(module, "m")
    module[1].running_mean[0] = torch.nan
    with torch.no_grad():
        module[0].weight[0, 0] = torch.inf
    with pytest.raises(WeightsError, match="infinity in 2 tensors: 0"):
        check_finite(module, "m")


class Lit(nn.Module):
    """What a training class of Lightning is: the model under an attribute, a loss with weights beside it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.criterion = model, nn.CrossEntropyLoss(weight=torch.ones(3))


def test_a_checkpoint_of_lightning(tmp_path: Path, target: nn.Module, state: State, monkeypatch) -> None:
    module = network(2)
    module.load_state_dict(state)
    home = "lightning.pytorch.utilities.parsing"
    options = type("AttributeDict", (dict,), {"__module__": home})
    content = {
        "pytorch-lightning_version": "2.2.0",
        "state_dict": Lit(module).state_dict(),
        "hyper_parameters": options(lr=0.1, where=Path("data")),
        "callbacks": {"best": np.float64(0.93), "curve": np.arange(3.0)},
        "epoch": np.int64(7),
    }
    with monkeypatch.context() as context:
        for name in ("lightning", "lightning.pytorch", "lightning.pytorch.utilities", home):
            context.setitem(sys.modules, name, types.ModuleType(name))
        sys.modules[home].AttributeDict = options  # type: ignore[attr-defined]
        torch.save(content, tmp_path / "last.ckpt")
    assert home not in sys.modules
    load_weights(target, tmp_path / "last.ckpt")
    assert same(target.state_dict(), state)


@pytest.mark.parametrize("prefix", ["model.", "net.backbone.", "module.model."])
def test_a_prefix_before_every_name(tmp_path: Path, target: nn.Module, state: State, prefix: str) -> None:
    torch.save({f"{prefix}{name}": value for name, value in state.items()}, tmp_path / "w.pt")
    load_weights(target, tmp_path / "w.pt")
    assert same(target.state_dict(), state)


def test_more_than_the_model_without_lightning_is_refused(tmp_path: Path, target: nn.Module) -> None:
    torch.save(Lit(network(2)).state_dict(), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="not in the model"):
        load_weights(target, tmp_path / "w.pt")


def test_the_counts_that_thop_leaves(tmp_path: Path, target: nn.Module, state: State) -> None:
    counted = {"total_ops": torch.zeros(1), "0.total_ops": torch.zeros(1), "0.total_params": torch.zeros(1)}
    torch.save({"state_dict": {f"module.{n}": v for n, v in {**state, **counted}.items()}}, tmp_path / "w.pth")
    load_weights(target, tmp_path / "w.pth")
    assert same(target.state_dict(), state)


class Harm:
    def __reduce__(self):
        return os.system, ("exit 3",)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, target: nn.Module, state: State, monkeypatch) -> None:
    ran = []
    torch.save({"state_dict": state, "extra": Harm()}, tmp_path / "w.pt")
    monkeypatch.setattr(os, "system", ran.append)
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(target, tmp_path / "w.pt")
    assert ran == []


def test_a_checkpoint_of_another_width_is_one_line_and_leaves_no_file(tmp_path: Path, capsys) -> None:
    from neurokit.models.ecapa_tdnn.voice import Voice

    wide, out = tmp_path / "wide.pt", tmp_path / "out"
    torch.save(Voice(64, pooled=48, scale=4, inner=16).state_dict(), wide)
    factory = tmp_path / "small.py"
    factory.write_text("from neurokit.models.ecapa_tdnn import ecapa_tdnn_small\n")
    assert cli.main(["export", f"{factory}:ecapa_tdnn_small", "--weights", str(wide), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "wrong shapes in 106 tensors" in said
    assert "is [64, 80, 5] for [32, 80, 5]" in said.replace("\n", " ")
    assert "expected: weights of the model's own width and depth" in said
    assert not out.exists()
