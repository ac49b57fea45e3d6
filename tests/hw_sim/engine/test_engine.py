"""The event engine against a dense int64 reference and against torch in float64: every spike, every current."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurokit.errors import InputError, UnsupportedError
from neurokit.hw_sim.engine import Engine, IntegerNetwork, IntegerPopulation, IntegerProjection, Rescale
from neurokit.hw_sim.engine.arrive import Value
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.graph.network import Network, NeuronModel, Population, Product
from neurokit.hw_sim.graph.projection import Projection

_spec = importlib.util.spec_from_file_location("engine_reference", Path(__file__).with_name("reference.py"))
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

MODELS = (
    NeuronModel("if"),
    NeuronModel("if", reset=None),
    NeuronModel("lif", tau=2.0, decay_input=True),
    NeuronModel("lif", tau=4.0, decay_input=False),
    NeuronModel("lif", tau=4 / 3, reset=None, decay_input=True),
)


def numbers_for(rng, population: Population, scale: int) -> IntegerPopulation:
    """Random bias, thresholds and leak, one for each channel."""
    channels = (population.shape[0], 1, 1) if len(population.shape) == 3 else population.shape[-1:]
    tau = population.model.tau if population.model else 1.0
    numerator, shift = {2.0: (1, 1), 4.0: (1, 2), 4 / 3: (3, 2)}.get(tau, (1, 0))
    return IntegerPopulation(
        bias=rng.integers(-scale // 4, scale // 2, channels),
        threshold=rng.integers(1, scale, channels),
        reset=0 if rng.random() < 0.5 else rng.integers(-scale, 1, channels),
        leak_numerator=numerator,
        leak_shift=shift,
        fraction_bits=int(rng.integers(0, 8)),
        start=None if rng.random() < 0.5 else rng.integers(-scale, 2 * scale, channels),
    )


# Loops for several threads are compiled by themselves, 16 s for one where a loop for one thread takes 9: every run has
# them on a convolutional network, the slow one on all.
on_threads = pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.slow)])


def same_everywhere(net: IntegerNetwork, inputs: dict[str, np.ndarray], threads: int):
    """Runs engine and reference and compares every population; returns the engine's run."""
    steps = len(next(iter(inputs.values())))
    names = [p.name for p in net.network.populations]
    run = Engine(net, steps, threads=threads).run(inputs, record=names)
    wanted = reference.run(net, inputs)
    for name in names:
        got = run.rasters[name].unpack() if name in run.rasters else run.currents[name]
        np.testing.assert_array_equal(got, wanted[name], err_msg=name)
    return run


