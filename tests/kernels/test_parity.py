"""Every registered kernel against its definition, on the GPU or under the interpreter."""

from __future__ import annotations

import itertools

import pytest
import torch

from neurokit.kernels import checks, config, sdsa_lif
from neurokit.kernels._compat import INTERPRET
from neurokit.kernels.contract import KERNELS, spikes, tensors

ON_GPU = torch.cuda.is_available() and not INTERPRET
# Under the interpreter float16 stands for all types where the examples are many and it is the harder case; a GPU runs
# them all.
FLOAT16_IS_ENOUGH = ("block_sparse_attention", "depthwise", "gate_lif", "pool_lif", "sdsa_lif")


def name_of(dtype):
    return str(dtype).removeprefix("torch.")


def parts_of(name, dtype):
    """Yields which examples of a kernel a case runs, as (k, n), and whether it is heavy under the interpreter.

    There the three types share half of the examples, so that each of these runs in one of them, and every sixth of
    those that run in float16 alone; all of them in all types are heavy.
    """
    if not INTERPRET:
        yield (0, 1), False
        return
    if name in FLOAT16_IS_ENOUGH:
        if dtype == torch.float16:
            yield (0, 6), False
        yield (0, 1), True
        return
    yield (checks.DTYPES.index(dtype), 2 * len(checks.DTYPES)), False
    yield (0, 1), True


CASES = [
    pytest.param(
        name,
        dtype,
        part,
        marks=[pytest.mark.heavy_interpreted] * heavy,
        id=f"{name}-{name_of(dtype)}-{part[0]}of{part[1]}",
    )
    for name in KERNELS.names()
    for dtype in checks.DTYPES
    for part, heavy in parts_of(name, dtype)
]


def test_no_kernel_is_without_a_fast_case():
    """Every registered kernel is compared with its definition in every run, in one type at least."""
    assert {case.values[0] for case in CASES if not case.marks} == set(KERNELS.names())


@pytest.mark.needs_kernel
@pytest.mark.parametrize(("name", "dtype", "part"), CASES)
def test_kernel_gives_the_definitions_results(name, dtype, part, device, poisoned):
    count, faults = checks.parity(KERNELS.get(name), device, dtype, part=part)
    assert not faults
    assert count > 0 or (dtype == torch.bfloat16 and INTERPRET)


@pytest.mark.needs_kernel
@pytest.mark.parametrize("name", [name for name in KERNELS.names() if KERNELS.get(name).gradients])
def test_gradients_are_those_of_float64(name, device):
    count, faults = checks.gradients(KERNELS.get(name), device)
    assert count > 0
    assert not faults


@pytest.mark.parametrize("name", KERNELS.names())
def test_every_kernel_brings_what_the_contract_asks(name, device):
    kernel = KERNELS.get(name)
    assert checks.coverage(kernel, device) == []
    example = next(iter(kernel.examples(device, torch.float16)))
    cost = kernel.cost(example)
    given = [x for x in (*example.args, *example.kwargs.values()) if isinstance(x, torch.Tensor)]
    assert cost.moved >= sum(x.numel() * x.itemsize for x in given[:1])
    assert cost.unit in ("float32", "float16", "int8")
    assert kernel.workloads is not None, "a roofline row needs a workload"


