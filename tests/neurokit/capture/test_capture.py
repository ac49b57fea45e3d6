"""What capture promises whatever the neurons are: the module stays as found, no stale state, no silent T."""

from __future__ import annotations

import copy

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from neurokit.capture import capture
from neurokit.errors import InputError, ModelLoadError, NeurokitError, UnsupportedError
from neurokit.spec import ModelSpec, TensorSpec

T, B = 4, 2


def sequence(*modules, mode="m"):
    net = nn.Sequential(*modules)
    functional.set_step_mode(net, mode)
    return net.eval()


def tiny(mode="m"):
    torch.manual_seed(0)
    return sequence(
        layer.Conv2d(2, 4, 3, padding=1),
        layer.BatchNorm2d(4),
        neuron.LIFNode(),
        layer.Flatten(),
        layer.Linear(4 * 25, 3),
        neuron.IFNode(),
        mode=mode,
    )


def drive(steps=T, batch=B):
    return torch.rand(steps, batch, 2, 5, 5, generator=torch.Generator().manual_seed(1)) * 4


def run(captured, x):
    batch = x.shape[1] if captured.spec.time_input != "image" else x.shape[0]
    return captured.program.module()(x, *captured.initial_states(batch))[0]


def reference(net, x):
    net = copy.deepcopy(net)
    functional.reset_net(net)
    with torch.no_grad():
        return net(x)


def test_the_users_module_stays_as_it_was_found():
    net = tiny().train()
    calls = []
    net[0].register_forward_hook(lambda *args: calls.append(1))
    x = drive()
    net(x).sum().backward()  # leaves membranes that hang in an autograd graph
    before = {name: value.clone() for name, value in net.state_dict().items()}
    membrane, gradient, hooks, count = net[2].v, net[0].weight.grad, list(net[0]._forward_hooks), len(calls)
    captured = capture(net, x)
    assert net.training
    assert net[2].training
    assert net[2].v is membrane
    assert net[2].v.grad_fn is not None
    assert net[0].weight.grad is gradient
    assert list(net[0]._forward_hooks) == hooks
    assert len(calls) == count, "the user's hook ran"
    assert any("hook" in note and "only look" in note for note in captured.notes)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert "forward" not in vars(net[2])


def test_a_stale_membrane_is_never_baked_in():
    net, x = tiny(), drive()
    net(10 * x)
    captured = capture(net, x)
    assert torch.equal(run(captured, x), reference(tiny(), x))
    assert all(float(state.abs().max()) == 0.0 for state in captured.initial_states(B))


def test_a_form_is_traced_once_and_forms_lead_to_each_other():
    captured = capture(tiny(), drive())
    step = captured.retrace(form="step")
    assert captured.retrace(form="step") is step
    assert step.retrace(form="sequence") is captured
    longer = captured.retrace(time_steps=T + 1)
    assert (captured.time_steps, longer.time_steps) == (T, T + 1)
    for batch in range(2, 7):  # the oldest are let go
        assert captured.retrace(batch=batch).batch == batch
    again = captured.retrace(form="step")
    assert again is not step
    assert (again.form, again.states) == (step.form, step.states)


def test_capturing_twice_gives_the_same_program():
    net, x = tiny(), drive()
    first, second = capture(net, x), capture(net, x)
    assert torch.equal(run(first, x), run(second, x))


@pytest.mark.parametrize("steps", [1, 3, 9])
def test_a_dynamic_t_is_dynamic(steps):
    net = tiny()
    captured = capture(net, drive(), time_steps="dynamic")
    x = drive(steps, 3)
    assert torch.equal(run(captured, x), reference(net, x))


class Loop(nn.Module):
    """A user's own loop over time around single-step neurons."""

    def __init__(self):
        super().__init__()
        self.net = tiny("s")

    def forward(self, x):
        return sum(self.net(x_t) for x_t in x) / x.shape[0]


def test_a_users_loop_over_time_becomes_neurons_over_time():
    net, x = Loop().eval(), drive()
    captured = capture(net, x)
    assert torch.equal(run(captured, x), reference(net, x))
    assert captured.time_output == "mean"
    assert [neuron.calls for neuron in captured.neurons] == [1, 1]
    free = capture(net, x, time_steps="dynamic")
    longer = torch.cat([x, x.flip(0)])
    assert torch.equal(run(free, longer), reference(net, longer))


