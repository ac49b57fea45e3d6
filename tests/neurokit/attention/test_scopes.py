"""Files of heads: what is written is read again, and what is no such file is refused in a line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurokit.attention.scopes import (
    HeadList,
    Scope,
    parse_numbers,
    read_heads,
    scopes_of,
    spell_numbers,
    write_heads,
)
from neurokit.errors import InputError


def test_what_is_written_is_read_again(tmp_path):
    heads = HeadList(
        (Scope((1, 2), (0, 3)), Scope((4,))), "zerotuning", 'a "model"', {"gamma": 1.5, "labels": ["a", "b"]}, 5, 4
    )
    write_heads(heads, tmp_path / "heads.toml", "chosen by\nhand")
    assert read_heads(tmp_path / "heads.toml") == heads
    assert heads.by_layer(5, 4) == {1: (0, 3), 2: (0, 3), 4: (0, 1, 2, 3)}


def test_the_form_that_people_write(tmp_path):
    file = tmp_path / "h.toml"
    file.write_text('[[scope]]\nlayers = "1-2"\nheads = [3, 0]\n[[scope]]\nlayers = [7]\nheads = "all"\n')
    assert read_heads(file).scopes == (Scope((1, 2), (0, 3)), Scope((7,)))


@given(st.sets(st.integers(0, 40), min_size=1))
def test_numbers_are_spelled_and_read(numbers):
    rising = tuple(sorted(numbers))
    assert parse_numbers(spell_numbers(rising), "layers") == rising == parse_numbers(list(rising)[::-1], "layers")


@given(st.dictionaries(st.integers(0, 9), st.sets(st.integers(0, 7))))
def test_scopes_hold_the_heads_of_every_layer(by_layer):
    wanted = {at: tuple(sorted(heads)) for at, heads in by_layer.items() if heads}
    assert HeadList(scopes_of(by_layer)).by_layer(10, 8) == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[scope]\n", "no TOML"),
        ("", "scope: Field required"),
        ("scope = []\n", "names no heads"),
        ('[[scope]]\nlayers = "2-1"\n', "layers is '2-1'"),
        ('[[scope]]\nlayers = "1-99999999"\n', "layers is"),
        ("[[scope]]\nlayers = 1.5\n", "scope.0.layers"),
        ("[[scope]]\nlayers = [true]\n", "scope.0.layers"),
        ("[[scope]]\nlayers = []\n", r"layers is \[\]"),
        ("[[scope]]\nlayers = 1\nheads = [-1]\n", "heads is"),
        ("[[scope]]\nlayers = 1\nhaeds = [1]\n", "haeds"),
        ('format = "x"\n[[scope]]\nlayers = 1\n', "of format 'x'"),
    ],
)
def test_what_is_no_list_of_heads_is_refused(tmp_path, text, said):
    (tmp_path / "h.toml").write_text(text)
    with pytest.raises(InputError, match=said):
        read_heads(tmp_path / "h.toml")


def test_heads_that_do_not_exist_are_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_heads(tmp_path / "none.toml")
    with pytest.raises(InputError, match="names layer 4"):
        HeadList((Scope((4,)),)).by_layer(4, 4)
    with pytest.raises(InputError, match="of a model of 2 query heads"):
        HeadList((Scope((1,)),), query_heads=2).by_layer(4, 4)
    with pytest.raises(InputError, match="names head 4 of layer 1"):
        HeadList((Scope((1,), (4,)),)).by_layer(4, 4)