@pytest.mark.parametrize("name", ["gate_lif", "lif", "pool_lif", "sdsa_lif", "spike_linear_lif"])
def test_examples_are_not_silent(name, device):
    """Spikes that are all zero or all one would agree whatever the kernel did."""
    kernel = KERNELS.get(name)
    rates = []
    for example in kernel.examples(device, torch.float16):
        if example.kwargs.get("form", example.kwargs.get("spikes", "same")) != "packed":
            with checks.definitions():  # the kernel gives the same, by the tests above
                out = tensors(kernel.function(*example.args, **example.kwargs))[0]
            if out.numel():
                rates.append(float(out.float().mean()))
    assert sum(0.03 < rate < 0.97 for rate in rates) >= max(3, len(rates) // 2), rates


@pytest.mark.needs_kernel
@pytest.mark.parametrize(
    "dim", [45, *(pytest.param(dim, marks=pytest.mark.heavy_interpreted) for dim in (32, 48, 60, 64, 80))]
)
def test_attention_with_the_shipped_parameters(dim, device, reference):
    """The table is keyed by steps, tokens, head width, and whether samples are few: one head has eight's parameters."""
    rate = (8.0 / (196 * dim)) ** (1 / 3)  # about eight counts a neuron, which times 0.125 straddle the threshold
    cases = itertools.product((torch.bfloat16, torch.int8), (1, 64)) if ON_GPU else [(torch.float16, 1)]
    for dtype, batch in cases:
        q, k, v = (spikes(4, batch, 196 + i, dim, rate=rate, device=device, dtype=dtype)[:, :, i:] for i in range(3))
        ours = sdsa_lif(q, k, v, 1, form="int8")
        assert 0.03 < float(ours.float().mean()) < 0.97
        assert torch.equal(ours, reference(sdsa_lif, q, k, v, 1, form="int8"))


@pytest.mark.needs_kernel
@pytest.mark.parametrize(
    ("dim", "heads", "cols", "whole"),
    [
        (80, 1, 32, True),
        (80, 1, 32, False),
        (45, 4, 32, False),
        (45, 4, 16, True),
        (60, 2, 32, True),
        (96, 1, 32, True),
    ],
)
def test_attention_in_parts(dim, heads, cols, whole, device, reference, poisoned):
    """A head in parts, by one program or by several; heads of 45 and 60 are read in units that they share."""
    q, k, v = (
        spikes(2, 1, 40 + i, dim * heads, rate=0.17, device=device, dtype=torch.float16)[:, :, i:] for i in range(3)
    )
    parameters = {"rows": 64, "cols": cols, "inner": 32, "num_warps": 4, "num_stages": 2, "whole": whole}
    for form in ("same", "packed") if dim == 96 else ("same",):
        with config.override("sdsa_lif", parameters):
            ours = sdsa_lif(q, k, v, heads, form=form)
        expected = reference(sdsa_lif, q, k, v, heads, form=form)
        assert form == "packed" or 0.03 < float(expected.float().mean()) < 0.97
        assert torch.equal(ours, expected)


@pytest.mark.heavy_interpreted
@pytest.mark.parametrize("name", KERNELS.names())
def test_opcheck(name, device):
    kernel = KERNELS.get(name)
    op = getattr(torch.ops.neurokit_kernels, kernel.op).default
    for at, args in enumerate(kernel.op_examples(device)):
        # Without a GPU it is the definition that is traced, with the same functions around it in every example.
        torch.library.opcheck(
            op, args, **({} if ON_GPU or at == 0 else {"test_utils": ("test_schema", "test_faketensor")})
        )


@pytest.mark.heavy_interpreted
@pytest.mark.parametrize("name", KERNELS.names())
def test_compiles_whole_and_exports(name, device):
    kernel = KERNELS.get(name)
    example = next(iter(kernel.examples(device, torch.float16)))

    class Call(torch.nn.Module):
        def forward(self, *args):
            return tensors(kernel.function(*args, **example.kwargs))

    held = [a for a in example.args if isinstance(a, torch.Tensor)]
    rest = example.args[len(held) :]
    expected = tensors(kernel.function(*example.args, **example.kwargs))

    class Held(Call):
        def forward(self, *args):
            return super().forward(*args, *rest)

    torch._dynamo.reset()
    backend = "inductor" if ON_GPU else "aot_eager"
    compiled = torch.compile(Held(), fullgraph=True, backend=backend)(*held)
    program = torch.export.export(Held(), tuple(held)).module()(*held)
    for ours, theirs, again in zip(compiled, expected, program, strict=True):
        assert torch.equal(ours, theirs)
        assert torch.equal(again, theirs)
