"""The transform `sparse`: layers of dense attention select their keys by a registered pattern."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neurokit.data.documents import read_documents
from neurokit.errors import InputError, Unsupported
from neurokit.spec import ModelSpec
from neurokit.transforms.transform import Option, Transformed, TransformInfo, register_transform

_SETTINGS = ("block", "block_k", "count", "window", "segment", "cap", "clusters", "every", "check_every")


@register_transform
class Sparse:
    """Replaces dense attention by a pattern; weights stay as they are, so the model is another one."""

    info = TransformInfo(
        name="sparse",
        summary="layers of dense attention select their keys by a pattern (neurokit list patterns)",
        source="docs/attention.md names the source of each pattern",
        options={
            "pattern": Option("ssa", "a registered pattern"),
            "layers": Option("all", "all, or numbers of layers with + between: 1+2"),
            "block": Option(0, "keys a block; 0 is the pattern's own default"),
            "count": Option(0, "blocks or keys a query; 0 is the pattern's own default"),
            "block_k": Option(0, "keys a block of hip and sale; 0 is the pattern's own default"),
            "window": Option(0, "latest keys; 0 is the pattern's own default"),
            "segment": Option(0, "keys that sale scores together; 0 is its own default"),
            "threshold": Option(
                0.0, "weight from which sale keeps a block; cosine at which recycled has a full step; 0 is the default"
            ),
            "cap": Option(0, "blocks a query of a gathered sale at most; 0 for no cap"),
            "every": Option(0, "of recycled attention: every how many steps one is full; 0 is 10"),
            "check_every": Option(0, "of recycled attention: every how many steps queries are compared; 0 for never"),
            "clusters": Option(0, "centroids of a routing pattern; 0 is 8"),
            "means": Option("", 'JSONL of texts, lines like {"ids": [5, 7, 9]}, whose mean query and key sale keeps'),
        },
    )

    def check(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Sequence[Unsupported]:
        """Returns why no layer can select."""
        if spec.sparse is None:
            return [Unsupported("", spec.name, "it has no layers of dense attention", "leave the transform away")]
        _layers(settings["layers"])
        return []

    def apply(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Transformed:
        """Returns the specification with the pattern in its layers."""
        assert spec.sparse is not None
        given = {name: settings[name] for name in _SETTINGS if settings[name]}
        if settings["threshold"]:
            several = settings["pattern"] != "recycled"
            given |= {"thresholds": (settings["threshold"],)} if several else {"threshold": settings["threshold"]}
        made = spec.sparse.select(
            settings["pattern"], given, _layers(settings["layers"]), _texts(spec, settings["means"])
        )
        return Transformed(made, ("its weights were made for dense attention: outputs are other ones",))


def _texts(spec: ModelSpec, path: str) -> list[tuple[int, ...]]:
    """Returns the texts of a file of documents; none without a file."""
    if not path:
        return []
    if spec.attention is None:
        raise InputError(f"means={path} for model {spec.name!r}", expected="a decoder language model")
    return [text.ids for text in read_documents(path, spec.attention.vocabulary, spec.attention.longest)]


def _layers(text: str) -> list[int] | None:
    """Returns the layers that a setting names, or None for all.

    Raises:
        InputError: If it is neither "all" nor numbers.
    """
    if text == "all":
        return None
    parts = text.split("+")
    if not all(part.isdigit() for part in parts):
        raise InputError(f"layers={text}", expected="all, or numbers with + between", fix="for example layers=1+2")
    return [int(part) for part in parts]
