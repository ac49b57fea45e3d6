"""Artifacts: whole or not at all, and every kind of damage is told in one line."""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from neurokit import atomic
from neurokit.artifact import MANIFEST, Artifact, Manifest, ModelInfo, StateInfo, TensorInfo, write_artifact
from neurokit.errors import ArtifactError, InputError, OutputError


def manifest(**changes):
    base = {
        "model": ModelInfo(name="tiny", parameters=12, weights_sha256="ab" * 32),
        "target": "onnx-step",
        "form": "step",
        "time_steps": 4,
        "inputs": (TensorInfo(name="x", shape=("B", 3, 8, 8), layout="BCHW", meaning="pixels, 0 to 1"),),
        "outputs": (TensorInfo(name="logits", shape=("B", 10)),),
        "states": (StateInfo(name="v", input="v_in", output="v_out", shape=("B", 4), init=0.5, neuron="sn1"),),
        "reset_policy": "at the start of a sequence",
        "versions": {"neurokit": "0.1.0"},
    }
    return Manifest(**{**base, **changes})


def write(out, force=False, body=b"weights" * 100, **changes):
    with write_artifact(out, force=force) as draft:
        (draft.path / "model.onnx").write_bytes(body)
        (draft.path / "vectors").mkdir()
        (draft.path / "vectors" / "x.npy").write_bytes(b"12345")
        draft.manifest = manifest(**changes)
    return draft.artifact


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir())


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
    with pytest.raises(ValueError, match="whole number >= 1"):
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


def test_a_full_disk_is_told_as_such(tmp_path):
    with pytest.raises(OutputError, match="disk is full"), write_artifact(tmp_path / "m"):
        raise OSError(28, "No space left on device")
    assert leftovers(tmp_path) == []


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
from test_artifact import manifest
from neurokit import artifact, atomic

def stop(*args):
    print("now", flush=True)
    time.sleep(60)

with artifact.write_artifact({out!r}, force={force}) as draft:
    (draft.path / "model.onnx").write_bytes(b"y" * 1000)
    draft.manifest = manifest()
    {hook}
"""
HOOKS = {
    "while writing": "stop()",
    "before the rename": "atomic._move_in = stop",
    "between the renames": "atomic.Path.rename, real = (lambda a, b: (real(a, b), stop())), atomic.Path.rename",
}


@pytest.mark.parametrize(
    ("moment", "force"),
    [
        ("while writing", False),
        ("while writing", True),
        ("before the rename", False),
        ("before the rename", True),
        ("between the renames", True),
    ],
)
def test_sigkill_leaves_no_half_folder(tmp_path, moment, force):
    out = tmp_path / "m"
    if force:
        write(out, body=b"old")
    code = textwrap.dedent(KILLED).format(
        tests=str(Path(__file__).parent), out=str(out), force=force, hook=HOOKS[moment]
    )
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        assert list(atomic._leftovers(out, "partial")) == []  # a living writer's folder is no leftover
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(list(atomic._leftovers(out, "partial"))) == 1
    if moment == "between the renames":
        assert not out.exists()
        with pytest.raises(OutputError, match="exists already"):
            write(out)  # puts the old one back first
    if force:
        assert Artifact.load(out).file("model.onnx").read_bytes() == b"old"
    else:
        assert not out.exists()
    write(out, force=force, body=b"new")
    assert Artifact.load(out).file("model.onnx").read_bytes() == b"new"
    assert leftovers(tmp_path) == ["m"]


def test_two_writers_of_one_folder(tmp_path):
    with write_artifact(tmp_path / "m") as draft:
        with pytest.raises(OutputError, match="being written already"):
            write(tmp_path / "m")
        draft.manifest = manifest()
    assert leftovers(tmp_path) == ["m"]


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def no_locks(*args):
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(atomic.fcntl, "flock", no_locks)
    (tmp_path / ".m.partial-1").mkdir()
    write(tmp_path / "m")
    write(tmp_path / "m", force=True, body=b"new")
    assert Artifact.load(tmp_path / "m").file("model.onnx").read_bytes() == b"new"
    assert leftovers(tmp_path) == [".m.partial-1", "m"]  # it could be a living writer's


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
