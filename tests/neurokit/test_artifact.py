"""Artifacts: whole or not at all, and every kind of damage is told in one line."""

import errno
import json
import os
import tempfile
from pathlib import Path

import pytest

from neurokit import stages
from neurokit.artifact import MANIFEST, Artifact, write_artifact
from neurokit.errors import ArtifactError, InputError, OutputError

from .artifacts import leftovers, manifest, write


def test_what_was_written_is_read_back(tmp_path):
    written = write(tmp_path / "m")
    read = Artifact.load(tmp_path / "m")
    assert read.manifest == written.manifest
    assert written.path == tmp_path / "m"
    assert set(read.manifest.files) == {"model.onnx", "vectors/x.npy"}
    assert read.manifest.files["model.onnx"].bytes == 700
    # sha256 of b"12345" as coreutils' sha256sum prints it
    assert read.manifest.files["vectors/x.npy"].sha256 == (
        "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5"
    )
    assert read.manifest.states[0].init == 0.5
    assert read.manifest.inputs[0].shape == ("B", 3, 8, 8)
    assert read.file("model.onnx").read_bytes() == b"weights" * 100
    assert leftovers(tmp_path) == ["m"]


def test_missing_parents_are_made(tmp_path):
    assert write(tmp_path / "a" / "b" / "m").path.is_dir()


@pytest.mark.parametrize("steps", [None, 1, "dynamic"])
def test_time_steps_keep_their_type(tmp_path, steps):
    write(tmp_path / "m", time_steps=steps)
    assert Artifact.load(tmp_path / "m").manifest.time_steps == steps


def test_time_steps_below_one_are_refused():
    with pytest.raises(ValueError, match="a whole number from 1 to"):
        manifest(time_steps=0)


def test_a_file_that_the_manifest_does_not_list_is_not_given_out(tmp_path):
    with pytest.raises(ArtifactError, match="has no file 'other'"):
        write(tmp_path / "m").file("other")


def test_not_a_folder(tmp_path):
    with pytest.raises(ArtifactError, match="does not exist"):
        Artifact.load(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtifactError, match="is a file"):
        Artifact.load(tmp_path / "file")


def test_no_manifest(tmp_path):
    with pytest.raises(ArtifactError, match="has no manifest"):
        Artifact.load(tmp_path)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-5])


def flip(path):
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(bytes(data))


def edit(**changes):
    def damage(path):
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return damage


def edit_and_resign(**changes):
    """Changes the manifest and gives it a digest that fits, as somebody with bad intentions would."""

    def damage(path):
        import hashlib

        data = {**json.loads(path.read_text()), **changes}
        del data["digest"]
        text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        path.write_text(json.dumps({**data, "digest": hashlib.sha256(text.encode()).hexdigest()}))

    return damage