@st.composite
def chains(draw):
    """A random chain: conv / pool / grouped / strided layers on an integer image or on spikes, then linear."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    steps, axes = draw(st.integers(1, 4)), draw(st.integers(1, 2))
    shape = (draw(st.integers(1, 5)), *(draw(st.integers(3, 8)) for _ in range(axes)))
    binary = draw(st.booleans())
    populations = [Population("in", shape, "input", binary=binary)]
    projections, weights = [], {}
    for layer in range(draw(st.integers(1, 3))):
        source = populations[-1]
        kind = draw(st.sampled_from(("conv", "conv", "depthwise", "grouped", "pool", "maxpool")))
        kernel = tuple(int(k) for k in rng.integers(1, 4, axes))
        pad = tuple(int(p) for p in rng.integers(0, 2, axes))
        stride = tuple(int(s) for s in rng.integers(1, 3, axes))
        if any(n + 2 * p < 2 * (k - 1) + 1 for n, p, k in zip(source.shape[1:], pad, kernel, strict=True)):
            kernel, pad = (1,) * axes, (0,) * axes
        name, target = f"p{layer}", f"n{layer}"
        if kind in ("pool", "maxpool"):
            pad = tuple(min(p, k // 2) for p, k in zip(pad, kernel, strict=True))
            p = Projection.pool(name, source.name, target, source.shape, kernel, stride, pad, maximum=kind == "maxpool")
        else:
            groups = {"conv": 1, "depthwise": source.shape[0], "grouped": 2 if source.shape[0] % 2 == 0 else 1}[kind]
            outputs = groups * int(rng.integers(1, 4)) if kind != "conv" else int(rng.choice((1, 3, 40, 70)))
            dilation = int(rng.integers(1, 3))
            p = Projection.conv(name, source.name, target, source.shape, outputs, kernel, stride, pad, dilation, groups)
            limit = (-128, 128) if rng.random() < 0.7 else (100, 128)  # one sign: sums grow beyond int16
            weights[name] = IntegerProjection(
                rng.integers(*limit, (outputs, source.shape[0] // groups, *kernel)).astype(np.int8),
                rng.integers(0, 3, outputs) if rng.random() < 0.5 else 0,
            )
        if kind == "maxpool":
            populations.append(Population(target, p.target_shape, "relay", binary=source.binary))
        else:
            populations.append(Population(target, p.target_shape, model=MODELS[int(rng.integers(len(MODELS)))]))
        projections.append(p)
    last = populations[-1]
    populations.append(Population("out", (7,), "current", binary=False))
    projections.append(Projection.linear("head", last.name, "out", (last.size,), 7))
    weights["head"] = IntegerProjection(rng.integers(-128, 128, (7, last.size)).astype(np.int8))
    network = Network("chain", tuple(populations), tuple(projections), outputs=("out",))
    numbers = {p.name: numbers_for(rng, p, 200) for p in populations if p.role in ("neuron", "current")}
    net = IntegerNetwork(network, numbers, weights, {} if binary else {"in": 255})
    values = rng.random((steps, *shape)) < draw(st.floats(0, 1)) if binary else rng.integers(-255, 256, (steps, *shape))
    return net, {"in": values}


@on_threads
@settings(max_examples=60, deadline=None)
@given(case=chains())
def test_random_chains_have_the_reference_values(case, threads):
    net, inputs = case
    run = same_everywhere(net, inputs, threads)
    # What was counted while routing is what the projections' rules say, from the recorded spikes.
    for p in net.network.projections:
        source = run.rasters[p.source].unpack() if p.source in run.rasters else (run.currents[p.source] != 0)
        np.testing.assert_array_equal(run.events[p.name], p.synaptic_events(source.astype(np.uint8)), err_msg=p.name)


def residual_net(rng, steps: int = 3) -> tuple[IntegerNetwork, dict[str, np.ndarray]]:
    """Direct-coded stem, membrane shortcut with meeting grids, depthwise then rescale then pointwise, attention."""
    c, h, w = 8, 4, 5
    tokens, heads, dim = h * w, 2, c // 2
    lif, soft = NeuronModel("lif", tau=2.0, decay_input=True), NeuronModel("if", reset=None)
    current = {"role": "current", "binary": False}
    populations = (
        Population("image", (3, h, w), "input", binary=False),
        Population("x0", (c, h, w), **current),
        Population("s0", (c, h, w), model=lif),
        Population("dw", (c, h, w), **current),
        Population("x1", (c, h, w), **current),
        Population("q", (c, h, w), model=lif),
        Population("k", (c, h, w), model=soft),
        Population("v", (c, h, w), model=lif),
        Population("kv", (heads, dim, dim), "product", binary=False),
        Population("qkv", (heads, tokens, dim), "product", binary=False),
        Population("a", (heads, tokens, dim), model=soft),
        Population("x2", (c, h, w), **current),
        Population("mean", (c,), **current),
        Population("s2", (c,), model=lif),
        Population("out", (6,), **current),
    )
    # [heads, tokens, dim] of a [C, H, W] population: channel = head * dim + d
    flat = np.arange(c * h * w).reshape(heads, dim, tokens)
    token_major = np.ascontiguousarray(flat.transpose(0, 2, 1))
    pw = {
        name: Projection.conv(name, *ends, (c, h, w), c, (1, 1))
        for name, ends in {"to q": ("x1s", "q"), "to k": ("x1s", "k"), "to v": ("x1s", "v")}.items()
    }
    populations = (*populations[:5], Population("x1s", (c, h, w), model=soft), *populations[5:])
    projections = (
        Projection.conv("stem", "image", "x0", (3, h, w), c, (3, 3), 1, 1),
        Projection.identity("x0 to s0", "x0", "s0", (c, h, w)),
        Projection.conv("depthwise", "s0", "dw", (c, h, w), c, (3, 3), 1, 1, groups=c),
        Projection.conv("pointwise", "dw", "x1", (c, h, w), c, (1, 1)),
        Projection.identity("shortcut", "x0", "x1", (c, h, w)),
        Projection.identity("x1 to x1s", "x1", "x1s", (c, h, w)),
        *pw.values(),
        Projection.identity("qkv to a", "qkv", "a", (heads, tokens, dim)),
        Projection.conv(
            "proj",
            "a",
            "x2",
            (c, h, w),
            c,
            (1, 1),
            source_index=np.arange(c * h * w).reshape(heads, tokens, dim).transpose(0, 2, 1).ravel(),
        ),
        Projection.identity("shortcut 2", "x1", "x2", (c, h, w)),
        Projection.pool("mean", "x2", "mean", (c, h, w), (h, w), target_index=np.arange(c), target_size=c),
        Projection.identity("mean to s2", "mean", "s2", (c,)),
        Projection.linear("head", "s2", "out", (c,), 6),
    )
    products = (
        Product("K^T V", "k", "v", "kv", heads, dim, tokens, dim, flat.ravel(), token_major.ravel()),
        Product("Q KV", "q", "kv", "qkv", heads, tokens, dim, dim, token_major.ravel()),
    )
    network = Network("residual", populations, projections, products, ("out",))
    weights = {}
    for p in projections:
        if p.kind in ("conv", "linear"):
            inputs = p.source_shape[0] // p.groups if p.kind == "conv" else p.source_shape[-1]
            outputs = p.target_shape[0] if p.kind == "conv" else p.target_shape[-1]
            weight = rng.integers(-100, 101, (outputs, inputs, *p.kernel)).astype(np.int8)
            weights[p.name] = IntegerProjection(weight, rng.integers(0, 3, outputs))
    weights["shortcut"] = IntegerProjection(None, rng.integers(0, 3, c))
    weights["shortcut 2"] = IntegerProjection(None, 1)
    numbers = {p.name: numbers_for(rng, p, 300) for p in populations if p.role in ("neuron", "current")}
    numbers["a"] = IntegerPopulation(threshold=1)
    for name in ("k", "v"):
        numbers[name] = IntegerPopulation(bias=rng.integers(0, 300, (c, 1, 1)), threshold=200, leak_shift=1)
    numbers["dw"] = IntegerPopulation(rescale=Rescale(3, -127, 127))
    net = IntegerNetwork(network, numbers, weights, {"image": 256})
    return net, {"image": rng.integers(-256, 257, (steps, 3, h, w))}


@on_threads
@pytest.mark.parametrize("seed", range(8))
def test_shortcuts_products_rescaling_and_means_have_the_reference_values(seed, threads):
    net, inputs = residual_net(np.random.default_rng(seed))
    run = same_everywhere(net, inputs, threads)
    assert run.rasters["a"].count > 0  # a silent network would prove nothing
    counts = {
        c.name: c
        for c in Workload(
            net.network,
            run.rasters | {name: type(run.rasters["a"]).pack(values) for name, values in run.currents.items()},
        ).counts
    }
    assert counts["q"].synaptic_events.sum() == run.events["to q"].sum()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_convolutional_network_equals_torch_in_float64(threads):
    rng = np.random.default_rng(3)
    steps = 5
    shapes = [(2, 18, 20), (24, 18, 20), (100, 9, 10), (100, 9, 10)]
    convs = [(24, (3, 3), 1, 1, 1), (100, (3, 3), 2, 1, 1), (100, (5, 5), 1, 2, 100)]
    populations = [Population("in", shapes[0], "input")]
    projections, weights, numbers = [], {}, {}
    x = (rng.random((steps, *shapes[0])) < 0.3).astype(np.uint8)
    wanted = {"in": torch.from_numpy(x).double()}
    for n, (outputs, kernel, stride, padding, groups) in enumerate(convs):
        source, name = populations[-1], f"n{n}"
        p = Projection.conv(f"c{n}", source.name, name, source.shape, outputs, kernel, stride, padding, 1, groups)
        weight = rng.integers(-127, 128, (outputs, source.shape[0] // groups, *kernel)).astype(np.int8)
        bias, threshold = rng.integers(-9, 60, (outputs, 1, 1)), rng.integers(80, 300, (outputs, 1, 1))
        populations.append(Population(name, p.target_shape, model=NeuronModel("lif", tau=2.0, decay_input=True)))
        projections.append(p)
        weights[p.name] = IntegerProjection(weight)
        numbers[name] = IntegerPopulation(bias, threshold, leak_shift=1, fraction_bits=steps)
        kernels = torch.from_numpy(weight).double()
        current = torch.nn.functional.conv2d(wanted[source.name], kernels, None, stride, padding, 1, groups)
        current = current + torch.from_numpy(bias)
        v, spikes = torch.zeros_like(current[0]), []
        for step in current:
            v = v + (step - v) / 2
            spikes.append((v >= torch.from_numpy(threshold)).double())
            v = torch.where(spikes[-1] > 0, torch.zeros_like(v), v)
        wanted[name] = torch.stack(spikes)
    net = IntegerNetwork(Network("conv", tuple(populations), tuple(projections)), numbers, weights)
    run = Engine(net, steps, threads).run({"in": x})
    for name in ("n0", "n1", "n2"):
        spikes = run.rasters[name].unpack()
        assert 0.02 < spikes.mean() < 0.6
        np.testing.assert_array_equal(spikes, wanted[name].reshape(steps, -1).numpy())


def test_partial_sums_that_outgrow_int16_and_int32_stay_exact():
    inputs, outputs, steps = 5000, 70, 3
    p = Projection.linear("l", "in", "out", (inputs,), outputs)
    ends = (Population("in", (inputs,), "input"), Population("out", (outputs,), "current", binary=False))
    network = Network("wide", ends, (p,), outputs=("out",))
    for dtype, extreme, shift in ((np.int8, 127, 0), (np.int8, -128, 20), (np.int16, 32767, 3), (np.int16, -32768, 0)):
        weight = np.full((outputs, inputs), extreme, dtype)
        net = IntegerNetwork(network, {}, {"l": IntegerProjection(weight, shift)})
        run = Engine(net, steps).run({"in": np.ones((steps, inputs), np.uint8)})
        assert (run.currents["out"] == (extreme * inputs) << shift).all()
        assert run.events["l"].tolist() == [inputs * outputs] * steps


def test_silence_routes_nothing_and_memory_stays_small():
    p = Projection.conv("c", "in", "n", (16, 32, 32), 32, (3, 3), 1, 1)
    d = Projection.linear("d", "n", "out", (32 * 32 * 32,), 100)
    network = Network(
        "quiet",
        (
            Population("in", (16, 32, 32), "input"),
            Population("n", (32, 32, 32), model=NeuronModel("if")),
            Population("out", (100,), model=NeuronModel("if")),
        ),
        (p, d),
    )
    rng = np.random.default_rng(0)
    weights = {
        "c": IntegerProjection(rng.integers(-9, 9, (32, 16, 3, 3)).astype(np.int8)),
        "d": IntegerProjection(rng.integers(-9, 9, (100, 32768)).astype(np.int8)),
    }
    engine = Engine(IntegerNetwork(network, {}, weights), 4)
    run = engine.run({"in": np.zeros((4, 16, 32, 32), bool)})
    assert run.synaptic_events == 0
    assert run.rasters["n"].count == run.rasters["out"].count == 0
    assert engine.bytes_per_synapse <= 2.0


def test_bad_input_is_refused():
    p = Projection.linear("l", "in", "out", (4,), 3)
    network = Network(
        "n", (Population("in", (4,), "input", binary=False), Population("out", (3,), model=MODELS[0])), (p,)
    )
    weight = {"l": IntegerProjection(np.ones((3, 4), np.int8))}
    engine = Engine(IntegerNetwork(network, {}, weight, {"in": 10}), 2)
    with pytest.raises(InputError, match="is missing"):
        engine.run({})
    with pytest.raises(InputError, match="shape"):
        engine.run({"in": np.zeros((2, 5), int)})
    with pytest.raises(InputError, match="float64"):
        engine.run({"in": np.zeros((2, 4))})
    with pytest.raises(InputError, match="bound 10"):
        engine.run({"in": np.full((2, 4), 11)})
    with pytest.raises(InputError, match="has no bound"):
        IntegerNetwork(network, {}, weight)
    with pytest.raises(InputError, match="int8 or int16"):
        IntegerNetwork(network, {}, {"l": IntegerProjection(np.ones((4, 3), np.int8))}, {"in": 1})
    with pytest.raises(InputError, match="no weight"):
        IntegerNetwork(network, {}, {}, {"in": 1})
    with pytest.raises(InputError, match="not in the network"):
        IntegerNetwork(network, {"x": IntegerPopulation()}, weight, {"in": 1})
    with pytest.raises(UnsupportedError, match="bits"):
        Engine(IntegerNetwork(network, {"out": IntegerPopulation(fraction_bits=60)}, weight, {"in": 10}), 2)
    with pytest.raises(InputError, match="cannot record"):
        engine.run({"in": np.zeros((2, 4), int)}, record=["nothing"])


@on_threads
@pytest.mark.parametrize("rate", [0.005, 0.3])
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding", "pool"), [(5, 1, 2, False), (3, 2, 1, False), (2, 2, 0, True)])
def test_channel_by_channel_is_the_same_dense_and_from_events(rate, graded, kernel, stride, padding, pool, threads):
    rng = np.random.default_rng(7)
    shape, steps = (24, 9, 10), 3
    if pool:
        p = Projection.pool("p", "in", "n", shape, (kernel,) * 2, stride)
    else:
        p = Projection.conv("p", "in", "n", shape, 24, (kernel,) * 2, stride, padding, 1, 24)
    populations = (
        Population("in", shape, "input", binary=not graded),
        Population("n", p.target_shape, model=NeuronModel("lif", tau=2.0)),
    )
    weight = None if pool else rng.integers(-90, 120, (24, 1, kernel, kernel)).astype(np.int8)
    net = IntegerNetwork(
        Network("each", populations, (p,)),
        {"n": IntegerPopulation(threshold=rng.integers(1, 200, (24, 1, 1)), leak_shift=1, fraction_bits=3)},
        {"p": IntegerProjection(weight, rng.integers(0, 3, 24))},
        {"in": 9} if graded else {},
    )
    spikes = (rng.random((steps, *shape)) < rate).astype(np.int64)
    given = {"in": spikes * (rng.integers(1, 10, spikes.shape) if graded else 1)}
    run = same_everywhere(net, given, threads)
    plan = Engine(net, steps)._plans["n"]
    source = Value(plan.routes[0].source.inward(given["in"]).reshape(steps, 9, -1), plan.routes[0].source)
    assert plan._is_dense(plan.routes[0], source) == (rate > 0.1)
    np.testing.assert_array_equal(run.events["p"], p.synaptic_events(spikes.reshape(steps, -1).astype(np.uint8)))


@on_threads
@pytest.mark.parametrize("steps", [1, 4])
def test_an_image_shown_in_every_step_is_routed_once(steps, threads):
    rng = np.random.default_rng(3)
    p = Projection.conv("p", "in", "n", (2, 7, 7), 5, (3, 3), 1, 1)
    populations = (Population("in", (2, 7, 7), "input", binary=False), Population("n", p.target_shape, model=MODELS[1]))
    weight = IntegerProjection(rng.integers(-99, 99, (5, 2, 3, 3)).astype(np.int8))
    net = IntegerNetwork(
        Network("still", populations, (p,)), {"n": IntegerPopulation(bias=7, threshold=3000)}, {"p": weight}, {"in": 99}
    )
    image = rng.integers(0, 99, (2, 7, 7))
    run = same_everywhere(net, {"in": np.stack([image] * steps)}, threads)
    assert (run.events["p"] == run.events["p"][0]).all()
    moving = np.stack([np.roll(image, t, axis=1) for t in range(steps)])
    same_everywhere(net, {"in": moving}, threads)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("shift", [0, 1, 5])
def test_the_compiled_rescaling_is_the_plain_one(dtype, shift):
    from neurokit.hw_sim.engine import kernels

    values = np.concatenate([np.arange(-300, 300), [2**30, -(2**30)]]).astype(dtype)
    rescale = Rescale(shift, -40, 2**20)
    wanted = rescale(values.astype(np.int64))
    np.testing.assert_array_equal(wanted, np.clip(np.rint(values / 2.0**shift), -40, 2**20))
    kernels.rescale(values, shift, -40, 2**20)
    np.testing.assert_array_equal(values, wanted)
