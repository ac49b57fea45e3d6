"""The convolution whose taps share rows: what it takes, its tiles and its machine code; its numbers on a GPU."""

from __future__ import annotations

import itertools
import random
import re

import pytest
import torch

from neurokit.errors import InputError
from neurokit.kernels import config, spike_conv_lif
from neurokit.kernels._compat import INTERPRET
from neurokit.kernels.checks import definitions
from neurokit.kernels.common.descriptors import host_makes
from neurokit.kernels.spike_conv_lif import boxes, rows
from neurokit.kernels.spike_conv_lif.borders import corrections
from neurokit.kernels.spike_conv_lif.place import filled

from .conftest import ON_GPU
from .test_assembly import assembly

compiles = pytest.mark.skipif(INTERPRET or not rows.gluon(), reason="Gluon is compiled by Triton 3.6")
SHAPE = (4, 2, 28, 28, 64)  # of the spikes
OUT = (4, 2, 28, 28, 96)
NARROW = {"images": 2, "tall": 8, "wide": 4, "cols": 64, "block_k": 64, "num_warps": 4, "programs": 2}
BROAD = {**NARROW, "cols": 128, "num_warps": 8, "programs": 1}
HALVES = {torch.float16: "f16", torch.bfloat16: "bf16"}


def spikes(shape=SHAPE, dtype=torch.int8):
    return torch.zeros(shape, dtype=dtype)


def weight(cols=96, kernel=3, channels=64, dtype=torch.int8):
    return torch.zeros(cols, kernel, kernel, channels, dtype=dtype)


def launches(offline, *operands, **given):
    """Returns what a call by rows compiles for a GPU of compute capability 9.0."""
    with offline.capture(90) as done:
        spike_conv_lif(*operands, **{"path": "rows", "padding": 1, "form": "int8", **given})
    return done


@compiles
@pytest.mark.parametrize(
    ("given", "stack"),
    [
        ({}, 0),
        ({"beside": torch.zeros(OUT, dtype=torch.int8)}, 0),
        ({"residual": torch.zeros(OUT), "want_current": True, "grid": 0.25, "rounds": True}, 64),
        ({"residual": torch.zeros(OUT[1:]).expand(OUT), "tau": 3.0, "v_reset": None, "decay_input": False}, 64),
        ({"form": "levels16", "grid": 1.0, "low": 0.0, "high": 2000.0, "want_current": True, "least": 0.0}, 64),
    ],
)
def test_machine_code_multiplies_from_shared_memory(given, stack, offline):
    """Two programs of four warps fit on a multiprocessor; registers are set, and few are spilled."""
    row = torch.zeros(96)
    (one,) = launches(offline, spikes(), weight(), scale=row, bias=row, **given)
    assert one.name == "spike_conv_lif_rows_kernel"
    assert one.count(r"wgmma\.mma_async\S*k32\.s32\.s8\.s8") >= 6
    assert one.binary.metadata.num_warps == 8
    assert 2 * (one.binary.metadata.shared + 1024) <= 228 * 1024
    cubin = one.binary.asm["cubin"]
    used = {name: int(n) for name, n in re.findall(r"(REG|STACK):(\d+)", assembly.resource_usage(cubin))}
    assert used["REG"] <= 128
    assert used["STACK"] <= stack
    assert assembly.unset_registers(assembly.disassemble(cubin)) == []