SUM = {"sha256": "0" * 64, "bytes": 1}


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        (MANIFEST, truncate, "no valid JSON"),
        (MANIFEST, lambda path: path.write_bytes(b""), "no valid JSON"),
        (MANIFEST, lambda path: path.write_bytes(b"\xff\xfe\x00"), "cannot be read"),
        (MANIFEST, lambda path: path.write_text("[1, 2]"), "not written by neurokit"),
        (MANIFEST, lambda path: path.write_text('{"name": "a web app"}'), "not written by neurokit"),
        (MANIFEST, edit(target="onnx"), "digest mismatch"),
        (MANIFEST, edit(schema_version=99), "manifest schema 99"),
        (MANIFEST, edit_and_resign(inputs=3), "invalid at inputs"),
        (MANIFEST, edit_and_resign(surprise=1), "invalid at surprise"),
        (MANIFEST, edit_and_resign(files={"../evil": SUM}), "leads out of the folder"),
        (MANIFEST, edit_and_resign(files={"a/../../evil": SUM}), "leads out of the folder"),
        (MANIFEST, edit_and_resign(files={"/etc/passwd": SUM}), "leads out of the folder"),
        (MANIFEST, edit_and_resign(files={"a\\b": SUM}), "leads out of the folder"),
        (MANIFEST, edit_and_resign(files={"c:x": SUM}), "leads out of the folder"),
        (MANIFEST, edit_and_resign(files={"./model.onnx": SUM}), "leads out of the folder"),
        (MANIFEST, edit_and_resign(files={"model.onnx": {"sha256": "short", "bytes": 1}}), "invalid at files"),
        ("model.onnx", truncate, "model.onnx is truncated"),
        ("model.onnx", flip, "model.onnx was changed"),
        ("model.onnx", lambda path: path.write_bytes(path.read_bytes() + b"x"), "model.onnx is longer"),
        ("vectors/x.npy", Path.unlink, "vectors/x.npy is missing"),
    ],
)
def test_damage_is_told_in_one_line(tmp_path, file, damage, message):
    write(tmp_path / "m")
    damage(tmp_path / "m" / file)
    with pytest.raises(ArtifactError, match=message) as caught:
        Artifact.load(tmp_path / "m")
    assert "\n" not in caught.value.what
    assert caught.value.fix


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    write(tmp_path / "m")
    outside = tmp_path / "outside"
    (tmp_path / "m" / "model.onnx").rename(outside)
    (tmp_path / "m" / "model.onnx").symlink_to(outside)
    with pytest.raises(ArtifactError, match="link that leads out"):
        Artifact.load(tmp_path / "m")


def test_a_file_too_large_for_its_kind_is_refused_before_its_sum_is_made(tmp_path, monkeypatch):
    write(tmp_path / "m")
    with (tmp_path / "m" / "model.onnx").open("r+b") as file:
        file.truncate(3 * 10**9)
    edit_and_resign(files={"model.onnx": {"sha256": "0" * 64, "bytes": 3 * 10**9}})(tmp_path / "m" / MANIFEST)
    monkeypatch.setattr("neurokit.artifact.file_info", None)
    with pytest.raises(ArtifactError, match="more than an ONNX file can have"):
        Artifact.load(tmp_path / "m")


def test_sums_that_take_long_are_said_before_they_are_made(tmp_path, monkeypatch):
    write(tmp_path / "m")
    said = []
    with stages.heard(said.append):
        Artifact.load(tmp_path / "m")
        assert not said
        monkeypatch.setattr("neurokit.artifact._LARGE", 705)  # of 700 and 5 bytes
        Artifact.load(tmp_path / "m")
    assert said == [f"reading 0.0 GB of {tmp_path / 'm'} to check its sums: some 0 s"]


def test_check_can_be_left_out(tmp_path):
    write(tmp_path / "m")
    flip(tmp_path / "m" / "model.onnx")
    assert Artifact.load(tmp_path / "m", check=False).manifest.model.name == "tiny"


def test_existing_folder_is_refused_before_any_work(tmp_path):
    write(tmp_path / "m")
    worked = False
    with pytest.raises(OutputError, match="exists already") as caught, write_artifact(tmp_path / "m"):
        worked = True
    assert not worked
    assert "--force" in caught.value.fix
    assert leftovers(tmp_path) == ["m"]


def test_force_replaces_an_artifact(tmp_path):
    write(tmp_path / "m")
    write(tmp_path / "m", force=True, body=b"new")
    assert Artifact.load(tmp_path / "m").file("model.onnx").read_bytes() == b"new"
    assert leftovers(tmp_path) == ["m"]


def test_force_replaces_a_damaged_artifact(tmp_path):
    for name in (MANIFEST, "model.onnx"):
        write(tmp_path / "m", force=True)
        truncate(tmp_path / "m" / name)
        write(tmp_path / "m", force=True)
        Artifact.load(tmp_path / "m")


