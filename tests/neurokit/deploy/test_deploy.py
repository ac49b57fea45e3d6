"""From a folder of pictures and a trained network to a decision, held against the network run by hand."""

import json
import shutil
import sys

import pytest

import neurokit as nk
from neurokit.cli import main
from neurokit.errors import InputError, OutputError
from neurokit.reports.deploy import HERE, DeployReport

QUICK = {"seconds": 0.05, "chips": ["loihi1"], "targets": ["onnx", "onnx-int8", "nir"]}


@pytest.fixture(scope="module")
def deployed(digits, tmp_path_factory):
    folder, _ = digits
    out = tmp_path_factory.mktemp("out") / "all"
    return nk.deploy(f"{folder}/cnn.py:net", folder / "digits", out, weights=folder / "cnn.pt", **QUICK)


def test_every_form_is_scored_measured_and_priced(deployed, digits):
    rows = {row.form: row for row in deployed.rows}
    assert deployed.source_score.value == pytest.approx(digits[1], abs=1e-6)
    assert rows["onnx"].figures["accuracy"].value == pytest.approx(digits[1], abs=1e-6)
    assert abs(rows["onnx-int8"].figures["accuracy"].value - digits[1]) <= 2 / 60
    assert rows["onnx-int8"].figures["size"].value < rows["onnx"].figures["size"].value
    assert all(rows[form].figures["p50"].value > 0 for form in ("onnx", "onnx-int8"))
    assert rows["nir"].status == "failed"
    assert "ReLU" in rows["nir"].reason
    assert rows["spiking"].figures["energy"].unit == "J"
    assert rows["spiking"].time_steps == 32
    assert deployed.best.device == HERE
    assert deployed.answer[0].startswith(f"{deployed.best.form}: ")


def test_what_is_done_is_not_repeated_and_what_changed_is(deployed, digits):
    folder, _ = digits
    call = {**QUICK, "weights": folder / "cnn.pt"}
    model, out = f"{folder}/cnn.py:net", deployed.folder
    again = nk.deploy(model, folder / "digits", out, **call)
    assert again.steps_done == 0
    assert again.rows == deployed.rows
    plan = nk.deploy(model, folder / "digits", out, dry_run=True, samples=20, **call)
    assert plan.samples == 20
    shutil.rmtree(f"{out}/{next(row.artifact for row in again.rows if row.form == 'onnx')}")
    redone = nk.deploy(model, folder / "digits", out, **call)
    assert redone.steps_done == 1  # the artifact that was taken away, and nothing else


def test_the_report_is_read_back(deployed):
    with open(f"{deployed.folder}/report.json") as file:
        read = DeployReport.from_json(json.load(file))
    assert read.rows == deployed.rows
    assert read.best == deployed.best


