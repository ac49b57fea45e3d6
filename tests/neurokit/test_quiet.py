"""What torch and onnx_ir log of a refusal or a default is not heard from the Python API; what a user logs is."""

import logging
import warnings

import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.errors import InputError

OURS = logging.getLogger("of.the.user")


class Misfit(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 5)

    def forward(self, x):
        OURS.warning("forward")
        return self.a(x)


class Written(nn.Module):
    def forward(self, x):
        y = x.clone()
        y.index_put_((torch.tensor([0]), torch.tensor([1])), torch.tensor(5.0))
        return y


def _refused():
    with pytest.raises(InputError, match="does not run on an input of shape"):
        nk.capture(Misfit(), torch.rand(2, 7))


def _lowered(out):
    nk.lower(nk.capture(Written(), torch.rand(1, 6), batch=1), "onnx", out, verified=False)


def _heard(caplog):
    said = {f"{record.name}: {record.getMessage()}" for record in caplog.records}
    caplog.clear()
    return said


def test_a_refusal_and_a_lowering_are_quiet_and_the_user_is_not(caplog, tmp_path):
    _refused()
    _lowered(tmp_path / "a")
    assert _heard(caplog) == {"of.the.user: forward"}
    with caplog.at_level(logging.DEBUG, "neurokit.libraries"):
        _refused()
        _lowered(tmp_path / "b")
    said = _heard(caplog)
    assert any(line.startswith("torch._subclasses.fake_tensor: failed while") for line in said)
    assert any(line.startswith("onnx_ir._convenience: Attribute type is ambiguous") for line in said)


class Warned(nn.Module):
    def forward(self, x):
        torch.utils._pytree.LeafSpec()
        warnings.warn("of the user", FutureWarning, stacklevel=1)
        warnings.filterwarnings("ignore", "set by the user")
        return x + 1


def test_a_warning_of_torchs_own_tree_specs_is_unsaid_and_a_users_is_not():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        nk.capture(Warned(), torch.rand(2, 7))
        assert {str(one.message) for one in said} == {"of the user"}
        warnings.warn("set by the user", stacklevel=1)
        torch.utils._pytree.LeafSpec()
    assert "LeafSpec" in str(said[-1].message)
    assert not any(str(one.message) == "set by the user" for one in said)