def test_force_keeps_what_is_no_part_of_the_artifact(tmp_path):
    write(tmp_path / "m")
    (tmp_path / "m" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"notes\.txt"):
        write(tmp_path / "m", force=True)
    assert (tmp_path / "m" / "notes.txt").read_text() == "mine"
    Artifact.load(tmp_path / "m")


def test_force_keeps_files_that_a_damaged_manifest_does_not_name(tmp_path):
    write(tmp_path / "m")
    text = (tmp_path / "m" / MANIFEST).read_text()
    (tmp_path / "m" / MANIFEST).write_text(text[:100])
    with pytest.raises(OutputError, match=r"model\.onnx"):
        write(tmp_path / "m", force=True)
    assert (tmp_path / "m" / "model.onnx").exists()


def test_an_artifact_that_fails_to_finish_leaves_nothing(tmp_path):
    def full(_artifact):
        raise OSError(errno.ENOSPC, "no space left")

    def write_and_finish():
        with write_artifact(tmp_path / "m") as draft:
            (draft.path / "model.onnx").write_bytes(b"x")
            draft.manifest, draft.finish = manifest(), full

    with pytest.raises(OutputError, match="disk is full"):
        write_and_finish()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_force_never_removes_what_is_not_ours(tmp_path, kind):
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    out = {"folder": home, "file": home / "thesis.tex", "link": tmp_path / "link"}[kind]
    if kind == "link":
        write(tmp_path / "m")
        out.symlink_to(tmp_path / "m")
    with pytest.raises(OutputError, match="holds something else"):
        write(out, force=True)
    assert (home / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("force", [False, True])
def test_nothing_is_left_after_an_exception(tmp_path, force):
    if force:
        write(tmp_path / "deep" / "m")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(KeyboardInterrupt), write_artifact(tmp_path / "deep" / "m", force=force) as draft:  # noqa: PT012
        (draft.path / "model.onnx").write_bytes(b"half")
        raise KeyboardInterrupt
    assert sorted(tmp_path.rglob("*")) == before
    if force:
        Artifact.load(tmp_path / "deep" / "m")


def test_a_manifest_that_is_no_json_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="cannot be written as JSON"):
        write(tmp_path / "m", options={"scale": float("nan")})
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("out", ["file/m", "/proc/nowhere/m", "/", ".", ".."])
def test_unwritable_places_are_refused_before_any_work(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("x")
    worked = False
    with pytest.raises(OutputError), write_artifact(out):
        worked = True
    assert not worked
    assert leftovers(tmp_path) == ["file"]


@pytest.mark.parametrize("mode", [0o500, 0o555, 0o711])
def test_a_parent_without_permission_is_refused(mode):
    """In a process of its own, which gives up root's rights where it has them: root may write everywhere."""
    place = Path(tempfile.mkdtemp())  # pytest's own folders may be entered by their owner only
    place.chmod(mode)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            with pytest.raises(OutputError, match="cannot be written"), write_artifact(place / "m"):
                pass
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    place.rmdir()


def test_parity_is_recorded(tmp_path):
    artifact = write(tmp_path / "m")
    judged = artifact.with_parity({"verdict": "failed", "passed": False})
    assert judged.manifest.parity == {"verdict": "failed", "passed": False}
    assert Artifact.load(tmp_path / "m").manifest == judged.manifest
    assert artifact.manifest.parity is None
    assert Artifact.load(tmp_path / "m").with_parity(None).manifest == artifact.manifest
    assert leftovers(tmp_path / "m") == [MANIFEST, "model.onnx", "vectors"]


def test_parity_that_cannot_be_written_leaves_the_manifest(tmp_path):
    artifact = write(tmp_path / "m")
    with pytest.raises(InputError):
        artifact.with_parity({"margin": float("inf")})
    (tmp_path / "m").rename(tmp_path / "gone")
    with pytest.raises(OutputError):
        artifact.with_parity({})
    assert Artifact.load(tmp_path / "gone").manifest == artifact.manifest
