"""Studies that are no studies, or ask for what would never end: one clear line, at once, and nothing is made."""

import os
import time
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason='needs pip install "neurokit-edge[sweep]"')
pytest.importorskip("distributed", reason='needs pip install "neurokit-edge[sweep]"')

from neurokit import cli
from neurokit.errors import InputError
from neurokit.sweep.study import Workers
from neurokit.sweep.workers import _launched

TEXT = 'name = "n"\nobjectives = ["size"]\n[models.a]\nsource = "spiking_cnn"\n[space]\ntarget = ["onnx"]\n'
MANY = str(list(range(2, 500)))


def with_(more):
    return lambda: Path("s.toml").write_text(TEXT + more)


def named(name):
    return lambda: Path("s.toml").write_text(TEXT.replace('"n"', f'"{name}"'))


CASES = {
    "a pipe": lambda: os.mkfifo("s.toml"),
    "a folder": lambda: Path("s.toml").mkdir(),
    "no UTF-8": lambda: Path("s.toml").write_bytes(b"\xff\xfe"),
    "null": lambda: Path("s.toml").write_text("null"),
    "a deep value": lambda: Path("s.toml").write_text("a = " + "[" * 100_000),
    "a deep key": lambda: Path("s.toml").write_text(".".join("a" * 20_000) + " = 1"),
    "a deep table": lambda: Path("s.toml").write_text("[" + ".".join("a" * 20_000) + "]"),
    "a deep key in quotes": lambda: Path("s.toml").write_text('x = {"a"' + '."a"' * 20_000 + " = 1}"),
    "a name that leads out": named("../../x"),
    "an absolute name": named("/x"),
    "a long name": named("x" * 300),
    "a name with a null": named("a\\u0000"),
    "a grid without an end": with_(f"bits = {list(range(2, 9))}\ntime_steps = {MANY}\nthreshold = {MANY}"),
    "time steps without an end": with_("time_steps = [4, 1000000000000]"),
    "no time steps": with_("time_steps = [0]"),
    "an input without an end": lambda: Path("s.toml").write_text(
        TEXT.replace('"spiking_cnn"', '"spiking_cnn"\ninput_shape = [1, 1000000, 1000000]')
    ),
    "trials without an end": with_('[search]\nsampler = "random"\ntrials = 1000000000000'),
    "a batch without an end": with_("[search]\nbatch = 1000000000000"),
    "a large seed": with_("[search]\nseed = 99999999999999999999"),
    "a launcher that is a process": with_(
        '[workers]\nlauncher = "subprocess:Popen"\noptions = {args = ["touch", "x"]}'
    ),
    "a launcher beside it": with_('[workers]\nlauncher = ".x:Y"'),
    "a launcher without a class": with_('[workers]\nlauncher = "distributed"'),
    "workers without an end": with_("[workers]\ncount = 1000000000"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_study_is_refused_in_one_line(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    CASES[name]()
    start = time.process_time()
    assert cli.main(["sweep", "s.toml"]) == 2
    assert time.process_time() - start < 5
    said = capsys.readouterr().err
    assert [line.split(":")[0] for line in said.splitlines()] == ["error", "expected", "fix"], said
    assert os.listdir() == ["s.toml"]


def test_workers_without_an_end_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with_("")()
    assert cli.main(["sweep", "s.toml", "--workers", "1000000000"]) == 2
    assert "1 to 4,096" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("launcher", "said"),
    [
        ("distributed:Client", "no class of a cluster"),
        ("distributed:wait", "no class of a cluster"),
        ("distributed:Nothing", "has no Nothing"),
        ("distributed:LocalCluster", "does not start"),
    ],
)
def test_a_launcher_is_one_of_dask_s_clusters(launcher, said):
    with pytest.raises(InputError, match=said):
        _launched(Workers(launcher=launcher, options={"cake": 1}))
