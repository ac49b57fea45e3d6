"""Which tokens carry content: a small TOML file of token numbers, given by the caller."""

from __future__ import annotations

from pathlib import Path

from neurokit.errors import InputError
from neurokit.plain import toml_of

_EXPECTED = "a TOML file with content = [numbers], or function_words = [numbers] for all but these"


def content_tokens(path: str, vocabulary: int) -> tuple[int, ...] | None:
    """Reads the tokens that carry content; None for all.

    Args:
        path: "all", or a TOML file with `content`, or with `function_words`, whose tokens carry none.
        vocabulary: Number of tokens of the model.

    Raises:
        InputError: If the file cannot be read, or names what is no token.
    """
    if path == "all":
        return None
    try:
        data = toml_of(Path(path))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}", expected=_EXPECTED) from error
    if len(data.keys() & {"content", "function_words"}) != 1:
        raise InputError(f"{path} lists {', '.join(data) or 'nothing'}", expected=_EXPECTED)
    (key,) = data.keys() & {"content", "function_words"}
    listed = data[key]
    if not isinstance(listed, list) or not listed:
        raise InputError(f"{path}: {key} is {listed!r}", expected=_EXPECTED)
    wrong = [token for token in listed if type(token) is not int or not 0 <= token < vocabulary]
    if wrong:
        raise InputError(f"{path}: {key} has {wrong[0]!r}", expected=f"token numbers 0 to {vocabulary - 1}")
    chosen = set(listed) if key == "content" else set(range(vocabulary)) - set(listed)
    if not chosen:
        raise InputError(f"{path} leaves no token with content", expected=_EXPECTED)
    return tuple(sorted(chosen))