@compiles
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(
    ("beside", "chosen", "stack"),
    [
        ((), {}, 0),
        (("beside",), {}, 0),
        (("residual", "current"), {}, 64),
        (("residual",), {**BROAD, "block_k": 32}, 0),
        pytest.param(("beside",), BROAD, 0, marks=pytest.mark.slow),
    ],
)
def test_machine_code_of_16_bits(dtype, beside, chosen, stack, offline):
    """Blocks of 64 bytes leave room for two programs; with the registers of one, 256 lanes are one instruction."""
    row, given = torch.zeros(96), {"want_current": "current" in beside, "form": "same"}
    given |= {name: torch.zeros(OUT, dtype=dtype) for name in beside if name != "current"}
    with config.override(rows.NAME, chosen):
        (one,) = launches(offline, spikes(dtype=dtype), weight(dtype=dtype), scale=row, bias=row, **given)
    assert one.name == "spike_conv_lif_rows_kernel"
    programs, lanes = (1, 256) if chosen else (2, 128)
    assert one.count(rf"wgmma\.mma_async\S*m64n{lanes}k16\.f32\.{HALVES[dtype]}\.{HALVES[dtype]}") >= 6
    assert programs * (one.binary.metadata.shared + 1024) <= 228 * 1024
    cubin = one.binary.asm["cubin"]
    used = {name: int(n) for name, n in re.findall(r"(REG|STACK):(\d+)", assembly.resource_usage(cubin))}
    assert programs * one.binary.metadata.num_warps * 32 * used["REG"] <= 65536
    assert used["STACK"] <= stack
    assert assembly.unset_registers(assembly.disassemble(cubin)) == []


@compiles
@pytest.mark.parametrize("dtype", [torch.int8, torch.float16])
def test_machine_code_of_stride_2(dtype, offline):
    """For 8 rows of the output 17 of the input are loaded for a column's three taps, where boxes load 24."""
    row, form = torch.zeros(96), "int8" if dtype == torch.int8 else "same"
    with config.override(rows.NAME, {**BROAD, "block_k": 64 // dtype.itemsize}):
        (one,) = launches(offline, spikes(dtype=dtype), weight(dtype=dtype), scale=row, bias=row, stride=2, form=form)
    assert one.name == "spike_conv_lif_rows_kernel"
    assert one.count(r"cp\.async\.bulk\.tensor\.5d\.shared") == 17
    cubin = one.binary.asm["cubin"]
    assert "STACK:0 " in assembly.resource_usage(cubin)
    assert assembly.unset_registers(assembly.disassemble(cubin)) == []


@compiles
@pytest.mark.parametrize(
    ("stride", "kernel"), [(1, 2), (1, 3), (1, 5), (1, 7), (2, 3), (2, 4), (2, 5), (2, 7)], ids=str
)
def test_the_rows_of_a_stage_are_those_that_the_taps_meet(stride, kernel):
    """Every tap of every row of a tile, where the loading warp puts that row; and none is loaded that no tap meets."""
    from neurokit.kernels.spike_conv_lif import gluon_stages

    names = ("above", "first_of", "row_of", "taps_on")
    above, first_of, row_of, taps_on = (getattr(gluon_stages, name).fn for name in names)
    for padding, tall, y in itertools.product(range(kernel), (1, 2, 8), (0, 16)):
        held = {}
        for lattice in range(stride):
            first = first_of(lattice, tall, kernel, stride, padding)
            for row in range(tall + taps_on(lattice, kernel, stride, padding) - 1):
                held[first + row] = stride * (y - above(lattice, stride, padding) + row) + lattice
        met = {
            (row_of(down, tall, kernel, stride, padding) + i, stride * (y + i) + down - padding)
            for down, i in itertools.product(range(kernel), range(tall))
        }
        assert set(held.items()) == met
        assert sorted(held) == list(range(rows.rows_met(tall, kernel, stride)))


@compiles
@pytest.mark.parametrize("steps", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 5, 8))])
def test_every_number_of_steps_is_assembled_rightly(steps, offline):
    (one,) = launches(offline, spikes((steps, *SHAPE[1:])), weight(kernel=5), padding=2)
    assert one.name == "spike_conv_lif_rows_kernel"
    assert assembly.unset_registers(assembly.disassemble(one.binary.asm["cubin"])) == []


