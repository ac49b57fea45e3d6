"""A torch.export program as a module: a short list of pure operators, called by name with plain arguments."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neurokit.errors import Unsupported
from neurokit.neurons.sizes import refuse_huge
from neurokit.quiet import libraries_unsaid

_ATEN = [
    "conv1d.default",
    "conv2d.default",
    "conv1d.padding",
    "conv2d.padding",
    "linear.default",
    "matmul.default",
    "bmm.default",
    "mm.default",
    "addmm.default",
    "batch_norm.default",
    "layer_norm.default",
    "group_norm.default",
    "relu.default",
    "relu_.default",
    "relu6.default",
    "hardtanh.default",
    "hardtanh_.default",
    "clamp.default",
    "clamp_.default",
    "leaky_relu.default",
    "leaky_relu_.default",
    "elu.default",
    "silu.default",
    "silu_.default",
    "hardswish.default",
    "hardswish_.default",
    "hardsigmoid.default",
    "hardsigmoid_.default",
    "sigmoid.default",
    "sigmoid_.default",
    "tanh.default",
    "gelu.default",
    "softmax.int",
    "log_softmax.int",
    "softplus.default",
    "exp.default",
    "sqrt.default",
    "rsqrt.default",
    "pow.Tensor_Scalar",
    "abs.default",
    "neg.default",
    "add.Tensor",
    "add_.Tensor",
    "add.Scalar",
    "sub.Tensor",
    "sub_.Tensor",
    "sub.Scalar",
    "rsub.Scalar",
    "mul.Tensor",
    "mul_.Tensor",
    "mul.Scalar",
    "div.Tensor",
    "div_.Tensor",
    "div.Scalar",
    "max_pool1d.default",
    "max_pool2d.default",
    "avg_pool1d.default",
    "avg_pool2d.default",
    "adaptive_avg_pool1d.default",
    "adaptive_avg_pool2d.default",
    "mean.dim",
    "mean.default",
    "sum.dim_IntList",
    "amax.default",
    "flatten.using_ints",
    "unflatten.int",
    "view.default",
    "reshape.default",
    "permute.default",
    "transpose.int",
    "unsqueeze.default",
    "squeeze.dim",
    "squeeze.dims",
    "squeeze.default",
    "expand.default",
    "repeat.default",
    "slice.Tensor",
    "select.int",
    "cat.default",
    "stack.default",
    "split.Tensor",
    "split_with_sizes.default",
    "chunk.default",
    "unbind.int",
    "pad.default",
    "constant_pad_nd.default",
    "upsample_nearest2d.vec",
    "upsample_bilinear2d.vec",
    "dropout.default",
    "dropout_.default",
    "feature_dropout.default",
    "clone.default",
    "contiguous.default",
    "detach.default",
    "detach_.default",
    "alias.default",
    "lift_fresh_copy.default",
    "sym_size.int",
    "scaled_dot_product_attention.default",
]
_ARITHMETIC = {
    f"_operator.{name}": getattr(operator, name) for name in ("add", "sub", "mul", "floordiv", "neg", "getitem")
}
_CHECKS = ("_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range_for_size", "sym_constrain_range")
_NUMBERS = ("as_int", "as_float", "as_bool", "as_ints", "as_floats", "as_bools", "as_string")
_LEFT_OUT = ("memory_format", "cudnn_enabled", "device", "pin_memory", "layout")


def function_of(target: str) -> Callable[..., Any] | None:
    """Returns the operator of a name on the list, or None."""
    if target in _ARITHMETIC:
        return _ARITHMETIC[target]
    name = target.removeprefix("torch.ops.aten.")
    if name == target or name not in _ATEN:
        return None
    packet, _, overload = name.partition(".")
    found: Callable[..., Any] = getattr(getattr(torch.ops.aten, packet), overload)
    return found


def is_check(target: str) -> bool:
    """Returns whether an operator only checks sizes; it is left out."""
    return target.removeprefix("torch.ops.aten.").partition(".")[0] in _CHECKS


def reasons(nodes: Sequence[Mapping[str, Any]]) -> list[Unsupported]:
    """Returns every operator that is not on the list."""
    found: dict[str, Unsupported] = {}
    for node in nodes:
        target = str(node["target"])
        if function_of(target) is None and not is_check(target):
            why = "not among the operators that are read from .pt2 files"
            what = target.removeprefix("torch.ops.")
            fix = "give the network as path/file.py:factory"
            found.setdefault(target, Unsupported(str(node.get("name") or ""), what, why, fix))
    return list(found.values())


class Pt2Net(nn.Module):
    """Runs the nodes of an exported graph in their order.

    Args:
        nodes: The graph's nodes, as torch's schema lists them; every operator is on the list.
        entry: Name of the input.
        outputs: Names of the outputs.
        held: Parameters, buffers and constants by name.

    Raises:
        KeyError: If an argument is of a kind that no operator on the list takes.
    """

    def __init__(
        self, nodes: Sequence[Mapping[str, Any]], entry: str, outputs: list[str], held: Mapping[str, Tensor]
    ) -> None:
        super().__init__()
        self.entry, self.outputs = entry, outputs
        self.held: dict[str, str] = {}
        for index, (name, value) in enumerate(held.items()):
            self.held[name] = f"w{index}"
            if value.is_floating_point():
                self.register_parameter(f"w{index}", nn.Parameter(value.float(), requires_grad=False))
            else:
                self.register_buffer(f"w{index}", value)
        self.steps = [_step(node) for node in nodes if not is_check(str(node["target"]))]
        self.eval()

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Maps `[B, *shape]` to the outputs."""
        return self.run(x, lambda made: None)

    def run(self, x: Tensor, seen: Callable[[Any], None]) -> Tensor | tuple[Tensor, ...]:
        """Runs the nodes, and shows what each gives."""
        values: dict[str, Any] = {name: getattr(self, key) for name, key in self.held.items()}
        values[self.entry] = x
        for target, args, kwargs, names in self.steps:
            made = known(target)(
                *[_value(a, values) for a in args], **{key: _value(a, values) for key, a in kwargs.items()}
            )
            seen(made)
            values.update(zip(names, made if len(names) > 1 or isinstance(made, list | tuple) else [made], strict=True))
        found = tuple(values[name] for name in self.outputs)
        return found[0] if len(found) == 1 else found


