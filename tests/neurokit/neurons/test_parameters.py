"""One record of a neuron's parameters: it is what the operations take, and numbers may differ by channel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurokit.errors import InputError
from neurokit.export.nir.walk import neuron_fields
from neurokit.neurons import ops
from neurokit.neurons.device_code import NeuronCall
from neurokit.neurons.parameters import ARGUMENTS, NeuronParameters


@pytest.mark.parametrize("op", ARGUMENTS)
def test_arguments_are_those_of_the_operation(op):
    schema = getattr(torch.ops.neurokit, op).default._schema
    assert tuple(argument.name for argument in schema.arguments[2:]) == ARGUMENTS[op]


@pytest.mark.parametrize("op", ARGUMENTS)
@pytest.mark.parametrize("v_reset", [None, 0.0, -0.25])
@pytest.mark.parametrize("decay_input", [True, False])
def test_the_record_goes_in_and_out_of_an_operation_and_a_manifest(op, v_reset, decay_input):
    leak = {"if_": 0.0, "lif": 3.0, "plif": 0.375}[op]
    given = NeuronParameters(op, 0.75, v_reset, leak, decay_input if op != "if_" else True, "atan", 2.0, True)
    assert NeuronParameters.from_arguments(op, given.arguments()) == given
    assert NeuronParameters.from_names(op, given.listed()) == given
    x, v = torch.randn(1, 7), torch.randn(7)
    leak, *rest = given.arguments()
    call = (torch.tensor(leak) if op == "plif" else leak, *rest)
    spikes, after = getattr(ops, op)(x, v, *call)
    h = given.charge(v, x[0])
    assert torch.equal(h >= 0.75, spikes[0].bool())
    torch.testing.assert_close(given.after_spike(h, spikes[0]), after)


def test_numbers_may_differ_by_channel():
    rng = np.random.default_rng(0)
    threshold, tau, reset = (rng.uniform(low, high, (3, 1, 1)) for low, high in ((0.5, 1.5), (1.5, 4.0), (-0.5, 0.0)))
    given = NeuronParameters("lif", threshold, reset, tau)
    x, v = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 3, 4, 5))
    h = given.charge(v, x)
    after = given.after_spike(h, (h >= threshold).astype(h.dtype))
    for channel in range(3):
        one = NeuronParameters(
            "lif", float(threshold[channel, 0, 0]), float(reset[channel, 0, 0]), float(tau[channel, 0, 0])
        )
        alone = one.charge(v[:, channel], x[:, channel])
        np.testing.assert_array_equal(h[:, channel], alone)
        fired = (alone >= one.v_threshold).astype(alone.dtype)
        np.testing.assert_array_equal(after[:, channel], one.after_spike(alone, fired))
    kind, fields = neuron_fields(given, (3, 4, 5), 1e-3)
    assert kind == "LIF"
    np.testing.assert_allclose(fields["tau"][:, 2, 3], tau[:, 0, 0] * 1e-3)
    np.testing.assert_allclose(fields["v_threshold"][:, 0, 0], threshold[:, 0, 0], rtol=1e-6)
    assert not given.scalar
    with pytest.raises(InputError, match="differ by channel"):
        NeuronCall.of(given)


def test_a_compiled_neuron_has_the_numbers_of_the_record():
    call = NeuronCall.of(NeuronParameters("plif", 1.0, None, 0.25, False), steps=4)
    assert (call.op, call.leak, call.v_threshold, call.v_reset, call.decay_input) == ("plif", 0.25, 1.0, None, False)
    assert call.steps == 4
