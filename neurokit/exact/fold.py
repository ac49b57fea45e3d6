"""First stage of the exact form: normalisations and constant factors are folded away, in float64.

What remains between two neurons are convolutions and linear maps with bias, sums, maxima and products of
activations. A mean over n elements, where n is no power of two, becomes a sum; its factor 1/n travels on to the next
weights or thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from neurokit.exact import fold_kinds as kinds
from neurokit.exact.constants import FACTOR_BITS, constant_operand, fold_constants, of_few_bits
from neurokit.exact.dyadic import dyadic_decay, is_power_of_two, snap
from neurokit.exact.folded import Folded
from neurokit.exact.pools import as_sums
from neurokit.exact.products import as_linear_maps
from neurokit.exact.transposed import as_convolutions
from neurokit.program import nodes
from neurokit.program.nodes import aten, hints, is_op
from neurokit.program.ops import Kind, is_kind, is_named
from neurokit.program.walk import fetch, store

ONE = Fraction(1)


def fold(program: ExportedProgram, steps: int | None, outputs: int | None = None) -> Folded:
    """Returns the program with normalisations and factors folded away; what is returned computes in float32.

    Args:
        program: The program.
        steps: T, where the first axis is time: a mean over it stays, since other forms take it outside.
        outputs: Number of its outputs, behind which its states follow; None without states.
    """
    return _Folder(program, steps, outputs).run()


class _Folder:
    def __init__(self, program: ExportedProgram, steps: int | None, outputs: int | None) -> None:
        self.steps, self.outputs = steps, outputs
        self.module: Any = program.module()
        self.graph = self.module.graph
        self.factors: dict[Node, Fraction] = {}
        self.made = Folded(self.module)
        self.used: dict[str, int] = {}

    def run(self) -> Folded:
        fold_constants(self.module, self.graph)
        as_convolutions(self.module, self.graph)
        as_linear_maps(self.module, self.graph)
        as_sums(self.module, self.graph)
        self.graph.eliminate_dead_code()  # a layer that nothing reads has no numbers to plan
        for node in list(self.graph.nodes):
            if node.op == "call_module":
                self.graph.erase_node(node)  # torch.export's guards
            elif node.op == "placeholder":
                self.made.placeholders.append(node)
            elif node.op == "call_function":
                self._visit(node)
            elif node.op == "output":
                self._output(node)
        self.graph.eliminate_dead_code()
        self.graph.lint()
        self.module.recompile()
        return self.made

    def _visit(self, node: Node) -> None:
        factors = [self.factors.get(arg, ONE) for arg in node.all_input_nodes]
        if nodes.is_weighted(node) and nodes.is_constant(node.args[1]):
            self._linear(node)
        elif is_op(node, {aten.batch_norm.default}):
            self._batch_norm(node)
        elif is_op(node, nodes.NEURONS):
            self._neuron(node)
        elif kinds.is_scale(node):
            self._scale(node)
        elif kinds.takes_constant(node) and self._with_constant(node):
            pass
        elif is_named(node, {"embedding"}) and nodes.is_constant(node.args[0]):
            self._table(node)
        elif is_named(node, kinds.FILLED):
            self._fill(node)
        elif is_kind(node, Kind.CHOOSE):
            self._choose(node)
        elif kinds.has_number(node) and self._with_number(node):
            pass
        elif is_named(node, {"mean"}) or nodes.is_average_pool(node):
            self._mean(node)
        elif is_named(node, {"dropout", "feature_dropout"}):
            node.replace_all_uses_with(kinds.as_node(node.args[0]))
        elif is_kind(node, Kind.PRODUCT, Kind.MULTIPLY):
            self.factors[node] = math.prod(factors, start=ONE)
        elif kinds.is_place(node) and all(factor > 0 for factor in factors):
            self.factors[node] = ONE  # of the largest or smallest, whatever the unit
        elif kinds.passes_factor(node):
            self.factors[node] = factors[0] if factors else ONE
            if self.factors[node] < 0 and not is_kind(node, Kind.MOVE, Kind.KEEP, Kind.SUM):
                self._settle(node)
        elif kinds.joins(node) and len(set(factors)) == 1:
            self.factors[node] = factors[0]
        else:
            self._settle(node)

    def _with_constant(self, node: Node) -> bool:
        """Puts a parameter that is added or multiplied on a grid; returns whether the node has one."""
        found = constant_operand(self.module, node)
        if found is None or (found[0] == 0 and is_kind(node, Kind.DIVIDE)):
            return False
        place, value = found
        data: Any = node.args[1 - place]
        if not isinstance(data, Node) or data.op == "get_attr":
            return False
        factor = self.factors.get(data, ONE)
        if is_kind(node, Kind.ADD):
            made = of_few_bits(value.double() / float(factor))
        elif value.numel() == 1 and float(value) != 0.0:
            node.args = (data, float(value))
            self._scale(node)
            return True
        else:
            made = of_few_bits(1.0 / value.double() if is_kind(node, Kind.DIVIDE) else value, FACTOR_BITS)
            node.target = aten.mul.Tensor
            self.made.scales.append(node)
        self._constant(node, place, made)
        self.factors[node] = factor
        return True

    def _with_number(self, node: Node) -> bool:
        """Puts a number that is added, or compared with, in units of what it meets; returns whether it could."""
        place = 0 if isinstance(node.args[1], Node) else 1
        factor = self.factors.get(node.args[1 - place], ONE)  # type: ignore[arg-type]
        number: Any = node.args[place]
        if node.kwargs or len(node.args) > 2 or not math.isfinite(number) or factor < 0:
            return False
        added = is_kind(node, Kind.ADD)
        if added or factor != ONE:  # what is only compared keeps its digits
            node.update_arg(place, snap(number / float(factor)))
        self.factors[node] = factor if added else ONE
        return True

    def _table(self, node: Node) -> None:
        """Puts a table that token ids choose rows of on one grid."""
        table = kinds.as_node(node.args[0])
        self._constant(node, 0, of_few_bits(fetch(self.module, str(table.target)).detach()))
        self.factors[node] = ONE

    def _fill(self, node: Node) -> None:
        """A tensor of one number: of as few bits as a weight has."""
        place = 0 if is_named(node, {"scalar_tensor"}) else 2 if is_named(node, {"new_full"}) else 1
        number = node.args[place] if len(node.args) > place else None
        if isinstance(number, float) and math.isfinite(number):
            node.update_arg(place, snap(number, FACTOR_BITS))

    def _choose(self, node: Node) -> None:
        """Both options of a choice have one factor, which its result has; constants get as few bits as a weight has."""
        places = (1, 2) if is_named(node, {"where"}) else (0, 2)
        options = [node.args[place] for place in places if place < len(node.args)]
        tensors = [option for option in options if isinstance(option, Node) and option.op != "get_attr"]
        common = {self.factors.get(option, ONE) for option in tensors}
        self._settle(node, [source for source in node.all_input_nodes if source not in tensors or len(common) > 1])
        self.factors[node] = factor = common.pop() if len(common) == 1 else ONE
        for place, option in zip(places, options, strict=False):
            if isinstance(option, int | float) and math.isfinite(option):
                node.update_arg(place, snap(option / float(factor), FACTOR_BITS))
            elif isinstance(option, Node) and option.op == "get_attr" and self._is_floating(option):
                value = fetch(self.module, str(option.target)).detach().double() / float(factor)
                self._constant(node, place, of_few_bits(value, FACTOR_BITS))

    def _is_floating(self, node: Node) -> bool:
        value = fetch(self.module, str(node.target))
        return isinstance(value, Tensor) and value.is_floating_point()

    def _constant(self, node: Node, place: int, value: Tensor) -> None:
        """Gives a node a tensor of its own in the place of a parameter."""
        path = f"{node.args[place].target}_on_grid_{node.name}"  # type: ignore[union-attr]
        store(self.module, path, value)
        with self.graph.inserting_before(node):
            node.update_arg(place, self.graph.get_attr(path))

    def _settle(self, node: Node, sources: Sequence[Node] | None = None) -> None:
        """Multiplies the factors of a node's inputs, or of some of them, out, each by a number of eight bits."""
        for source in dict.fromkeys(node.all_input_nodes if sources is None else sources):
            factor = self.factors.get(source, ONE)
            if factor != ONE:
                scaled = self._times(source, snap(factor, 8), node)
                node.replace_input_with(source, scaled)
                self.made.scales.append(scaled)
                self.made.notes.append(f"{source.name}: factor {float(factor):.6g} rounded to 8 bits")
        self.factors[node] = ONE

    def _times(self, source: Node, number: float, before: Node) -> Node:
        with self.graph.inserting_before(before):
            made: Node = self.graph.call_function(aten.mul.Tensor, (source, number))
        made.meta["val"] = source.meta["val"]
        return made

    def _output(self, node: Node) -> None:
        results: Any = node.args[0]
        states = results[self.outputs :] if self.outputs is not None else ()
        # A state is read again, in its own unit: what its factor makes of it must lie on a grid.
        self._settle(node, [value for value in states if isinstance(value, Node)])
        for source in dict.fromkeys(node.all_input_nodes):
            factor = self.factors.get(source, ONE)
            if factor != ONE:
                number = float(torch.tensor(float(factor)))
                self.made.divided |= {place for place, made in enumerate(results) if made is source}
                node.replace_input_with(source, self._times(source, number, node))
                self.made.notes.append(f"{source.name}: an output is rounded once, by its factor {number:.6g}")

    def _linear(self, node: Node) -> None:
        data, given, *rest = (kinds.as_node(arg) for arg in node.args[:3])
        path = str(given.target)
        weight = fetch(self.module, path).detach().double() * float(self.factors.get(data, ONE))
        bias = (
            fetch(self.module, str(rest[0].target)).detach().double()
            if rest and rest[0] is not None
            else weight.new_zeros(len(weight))
        )
        # A weight that is a parameter of its own (F.conv2d(x, self.w)) has no module that could hold both.
        self._adopt(node, path.removesuffix(".weight") if path.endswith(".weight") else f"{path}_map", weight, bias)

    def _adopt(self, node: Node, path: str, weight: Tensor, bias: Tensor) -> None:
        """Gives a linear map tensors of its own; a weight that two of them share may be folded differently."""
        count = self.used.get(path, 0)
        self.used[path] = count + 1
        path = path if count == 0 else f"{path}_{count}"
        if isinstance(fetch(self.module, path, None), Tensor):  # a weight of another name than its map's own
            path = f"{path}_map"
        arguments = list(node.args) + [None] * (3 - len(node.args))
        for place, name, value in ((1, "weight", weight), (2, "bias", bias)):
            store(self.module, f"{path}.{name}", value.float())
            with self.graph.inserting_before(node):
                arguments[place] = self.graph.get_attr(f"{path}.{name}")
        node.args = tuple(arguments)
        self.made.linears.append(node)
        self.made.names.append(path.removeprefix("net."))

    def _batch_norm(self, node: Node) -> None:
        data, weight, bias, mean, var = (kinds.as_node(arg) for arg in node.args[:5])
        eps = next(a for a in reversed(node.args) if isinstance(a, float))
        read = lambda arg: fetch(self.module, str(arg.target)).detach().double()  # noqa: E731
        scale = 1.0 / torch.sqrt(read(var) + eps)
        scale = scale if weight is None else scale * read(weight)
        shift = (0.0 if bias is None else read(bias)) - read(mean) * scale
        chain = self._chain(data, len(scale))
        if chain is not None and self.factors.get(data, ONE) == ONE:
            index = self.made.linears.index(chain)
            old_weight, old_bias = self.made.weight(index).double(), self.made.bias(index).double()
            shape = [-1] + [1] * (old_weight.dim() - 1)
            self.made.set(index, (old_weight * scale.reshape(shape)).float(), (old_bias * scale + shift).float())
            node.replace_all_uses_with(data)
            return
        self._as_convolution(node, data, scale, shift)

    def _chain(self, node: Any, channels: int) -> Node | None:
        """Returns the linear map that a normalisation follows through moves alone, each with one user, else None."""
        moves: list[Node] = []
        while is_kind(node, Kind.MOVE, Kind.KEEP) and len(node.users) == 1:
            moves.append(node)
            node = node.args[0]
        if not nodes.is_weighted(node) or node not in self.made.linears or len(node.users) != 1:
            return None
        shape = hints(node)
        axis = len(shape) - 1 if is_named(node, {"linear"}) else 1
        if shape[axis] != channels:
            return None
        index = torch.arange(channels).reshape([-1 if i == axis else 1 for i in range(len(shape))]).expand(shape)
        for move in reversed(moves):
            if not kinds.keeps_every_element(move):
                return None
            target: Any = move.target
            index = target(index, *[kinds.number(a) for a in move.args[1:]])
        wanted = torch.arange(channels).reshape([-1 if i == 1 else 1 for i in range(index.dim())])
        return node if index.dim() > 1 and bool((index == wanted).all()) else None

    def _as_convolution(self, node: Node, data: Any, scale: Tensor, shift: Tensor) -> None:
        """A normalisation that follows no linear map is a depthwise convolution of size one."""
        dims = len(hints(data)) - 2
        if dims not in (0, 1, 2, 3):
            return
        scale = scale * float(self.factors.get(data, ONE))
        target = {0: aten.conv1d, 1: aten.conv1d, 2: aten.conv2d, 3: aten.conv3d}[dims].default
        spatial = max(dims, 1)
        mean = str(kinds.as_node(node.args[3]).target)
        path = mean.removesuffix(".running_mean")
        with self.graph.inserting_before(node):
            source = self.graph.call_function(aten.unsqueeze.default, (data, -1)) if dims == 0 else data
            placeholder = self.graph.get_attr(mean)
            conv = self.graph.call_function(
                target, (source, placeholder, None, [1] * spatial, [0] * spatial, [1] * spatial, len(scale))
            )
            result = self.graph.call_function(aten.squeeze.dim, (conv, -1)) if dims == 0 else conv
        if dims == 0:
            source.meta["val"] = data.meta["val"].unsqueeze(-1)
            conv.meta["val"] = source.meta["val"]
        result.meta["val"] = node.meta["val"]
        self._adopt(conv, path, scale.reshape([-1] + [1] * (spatial + 1)), shift)
        node.replace_all_uses_with(result)

    def _scale(self, node: Node) -> None:
        number = node.args[1]
        factor = Fraction(1) / Fraction(number) if is_kind(node, Kind.DIVIDE) else Fraction(number)  # type: ignore[arg-type]
        before = self.factors.get(node.args[0], ONE)  # type: ignore[arg-type]
        if factor == 0 or is_power_of_two(abs(float(factor))):
            self.factors[node] = before
            return
        # The node stays, as a copy: its input may have other users, which see another factor.
        node.target, node.args = aten.clone.default, (node.args[0],)
        self.factors[node] = before * factor

    def _mean(self, node: Node) -> None:
        data: Any = node.args[0]
        before = self.factors.get(data, ONE)
        self.factors[node] = before
        if nodes.is_average_pool(node):
            count, kernel = nodes.window_count(node)
            if kernel is not None and not is_power_of_two(count):
                self._sum_pool(node, kernel)
                self.factors[node] = before / count
            return
        given: Any = node.args[1] if len(node.args) > 1 else None
        axes = list(range(len(hints(data)))) if given is None else given
        axes = [axes] if isinstance(axes, int) else list(axes)
        sizes = [data.meta["val"].shape[axis] for axis in axes]
        # The step form has no mean over time: it stays, unless all that follows only scales and adds.
        over_time = axes == [0] and sizes == [self.steps] and not self._rounded_behind(node, before)
        # A mean over a dynamic T divides by what it is given: exact where that is a power of two.
        if not over_time and all(isinstance(size, int) for size in sizes) and not is_power_of_two(math.prod(sizes)):
            keep = bool(node.args[2]) if len(node.args) > 2 else False
            node.target, node.args = aten.sum.dim_IntList, (data, axes, keep)
            self.factors[node] = before / math.prod(sizes)

    def _rounded_behind(self, node: Node, factor: Fraction) -> bool:
        """Returns whether a mean goes to outputs through sums and moves alone, and is not rounded last as it is."""
        if not kinds.only_adds(node):
            return False
        return factor != ONE or any(user.op != "output" for user in node.users)

    def _sum_pool(self, node: Node, kernel: tuple[int, int]) -> None:
        """Sums windows: over the whole picture as a sum, else as a depthwise convolution with ones."""
        data: Any = node.args[0]
        if hints(data)[-2:] == kernel and hints(node)[-2:] == (1, 1):
            node.target, node.args = aten.sum.dim_IntList, (data, [-2, -1], True)
            return
        channels = hints(data)[1]
        adaptive = node.target is aten.adaptive_avg_pool2d.default
        stride = list(kernel) if adaptive or len(node.args) < 3 or not node.args[2] else list(node.args[2])  # type: ignore[arg-type]
        padding = [0, 0] if adaptive or len(node.args) < 4 else node.args[3]
        path = f"pool_{node.name}"
        store(self.module, path, torch.ones(channels, 1, *kernel))
        with self.graph.inserting_before(node):
            ones = self.graph.get_attr(path)
        node.target = aten.conv2d.default
        node.args = (data, ones, None, stride, padding, [1, 1], channels)

    def _neuron(self, node: Node) -> None:
        op = nodes.NEURONS[node.target]
        places = nodes.PLACES[op]
        arguments = list(node.args)
        factor = self.factors.get(arguments[0], ONE)  # type: ignore[arg-type]
        if factor < 0:
            self._settle(node)
            arguments, factor = list(node.args), ONE
        changed: dict[str, Any] = {}
        for name in ("v_threshold", "v_reset", "v_subtract"):
            old = arguments[places[name]] if places[name] < len(arguments) else None
            if old is not None:
                changed[name] = snap(Fraction(old) / factor)  # type: ignore[arg-type]
                arguments[places[name]] = changed[name]
        if factor != ONE:
            self.made.notes.append(f"neuron {len(self.made.neurons)}: in units of {float(1 / factor):.6g} of its own")
        if op == "plif" or (op == "lif" and not is_power_of_two(arguments[2])):  # type: ignore[arg-type]
            self._decay(node, op, arguments, changed)
        node.args = tuple(arguments)
        self.made.neurons.append(node)
        self.made.parameters.append(changed)

    def _decay(self, node: Node, op: str, arguments: list[Any], changed: dict[str, Any]) -> None:
        """Makes a leak dyadic: a multiplication by m / 2**s in place of a division or of a sigmoid in the graph."""
        given = kinds.evaluate(self.module, arguments[2]) if op == "plif" else 1.0 / arguments[2]
        decay = dyadic_decay(given)
        path = f"decay_{len(self.made.neurons)}"
        store(self.module, path, torch.tensor(decay))
        with self.graph.inserting_before(node):
            arguments[2] = self.graph.get_attr(path)
        node.target = nodes.PLIF
        changed |= {"op": "plif", "decay": decay, "tau": 1.0 / decay}
        if decay != given:
            self.made.notes.append(f"neuron {len(self.made.neurons)}: 1/tau {given:.6g} became {decay:g}")
