"""The one table of what every operation of a captured program does; whoever walks over a program asks it.

An operation is known by its name without namespace, overload and the underscore of its in-place form: `add`,
`add.Tensor` and `add_` are one. Where an overload does something else it has an entry of its own ("max.dim"). The
rounding bound, the exact proof, the simulator's trace and NIR each have one rule a kind, not a list of operations.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from typing import Any

from torch.fx import Node


class Kind(Enum):
    """What an operation does to the numbers that it is given."""

    KEEP = "keeps every element where it is, in evaluation mode"
    CAST = "keeps every element where it is, in the element type that it is asked for"
    MOVE = "moves, repeats or leaves out elements"
    PAD = "keeps the elements and puts others around them"
    JOIN = "puts tensors side by side"
    SIGN = "takes each element's magnitude or negative"
    LIMIT = "limits each element from below or above"
    ROUND = "rounds each element to a whole number"
    COMPARE = "compares element by element"
    CHOOSE = "takes each element from one tensor or another"
    MAXIMUM = "takes the largest or smallest of several elements"
    ADD = "adds or subtracts two tensors"
    MULTIPLY = "multiplies element by element: a scale, or a product of activations"
    DIVIDE = "divides element by element"
    CONVOLVE = "convolves: linear where the weight is constant"
    LINEAR = "maps the last axis: linear where the weight is constant"
    PRODUCT = "multiplies matrices: linear where one is constant, else a product of activations"
    SUM = "sums or averages over axes"
    POOL = "averages over windows"
    INTERPOLATE = "takes weighted means of neighbours, of constant weights"
    NORMALISE = "scales and shifts each channel by constants"
    FUNCTION = "computes a smooth or other function of each element"
    DECAYING = "adds products of activations to a state that decays, and multiplies by it"
    MIXED = "depends on many elements in no linear way"
    CREATE = "makes a tensor of no other tensor's numbers"
    SIZE = "reads or computes a size, or checks one"
    NEURON = "is a layer of neurons"
    STEPWISE = "is a layer of rare neurons, run step by step"


#: Kinds whose results are elements of what they were given, or constants: nothing is rounded.
UNROUNDED = frozenset(
    {Kind.KEEP, Kind.MOVE, Kind.PAD, Kind.JOIN, Kind.SIGN, Kind.LIMIT, Kind.MAXIMUM, Kind.CHOOSE, Kind.CREATE}
)
#: Kinds that are linear in one operand where the others are constant.
LINEAR_KINDS = frozenset(
    {
        Kind.KEEP,
        Kind.MOVE,
        Kind.ADD,
        Kind.MULTIPLY,
        Kind.CONVOLVE,
        Kind.LINEAR,
        Kind.PRODUCT,
        Kind.SUM,
        Kind.POOL,
        Kind.INTERPOLATE,
    }
)


#: Moves that take elements from places which another tensor holds.
LOOK_UPS = ("gather", "index", "index_select", "take", "take_along_dim", "embedding")


@dataclass(frozen=True)
class Operation:
    """One operation of a captured program.

    Attributes:
        name: Without namespace, overload and in-place underscore: "roll".
        kind: What it does.
        reshapes: Of a move: whether it keeps the order of the elements in memory.
        floats: Whether it takes floating-point tensors alone, so that numbers of elements must be cast for it.
        weighted: Whether its second argument is a weight `[C_out, ...]`, its third a bias or None.
    """

    name: str
    kind: Kind
    reshapes: bool = False
    floats: bool = False
    weighted: bool = False


_NAMES: dict[Kind, str] = {
    Kind.KEEP: """contiguous clone alias detach lift_fresh lift_fresh_copy dropout feature_dropout alpha_dropout
        native_dropout identity""",
    Kind.CAST: "to _to_copy type_as float",
    Kind.PAD: "pad constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d"
    " replication_pad2d replication_pad3d",
    Kind.JOIN: "cat concat concatenate stack hstack vstack",
    Kind.SIGN: "abs neg negative",
    Kind.LIMIT: "relu relu6 clamp clamp_min clamp_max clip hardtanh",
    Kind.ROUND: "round floor ceil trunc",
    Kind.COMPARE: """gt ge lt le eq ne logical_and logical_or logical_not logical_xor sign isnan isinf
        __and__ __or__ __xor__ bitwise_and bitwise_or bitwise_xor bitwise_not""",
    Kind.CHOOSE: "where masked_fill",
    Kind.MAXIMUM: """max_pool1d max_pool2d max_pool3d max_pool2d_with_indices adaptive_max_pool1d adaptive_max_pool2d
        amax amin maximum minimum max.other min.other max min""",
    Kind.ADD: "add sub subtract rsub",
    Kind.MULTIPLY: "mul multiply",
    Kind.DIVIDE: "div divide true_divide",
    Kind.CONVOLVE: "conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d",
    Kind.LINEAR: "linear addmm",
    Kind.PRODUCT: "matmul mm bmm mv dot einsum",
    Kind.SUM: "mean sum",
    Kind.POOL: """avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
        _adaptive_avg_pool2d""",
    Kind.INTERPOLATE: "upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d",
    Kind.NORMALISE: """batch_norm native_batch_norm cudnn_batch_norm _native_batch_norm_legit_no_training
        _batch_norm_no_update""",
    Kind.FUNCTION: """sigmoid tanh gelu silu elu selu celu leaky_relu prelu hardsigmoid hardswish softplus softsign mish
        exp expm1 log log1p log2 sqrt rsqrt reciprocal square pow sin cos erf remainder fmod floor_divide heaviside
        logsigmoid sinc exp2""",
    Kind.DECAYING: "linear_attention",
    Kind.MIXED: """softmax _softmax log_softmax layer_norm native_layer_norm group_norm native_group_norm instance_norm
        rms_norm norm linalg_vector_norm var std var_mean cumsum cumprod prod sort topk argmax argmin argsort max.dim
        min.dim any all scaled_dot_product_attention lstm gru rnn_tanh embedding_bag addcmul addcdiv lerp baddbmm addmv
        outer cdist cosine_similarity logsumexp median mode scatter scatter_add index_put index_add im2col col2im
        one_hot select_scatter slice_scatter grid_sampler grid_sampler_2d scan threshold tril triu diag as_strided""",
    Kind.CREATE: """zeros ones full empty arange linspace eye zeros_like ones_like full_like empty_like new_zeros
        new_ones new_full new_empty scalar_tensor tril_indices triu_indices meshgrid""",
    Kind.SIZE: """sym_size sym_stride sym_numel size numel _assert_scalar _assert_tensor_metadata
        sym_constrain_range_for_size _local_scalar_dense item""",
}
# Moves: those that keep the elements' order in memory, and those that do not.
_RESHAPES = "view reshape _unsafe_view flatten unflatten squeeze unsqueeze view_as expand expand_as repeat broadcast_to"
_MOVES = """permute transpose t mT numpy_T movedim moveaxis swapaxes roll flip fliplr flipud rot90 slice select narrow
    chunk split split_with_sizes tensor_split unsafe_chunk unsafe_split unbind index_select index gather take
    take_along_dim repeat_interleave unfold diagonal pixel_shuffle pixel_unshuffle channel_shuffle getitem tile
    embedding"""
# Nearest neighbours read elements and compute where they are: PyTorch has them for floating-point tensors.
_NEAREST = """upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d"""


def _table() -> dict[str, Operation]:
    made = {name: Operation(name, kind) for kind, names in _NAMES.items() for name in names.split()}
    made |= {name: Operation(name, Kind.MOVE, reshapes=True) for name in _RESHAPES.split()}
    made |= {name: Operation(name, Kind.MOVE) for name in _MOVES.split()}
    made |= {name: Operation(name, Kind.MOVE, floats=True) for name in _NEAREST.split()}
    for name in ("conv1d", "conv2d", "conv3d", "linear"):
        made[name] = replace(made[name], weighted=True)
    made |= {name: Operation(name, Kind.NEURON) for name in ("if_", "lif", "plif")}
    made["stepwise"] = Operation("stepwise", Kind.STEPWISE)
    return made


#: Every operation that is known, by name.
OPERATIONS: dict[str, Operation] = _table()
_PYTHON = {operator.getitem: OPERATIONS["getitem"]}
_SIZES = Operation("size arithmetic", Kind.SIZE)


@cache
def operation(target: Any) -> Operation | None:
    """Returns what a node's target does, or None if it is in no entry of the table.

    Args:
        target: Target of a `call_function` node: an overload of torch.library, or a function of Python.
    """
    if target in _PYTHON:
        return _PYTHON[target]
    space, name, overload = names_of(target)
    if space == "neurokit":
        return OPERATIONS.get(name)
    if space != "aten":  # what a program computes of sizes: operator.mul, torch.sym_max, math.ceil
        return _SIZES if space in ("_operator", "math", "torch") else OPERATIONS.get(name)
    bare = name if name in OPERATIONS else name.removesuffix("_")
    return OPERATIONS.get(f"{bare}.{overload}") or OPERATIONS.get(bare)


def kind_of(target: Any) -> Kind | None:
    """Returns the kind of a node's target, or None if it is in no entry of the table."""
    known = operation(target)
    return None if known is None else known.kind


@cache
def names_of(target: Any) -> tuple[str, str, str]:
    """Returns namespace, name and overload of a node's target: ("aten", "roll", "default")."""
    schema = getattr(target, "_schema", None)
    if schema is None:
        home = str(getattr(target, "__module__", "")).partition(".")[0]
        return home, str(getattr(target, "__name__", target)), ""
    space, _, name = schema.name.partition("::")
    return space, name, schema.overload_name or "default"


def is_kind(node: Any, *kinds: Kind) -> bool:
    """Returns whether `node` calls an operation of one of these kinds."""
    return isinstance(node, Node) and node.op == "call_function" and kind_of(node.target) in kinds


def is_named(node: Any, names: Iterable[str]) -> bool:
    """Returns whether `node` calls one of these operations, in any overload and in place or not."""
    known = operation(node.target) if isinstance(node, Node) and node.op == "call_function" else None
    return known is not None and known.name in names
