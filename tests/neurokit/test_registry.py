"""Registries: found lazily, near misses named, and a broken module takes no other with it."""

import importlib.metadata
import sys

import pytest

from neurokit import registry
from neurokit.errors import DuplicateNameError, UnknownNameError
from neurokit.registry import Registry


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """A package with two good modules and a broken one."""
    package = tmp_path / "plug_ins"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from neurokit.registry import Registry\nTABLE = Registry('thing', __name__)\n"
    )
    for name in ("apple", "pear"):
        (package / f"{name}.py").write_text(f"from plug_ins import TABLE\nTABLE.add('{name}', '{name}!')\n")
    (package / "rotten.py").write_text("import no_such_library_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "plug_ins"]:
        del sys.modules[name]


def test_modules_are_imported_on_the_first_question_only(plugins):
    from plug_ins import TABLE

    assert "plug_ins.apple" not in sys.modules
    assert TABLE.get("apple") == "apple!"
    assert TABLE.names() == ["apple", "pear"]
    assert dict(TABLE.items()) == {"apple": "apple!", "pear": "pear!"}


def test_a_broken_module_is_told_and_hides_nothing(plugins):
    from plug_ins import TABLE

    assert TABLE.names() == ["apple", "pear"]
    assert list(TABLE.broken) == ["rotten"]
    with pytest.raises(UnknownNameError, match="failed to load: ModuleNotFoundError: No module named 'no_such_library"):
        TABLE.get("rotten")


def test_near_misses_are_named(plugins):
    from plug_ins import TABLE

    with pytest.raises(UnknownNameError) as caught:
        TABLE.get("aple")
    assert caught.value.what == "unknown thing 'aple'"
    assert caught.value.expected == "one of apple, pear"
    assert caught.value.fix == "did you mean apple or pear?"  # the nearest first
    with pytest.raises(UnknownNameError) as caught:
        TABLE.get("zzzz")
    assert caught.value.fix == ""  # advice is a command that exists, or none
    with pytest.raises(UnknownNameError) as caught:
        Registry("thing", command="neurokit list things").get("zzzz")
    assert caught.value.fix == "list them with: neurokit list things"


def test_an_empty_table_says_so():
    with pytest.raises(UnknownNameError, match="none registered"):
        Registry("thing").get("x")


def test_a_name_is_given_once():
    table, first = Registry("thing"), object()
    assert table.add("a", first) is first
    assert table.add("a", first) is first  # a module that is imported twice is no mistake
    with pytest.raises(DuplicateNameError, match="registered twice"):
        table.add("a", object())
    assert table.get("a") is first


def test_entry_points_of_other_distributions(monkeypatch):
    table = Registry("thing", group="neurokit.things")

    class Point:
        def __init__(self, name, load):
            self.name, self.load = name, load

    def rot():
        raise OSError("no driver")

    points = {"neurokit.things": [Point("good", lambda: table.add("good", 1)), Point("bad", rot)]}
    monkeypatch.setattr(registry, "entry_points", lambda group: points[group])
    assert table.names() == ["good"]
    assert table.broken == {"bad": "OSError: no driver"}
    assert importlib.metadata.entry_points is not registry.entry_points


def test_two_plug_ins_with_one_name_are_an_error_not_a_broken_module(monkeypatch):
    table = Registry("thing", group="g")
    table.add("same", 1)

    class Point:
        name = "same"

        def load(self):
            table.add("same", 2)

    monkeypatch.setattr(registry, "entry_points", lambda group: [Point()])
    with pytest.raises(DuplicateNameError):
        table.names()