@compiles
@pytest.mark.parametrize(
    ("operands", "given", "why"),
    [
        ((spikes(), weight(kernel=2)), {"stride": 2}, "a kernel of 2 and a stride of 2"),
        ((spikes(), weight(kernel=1)), {"padding": 0}, "a kernel of 1"),
        ((spikes((4, 2, 28, 27, 64)), weight()), {"stride": 2}, "27 columns"),
        ((spikes(), weight()), {"stride": 3}, "stride 3"),
        ((spikes(), weight(dtype=torch.float16)), {"form": "same"}, "all must be int8, or the first two float16"),
        ((spikes(), weight(cols=24)), {}, "24 output channels"),
        ((spikes(dtype=torch.float16), weight(cols=24, dtype=torch.float16)), {}, "24 output channels"),
        ((spikes(), weight()), {"form": "packed"}, "form 'packed'"),
    ],
)
def test_what_has_no_rows_to_share_is_refused(operands, given, why, offline):
    with pytest.raises(InputError, match=why):
        launches(offline, *operands, **given)


@compiles
def test_another_generation_of_gpus_is_refused(offline, monkeypatch):
    with offline.capture(100), pytest.raises(InputError, match="other matrix instructions"):
        spike_conv_lif(spikes(), weight(), path="rows", padding=1, form="int8")


@compiles
def test_another_release_of_triton_goes_by_boxes(offline, monkeypatch):
    """Where the table says rows, too: Gluon is another language in every release."""
    monkeypatch.setattr(rows, "gluon", lambda: False)
    with pytest.raises(InputError, match=r"Triton is not 3\.6"):
        launches(offline, spikes(), weight())
    with config.override(boxes.NAME, {"path": "rows"}):
        (one,) = launches(offline, spikes(), weight(), path="auto")
    assert one.name == "spike_conv_lif_boxes_kernel"


@compiles
@pytest.mark.parametrize(
    "given",
    [
        {"residual": torch.zeros(OUT), "beside": torch.zeros(OUT, dtype=torch.int8)},
        {"residual": torch.zeros(OUT, dtype=torch.float16), "want_current": True},
        {"residual": torch.zeros(OUT, dtype=torch.float64)},
    ],
)
def test_what_a_tile_has_no_room_for_goes_by_boxes(given, offline):
    (one,) = launches(offline, spikes(), weight(), **given)
    assert one.name == "spike_conv_lif_boxes_kernel"


@compiles
def test_a_block_of_channels_that_would_end_in_a_neighbours_goes_by_boxes(offline):
    """Of stride 2, where two neighbours are one pixel: 96 channels are one block and a half."""
    with config.override(rows.NAME, NARROW):
        (one,) = launches(offline, spikes((*SHAPE[:-1], 96)), weight(channels=96), stride=2)
    with config.override(rows.NAME, {**NARROW, "block_k": 32}):
        (other,) = launches(offline, spikes((*SHAPE[:-1], 96)), weight(channels=96), stride=2)
    assert (one.name, other.name) == ("spike_conv_lif_boxes_kernel", "spike_conv_lif_rows_kernel")


@compiles
def test_parameters_measured_without_a_residual_give_way_to_one(offline):
    """At one step, 256 pixels of 128 channels are 128 KB of float32: no room, so that boxes take the call."""
    large = {**NARROW, "images": 8, "cols": 128, "num_warps": 8, "programs": 1}
    with config.override(rows.NAME, large):
        (one,) = launches(offline, spikes((1, *SHAPE[1:])), weight(cols=128), residual=torch.zeros(1, 2, 28, 28, 128))
        (other,) = launches(offline, spikes((1, *SHAPE[1:])), weight(cols=128))
    assert (one.name, other.name) == ("spike_conv_lif_boxes_kernel", "spike_conv_lif_rows_kernel")


