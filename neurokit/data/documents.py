"""Texts as token numbers, one a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neurokit.errors import InputError
from neurokit.plain import check_regular, first_fault

LEAST = 2  # tokens: the loss is a mean over tokens 2 to n
_LONGEST_LINE = 2**28  # bytes


@dataclass(frozen=True)
class Document:
    """A text.

    Attributes:
        ids: Its tokens.
        name: What its line calls it, or its number in the file, from 1.
        domain: What it is ranked among.
        answer: First place of its answer and the place behind it, among `ids`; None where none is marked.
        label: The right next token, where it is a question.
        choices: Tokens that an answer is chosen from; empty for the whole vocabulary.
    """

    ids: tuple[int, ...]
    name: str = ""
    domain: str = ""
    answer: tuple[int, int] | None = None
    label: int | None = None
    choices: tuple[int, ...] = ()


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)
    ids: list[int]
    id: str | int | None = None
    domain: str = ""
    answer: list[int] | None = Field(None, min_length=2, max_length=2)
    label: int | None = None
    choices: list[int] = []


def read_documents(path: str | Path, vocabulary: int, longest: int) -> Iterator[Document]:
    """Yields the documents of a JSONL file, one after the other.

    A line is an object with "ids" (token numbers) and, where they are known, "id", "domain", "answer" ([first, behind
    the last] among the ids), "label" and "choices" (token numbers); other fields are left alone, empty lines too.

    Args:
        path: The file.
        vocabulary: Tokens of the model.
        longest: Largest number of tokens that the model takes.

    Raises:
        InputError: Names the file and the line that is no such document.
    """
    path = Path(path)
    empty = True
    try:
        with check_regular(path).open("rb") as file:
            for number, line in enumerate(_lines(file, path), 1):
                if line.strip():
                    empty = False
                    yield _checked(_parsed(line, f"{path}, line {number}"), number, path, vocabulary, longest)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}", expected="a JSONL file") from error
    if empty:
        raise InputError(f"{path} holds no document", expected='lines like {"ids": [5, 7, 9]}')


def _lines(file: Any, path: Path) -> Iterator[bytes]:
    number = 0
    while line := file.readline(_LONGEST_LINE + 1):
        number += 1
        if len(line) > _LONGEST_LINE:
            raise InputError(f"{path}, line {number} has more than {_LONGEST_LINE:,} bytes", expected="shorter lines")
        yield line


def _parsed(line: bytes, where: str) -> _Line:
    try:
        data = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{where} is no JSON: {said}", expected='a line like {"ids": [5, 7, 9]}') from error
    try:
        return _Line.model_validate(data)
    except ValidationError as error:
        place, said = first_fault(error)
        raise InputError(
            f"{where}: {place + ': ' if place else ''}{said}", expected='an object like {"ids": [5, 7, 9]}'
        ) from error


def _checked(line: _Line, number: int, path: Path, vocabulary: int, longest: int) -> Document:
    document = Document(
        tuple(line.ids),
        str(number if line.id is None else line.id),
        line.domain,
        None if line.answer is None else (line.answer[0], line.answer[1]),
        line.label,
        tuple(line.choices),
    )
    check_document(document, vocabulary, longest, f"{path}, line {number}")
    return document


def check_document(document: Document, vocabulary: int, longest: int, where: str) -> None:
    """Refuses a document that a model cannot take.

    Raises:
        InputError: If it is shorter than two tokens, too long, or names a token or a place that does not exist.
    """
    count = len(document.ids)
    if count < LEAST:
        raise InputError(
            f"{where} has {count} token{'s' * (count != 1)}", expected="two or more: the first has no loss"
        )
    if count > longest:
        raise InputError(f"{where} has {count:,} tokens", expected=f"at most {longest:,}, which the model was made for")
    named = [*document.ids, *document.choices, *([] if document.label is None else [document.label])]
    for token in named:
        if isinstance(token, bool) or not 0 <= token < vocabulary:
            raise InputError(f"{where} has token {token!r}", expected=f"token numbers 0 to {vocabulary - 1}")
    if document.answer is not None and not 1 <= document.answer[0] < document.answer[1] <= count:
        raise InputError(
            f"{where} has its answer at {list(document.answer)}",
            expected=f"[first, behind the last] with 1 <= first < last <= {count}",
        )
    if document.label is not None and document.choices and document.label not in document.choices:
        raise InputError(f"{where} has label {document.label}", expected="one of its choices")


def check_documents(documents: Sequence[Document], vocabulary: int, longest: int) -> None:
    """Refuses documents that a model cannot take, or none at all.

    Raises:
        InputError: As `check_document`, naming the document.
    """
    if not documents:
        raise InputError("there is no document", expected="one or more")
    for number, document in enumerate(documents, 1):
        check_document(document, vocabulary, longest, f"document {document.name or number}")


def batches(documents: Iterable[Document], tokens: int = 8192) -> Iterator[list[Document]]:
    """Yields documents in order, so many that a padded batch has at most `tokens` tokens, but one at least."""
    held: list[Document] = []
    for document in documents:
        wide = max(len(document.ids), *(len(other.ids) for other in held)) if held else len(document.ids)
        if held and wide * (len(held) + 1) > tokens:
            yield held
            held = []
        held.append(document)
    if held:
        yield held


def padded(documents: Sequence[Document]) -> np.ndarray:
    """Returns the tokens of documents as int64 `[B, S]`, the shorter ones behind -1."""
    longest = max(len(document.ids) for document in documents)
    ids = np.full((len(documents), longest), -1, np.int64)
    for row, document in zip(ids, documents, strict=True):
        row[longest - len(document.ids) :] = document.ids
    return ids


def retrieval_documents(
    vocabulary: int,
    samples: int = 32,
    *,
    pairs: int = 8,
    key: int = 4,
    value: int = 3,
    shots: int = 3,
    seed: int = 0,
) -> list[Document]:
    """Draws key-value retrieval questions (AttentionInfluence, section 3), in random tokens.

    A sample lists `pairs` keys with their values in random order, then asks for `shots` of them, with the answers, then
    for another one: the answer is its value. The paper's keys are 32 letters and digits, its values at most 30
    tokens, its samples 800 of about 4,096 tokens.

    Args:
        vocabulary: Tokens that are drawn from; token 0 stands between entries.
        samples: Number of questions.
        pairs: Keys a sample; more than `shots`.
        key: Tokens of a key.
        value: Tokens of a value.
        shots: Answered questions before the last one.
        seed: Seed of the draws.

    Raises:
        InputError: If there are not enough pairs or tokens.
    """
    if not (0 <= shots < pairs and key >= 1 and value >= 1 and samples >= 1 and vocabulary >= pairs + 2):
        raise InputError(
            f"{samples} samples of {pairs} pairs, {shots} shots, keys of {key} and values of {value} tokens",
            expected=f"more pairs than shots, tokens of 1 or more, and at most {max(vocabulary - 2, 0)} pairs",
        )
    found = []
    for sample in range(samples):
        draw = np.random.default_rng([seed, sample])
        keys = draw.integers(1, vocabulary, (pairs, key))
        keys[:, 0] = draw.permutation(np.arange(1, vocabulary))[:pairs]  # no two keys are equal
        values = draw.integers(1, vocabulary, (pairs, value))
        asked = [*range(pairs), *draw.permutation(pairs)[: shots + 1]]
        ids = [int(token) for at in asked for token in (0, *keys[at], *values[at])]
        found.append(Document(tuple(ids), str(sample + 1), answer=(len(ids) - value, len(ids))))
    return found