def known(target: str) -> Callable[..., Any]:
    """Returns an operator that is on the list."""
    found = function_of(target)
    assert found is not None
    return found


def _step(node: Mapping[str, Any]) -> tuple[str, list[Any], dict[str, Any], list[str]]:
    """Returns operator, arguments, named arguments and results of a node, as plain tuples."""
    args, kwargs = [], {}
    for entry in node["inputs"]:
        if entry["name"] in _LEFT_OUT and entry["kind"] == 2:
            continue
        value = _plain(entry["arg"])
        if entry["kind"] == 1:
            args.append(value)
        else:
            kwargs[entry["name"]] = value
    return str(node["target"]), args, kwargs, [name for out in node["outputs"] for name in _names(out)]


def _plain(arg: Mapping[str, Any]) -> tuple[str, Any]:
    """Returns an argument as ("ref", name), ("list", parts) or ("is", number)."""
    ((kind, value),) = arg.items()
    if kind == "as_tensor":
        return "ref", value["name"]
    if kind == "as_tensors":
        return "list", [("ref", part["name"]) for part in value]
    if kind == "as_optional_tensors":
        return "list", [_plain(part) for part in value]
    if kind in ("as_sym_int", "as_sym_bool", "as_sym_float"):
        return _plain(value) if "as_name" not in value else ("ref", value["as_name"])
    if kind == "as_sym_ints":
        return "list", [_plain({"as_sym_int": part}) for part in value]
    if kind == "as_none":
        return "is", None
    if kind not in _NUMBERS:
        raise KeyError(f"an argument of kind {kind}")
    return "is", value


def _names(out: Mapping[str, Any]) -> list[str]:
    ((kind, value),) = out.items()
    if kind == "as_tensor":
        return [value["name"]]
    if kind == "as_tensors":
        return [part["name"] for part in value]
    if kind == "as_sym_int":
        return [value["as_name"]]
    return []


def _value(arg: tuple[str, Any], values: Mapping[str, Any]) -> Any:
    kind, value = arg
    if kind == "ref":
        return values[value]
    return [_value(part, values) for part in value] if kind == "list" else value


def try_net(net: Pt2Net, shape: tuple[int, ...]) -> str:
    """Runs the network without numbers, for two samples; returns why it does not run, or ""."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    try:
        with libraries_unsaid(), FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            net.run(torch.empty(2, *shape), refuse_huge)
    except Exception as error:  # operators raise what they like
        return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    return ""
