"""Where pauses go in a text, by rules that stand in a file; taking them out gives the text back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neurokit.errors import InputError
from neurokit.plain import first_fault, toml_of

PAUSE = "[PAUSE]"
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


class Rules(BaseModel):
    """Where pauses go (`rules.toml` has the default).

    Attributes:
        marks: Characters behind which a clause ends.
        conjunctions: Words in front of which a clause ends, lower case.
        suffixes: Ends of abstract words, of words longer than the end by two letters.
        words: Abstract words, lower case.
        abstractness: Own values of words, 0 (concrete) to 1 (abstract), which come before all rules.
        least: Pauses of a clause without abstract words.
        most: Pauses of a clause of abstract words alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    marks: list[str]
    conjunctions: list[str]
    suffixes: list[str]
    words: list[str]
    abstractness: dict[str, float] = Field(default_factory=dict)
    least: int = Field(1, ge=0, le=64)
    most: int = Field(4, ge=0, le=64)

    def of(self, word: str) -> float:
        """Returns how abstract a word is, 0 to 1."""
        low = word.lower()
        if low in self.abstractness:
            return min(max(self.abstractness[low], 0.0), 1.0)
        if low in self.words:
            return 1.0
        singular = low[:-1] if low.endswith("s") and not low.endswith("ss") else low
        return float(any(singular.endswith(end) and len(singular) >= len(end) + 2 for end in self.suffixes))


@dataclass(frozen=True)
class Paused:
    """A text with pauses.

    Attributes:
        text: The text as it was.
        places: Where pauses stand, as numbers of characters of `text` in front of them; a place several times over for
            several pauses; rising.
        mark: How a pause is written.
    """

    text: str
    places: tuple[int, ...]
    mark: str = PAUSE

    @property
    def marked(self) -> str:
        """The text with its pauses written, each behind a space."""
        parts, before = [], 0
        for place in self.places:
            parts += [self.text[before:place], " ", self.mark]
            before = place
        return "".join([*parts, self.text[before:]])

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Returns where the characters from `start` to `end` of the text stand in `marked`.

        A pause at the start of a span is in front of it, one at its end behind it; a span is longer by pauses inside.
        """
        wide = len(self.mark) + 1
        ahead = sum(place <= start for place in self.places)
        inside = sum(start < place < end for place in self.places)
        return start + wide * ahead, end + wide * (ahead + inside)


def default_rules() -> Rules:
    """Returns the rules of `rules.toml`."""
    return read_rules(Path(__file__).with_name("rules.toml"))


def read_rules(path: str | Path) -> Rules:
    """Reads rules from a TOML file.

    Raises:
        InputError: If it cannot be read, or says something else.
    """
    path = Path(path)
    try:
        rules = Rules.model_validate(toml_of(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}", expected="rules of pauses") from error
    except ValidationError as error:
        place, said = first_fault(error)
        raise InputError(f"{path}: {place}: {said}", expected="rules as neurokit/pause/rules.toml") from error
    except ValueError as error:
        raise InputError(f"{path} is no TOML: {str(error).splitlines()[0]}", expected="rules of pauses") from error
    if rules.most < rules.least:
        raise InputError(f"{path}: most is {rules.most}, least {rules.least}", expected="most at least as large")
    return rules


def place_pauses(text: str, rules: Rules | None = None, mark: str = PAUSE) -> Paused:
    """Puts pauses at the ends of a text's clauses, more where its words are abstract.

    A clause of words with the mean abstractness a gets least + round(a (most - least)) pauses. The last clause gets
    its own as well, behind the text.

    Args:
        text: The text.
        rules: Where pauses go; default is `rules.toml`.
        mark: How a pause is written.

    Raises:
        InputError: If the mark is empty or holds a blank, or the text holds it already.
    """
    rules = rules or default_rules()
    if len(mark.split()) != 1 or mark != mark.strip() or mark in text:
        raise InputError(f"pauses are written {mark!r}", expected="a word without blanks that the text does not hold")
    places: list[int] = []
    for start, end in clauses(text, rules):
        words = _WORD.findall(text[start:end])
        if words:
            share = sum(rules.of(word) for word in words) / len(words)
            places += [end] * (rules.least + round(share * (rules.most - rules.least)))
    return Paused(text, tuple(places), mark)


def clauses(text: str, rules: Rules) -> list[tuple[int, int]]:
    """Returns the clauses of a text as places of characters, without the blanks around them."""
    marks = "".join(re.escape(mark) for mark in rules.marks)
    ends = {match.end() for match in re.finditer(rf"[{marks}]+(?=\s|$)", text)} if marks else set()
    # A conjunction begins a clause, unless the one before would be empty.
    starts = {match.start() for match in _WORD.finditer(text) if match.group().lower() in rules.conjunctions}
    found, before = [], 0
    for cut in sorted(ends | starts | {len(text)}):
        part = text[before:cut]
        if part.strip():
            lead = len(part) - len(part.lstrip())
            found.append((before + lead, before + len(part.rstrip())))
            before = cut
    return found


def strip_pauses(marked: str, mark: str = PAUSE) -> str:
    """Returns a text without its pauses: `strip_pauses(place_pauses(text).marked)` is `text`."""
    return marked.replace(" " + mark, "")


def insert_pauses(ids: Sequence[int], counts: Mapping[int, int], pause: int) -> list[int]:
    """Puts pause tokens among tokens.

    Args:
        ids: The tokens.
        counts: How many pauses stand behind the token at each place.
        pause: Number of the pause token.

    Raises:
        InputError: If the tokens hold the pause already, or a place or a count is none.
    """
    if pause in ids:
        raise InputError(f"the tokens hold token {pause} already", expected="a token of its own for pauses")
    wrong = [at for at, count in counts.items() if not 0 <= at < len(ids) or count < 0]
    if wrong:
        raise InputError(f"pauses behind place {wrong[0]}", expected=f"0 to {len(ids) - 1}, counts of 0 or more")
    return [token for at, one in enumerate(ids) for token in (one, *[pause] * counts.get(at, 0))]


def remove_pauses(ids: Sequence[int], pause: int) -> list[int]:
    """Returns tokens without pauses: what `insert_pauses` was given."""
    return [token for token in ids if token != pause]


def places_of(ids: Sequence[int], pause: int) -> list[int]:
    """Returns, for every token that is no pause, where it stands among the tokens with pauses."""
    return [at for at, token in enumerate(ids) if token != pause]