def test_a_step_by_step_module_is_folded_into_the_batch():
    net, x = tiny("s"), drive()
    spec = ModelSpec("s", lambda: net, (TensorSpec("x", (2, 5, 5)),), time_steps=T, time_input="step")
    functional.reset_net(net)
    with torch.no_grad():
        wanted = torch.stack([net(x_t) for x_t in x])
    functional.reset_net(net)
    captured = capture(spec)
    assert torch.equal(run(captured, x), wanted)
    convolutions = [n for n in captured.program.graph.nodes if "conv2d" in str(n.target)]
    assert len(convolutions) == 1, "the convolution sees T x B at once"


class Shared(nn.Module):
    """One neuron in two places: its membrane goes on from the first to the second."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.alias = self.sn = neuron.LIFNode(step_mode="m")

    def forward(self, x):
        return self.sn(self.second(self.alias(self.first(x))))


def test_a_shared_neuron_carries_its_state_on_and_cannot_stream():
    torch.manual_seed(0)
    net, x = Shared().eval(), torch.rand(T, B, 6) * 5
    captured = capture(net, x)
    assert torch.equal(run(captured, x), reference(net, x))
    assert captured.neurons[0].calls == 2
    assert len(captured.states) == 1
    with pytest.raises(UnsupportedError, match="runs it 2 times"):
        capture(net, x, form="step")


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.ModuleDict({"fc": nn.Linear(6, 6), "sn": neuron.IFNode(step_mode="m")})])
        self.head = layer.SeqToANNContainer(nn.Linear(6, 4), nn.BatchNorm1d(4))
        self.out = neuron.LIFNode(tau=3.0, v_reset=None, step_mode="m")

    def forward(self, x):
        for block in self.blocks:
            x = x + block["sn"](block["fc"](x))
        return {"y": self.out(self.head(x)), "side": (x,)}


def test_nested_containers_and_structured_outputs():
    torch.manual_seed(0)
    net, x = Nested().eval(), torch.rand(T, B, 6) * 3
    captured = capture(net, x)
    assert [n.path for n in captured.neurons] == ["blocks.0.sn", "out"]
    assert len(captured.output_names) == 2
    wanted = reference(net, x)
    found = captured.program.module()(x, *captured.initial_states(B))
    by_shape = {tuple(value.shape): value for value in found[:2]}
    assert torch.equal(by_shape[(T, B, 4)], wanted["y"])
    assert torch.equal(by_shape[(T, B, 6)], wanted["side"][0])


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 6)),
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6)),
    ],
)
def test_parametrised_weights(build):
    torch.manual_seed(0)
    net, x = nn.Sequential(build(), neuron.LIFNode(step_mode="m")).eval(), torch.rand(T, B, 6) * 4
    assert torch.equal(run(capture(net, x), x), reference(net, x))


def test_dropout_is_the_identity_and_no_state():
    torch.manual_seed(0)
    net, x = sequence(layer.Linear(6, 6), layer.Dropout(0.5), neuron.LIFNode()), torch.rand(T, B, 6) * 4
    captured = capture(net, x, time_steps="dynamic")
    assert [state.neuron for state in captured.states] == ["2"]
    assert torch.equal(run(captured, x), reference(net, x))


def test_a_stateful_synapse_is_captured_with_its_state():
    torch.manual_seed(0)
    net = sequence(layer.Linear(6, 6), neuron.LIFNode(), layer.SynapseFilter(tau=5.0), layer.Linear(6, 3))
    x = torch.rand(T, B, 6) * 4
    captured = capture(net, x)
    assert torch.allclose(run(captured, x), reference(net, x), rtol=1e-6, atol=1e-7)
    assert {state.memory for state in captured.states} == {"v", "out_i"}
    step = capture(net, x, form="step")
    states, outputs = step.initial_states(B), []
    for x_t in x:
        y, *states = step.program.module()(x_t, *states)
        outputs.append(y)
    assert torch.allclose(torch.stack(outputs), reference(net, x), rtol=1e-6, atol=1e-7)


class Reduce(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.net, self.how = tiny(), how

    def forward(self, x):
        y = self.net(x)
        return {"mean": y.mean(0), "sum": y.sum(0), "last": y[-1], "sequence": y, "auto": y.max(0).values + y[0]}[
            self.how
        ]


@pytest.mark.parametrize("how", ["mean", "sum", "last", "sequence", "auto"])
def test_what_the_output_is_over_time_is_found_by_trying(how):
    net, x = Reduce(how).eval(), drive()
    captured = capture(net, x)
    assert captured.time_output == how
    if how == "auto":
        with pytest.raises(UnsupportedError, match="neither one per step"):
            capture(net, x, form="step")


class Decides(nn.Module):
    def __init__(self):
        super().__init__()
        self.sn = neuron.LIFNode(step_mode="m")

    def forward(self, x):
        return self.sn(x) if x.sum() > 0 else x


def test_control_flow_that_needs_data_is_refused_with_a_reason():
    with pytest.raises(UnsupportedError) as refused:
        capture(Decides(), torch.rand(T, B, 6))
    text = str(refused.value)
    assert "depends on the values of tensors" in text
    assert "torch.where" in text


def test_every_reason_is_listed_at_once():
    net = nn.Sequential(neuron.NoisyNonSpikingIFNode(6, T=T), neuron.NoisyCUBALIFNode(6, T=T))
    with pytest.raises(UnsupportedError) as refused:
        capture(net, torch.rand(T, B, 6))
    assert [reason.path for reason in refused.value.reasons] == ["0", "1"]
    assert all(reason.what and reason.why and reason.fix for reason in refused.value.reasons)


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True, "many"])
def test_t_that_is_no_positive_number(wrong):
    with pytest.raises(InputError, match="time_steps"):
        capture(tiny(), drive(), time_steps=wrong)


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True, "many"])
def test_batch_that_is_no_positive_number(wrong):
    with pytest.raises(InputError, match="batch"):
        capture(tiny(), drive(), batch=wrong)


def test_a_fixed_batch_is_fixed():
    captured = capture(tiny(), drive(), batch=3)
    assert captured.states[0].concrete(3)[0] == 3
    assert run(captured, drive(T, 3)).shape[1] == 3


@pytest.mark.parametrize("x", [None, [1.0], torch.rand(6)])
def test_example_inputs_that_are_none(x):
    with pytest.raises(InputError):
        capture(tiny(), x)


def test_a_module_that_does_not_take_such_inputs():
    with pytest.raises(InputError, match=r"does not run on an input of shape"):
        capture(tiny(), torch.rand(T, B, 7, 5, 5))


def test_a_factory_that_builds_no_module():
    spec = ModelSpec("nothing", lambda: 3, (TensorSpec("x", (4,)),))
    with pytest.raises(ModelLoadError, match="built a int"):
        capture(spec)


def test_a_module_that_cannot_be_copied():
    net = tiny()
    net.lock = (value for value in range(3))
    with pytest.raises(NeurokitError, match="cannot be copied"):
        capture(net, drive())


def test_a_bare_single_step_module_is_called_step_by_step():
    """Not with a whole sequence, whose time its neurons would take for the batch."""
    torch.manual_seed(0)
    net = nn.Sequential(layer.Conv2d(2, 3, 3), neuron.LIFNode(), layer.Flatten(), layer.Linear(48, 4), neuron.IFNode())
    with torch.no_grad():
        net[0].weight.add_(0.2)
        net[3].weight.add_(0.1)
    x = torch.rand(5, 2, 2, 6, 6)
    captured = capture(net, x)
    assert captured.spec.time_input == "step"
    with torch.no_grad():
        expected = torch.stack([net(x_t) for x_t in x])
        found = captured.program.module()(x, *captured.initial_states(2))[0]
    functional.reset_net(net)
    assert 0 < expected.sum() < expected.numel()
    assert torch.equal(found, expected)
    functional.set_step_mode(net, "m")
    assert capture(net, x).spec.time_input == "sequence"
