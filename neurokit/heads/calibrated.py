"""Profiles of heads for calibration: how much a model gains when one head alone is calibrated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from neurokit.attention.scopes import HeadList
from neurokit.data.documents import Document, check_documents, padded
from neurokit.errors import InputError, UnsupportedError
from neurokit.heads.retrieval import HeadScores
from neurokit.spec import ModelSpec

if TYPE_CHECKING:
    import torch

Judge = Literal["label", "entropy"]
GAMMAS = (0.6, 1.5)  # factors of the first token that are tried: one that sharpens, one that flattens
CHOSEN = 0.4  # share of all heads that is chosen at most
BATCH = 16  # texts of a call


def profile_heads(
    spec: ModelSpec,
    method: str,
    documents: Sequence[Document],
    *,
    by: Judge | None = None,
    share: float = CHOSEN,
    gammas: Sequence[float] = GAMMAS,
) -> tuple[HeadScores, HeadList]:
    """Calibrates one head after the other, and chooses those that gain (Han et al., ZeroTuning; Yu et al., ACT).

    What is gained is the mean logarithm of the right token's probability behind each document, by labels, or the fall
    of the entropy of the next token, which needs none. Of `zerotuning` each of `gammas` is tried, and the one whose
    chosen heads gain most together is kept; `act` has its published beta and threshold.

    Args:
        spec: A model whose attention can be calibrated.
        method: "zerotuning" or "act".
        documents: Texts; by labels each with a label.
        by: "label" or "entropy"; default is by labels where every document has one.
        share: Share of all heads that is chosen at most; only heads that gain are.
        gammas: Factors of `zerotuning`.

    Returns:
        The gain of every head, and the list of the chosen ones with their settings.

    Raises:
        InputError: If the method or a document does not fit, a label is missing, or no head gains.
        UnsupportedError: If the model's attention cannot be calibrated.
    """
    if spec.attention is None or spec.attention.joint:
        raise UnsupportedError(f"model {spec.name!r} has no attention to calibrate", expected="a language model")
    check_documents(documents, spec.attention.vocabulary, spec.attention.longest)
    judge: Judge = by or ("label" if all(document.label is not None for document in documents) else "entropy")
    if judge == "label" and any(document.label is None for document in documents):
        raise InputError("a document has no label", expected="a label in every one, or a profile by entropy")
    candidates = [{"gamma": float(gamma)} for gamma in gammas] if method == "zerotuning" else [{}]
    best: tuple[float, HeadScores, HeadList] | None = None
    for settings in candidates:
        found, chosen, gain = _profile(spec, method, settings, documents, judge, share)
        if best is None or gain > best[0]:
            best = gain, found, chosen
    assert best is not None
    if best[0] <= 0:
        raise InputError(f"no head of {spec.name!r} gains by {method}", expected="other documents or factors")
    return best[1], best[2]


def _profile(
    spec: ModelSpec, method: str, settings: dict[str, Any], documents: Sequence[Document], judge: Judge, share: float
) -> tuple[HeadScores, HeadList, float]:
    """Returns gains of single heads, the chosen heads, and what they gain together."""
    host = spec.attention
    assert host is not None
    model = _Calibrated(spec, method, settings)
    plain = model.worth((), documents, judge)
    scores = np.zeros((host.layers, host.heads))
    for layer in model.layers:
        for head in range(host.heads):
            scores[layer, head] = model.worth(((layer, (head,)),), documents, judge) - plain
    found = HeadScores(spec.name, method, scores, len(documents))
    gaining = int((scores > 0).sum())
    if not gaining:
        return found, HeadList(()), 0.0
    chosen = found.top(min(share, gaining / scores.size))
    scope = tuple(chosen.by_layer(host.layers, host.heads).items())
    return found, replace(chosen, settings=settings), model.worth(scope, documents, judge) - plain


class _Calibrated:
    """A model whose calibration is changed between calls, its weights built once."""

    def __init__(self, spec: ModelSpec, method: str, settings: dict[str, Any]) -> None:
        from neurokit.transforms.common.calibrate import CalibrationTransform
        from neurokit.transforms.transform import resolve

        made, whole = resolve((method, settings))
        if not isinstance(made, CalibrationTransform) or method not in ("zerotuning", "act"):
            raise InputError(f"method is {method!r}", expected="zerotuning or act")
        assert spec.attention is not None
        self.method: Any = made.method(whole, spec.attention)
        self.layers = [layer for layer, _ in self.method.scope]
        self.net: Any = spec.attention.calibrate(self.method).build()

    def worth(self, scope: tuple[tuple[int, tuple[int, ...]], ...], documents: Sequence[Document], by: Judge) -> float:
        """Returns the mean worth of the model's answers with some heads calibrated."""
        import torch

        method = replace(self.method, scope=scope)
        for at in self.layers:
            self.net.trunk.layers[at].self_attn.methods = (method,) if method.touches(at) else ()
        total = 0.0
        with torch.no_grad():
            for start in range(0, len(documents), BATCH):
                some = documents[start : start + BATCH]
                ids = torch.from_numpy(padded(some))
                logs = self.net(ids, *self._states(len(some)))["logits"][:, -1].double().log_softmax(-1)
                total += float(_worth(logs, some, by).sum())
        return total / len(documents)

    def _states(self, batch: int) -> list[torch.Tensor]:
        import torch

        return [
            torch.zeros(
                batch,
                *(size if isinstance(size, int) else 0 for size in state.shape),
                dtype=torch.int64 if state.dtype == "int64" else torch.float32,
            )
            for state in self.net.states
        ]


def _worth(logs: torch.Tensor, documents: Sequence[Document], by: Judge) -> torch.Tensor:
    """Returns what an answer is worth `[B]`, for logarithms of probabilities `[B, V]`."""
    if by == "entropy":
        return (logs.exp() * logs).sum(-1)
    import torch

    found = []
    for row, document in zip(logs, documents, strict=True):
        among = row if not document.choices else row - row[list(document.choices)].logsumexp(0)
        assert document.label is not None
        found.append(among[document.label])
    return torch.stack(found)
