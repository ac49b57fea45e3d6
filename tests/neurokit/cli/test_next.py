"""What a command advises runs as printed; help, and the version of every JSON object."""

import ast
import json
import shlex
from pathlib import Path

import pytest

from neurokit.cli import COMMANDS, main


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


def _advised():
    """Yields file and words of every `print_next([...])`; words that a run fills in are None."""
    for path in sorted((Path(__file__).parents[3] / "neurokit" / "cli").glob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or getattr(call.func, "id", "") != "print_next":
                continue
            for words in call.args:
                if isinstance(words, ast.List) and isinstance(words.elts[0], ast.Constant):
                    yield path.name, [getattr(word, "value", None) for word in words.elts]


def test_what_is_advised_is_a_command_and_says_where_to_write():
    advised = list(_advised())
    assert len(advised) > 10
    for name, words in advised:
        assert words[0] in dict(COMMANDS), (name, words)
        assert words[0] != "export" or "--out" in words, (name, words)


@pytest.mark.slow  # 40 s
def test_a_training_advises_exports_that_run(capsys, tmp_path, monkeypatch):
    from PIL import Image

    from neurokit.data.puppets import CLASSES, PuppetShapes

    monkeypatch.chdir(tmp_path)
    for split in ("train", "test"):
        shapes = PuppetShapes(split, 2, 64, 0)
        for at, (image, label) in enumerate(zip(shapes.images, shapes.labels, strict=True)):
            file = tmp_path / "my data" / split / CLASSES[label] / f"{at}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0].numpy()).save(file)
    settings = ["--data", "my data", "--out", "o", "--epochs", "1", "--recipe", "scratch"]
    status, out, _ = run(capsys, "train", "puppets_mobilenet_v2_035", *settings)
    assert status == 0
    advised = [shlex.split(line.removeprefix("next: ")) for line in out.splitlines() if line.startswith("next: ")]
    assert [command[command.index("--target") + 1] for command in advised] == ["onnx", "onnx-int8"]
    assert advised[1][advised[1].index("--calibration") + 1] == "my data/train"
    for command in advised:
        assert run(capsys, *command[1:])[0] in (0, 1), command  # an int8 file of one epoch may differ from float


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
