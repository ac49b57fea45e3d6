"""Machine code of artifacts: what this user exported here runs, what was edited and sealed again does not."""

import json
import shutil

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

import neurokit as nk
from neurokit import cli, native
from neurokit.artifact import Artifact
from neurokit.errors import ArtifactError, OutputError, UntrustedCodeError

from ..export.aoti import eager
from .malformed.edits import seal

X = torch.rand(3, 1, 6, generator=torch.Generator().manual_seed(1))


def captured():
    torch.manual_seed(0)
    parts = (
        layer.Linear(6, 5, step_mode="m"),
        neuron.IFNode(v_threshold=0.2, step_mode="m"),
        layer.Linear(5, 3, step_mode="m"),
    )
    return nk.capture(nn.Sequential(*parts).eval(), X)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A sound artifact of the target c."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    return nk.lower(captured(), "c", tmp_path_factory.mktemp("c") / "a", numerics="exact", inputs=X).path


@pytest.fixture
def planted(sound, tmp_path, monkeypatch):
    """The artifact with code in it that writes a file when it is loaded, sealed again."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(sound, tmp_path / "a")
    name = Artifact.load(sound).manifest.target_info["name"]
    with (tmp_path / "a" / f"{name}.c").open("a") as file:
        file.write(
            "\n#if defined(__unix__) || defined(__APPLE__)\n"  # boards that verification may emulate have no files
            "#include <stdio.h>\nvoid planted(void) __attribute__((constructor));\n"
            'void planted(void) { FILE *f = fopen("executed", "w"); if (f) { fclose(f); } }\n#endif\n'
        )
    seal(tmp_path / "a")
    np.save(tmp_path / "x.npy", X.numpy()[:, 0])
    return tmp_path / "a"


DOORS = {
    "verify": ("verify", "a"),
    "verify several": ("verify", "a", "a"),
    "thorough": ("verify", "a", "--thorough"),
    "run": ("run", "a", "x.npy"),
    "bench": ("bench", "a", "--seconds", "0.1"),
}


@pytest.mark.parametrize("door", DOORS)
def test_planted_code_does_not_run(planted, tmp_path, capsys, door):
    assert cli.main(list(DOORS[door])) != 0
    said = " ".join("".join(capsys.readouterr()).split())
    assert "was not exported here, or was changed since" in said
    assert "neurokit trust a" in said
    assert "Traceback" not in said
    assert not (tmp_path / "executed").exists()


def test_bench_refuses_before_it_starts_a_process(planted, monkeypatch, capsys):
    monkeypatch.setattr("neurokit.bench.run.run_jobs", lambda *_: pytest.fail("a process was started"))
    assert cli.main(list(DOORS["bench"])) == 2
    assert "neurokit trust a" in capsys.readouterr().err


def test_python_refuses_too_and_trust_is_said_in_words(planted, tmp_path, capsys):
    for use in (nk.verify, nk.open, lambda folder: nk.answer(folder, [X.numpy()[:, 0]])):
        with pytest.raises(UntrustedCodeError):
            use(planted)
    assert cli.main(["verify", "a"]) == 2
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == ["error", "expected", "fix"]
    assert not (tmp_path / "executed").exists()
    assert cli.main(["trust", "a"]) == 0
    assert cli.main(["verify", "a"]) == 0
    assert (tmp_path / "executed").exists()  # what was planted would have run


def test_what_is_changed_after_it_was_trusted_is_refused(planted, capsys):
    nk.trust(planted)
    path = next(planted.glob("*.c"))
    opened = Artifact.load(planted)
    path.write_text(path.read_text() + "\n")
    with pytest.raises(ArtifactError, match="longer than it was"):
        nk.verify(planted)
    with pytest.raises(ArtifactError, match="sha256 mismatch"):
        nk.open(opened)  # changed between reading the manifest and opening
    seal(planted)
    with pytest.raises(UntrustedCodeError):
        nk.verify(planted)


@pytest.mark.parametrize(
    "edit",
    [
        lambda data: data["target_info"].update(name="../x"),
        lambda data: data["target_info"]["layers"][0].update(neurons=10**6),
        lambda data: data["target_info"].update(proven_steps=10**6),
        lambda data: data["graphs"][0]["outputs"][0].update(meaning="volts"),
    ],
    ids=["name", "sizes", "steps", "meaning"],
)
def test_a_manifest_that_says_how_code_is_called_is_part_of_what_is_trusted(sound, tmp_path, edit):
    shutil.copytree(sound, tmp_path / "a")
    seal(tmp_path / "a", edit)
    with pytest.raises(ArtifactError):
        nk.open(tmp_path / "a")


def test_an_export_is_known_wherever_it_lies_and_however_often_it_is_verified(sound, tmp_path, monkeypatch):
    monkeypatch.setattr(native, "_noted", set())  # as a process of its own
    shutil.move(shutil.copytree(sound, tmp_path / "b"), tmp_path / "c")
    data = json.loads((tmp_path / "c" / "manifest.json").read_text())
    artifact = Artifact.load(tmp_path / "c").with_parity({**data["parity"], "notes": ["another"]})
    assert nk.verify(artifact).passed
    artifact = Artifact.load(tmp_path / "c").with_target_info(accuracy=0.5)
    monkeypatch.setattr(native, "_noted", set())
    assert nk.verify(artifact.path).passed


def test_another_users_artifact_is_refused_until_it_is_trusted(sound, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(native, "_noted", set())
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "other"))
    with pytest.raises(UntrustedCodeError):
        nk.open(sound)
    assert not (tmp_path / "other").exists()
    assert cli.main(["trust", str(sound), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["artifacts"] == [{"artifact": str(sound), "machine_code": True}]
    monkeypatch.setattr(native, "_noted", set())
    nk.open(sound).close()
    assert (tmp_path / "other" / "neurokit" / "trusted").stat().st_mode & 0o077 == 0


def test_where_nothing_can_be_noted(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    artifact = nk.lower(captured(), "c", tmp_path / "a", numerics="exact", inputs=X)  # an export goes on in its process
    assert nk.verify(artifact).passed
    with pytest.raises(OutputError, match="cannot be written"):
        nk.trust(artifact)


def test_what_holds_no_machine_code_needs_no_trust(tmp_path, capsys, monkeypatch):
    artifact = nk.lower(captured(), "onnx", tmp_path / "a", inputs=X)
    seal(artifact.path, lambda data: data["model"].update(source="edited"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "other"))
    assert cli.main(["trust", str(artifact.path)]) == 0
    assert "no machine code" in capsys.readouterr().out
    assert nk.verify(artifact.path).passed
    assert not (tmp_path / "other").exists()


def test_a_package_with_another_library_in_it_is_not_loaded(tmp_path, monkeypatch):
    eager.install(monkeypatch)
    artifact = nk.lower(captured(), "aoti", tmp_path / "a")
    loaded = []
    monkeypatch.setattr("neurokit.export.aoti.run.load", lambda *given: loaded.append(given))
    for name in ("model.pt2", "probe.pt2"):
        folder = shutil.copytree(artifact.path, tmp_path / name)
        with (folder / name).open("ab") as file:
            file.write(b"\0")
        seal(folder)
        for use in (nk.verify, nk.open):
            with pytest.raises(UntrustedCodeError):
                use(folder)
    assert not loaded
