"""AttentionInfluence: how much worse a text is predicted when the retrieval heads are masked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from neurokit.artifact import MANIFEST, Artifact
from neurokit.attention.scopes import HeadList
from neurokit.data.documents import Document, batches, check_document, padded, read_documents
from neurokit.errors import InputError, UnsupportedError
from neurokit.spec import ModelSpec

SELECTED = 0.2  # of a domain's documents, as published


@dataclass(frozen=True)
class Influence:
    """What masking heads does to one text.

    Attributes:
        name: Name of the document.
        domain: What it is ranked among.
        tokens: Number of its tokens.
        loss: Mean cross-entropy of its tokens 2 to n, in nats.
        loss_masked: The same with the heads masked.
        rank: Its place within its domain by score, from 1; 0 before it is ranked.
        selected: Whether it is among the selected share of its domain.
    """

    name: str
    domain: str
    tokens: int
    loss: float
    loss_masked: float
    rank: int = 0
    selected: bool = False

    @property
    def score(self) -> float:
        """(L_masked - L) / L; 0 for a text that is predicted without loss either way."""
        difference = self.loss_masked - self.loss
        return difference / self.loss if self.loss else math.copysign(math.inf, difference) if difference else 0.0

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values; a score that is no finite number is null."""
        return {
            "id": self.name,
            "domain": self.domain,
            "tokens": self.tokens,
            "loss": self.loss,
            "loss_masked": self.loss_masked,
            "score": self.score if math.isfinite(self.score) else None,
            "rank": self.rank,
            "selected": self.selected,
        }


