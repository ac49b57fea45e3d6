"""Bad input gives an error that says what was expected; the dispatcher says why it took a path."""

from __future__ import annotations

import logging

import pytest
import torch

from neurokit.errors import InputError
from neurokit.kernels import (
    config,
    depthwise,
    dispatch,
    gate_lif,
    lif,
    pack,
    pool_lif,
    sdsa_lif,
    spike_conv_lif,
    spike_linear_lif,
    spike_stats,
    unpack,
)
from neurokit.kernels._compat import INTERPRET

ON_GPU = torch.cuda.is_available() and not INTERPRET

X = torch.zeros(4, 3, 32)
S = X.to(torch.int8)
BAD = {
    "tau": lambda: lif(X, tau=1.0),
    "decay beside tau": lambda: spike_linear_lif(X.to(torch.int8), torch.zeros(8, 32).half(), decay=0.5),
    "decay": lambda: sdsa_lif(*[torch.zeros(1, 1, 4, 32)] * 3, 1, tau=None, decay=1.5),
    "nan threshold": lambda: lif(X, threshold=float("nan")),
    "form": lambda: lif(X, spikes="bits"),
    "surrogate": lambda: lif(X, surrogate="erf"),
    "alpha": lambda: lif(X, alpha=0.0),
    "dtype": lambda: lif(X.double()),
    "no steps": lambda: lif(X[:0]),
    "v0": lambda: lif(X, torch.zeros(3, 31)),
    "scale": lambda: lif(X, scale=torch.zeros(31)),
    "residual": lambda: lif(X, residual=X[:, :2]),
    "inner size": lambda: spike_linear_lif(X.to(torch.int8), torch.zeros(8, 31, dtype=torch.float16)),
    "weight": lambda: spike_linear_lif(X.to(torch.int8), torch.zeros(8, 32)),
    "path": lambda: spike_linear_lif(X.to(torch.int8), torch.zeros(8, 32).half(), path="fast"),
    "packed words beside": lambda: spike_linear_lif(S, S[0, :2].half(), beside=torch.zeros(4, 3, 2, dtype=torch.int8)),
    "beside's shape": lambda: spike_conv_lif(S[:, None, None], S[:1, None, :2], form="int8", beside=S),
    "beside's type": lambda: spike_linear_lif(S, S[0, :2], form="same", beside=torch.zeros(4, 3, 2, dtype=torch.int8)),
    "heads": lambda: sdsa_lif(*[torch.zeros(1, 1, 4, 32)] * 3, 5),
    "channels": lambda: sdsa_lif(*[torch.zeros(1, 1, 4, 1, dtype=torch.int32)] * 3, 1),
    "mode": lambda: sdsa_lif(*[torch.zeros(1, 1, 4, 32)] * 3, 1, mode="softmax"),
    "over": lambda: gate_lif(*[torch.zeros(1, 1, 4, 32)] * 2, over="time"),
    "gate's heads": lambda: gate_lif(*[torch.zeros(1, 1, 4, 32)] * 2, over="channels", heads=5),
    "gate's shapes": lambda: gate_lif(torch.zeros(1, 1, 4, 32), torch.zeros(1, 1, 5, 32)),
    "gate's words": lambda: gate_lif(*[torch.zeros(1, 1, 4, 1, dtype=torch.int32)] * 2, channels=32, over="channels"),
    "gate's columns": lambda: gate_lif(*[torch.zeros(1, 1, 4, 32)] * 2, channels=16, columns=(0, 17, 0)),
    "windows": lambda: pool_lif(torch.zeros(1, 1, 4, 4, 8), (3, 3), padding=(2, 2)),
    "pooled": lambda: pool_lif(torch.zeros(1, 1, 4, 4, 8), (2, 2), how="median"),
    "pooled spikes": lambda: pool_lif(torch.zeros(1, 1, 4, 4, 8, dtype=torch.int8), (2, 2)),
    "pooled grid": lambda: pool_lif(torch.zeros(1, 1, 4, 4, 8), (2, 2), grid=0.3),
    "words": lambda: spike_stats(torch.zeros(1, 2, 1, dtype=torch.int32), 33),
    "pack": lambda: pack(X.double()),
    "unpack": lambda: unpack(torch.zeros(2, 1, dtype=torch.int32), 33),
    "kernel": lambda: depthwise(torch.zeros(1, 4, 4, 8), torch.zeros(7, 7, 8)),
    "dots of floats": lambda: depthwise(torch.zeros(1, 4, 4, 8), torch.zeros(3, 3, 8), path="dots"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    with pytest.raises(InputError) as caught:
        BAD[name]()
    assert str(caught.value)


def test_reason_is_logged_once(caplog):
    dispatch.log_once.cache_clear()
    with caplog.at_level(logging.INFO, logger="neurokit.kernels"):
        lif(X)
        lif(X)
    messages = [r.getMessage() for r in caplog.records if r.getMessage().startswith("lif: ")]
    assert len(messages) == 1
    assert ("interpreter" if INTERPRET else "not on a CUDA GPU") in messages[0]


@pytest.mark.skipif(INTERPRET or ON_GPU, reason="Triton can run here")
def test_triton_on_demand_is_refused_where_it_cannot_run(monkeypatch):
    monkeypatch.setenv("NEUROKIT_KERNELS", "triton")
    with pytest.raises(InputError, match="not on a CUDA GPU"):
        lif(X)
    monkeypatch.setenv("NEUROKIT_KERNELS", "fast")
    with pytest.raises(InputError, match="unknown"):
        lif(X)


@pytest.fixture
def shipped(monkeypatch):
    """A GPU with measurements of its own, and one of its compute capability without."""
    tables = {
        "Measured": {"compute_capability": "9.0", "kernels": {"lif": {"4,2": {"block": 7}, "*": {"block": 9}}}},
        "Other": {"compute_capability": "8.0", "kernels": {"lif": {"*": {"block": 5}}}},
    }
    monkeypatch.setattr(config, "_tables", lambda: tables)
    config._table.cache_clear()
    yield lambda name, capability: monkeypatch.setattr(config, "gpu_at", lambda index: (name, capability))
    config._table.cache_clear()


@pytest.mark.parametrize("name", ["Measured", "Kin of it"])
def test_configuration_lookup(name, shipped):
    shipped(name, "9.0")
    gpu = torch.device("cuda", 0)
    assert config.lookup("lif", (4, 2), gpu, {"block": 1, "num_warps": 4}) == {"block": 7, "num_warps": 4}
    assert config.lookup("lif", (5, 2), gpu, {"block": 1}) == {"block": 9}
    assert config.lookup("pack", (5, 2), gpu, {"block": 1}) == {"block": 1}
    assert config.lookup("lif", (4, 2), torch.device("cpu"), {"block": 1}) == {"block": 1}
    with config.override("lif", {"block": 3}):
        assert config.lookup("lif", (4, 2), gpu, {"block": 1}) == {"block": 3}


def test_a_gpu_of_another_kind_takes_the_defaults(shipped):
    shipped("Unknown", "12.0")
    assert config.lookup("lif", (4, 2), torch.device("cuda", 0), {"block": 1}) == {"block": 1}


def test_shipped_configurations_name_their_gpu():
    for name, table in config._tables().items():
        assert table["compute_capability"].count(".") == 1
        assert set(table["kernels"]) >= {"lif", "spike_linear_lif", "sdsa_lif"}, name
