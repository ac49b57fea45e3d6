"""An ONNX artifact's graph and manifest, with the edits that planted faults are made of."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper


class NotApplicableError(Exception):
    """The graph has no place for this fault."""


def need(condition: object) -> None:
    """Raises NotApplicableError unless the condition holds."""
    if not condition:
        raise NotApplicableError


class Graph:
    """A model, its manifest as a dictionary, and T of the reference."""

    def __init__(self, model: onnx.ModelProto, manifest: dict, steps: int) -> None:
        self.model, self.graph, self.manifest, self.steps = model, model.graph, manifest, steps
        self.ports = manifest["graphs"][0]
        self.step = manifest["form"] == "step"
        self.scan = manifest["time_steps"] == "dynamic"
        self._names = 0

    def nodes(self, *kinds: str) -> list[onnx.NodeProto]:
        """Returns the nodes of some kinds; at least one."""
        found = [node for node in self.graph.node if node.op_type in kinds]
        need(found)
        return found

    def neurons(self) -> list[onnx.NodeProto]:
        """Returns the neuron calls, in order; at least one."""
        found = [node for node in self.graph.node if node.domain == "neurokit"]
        need(found)
        return found

    def value(self, name: str) -> np.ndarray:
        """Returns an initializer."""
        found = [t for t in self.graph.initializer if t.name == name]
        need(found)
        return numpy_helper.to_array(found[0]).copy()

    def set(self, name: str, value: np.ndarray) -> None:
        """Replaces an initializer."""
        tensor = next(t for t in self.graph.initializer if t.name == name)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))

    def constant(self, value: object) -> str:
        """Adds an initializer and returns its name."""
        self._names += 1
        name = f"planted.{self._names}"
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weights(self) -> list[tuple[str, int]]:
        """Returns the weight of every layer in order, with the axis of its output channels."""
        found = []
        for node in self.graph.node:
            if node.op_type == "Conv":
                found.append((node.input[1], 0))
            elif node.op_type in ("MatMul", "Gemm") and any(t.name == node.input[1] for t in self.graph.initializer):
                transposed = any(a.name == "transB" and a.i for a in node.attribute)
                found.append((node.input[1], 0 if transposed else 1))
        need(found)
        return found

    def biases(self) -> list[str]:
        """Returns the names of what is added as a bias."""
        names = {t.name for t in self.graph.initializer}
        found = [
            n.input[2] for n in self.graph.node if n.op_type in ("Conv", "Gemm") and len(n.input) > 2 and n.input[2]
        ]
        for node in self.graph.node:
            if node.op_type == "Add":
                found += [name for name in node.input if name in names and self.value(name).ndim >= 1]
        need(found)
        return found

    def after(self, name: str, kind: str, *constants: str, **attributes: object) -> None:
        """Puts an operator behind a value: everything that read the value reads the operator's result."""
        self._names += 1
        inner = f"{name}.planted{self._names}"
        producer = next((n for n in self.graph.node if name in n.output), None)
        need(producer is not None)
        producer.output[list(producer.output).index(name)] = inner
        node = helper.make_node(kind, [inner, *constants], [name], **attributes)
        self.graph.node.insert(list(self.graph.node).index(producer) + 1, node)

    def before(self, node: onnx.NodeProto, at: int, kind: str, *constants: str, **attributes: object) -> None:
        """Puts an operator before one input of a node."""
        self._names += 1
        name = f"{node.input[at]}.planted{self._names}"
        new = helper.make_node(kind, [node.input[at], *constants], [name], **attributes)
        self.graph.node.insert(list(self.graph.node).index(node), new)
        node.input[at] = name

    def first_reader(self) -> tuple[onnx.NodeProto, int]:
        """Returns the node that reads the model's input, and where."""
        name = self.ports["inputs"][0]["name"]
        for node in self.graph.node:
            if name in node.input and node.op_type not in ("Shape", "Size"):
                return node, list(node.input).index(name)
        raise NotApplicableError

    def output(self) -> str:
        """Returns the name of the first output."""
        return self.ports["outputs"][0]["name"]

    def scalar(self, which: int, at: int, change) -> None:
        """Changes a scalar of a neuron; `at` counts the inputs of its function by name."""
        node = self.neurons()[which]
        node.input[at] = self.constant(np.asarray(change(self.value(node.input[at])), np.float32))

    def place(self, which: int, name: str) -> int:
        """Returns where a neuron's function takes a scalar."""
        node = self.neurons()[which]
        function = next(f for f in self.model.functions if f.name == node.op_type)
        need(name in function.input)
        return list(function.input).index(name)

    def bodies(self, which: int | None = None) -> list:
        """Returns the graphs that compute a step: the bodies of the neurons' Scans, or their functions."""
        kinds = {node.op_type for node in ([self.neurons()[which]] if which is not None else self.neurons())}
        found = []
        for function in self.model.functions:
            if function.name in kinds:
                graphs = [a.g for n in function.node if n.op_type == "Scan" for a in n.attribute if a.name == "body"]
                found.append(graphs[0] if graphs else function)
        return found

    def scans(self) -> list[onnx.NodeProto]:
        """Returns the neurons' Scans."""
        found = [n for f in self.model.functions for n in f.node if n.op_type == "Scan"]
        need(found)
        return found
