"""The command line: statuses, three-line errors, JSON, and no half-written output on any way out."""

import json
import os
import sys
import types
from pathlib import Path

import pytest

from neurokit import cli
from neurokit.artifact import Manifest, ModelInfo, TensorInfo, write_artifact
from neurokit.cli._shapes import parse_shapes
from neurokit.cli.export import parse_options
from neurokit.errors import InputError, ParityError, Unsupported, UnsupportedError
from neurokit.reports import LayerParity, ParityReport
from neurokit.spec import ModelSpec, TensorSpec
from neurokit.target import TARGETS, TargetInfo

ROOT = Path(__file__).parents[2]


class FakeTarget:
    info = TargetInfo("fake", "for tests", requires=("json",))


class Lacking:
    info = TargetInfo("lacking", "for tests", requires=("json", "no_such_library"), install="pip install no-such")


def report(verdict="exact", layers=()):
    return ParityReport("tiny", "fake", "sequence", verdict, layers=layers, spikes_compared=10, spikes_flipped=2)


@pytest.fixture
def house(monkeypatch, tmp_path):
    """A pipeline that records its calls and writes a real, tiny artifact."""
    calls = {}

    def load(model, **options):
        calls["load"] = (model, options)
        return ModelSpec(model, lambda: None, (TensorSpec("x", (3, 8, 8)),))

    def capture(spec, **options):
        calls["capture"] = options
        return "captured"

    def lower(captured, target, out, force, **options):
        calls["lower"] = (captured, target, options)
        print("a library chats on standard output")
        with write_artifact(out, force=force) as draft:
            (draft.path / "model.onnx").write_bytes(b"x")
            tensor = TensorInfo(name="x", shape=("B",))
            draft.manifest = Manifest(
                model=ModelInfo(name="m"), target=target, form="f", inputs=(tensor,), outputs=(tensor,)
            )
            draft.finish = lambda artifact: artifact.with_parity(report(calls.get("verdict", "exact")))
        return draft.artifact

    def verify(artifact, **options):
        calls.setdefault("verify", []).append(artifact.path)
        return report(calls.get("verdict", "exact"))

    def compare(artifacts):
        calls["compare"] = [artifact.path for artifact in artifacts]
        return [{"a": "x", "b": "y", "spikes_compared": 10, "spikes_differ": 3, "output_error": 0.5}]

    from neurokit.pipeline import with_random

    pipeline = types.SimpleNamespace(
        capture=capture, lower=lower, verify=verify, compare=compare, with_random=with_random
    )
    monkeypatch.setitem(sys.modules, "neurokit.pipeline", pipeline)
    monkeypatch.setattr(sys.modules["neurokit"], "pipeline", pipeline, raising=False)
    monkeypatch.setitem(sys.modules, "neurokit.loading", types.SimpleNamespace(load=load))
    monkeypatch.setitem(TARGETS._items, "fake", FakeTarget())
    monkeypatch.setitem(TARGETS._items, "lacking", Lacking())
    monkeypatch.chdir(tmp_path)
    return calls


def error_lines(capsys, *arguments):
    """Runs a command that fails and returns its status and what it says on standard error."""
    status = cli.main(arguments)
    lines = capsys.readouterr().err.splitlines()
    return status, [line for line in lines if not line.startswith("done ")]


def test_export_calls_each_stage_once_with_the_options(house, capsys):
    arguments = [
        "export",
        "m.py:f",
        "--target",
        "fake",
        "--out",
        "b/m",
        "--time-steps",
        "8",
        "--numerics",
        "exact",
        "--batch",
        "2",
        "--input-shape",
        "3,8,8",
        "--weights",
        "w.pt",
        "--flat",
        "--option",
        "opset=23",
    ]
    Path("w.pt").write_bytes(b"12345")
    assert cli.main(arguments) == 0
    assert house["load"] == (
        "m.py:f",
        {"input_shape": (3, 8, 8), "time_steps": 8, "weights": Path("w.pt"), "preprocess": None},
    )
    assert house["capture"] == {"time_steps": 8, "merge": True}  # the exact form has merged branches
    assert house["lower"] == (
        "captured",
        "fake",
        {
            "numerics": "exact",
            "batch": 2,
            "flat": True,
            "opset": 23,
            "simulators": True,
            # sha256 of b"12345" as coreutils' sha256sum prints it
            "weights_sha256": "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5",
        },
    )
    assert "verify" not in house, "an artifact is verified before it gets its name"
    out = capsys.readouterr().out
    assert "exact: m on fake" not in out  # the report names its own model
    assert "exact: tiny on fake (sequence)" in out
    assert out.splitlines()[-1] == "next: neurokit verify b/m"