def test_the_plan_comes_first_and_writes_nothing(digits, tmp_path, monkeypatch, capsys):
    folder, _ = digits
    monkeypatch.chdir(tmp_path)
    words = ["deploy", f"{folder}/cnn.py:net", "--weights", str(folder / "cnn.pt"), "--data", str(folder / "digits")]
    assert main([*words, "--dry-run", "--budget", "p99<10ms,loss<1"]) == 0
    shown = capsys.readouterr().out
    assert "budget: p99<10ms, loss<1" in shown
    assert f"next: neurokit deploy {folder}/cnn.py:net" in shown
    assert main([*words, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert {"onnx", "onnx-int8", "nir"} <= set(plan["forms"])
    assert {"form": "onnx exact", "reason": "exact numerics are for spiking networks"} in plan["left_out"]
    assert not list(tmp_path.iterdir())


def test_random_weights_are_said_first_and_last(digits, tmp_path):
    folder, _ = digits
    plan = nk.deploy(f"{folder}/cnn.py:net", folder / "digits", tmp_path / "out", dry_run=True)
    assert "the weights are random" in plan.warnings[0]
    given = nk.deploy(
        f"{folder}/cnn.py:net", folder / "digits", tmp_path / "out", dry_run=True, weights=folder / "cnn.pt"
    )
    assert ["no preprocessing is declared" in warning for warning in given.warnings] == [True]
    scaled = [{"name": "Grayscale"}, {"name": "ToDtype", "scale": True}]
    options = {"dry_run": True, "weights": folder / "cnn.pt", "preprocess": scaled}
    assert nk.deploy(f"{folder}/cnn.py:net", folder / "digits", tmp_path / "out", **options).warnings == ()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"budget": "p99<10"}, "--budget"),
        ({"budget": "speed<1"}, "unknown term"),
        ({"devices": ["-oProxyCommand=x"]}, "--device"),
        ({"devices": ["pi", "pi"]}, "named twice"),
        ({"devices": ["pi@"]}, "--device"),
        ({"seconds": float("nan")}, "--seconds"),
        ({"preprocess": "no.toml"}, "no.toml"),
        ({"targets": ["onnx:half"]}, "--target"),
        ({"samples": 1000}, "--samples"),
        ({"seconds": -1.0}, "seconds"),
        ({"weights": "nowhere.pt"}, "nowhere.pt"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_work(digits, tmp_path, change, what):
    folder, _ = digits
    with pytest.raises(InputError, match=what):
        nk.deploy(f"{folder}/cnn.py:net", folder / "digits", tmp_path / "out", dry_run=True, **change)
    with pytest.raises(InputError, match="no data"):
        nk.deploy("no_such_model", tmp_path / "nowhere")


def test_folders_of_other_classes_are_refused_before_the_plan(digits, tmp_path):
    folder, _ = digits
    picture = next((folder / "digits" / "3").iterdir())
    model, options = f"{folder}/cnn.py:net", {"dry_run": True, "weights": folder / "cnn.pt"}
    for names in (["cats"], ["a", "b", "c"], [f"{n:02}" for n in range(12)]):
        place = tmp_path / names[0]
        for name in names:
            (place / name).mkdir(parents=True)
            shutil.copy(picture, place / name)
        with pytest.raises(InputError, match="classes"):
            nk.deploy(model, place, tmp_path / "out", **options)
    shutil.copytree(folder / "digits" / "3", tmp_path / "one" / "3")
    plan = nk.deploy(model, tmp_path / "one", tmp_path / "out", **options)
    assert any("all samples are of the class 3" in warning for warning in plan.warnings)


def test_a_folder_of_something_else_is_left_alone(digits, tmp_path):
    folder, _ = digits
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(OutputError, match="no folder of neurokit deploy"):
        nk.deploy(f"{folder}/cnn.py:net", folder / "digits", tmp_path, weights=folder / "cnn.pt", **QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.slow  # sessions of an ssh server, each with a python of its own
def test_on_a_board_over_ssh(digits, tmp_path, sshd):
    folder, right = digits
    options = {"targets": ["onnx", "onnx-int8"], "chips": [], "seconds": 0.2, "python": sys.executable}
    report = nk.deploy(
        f"{folder}/cnn.py:net",
        folder / "digits",
        tmp_path / "out",
        weights=folder / "cnn.pt",
        devices=["127.0.0.1"],
        ssh_options=sshd,
        **options,
    )
    there = {row.form: row for row in report.rows if row.device == "127.0.0.1"}
    assert there["onnx"].figures["accuracy"].value == pytest.approx(right, abs=1e-6)
    assert report.best.device == "127.0.0.1"
    assert "on 127.0.0.1" in report.answer[0]
    lost = nk.deploy(
        f"{folder}/cnn.py:net",
        folder / "digits",
        tmp_path / "out",
        weights=folder / "cnn.pt",
        devices=["127.0.0.1"],
        ssh_options=["Port=1"],
        **{**options, "targets": ["onnx"], "seconds": 0.3},
    )
    (gone,) = (row for row in lost.rows if row.device == "127.0.0.1")
    assert gone.status == "failed"
    assert "cannot be reached" in gone.reason
