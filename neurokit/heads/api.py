"""Finding heads: the Python side of `neurokit heads`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neurokit.attention.scopes import HeadList
from neurokit.data.documents import Document, read_documents
from neurokit.errors import InputError, UnsupportedError
from neurokit.heads.retrieval import SHARE, HeadScores, retrieval_scores
from neurokit.spec import ModelSpec

METHODS = ("retrieval", "zerotuning", "act")


def find_heads(
    spec: ModelSpec,
    method: str = "retrieval",
    documents: Sequence[Document] | str | Path | None = None,
    *,
    share: float | None = None,
    seed: int = 0,
) -> tuple[HeadScores, HeadList]:
    """Scores the query heads of a language model, and chooses some.

    Args:
        spec: A decoder of softmax attention.
        method: "retrieval": heads whose largest weight lies on the token that comes next (AttentionInfluence);
            "zerotuning" and "act": heads that gain when they are calibrated (`neurokit.heads.calibrated`), by labels
            where every document has one, else by the entropy of the next token.
        documents: Texts, or a JSONL file of them; default is key-value questions in random tokens.
        share: Share of all heads that is chosen; default .05.
        seed: Seed of the default documents.

    Returns:
        A score for every head, and the list of the chosen ones, which `neurokit.attention.scopes.write_heads` writes.

    Raises:
        InputError: If the method, a document or the share is none.
        UnsupportedError: If the model has other layers than softmax attention.
    """
    if method not in METHODS:
        raise InputError(f"method is {method!r}", expected="one of " + ", ".join(METHODS))
    if share is not None and not 0 < share <= 1:
        raise InputError(f"share is {share}", expected="a number above 0, up to 1")
    if method != "retrieval":
        from neurokit.heads.calibrated import CHOSEN, profile_heads

        given = _read(spec, documents)
        if given is None:
            raise InputError(f"method {method} without documents", expected="documents, with labels or not")
        return profile_heads(spec, method, given, share=CHOSEN if share is None else share)
    share = SHARE if share is None else share
    if spec.scorer is None:
        raise UnsupportedError(
            f"model {spec.name!r} has no query heads to choose from",
            expected="a decoder of softmax attention, such as tiny_lm",
        )
    found = retrieval_scores(spec, _read(spec, documents), seed=seed)
    return found, found.top(share)


def _read(spec: ModelSpec, documents: Sequence[Document] | str | Path | None) -> list[Document] | None:
    if documents is None:
        return None
    if isinstance(documents, str | Path):
        settings = spec.task.settings if spec.task else {}
        return list(read_documents(documents, settings["vocabulary"], settings["longest"]))
    return list(documents)
