"""Errors: what, expected, fix; each also a builtin that callers know; and which status each ends with."""

import inspect
import pickle

import pytest

from neurokit import errors
from neurokit.errors import InputError, NeurokitError, ParityError, Unsupported, UnsupportedError

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, NeurokitError)]
BUILTINS = (LookupError, ValueError, RuntimeError, OSError, ImportError, NotImplementedError)


def test_there_are_classes_to_test():
    assert len(CLASSES) >= 10


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_a_builtin_too_and_documented(cls):
    assert cls.__doc__
    assert cls is NeurokitError or issubclass(cls, BUILTINS)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_carries_its_three_parts(cls):
    error = cls("a happened", expected="b", fix="do c")
    assert (error.what, error.expected, error.fix) == ("a happened", "b", "do c")
    assert str(error) == "a happened; expected: b; fix: do c"
    assert str(cls("a happened")) == "a happened"


@pytest.mark.parametrize("cls", CLASSES)
def test_only_a_failed_check_ends_with_1(cls):
    assert cls("x").exit_code == (1 if cls is ParityError else 2)


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_cross_process_borders(cls):
    back = pickle.loads(pickle.dumps(cls("a", expected="b", fix="c")))
    assert type(back) is cls
    assert (back.what, back.expected, back.fix) == ("a", "b", "c")


def test_a_refusal_lists_every_reason():
    reasons = [Unsupported("a.sn", "X", "unknown", "y"), Unsupported("", "Z", "w", "v")]
    error = UnsupportedError("m cannot be captured", reasons, fix="see below")
    assert str(error).splitlines() == [
        "m cannot be captured; fix: see below",
        "  - a.sn: X: unknown; fix: y",
        "  - (model): Z: w; fix: v",
    ]


def test_builtins_catch_them():
    with pytest.raises(ValueError, match="wrong"):
        raise InputError("wrong")
