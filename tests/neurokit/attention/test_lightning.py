"""Lightning Attention against its released codes, both decays, and its numerics."""

import numpy as np
import pytest
import torch

from neurokit.attention.mixers.lightning import (
    Lightning,
    alibi_slopes,
    linear_decay,
    minimax_decay,
    transnormer_decay,
)
from neurokit.errors import InputError

from . import oracle

ORACLE = oracle.load("lightning")


@pytest.mark.parametrize("name", ORACLE["cases"])
@pytest.mark.parametrize("layer", [0, 11])
def test_outputs_and_states_are_the_released_ones(name, layer):
    case = ORACLE["cases"][name]
    q, k, v = (torch.from_numpy(x) for x in oracle.draw_all("lightning", case).values())
    ours = Lightning(transnormer_decay(8, layer, 24))
    out, _ = ours.block(q, k, v, ours.start(q, v))
    assert oracle.worst(case["outputs"][f"official_torch_layer{layer}"], out) < 1e-5
    fla = Lightning(linear_decay(8, layer, 24), scale=q.shape[-1] ** -0.5)
    out, state = fla.block(q, k, v, fla.start(q, v))
    assert oracle.worst(case["outputs"][f"fla_naive_recurrent_layer{layer}_BHTD"], out) < 1e-5
    assert oracle.worst(case["outputs"][f"fla_final_state_layer{layer}_BHKV"], state) < 1e-5
    plain = Lightning((0.0,) * 8)
    assert oracle.worst(case["outputs"]["official_torch_no_decay"], plain.quadratic(q, k, v)) < 1e-5


def test_decays_are_the_released_ones():
    slopes = ORACLE["slopes"]
    assert np.allclose(alibi_slopes(8), slopes["build_slope_tensor_8"], rtol=1e-7)
    assert np.allclose(alibi_slopes(12), slopes["build_slope_tensor_12"], rtol=1e-7)
    for layer in (0, 11):
        assert np.allclose(
            transnormer_decay(8, layer, 24), -np.array(slopes[f"official_s_layer{layer}_of_24"]), rtol=1e-6
        )
        assert np.allclose(linear_decay(8, layer, 24), slopes[f"fla_g_gamma_layer{layer}_of_24"], rtol=1e-6, atol=1e-12)
    assert minimax_decay(4, 7, 8)[0] == pytest.approx(-(2.0**-2) * (1 - 7 / (7 + 1e-5) + 1e-5))


def test_a_strong_decay_overflows_nowhere_and_steps_keep_one_state():
    mixer = Lightning((-50.0, 0.0))
    q = torch.ones(1, 2, 200, 4)
    out, state = mixer.block(q, q, q, mixer.start(q, q))
    assert torch.isfinite(out).all()
    assert out[0, 0, -1, 0] == 4.0
    state = mixer.start(q, q)
    for _ in range(1000):
        _, state = mixer.recurrent(q[:, :, :1], q[:, :, :1], q[:, :, :1], state)
    assert state.shape == (1, 2, 4, 4)
    assert state[0, 1, 0, 0] == 1000


def test_bad_settings_are_one_line():
    for wrong in ((0.5,), (float("nan"),), ()):
        with pytest.raises(InputError):
            Lightning(wrong)
    with pytest.raises(InputError, match="one a head"):
        Lightning((0.0,)).quadratic(*(torch.zeros(1, 2, 3, 4),) * 3)
    with pytest.raises(InputError, match="layer 4"):
        transnormer_decay(4, 4, 4)
