"""Projections: the counting rules against the list of edges, and that list against torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurokit.errors import InputError
from neurokit.hw_sim.graph.projection import Projection


@st.composite
def windowed(draw, kind: str = "conv") -> Projection:
    """A small convolution or pooling of any shape, border, stride, dilation and grouping."""
    axes = draw(st.integers(1, 2))
    groups = draw(st.sampled_from((1, 1, 2, 3)))
    inputs, outputs = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 3))
    kernel = tuple(draw(st.lists(st.integers(1, 3), min_size=axes, max_size=axes)))
    dilation = draw(st.integers(1, 2)) if kind == "conv" else 1
    padding = draw(st.integers(0, 2)) if kind == "conv" else draw(st.integers(0, min(kernel) // 2))
    least = dilation * (max(kernel) - 1) + 1 - 2 * padding
    spatial = tuple(draw(st.integers(max(1, least), 7)) for _ in range(axes))
    stride = draw(st.integers(1, 3))
    if kind == "conv":
        return Projection.conv("p", "a", "b", (inputs, *spatial), outputs, kernel, stride, padding, dilation, groups)
    return Projection.pool("p", "a", "b", (inputs, *spatial), kernel, stride, padding, maximum=kind == "maxpool")


@st.composite
def projections(draw) -> Projection:
    kind = draw(st.sampled_from(("conv", "conv", "pool", "maxpool", "linear", "identity")))
    if kind in ("conv", "pool", "maxpool"):
        base = draw(windowed(kind))
    elif kind == "linear":
        shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
        base = Projection.linear("p", "a", "b", shape, draw(st.integers(1, 5)))
    else:
        base = Projection.identity("p", "a", "b", tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))))
    if not draw(st.booleans()):
        return base
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))  # views: permuted, repeated, dropped
    sizes = [int(rng.integers(1, 2 * n + 1)) for n in (base.source_size, base.target_size)]
    indices = [rng.integers(-1, s, n) for s, n in zip(sizes, (base.source_size, base.target_size), strict=True)]
    return Projection(
        "p",
        "a",
        "b",
        base.kind,
        base.source_shape,
        base.target_shape,
        base.kernel,
        base.stride,
        base.padding,
        base.dilation,
        base.groups,
        *sizes,
        *indices,
    )


def adjacency(projection: Projection) -> np.ndarray:
    """Number of edges from each source to each target, counted from the list of edges."""
    matrix = np.zeros((projection.source_size, projection.target_size), np.int64)
    edges = projection.edges()
    np.add.at(matrix, (edges[:, 0], edges[:, 1]), 1)
    return matrix


@settings(max_examples=300, deadline=None)
@given(projections(), st.integers(0, 2**16), st.floats(0, 1))
def test_counts_equal_the_list_of_edges(projection, seed, rate):
    rng = np.random.default_rng(seed)
    matrix = adjacency(projection)
    spikes = (rng.random((3, projection.source_size)) < rate).astype(np.uint8)
    groups = rng.random((4, projection.target_size)) < 0.2

    assert projection.synapses == matrix.sum()
    np.testing.assert_array_equal(projection.fan_out(), matrix.sum(axis=1))
    np.testing.assert_array_equal(projection.fan_in(), matrix.sum(axis=0))
    np.testing.assert_array_equal(projection.events_per_target(spikes), spikes @ matrix)
    np.testing.assert_array_equal(projection.synaptic_events(spikes), (spikes @ matrix).sum(axis=1))
    np.testing.assert_array_equal(projection.sources_of(groups), (groups @ (matrix.T > 0)) > 0)


@settings(max_examples=100, deadline=None)
@given(windowed("conv"), st.integers(0, 2**16))
def test_the_list_of_edges_computes_torchs_convolution(projection, seed):
    rng = np.random.default_rng(seed)
    weight = rng.integers(
        -9, 9, (projection.target_shape[0], projection.source_shape[0] // projection.groups, *projection.kernel)
    ).astype(np.float64)
    x = rng.integers(-9, 9, projection.source_shape).astype(np.float64)
    by_edge = np.zeros(projection.target_size)
    for source, target, index in projection.edges():
        by_edge[target] += x.flat[source] * weight.flat[index]

    conv = torch.nn.functional.conv1d if len(projection.kernel) == 1 else torch.nn.functional.conv2d
    wanted = conv(
        torch.from_numpy(x)[None],
        torch.from_numpy(weight),
        None,
        projection.stride,
        projection.padding,
        projection.dilation,
        projection.groups,
    )[0]
    assert projection.target_shape == tuple(wanted.shape)
    np.testing.assert_array_equal(by_edge, wanted.numpy().ravel())
    assert projection.stored_weights == weight.size
    assert set(projection.edges()[:, 2]) <= set(range(weight.size))


@settings(max_examples=60, deadline=None)
@given(windowed("pool"), st.integers(0, 2**16))
def test_pooling_has_torchs_windows(projection, seed):
    x = np.random.default_rng(seed).integers(0, 9, projection.source_shape).astype(np.int32)
    pool = torch.nn.functional.avg_pool1d if len(projection.kernel) == 1 else torch.nn.functional.avg_pool2d
    summed = pool(torch.from_numpy(x).double()[None], projection.kernel, projection.stride, projection.padding)[0]
    summed *= np.prod(projection.kernel)
    np.testing.assert_allclose(projection.events_per_target(x.reshape(1, -1))[0], summed.numpy().ravel(), rtol=1e-12)


def test_published_count_of_a_strided_padded_network():
    # 32x32x2 -> 3x3x16 -> 3x3x32 stride 2, both padded by 1: the exact events were found by a convolution with ones.
    first = Projection.conv("c1", "in", "h", (2, 32, 32), 16, (3, 3), 1, 1)
    second = Projection.conv("c2", "h", "out", (16, 32, 32), 32, (3, 3), 2, 1)
    assert first.target_shape == (16, 32, 32)
    assert second.target_shape == (32, 16, 16)
    rng = np.random.default_rng(0)
    for p in (first, second):
        spikes = (rng.random((4, p.source_size)) < 0.1).astype(np.uint8)
        ones = torch.ones(p.target_shape[0], p.source_shape[0], 3, 3, dtype=torch.float64)
        x = torch.from_numpy(spikes).double().reshape(4, *p.source_shape)
        wanted = torch.nn.functional.conv2d(x, ones, None, p.stride, 1).sum(dim=(1, 2, 3))
        np.testing.assert_array_equal(p.synaptic_events(spikes), wanted.numpy().astype(np.int64))


def test_shared_weights_are_stored_once():
    a = Projection.linear("l", "a", "b", (8,), 4)
    b = Projection.linear("l again", "c", "b", (8,), 4, shares_weights_with="l")
    assert (a.stored_weights, b.stored_weights, a.synapses, b.synapses) == (32, 0, 32, 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source_shape": (3, 8, 8)}, "divide by the groups"),
        ({"stride": (0, 1)}, "at least 1"),
        ({"kernel": (3,)}, "one kernel"),
        ({"source_size": 5}, "no index is given"),
        ({"source_index": np.full(256, 999)}, "-1 to 255"),
    ],
)
def test_a_wrong_description_is_refused(change, message):
    good = {
        "source_shape": (4, 8, 8),
        "target_shape": (6, 8, 8),
        "kernel": (3, 3),
        "stride": (1, 1),
        "padding": (1, 1),
        "dilation": (1, 1),
        "groups": 2,
    }
    Projection("p", "a", "b", "conv", **good)
    with pytest.raises(InputError, match=message):
        Projection("p", "a", "b", "conv", **(good | change))


def test_spikes_of_the_wrong_size_are_refused():
    with pytest.raises(InputError, match=r"shape \(2, 9\)"):
        Projection.linear("p", "a", "b", (8,), 4).synaptic_events(np.zeros((2, 9), np.uint8))
