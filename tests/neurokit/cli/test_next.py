"""What a command advises runs as printed; help, and the version of every JSON object."""

import json
import shlex

import pytest

from neurokit.cli import main


def run(capsys, *arguments):
    status = main(list(arguments))
    return status, *capsys.readouterr()


@pytest.mark.parametrize("arguments", [["models"], ["targets"], ["chips"], ["chips", "loihi1"]])
def test_advised_commands_run(capsys, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    _, out, _ = run(capsys, *arguments)
    advised = [shlex.split(line.removeprefix("next: ")) for line in out.splitlines() if line.startswith("next: ")]
    assert advised
    for command in advised:
        assert command[0] == "neurokit"
        assert run(capsys, *command[1:])[0] == 0, command


def test_energy_advises_itself_with_a_page(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, out, _ = run(capsys, "energy", "spiking_cnn", "--chip", "loihi1", "--time-steps", "2")
    assert out.splitlines()[-1] == ("next: neurokit energy spiking_cnn --chip loihi1 --time-steps 2 --html energy.html")


def test_help_by_either_name_and_without_arguments(capsys):
    alone, long, short = (run(capsys, *arguments) for arguments in ([], ["--help"], ["-h"]))
    assert alone == long == short
    assert (long[0], long[2]) == (0, "")
    assert "Commands" in long[1]
    assert run(capsys, "export", "-h")[0] == 0


def test_a_mistake_names_the_help_of_its_command(capsys, tmp_path):
    _, _, err = run(capsys, "verify", str(tmp_path / "nothing"))
    assert "COMMAND" not in err


def test_every_json_object_has_a_schema_version(capsys):
    for arguments in (["models"], ["targets"], ["chips"], ["chips", "loihi1"], ["list", "tasks"]):
        assert json.loads(run(capsys, *arguments, "--json")[1])["schema_version"] == 1
    assert json.loads(run(capsys, "models", "--no-such", "--json")[1])["schema_version"] == 1