@pytest.mark.parametrize("sizes", [rows.Sizes(1, 1), rows.Sizes(1, 1, 4), rows.Sizes(2, 2), rows.Sizes(2, 2, 2)])
@pytest.mark.parametrize("steps", [1, 3, 4, 8])
def test_what_is_fitted_has_room(steps, sizes):
    """For two programs where they fit, else for one; `None` only where one has no room for two blocks of the sum."""
    alone = 0
    for tile, cols in itertools.product(rows.tiles(boxes.LANES // boxes.padded_steps(steps)), (64, 128)):
        assert tile[0] * tile[2] >= rows.BESIDE
        chosen = {**NARROW, **dict(zip(("images", "tall", "wide"), tile, strict=True)), "cols": cols}
        fit = rows.fitted(chosen, steps, 3, sizes)
        least = rows.shared_bytes({**chosen, "num_stages": 2}, steps, 3, sizes)
        assert (fit is None) == (least > rows.SHARED)
        if fit is not None:
            assert rows.shared_bytes(fit, steps, 3, sizes) <= rows.SHARED // fit["programs"]
            assert (fit["programs"] == 2) == (2 * least <= rows.SHARED)
            alone += fit["programs"] == 1
    assert alone


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 8])
def test_defaults_leave_room_for_two_programs(steps, size):
    """Of any picture, and in 16 bits as in int8; the rows of their boxes are those that every compiler describes."""
    for batch, side in itertools.product((1, 2, 32), (7, 8, 14, 28, 56, 112)):
        chosen = rows.default(steps, batch, side, side, size)
        assert rows.fitted(chosen, steps, 3, rows.Sizes(size, size))["programs"] == 2
        pixels = (chosen["images"], 1, chosen["wide"])
        assert host_makes((boxes.padded_steps(steps), *pixels, chosen["block_k"]), size)
        assert host_makes((chosen["cols"], chosen["block_k"]), size)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [7, 14, 28, 56, 112])