class Scoring(Protocol):
    """What computes losses: a model in torch, or an exported graph."""

    vocabulary: int
    longest: int
    layers: int
    heads: int

    def losses(self, ids: np.ndarray, masked: Mapping[int, Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the losses of every token `[B, S]`, plain and with heads masked."""
        ...


class TorchScoring:
    """A model in torch; the layers in front of the first masked head run once for both losses.

    Args:
        spec: A language model of softmax attention.
        wide: Whether it computes in float64.
    """

    def __init__(self, spec: ModelSpec, wide: bool = False) -> None:
        from neurokit.models.decoder.one_pass import decoder_of, in_float64

        net = decoder_of(spec.build(), spec.name)
        self.net = in_float64(net) if wide else net
        config = net.config
        self.vocabulary, self.longest = config.vocabulary, config.longest
        self.layers, self.heads = config.layers, config.heads

    def losses(self, ids: np.ndarray, masked: Mapping[int, Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the losses of every token `[B, S]`, plain and with heads masked."""
        import torch

        from neurokit.models.decoder.one_pass import embedded, plain, through, token_losses, tokens_of

        net: Any = self.net
        texts = torch.from_numpy(ids)
        first = min(masked, default=self.layers)
        kept = torch.ones(self.layers, self.heads, dtype=net.model.norm.weight.dtype)
        for at, heads in masked.items():
            kept[at, list(heads)] = 0.0

        def attend(at: int, q: Any, k: Any, v: Any, tokens: Any) -> Any:
            return plain(at, q * kept[at, :, None, None] if len(masked.get(at, ())) else q, k, v, tokens)

        with torch.no_grad():
            x, tokens = embedded(net, texts), tokens_of(net, texts)
            for at in range(first):
                x = through(net.model.layers[at], at, x, tokens)
            answers = []
            for how in (plain, attend):
                y = x
                for at in range(first, self.layers):
                    y = through(net.model.layers[at], at, y, tokens, how)
                answers.append(token_losses(net, y, texts).numpy())
        return answers[0], answers[1]


class GraphScoring:
    """An artifact of the transform `head_mask`, in its runtime.

    Args:
        artifact: The artifact, or its folder.
        options: Options of the target, such as threads.

    Raises:
        InputError: If the artifact is no scorer.
    """

    def __init__(self, artifact: Artifact | str | Path, **options: Any) -> None:
        from neurokit import pipeline

        artifact = artifact if isinstance(artifact, Artifact) else Artifact.load(artifact)
        manifest = artifact.manifest
        ports = {port.name: port for port in manifest.inputs}
        if not {"ids", "head_mask"} <= set(ports) or "loss" not in {port.name for port in manifest.outputs}:
            raise InputError(
                f"{artifact.path} is no scorer of texts",
                expected="ids and head_mask in, loss out",
                fix=f"neurokit export {manifest.model.name} --transform head_mask --target onnx",
            )
        shape = ports["head_mask"].shape
        self.layers, self.heads = int(shape[-2]), int(shape[-1])
        self.vocabulary = int(ports["ids"].high or 0) + 1
        self.longest = int(manifest.graphs[0].dims["S"].max or 2**31)
        self.runner = pipeline.open(artifact, **options)

    def losses(self, ids: np.ndarray, masked: Mapping[int, Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the losses of every token `[B, S]`, plain and with heads masked."""
        kept = np.ones((len(ids), self.layers, self.heads), np.float32)
        base = self._run(ids, kept)
        for at, heads in masked.items():
            kept[:, at, list(heads)] = 0.0
        return base, self._run(ids, kept)

    def _run(self, ids: np.ndarray, kept: np.ndarray) -> np.ndarray:
        found = self.runner({"ids": ids, "head_mask": kept})
        return np.asarray(found["loss"] if isinstance(found, Mapping) else found)


def influence(
    model: ModelSpec | Artifact | str | Path | Scoring,
    documents: Iterable[Document],
    heads: HeadList | Mapping[int, Sequence[int]],
    *,
    selected: float = SELECTED,
    batch_tokens: int = 8192,
) -> list[Influence]:
    """Scores texts: (L_masked - L) / L, with L the mean cross-entropy of tokens 2 to n.

    Args:
        model: A spec or a name, which runs in torch; an artifact of the transform `head_mask`; or what was opened
            before (`scoring`).
        documents: The texts.
        heads: Which query heads are masked.
        selected: Share of each domain that is selected, by score; rounded up.
        batch_tokens: Tokens of a batch, padding counted.

    Returns:
        One answer a document, in their order.

    Raises:
        InputError: If a document, a head or a layer does not fit the model, or the share is none.
    """
    opened: Scoring = scoring(model) if isinstance(model, ModelSpec | Artifact | str | Path) else model
    if not 0 < selected <= 1:
        raise InputError(f"the selected share is {selected}", expected="a number above 0, up to 1")
    if not isinstance(heads, HeadList):
        from neurokit.attention.scopes import scopes_of

        heads = HeadList(scopes_of(heads))
    masked = heads.by_layer(opened.layers, opened.heads)
    return ranked(list(_scored(opened, documents, masked, batch_tokens)), selected)


def _scored(
    opened: Scoring, documents: Iterable[Document], masked: Mapping[int, Sequence[int]], batch_tokens: int
) -> Iterator[Influence]:
    for group in batches(_fitting(documents, opened), batch_tokens):
        plain, other = opened.losses(padded(group), masked)
        for row, document in enumerate(group):
            count = len(document.ids) - 1
            loss, masked_loss = (float(losses[row, -count:].astype(np.float64).mean()) for losses in (plain, other))
            yield Influence(document.name, document.domain, len(document.ids), loss, masked_loss)


def _fitting(documents: Iterable[Document], opened: Scoring) -> Iterator[Document]:
    for number, document in enumerate(documents, 1):
        check_document(document, opened.vocabulary, opened.longest, f"document {document.name or number}")
        yield document


def ranked(found: Sequence[Influence], selected: float = SELECTED) -> list[Influence]:
    """Returns the answers with their ranks within their domains; of equal scores the earlier document comes first."""
    domains: dict[str, list[int]] = {}
    for at, one in enumerate(found):
        domains.setdefault(one.domain, []).append(at)
    answers = list(found)
    for places in domains.values():
        count = math.ceil(selected * len(places) - 1e-9)
        for rank, at in enumerate(sorted(places, key=lambda at: -found[at].score), 1):
            answers[at] = replace(found[at], rank=rank, selected=rank <= count)
    return answers


def scoring(model: ModelSpec | Artifact | str | Path) -> Scoring:
    """Opens what computes losses: an artifact in its runtime, anything else in torch.

    Raises:
        InputError: If an artifact is no scorer.
        UnsupportedError: If a model has other layers than softmax attention.
    """
    if isinstance(model, Artifact):
        return GraphScoring(model)
    if isinstance(model, ModelSpec):
        if model.scorer is None:
            raise UnsupportedError(
                f"model {model.name!r} has no heads to mask", expected="a decoder of softmax attention, such as tiny_lm"
            )
        return TorchScoring(model)
    if (Path(model) / MANIFEST).is_file():
        return GraphScoring(model)
    from neurokit.loading import load

    return scoring(load(model))


def score_file(
    model: ModelSpec | Artifact | str | Path | Scoring,
    path: str | Path,
    heads: HeadList | Mapping[int, Sequence[int]],
    *,
    selected: float = SELECTED,
    batch_tokens: int = 8192,
) -> list[Influence]:
    """Scores the documents of a JSONL file (`read_documents`); all are checked before one is run.

    Args:
        model: As `influence`.
        path: The file.
        heads: Which query heads are masked.
        selected: Share of each domain that is selected.
        batch_tokens: Tokens of a batch, padding counted.

    Raises:
        InputError: Names the line that is no document, or the head that does not exist.
    """
    opened: Scoring = scoring(model) if isinstance(model, ModelSpec | Artifact | str | Path) else model
    for _ in read_documents(path, opened.vocabulary, opened.longest):
        pass
    documents = read_documents(path, opened.vocabulary, opened.longest)
    return influence(opened, documents, heads, selected=selected, batch_tokens=batch_tokens)