def test_export_defaults(house):
    assert cli.main(["export", "m", "--target", "fake", "--out", "o", "--time-steps", "dynamic"]) == 0
    assert house["load"] == ("m", dict.fromkeys(("input_shape", "time_steps", "weights", "preprocess")))
    assert house["capture"] == {"time_steps": "dynamic", "merge": False}
    assert house["lower"][2] == {
        "numerics": "float",
        "batch": "dynamic",
        "flat": False,
        "simulators": True,
        "weights_sha256": None,
    }


def test_export_json_is_alone_on_standard_output(house, capsys):
    assert cli.main(["export", "m", "--target", "fake", "--out", "o", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["artifact"] == "o"
    assert found["parity"]["passed"] is True


def test_a_failed_check_ends_with_1(house, capsys):
    house["verdict"] = "failed"
    assert cli.main(["export", "m", "--target", "fake", "--out", "o"]) == 1
    assert "failed: tiny on fake" in capsys.readouterr().out
    assert cli.main(["verify", "o"]) == 1
    assert cli.main(["verify", "o", "--json"]) == 1


def test_verify_takes_one_or_several(house, capsys):
    for name in ("a", "b"):
        assert cli.main(["export", "m", "--target", "fake", "--out", name]) == 0
    assert cli.main(["verify", "a"]) == 0
    assert house["verify"] == [Path("a")]
    assert "compare" not in house
    capsys.readouterr()
    assert cli.main(["verify", "a", "b"]) == 0
    assert house["verify"] == [Path("a"), Path("a"), Path("b")]
    assert house["compare"] == [Path("a"), Path("b")]
    assert "x and y" in capsys.readouterr().out
    assert cli.main(["verify", "a", "b", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] is True
    assert len(found["reports"]) == 2
    assert found["pairs"][0]["spikes_differ"] == 3


@pytest.mark.parametrize(
    ("arguments", "what", "fix"),
    [
        (["exprot"], "No such command 'exprot'", "did you mean 'export'?"),
        (["export", "m", "--out", "o", "--nummerics", "exact"], "No such option", "did you mean --numerics?"),
        (["export", "m"], "Missing option '--out'", "neurokit export --help"),
        (["export", "--out", "o"], "Missing argument 'MODEL'", "neurokit export --help"),
        (["export", "m", "--out", "o", "--numerics", "int7"], "'int7'", "neurokit export --help"),
        (["export", "m", "--out", "o", "--target", "fakee"], "unknown target 'fakee'", "did you mean fake?"),
        (["export", "m", "--out", "o", "--target", "fake", "--time-steps", "0"], "--time-steps is '0'", "4"),
        (["export", "m", "--out", "o", "--target", "fake", "--batch", "many"], "--batch is 'many'", "4"),
        (["export", "m", "--out", "o", "--target", "fake", "--input-shape", "3,x"], "--input-shape", "3,224,224"),
        (["export", "m", "--out", "o", "--target", "fake", "--option", "opset"], "--option is 'opset'", "key=1"),
        (["export", "m", "--out", "/proc/none/o", "--target", "fake"], "cannot be written", "--out"),
        (["export", "m", "--out", ".", "--target", "fake"], "no name for a new folder", "--out"),
        (["verify", "nowhere"], "nowhere does not exist", "neurokit export"),
        (["doctor", "--jsn"], "No such option", "did you mean --json?"),
    ],
)
def test_a_mistake_is_told_in_three_lines(house, capsys, arguments, what, fix):
    if "/proc/none/o" in arguments and os.access("/proc", os.W_OK):
        arguments = [argument.replace("/proc/none/o", "file/o") for argument in arguments]
        Path("file").write_text("x")
    status, lines = error_lines(capsys, *arguments)
    assert status == 2
    assert [line.split(":")[0] for line in lines] == ["error", "expected", "fix"]
    assert what in lines[0]
    assert fix in lines[2]
    assert "load" not in house  # refused before any work
    assert not Path("o").exists()


def test_an_existing_folder_is_refused_before_any_work(house, capsys):
    assert cli.main(["export", "m", "--target", "fake", "--out", "o"]) == 0
    house.clear()
    status, lines = error_lines(capsys, "export", "m", "--target", "fake", "--out", "o")
    assert status == 2
    assert "exists already" in lines[0]
    assert "load" not in house
    assert cli.main(["export", "m", "--target", "fake", "--out", "o", "--force"]) == 0


def fail_with(error):
    def lower(*args, **kwargs):
        raise error

    return lower


def run_failing(house, monkeypatch, capsys, error, *more):
    monkeypatch.setattr(sys.modules["neurokit.pipeline"], "lower", fail_with(error))
    return error_lines(capsys, "export", "m", "--target", "fake", "--out", "o", *more)


def test_every_reason_of_a_refusal_is_listed(house, monkeypatch, capsys):
    reasons = [
        Unsupported("layer1.sn", "FooNode", "is unknown", "use LIFNode"),
        Unsupported("", "if x.sum()", "b", "c"),
    ]
    status, lines = run_failing(house, monkeypatch, capsys, UnsupportedError("m cannot be lowered", reasons))
    assert status == 2
    assert lines[0] == "error: m cannot be lowered"
    assert lines[1] == "  - layer1.sn: FooNode: is unknown; fix: use LIFNode"
    assert lines[2].startswith("  - (model): if x.sum()")
    assert len(lines) == 5


def test_statuses_of_errors(house, monkeypatch, capsys):
    assert run_failing(house, monkeypatch, capsys, ParityError("differs"))[0] == 1
    assert run_failing(house, monkeypatch, capsys, InputError("wrong"))[0] == 2
    assert run_failing(house, monkeypatch, capsys, KeyboardInterrupt())[0] == 130


def test_an_unexpected_error_shows_no_traceback_without_debug(house, monkeypatch, capsys):
    status, lines = run_failing(house, monkeypatch, capsys, ZeroDivisionError("by\nzero"))
    assert status == 70
    assert lines[0] == "error: ZeroDivisionError: by zero"
    assert "--debug" in lines[2]
    assert len(lines) == 3


def test_debug_shows_the_traceback(house, monkeypatch, capsys):
    status, lines = run_failing(house, monkeypatch, capsys, InputError("wrong"), "--debug")
    assert status == 2
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-3] == "error: wrong"


def test_an_error_in_json_mode_is_json_too(house, monkeypatch, capsys):
    monkeypatch.setattr(sys.modules["neurokit.pipeline"], "lower", fail_with(InputError("a", expected="b", fix="c")))
    assert cli.main(["export", "m", "--target", "fake", "--out", "o", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)["error"]
    assert (found["kind"], found["what"], found["expected"], found["fix"]) == ("InputError", "a", "b", "c")


def test_targets_say_what_is_missing(house, capsys):
    assert cli.main(["targets", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["targets"]}
    assert rows["lacking"]["missing"] == ["no_such_library"]
    assert rows["lacking"]["install"] == "pip install no-such"
    assert cli.main(["targets"]) == 0
    assert "no_such_library" in capsys.readouterr().out


def test_models_list_the_zoo(capsys):
    from neurokit.spec import MODELS

    assert cli.main(["models", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found["models"]] == MODELS.names()
    assert found["broken"] == {}
    assert cli.main(["models"]) == 0


def test_the_parity_table_marks_what_rounding_does_not_explain(capsys):
    from neurokit import render

    layers = tuple(
        LayerParity(
            f"block{i}.sn",
            "LIFNode",
            1000,
            i % 2,
            0.5 if i == 3 else 1e-7,
            1e-6,
            0.0,
            (1, i) if i % 2 else None,
            0,
            0.25,
        )
        for i in range(40)
    )
    render.show(render.parity(report("failed", layers)))
    out = capsys.readouterr().out
    rows = [line for line in out.splitlines() if line.startswith("block")]
    assert rows[0].startswith("block3.sn")  # the worst first
    assert len(rows) == 20
    assert "20 of 40 spiking layers" in out
    assert "first divergence: time step 1, layer block1.sn, index 1" in out


@pytest.mark.parametrize("text", ["", "0,1", "-1", "3,,4", "3.5", "²"])
def test_shapes_that_are_none(text):
    with pytest.raises(InputError):
        parse_shapes([text])


def test_options_keep_json_types():
    assert parse_options(["a=1", "b-c=true", "d=x=y", 'e="7"', "f=[1,2]"]) == {
        "a": 1,
        "b_c": True,
        "d": "x=y",
        "e": "7",
        "f": [1, 2],
    }
    for wrong in (["=1"], ["a=1", "a=2"], ["1a=2"]):
        with pytest.raises(InputError):
            parse_options(wrong)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--target", "lacking"), "no_such_library"),
        (("--target", "onnx", "--option", "speed=1"), "no option 'speed'"),
        (("--target", "onnx-step", "--option", "cache=fixed:x"), "cache=fixed:x"),
        (("--target", "onnx-int8", "--option", "max_error=2"), "max_error"),
        (("--target", "nir", "--option", "dt=0"), "dt is 0"),
        (("--target", "tensorrt", "--option", "precision=fp8"), "precision"),
        (("--target", "c"), "no numerics 'float'"),
        (("--target", "c", "--numerics", "exact", "--option", "membranes=int16"), "membranes"),
    ],
)
def test_what_a_target_cannot_do_is_said_before_a_model_is_loaded(house, capsys, more, said):
    status, lines = error_lines(capsys, "export", "m", "--out", "o", *more)
    assert status == 2
    assert said in " ".join(lines)
    assert house == {}