def test_the_cheapest_tile_loads_least(size, stride):
    """Against every tile, counted by what a tile's programs load: rows of three columns of taps, and the weight."""

    def loaded(tile):
        images, tall, wide = tile
        number = -(-32 // images) * -(-size // tall) * -(-size // wide)
        met = len({stride * row + down for row in range(tall) for down in range(3)})
        return number * (3 * images * wide * met * 4 + 9 * 64)

    tiles = rows.tiles(64)
    best = min(tiles, key=lambda tile: rows.cost(tile, (32, size, size), stride))
    assert loaded(best) == min(map(loaded, tiles))


def settings(seed, dtype):
    """Returns a call of random shapes and parameters, and launch parameters for it; None where these have no room.

    In 16 bits weights are whole numbers whose sums float32 holds, and what is rounded is so in the definition, too.
    """
    draw = random.Random(seed)
    torch.manual_seed(seed)
    steps, kernel = draw.choice([1, 2, 3, 4, 5, 8]), draw.choice([3, 3, 3, 5, 7])
    padding, stride = draw.choice([0, 1, kernel // 2]), draw.choice([1, 1, 2])
    size = (
        steps,
        draw.choice([1, 2, 3, 5]),
        draw.choice([7, 8, 13, 17]),
        draw.choice([8, 14] if stride == 2 else [7, 8, 14, 19]),
    )
    channels, cols = draw.choice([32, 48, 80, 160]), draw.choice([16, 48, 64, 128, 144])
    form = draw.choice(["int8", "int8", "levels8", "levels16", "bytes"])
    half = dtype != torch.int8
    if half:
        form = draw.choice(["same", "same", "int8"])
    less = form == "bytes" and padding == kernel // 2
    low, high = (-128, 128) if less else (0, 3)
    out = (*size[:2], *((side + 2 * padding - kernel) // stride + 1 for side in size[2:]), cols)
    x = torch.randint(low, high, (*size, channels), device="cuda", dtype=torch.int8).to(dtype)
    w = torch.randint(-127, 128, (cols, kernel, kernel, channels), device="cuda", dtype=torch.int8).to(dtype)
    bits = (channels * kernel**2).bit_length() // 2
    given = {"form": form, "padding": padding, "stride": stride, "path": "rows", "want_current": draw.random() < 0.5}
    given["scale"] = torch.full((cols,), 2.0 ** -(10 + bits if less else 5 + bits), device="cuda")
    if draw.random() < 0.7:
        given["bias"] = (torch.randn(cols, device="cuda") * 64).round() / 256
    if draw.random() < 0.5:
        residual = ((torch.randn(out, device="cuda") * 64).round() / 256).to(dtype if half else torch.float32)
        given["residual"] = residual[:1].expand(out) if draw.random() < 0.3 else residual
    if form in ("int8", "same"):
        given |= {"tau": draw.choice([None, 2.0, 1.5]), "v_reset": draw.choice([0.0, None, -0.25])}
        given |= {"decay_input": draw.random() < 0.7}
        if draw.random() < 0.4 and not half:
            given |= {"grid": 2.0**-8, "low": -16.0, "high": 16.0, "rounds": draw.random() < 0.5}
        if draw.random() < 0.4:
            counts = torch.randint(0, 100, out, device="cuda", dtype=torch.int8)
            given |= {"beside": counts.to(dtype) if form == "same" else counts, "want_current": False}
            given.pop("residual", None)
    else:
        grid, most = (1.0 if less else 2.0**-6), {"levels8": 127, "levels16": 2000, "bytes": 255}[form]
        given |= {"grid": grid, "tau": None, "low": 0.0, "high": most * grid, "rounds": draw.random() < 0.3}
        given |= {"least": 0.0} if given["want_current"] else {}
    if less:
        given["corrections"] = corrections(w, stride, padding, *size[2:])
    lanes = draw.choice([boxes.LANES, boxes.LANES // 2]) // boxes.padded_steps(steps)
    tile = dict(zip(("images", "tall", "wide"), draw.choice(rows.tiles(lanes)), strict=True))
    warps = draw.choice([{"cols": 64}, {"cols": 128, "num_warps": 8, "programs": 1}, {"cols": 128, "programs": 1}])
    blocks = [32, 64] if half else [64, 128]
    chosen = {**NARROW, **tile, **warps, "block_k": draw.choice(blocks) if channels > 64 else blocks[0]}
    if stride == 2 and filled(channels) % chosen["block_k"]:
        chosen["block_k"] = 32
    wide = "residual" in given or given["want_current"]
    sizes = rows.Sizes(x.itemsize, 2 if form in ("same", "levels16") else 1, (2 if half else 4) * wide)
    fit = rows.fitted(chosen, steps, kernel, sizes, stride)
    return None if fit is None else (x, w, given, chosen)


@pytest.mark.skipif(not ON_GPU, reason="Gluon has no interpreter: its numbers need a GPU")
@pytest.mark.parametrize("dtype", [torch.int8, *HALVES])
def test_rows_give_the_definition(dtype, subtests):
    """Bit for bit, over random shapes, tiles, neurons, roundings, shortcuts and forms; boxes do so in 16 bits, too."""
    decisions = 0
    for seed in range(60):
        if (call := settings(seed, dtype)) is None:
            continue
        x, w, given, chosen = call
        # cuDNN may choose an algorithm that rounds whole numbers, which of 16 bits are summed in float32.
        with definitions(), torch.backends.cudnn.flags(enabled=False):
            wanted = spike_conv_lif(x, w, **given)
        with config.override(rows.NAME, chosen):
            found = spike_conv_lif(x, w, **given)
        with subtests.test(seed=seed):
            assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
        if dtype != torch.int8:
            by_boxes = spike_conv_lif(x, w, **{**given, "path": "boxes"})
            with subtests.test(seed=seed, path="boxes"):
                assert all(torch.equal(a, b) for a, b in zip(by_boxes, wanted, strict=True))
        decisions += wanted[0].numel()
    assert decisions > 1_000_000
