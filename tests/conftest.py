"""What all tests share: few threads, fixed seeds, and a skip with its reason where a GPU is needed."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import random
import shutil
import socket
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from neurokit.garbage import search_rarely

# The tests' tensors are small: more threads cost more than they bring, and other jobs want the cores.
torch.set_num_threads(1)
# What libraries and shared captures hold stays to the end; 55 tests took 41.7 s of CPU for 44.5.
search_rarely()
# How long an example takes says how busy the machine is; it failed tests on a loaded one.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.fixture(autouse=True, scope="session")
def notes_of_trust(tmp_path_factory):
    """What the tests export is noted in a folder of their own, not in the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(autouse=True, scope="session")
def short_measurements():
    """What does not state its rules is measured for a moment: times that must settle first take up to 20 s."""
    from neurokit.bench.job import Rules
    from tests.neurokit.bench.rules import FAST

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rules.__init__, "__defaults__", dataclasses.astuple(FAST))
        yield


@pytest.fixture(scope="session")
def offline():
    """What compiles kernels for a GPU that is not there."""
    pytest.importorskip("triton")
    place = Path(__file__).with_name("kernels") / "offline.py"
    spec = importlib.util.spec_from_file_location("offline", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def seeds():
    """The same random numbers in every test, alone or after others."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - libraries under test draw from the global generator
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def denormals():
    """Every test begins with denormal numbers on.

    The first ONNX Runtime session that sets denormals to zero does so for the thread that makes it, for good; what
    runs later in this process would compute, and be compared, with other arithmetic.
    """
    torch.set_flush_denormal(False)


@pytest.fixture
def tamper():
    """Changes an ONNX artifact's model and gives the folder a fresh manifest: an exporter's bug, not a damaged file."""

    def plant(artifact, change, out=None):
        import onnx

        from neurokit.artifact import write_artifact

        model = onnx.load(str(artifact.file("model.onnx")))
        change(model)
        vectors = artifact.file("vectors.npz").read_bytes()
        with write_artifact(out or artifact.path, force=out is None) as draft:
            onnx.save(model, str(draft.path / "model.onnx"))
            (draft.path / "vectors.npz").write_bytes(vectors)
            draft.manifest = artifact.manifest.model_copy(update={"files": {}, "parity": None})
        return draft.artifact

    return plant


@pytest.fixture
def tamper_tensor(tamper):
    """Changes the first initializer of an ONNX artifact that a test names."""

    def plant(artifact, named, change, out=None):
        from onnx import numpy_helper

        def edit(model):
            tensor = next(t for t in model.graph.initializer if named(t.name))
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), tensor.name))

        return tamper(artifact, edit, out)

    return plant


@pytest.fixture(scope="session")
def chromium() -> str:
    """The command of a real browser."""
    found = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
    if not found:
        pytest.skip("no chromium on this machine: the pages were not seen in a browser (apt-get install chromium)")
    return found[0]


@pytest.fixture
def sshd(tmp_path):
    """A real ssh server on loopback, with a key of its own."""
    server = shutil.which("sshd") or ("/usr/sbin/sshd" if os.path.exists("/usr/sbin/sshd") else None)
    if server is None or shutil.which("ssh-keygen") is None:
        pytest.skip("openssh-server is not installed")
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    (tmp_path / "authorized").write_text((tmp_path / "user.pub").read_text())
    (tmp_path / "authorized").chmod(stat.S_IRUSR | stat.S_IWUSR)
    config = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": tmp_path / "host",
        "StrictModes": "no",
        "AuthorizedKeysFile": tmp_path / "authorized",
        "PidFile": tmp_path / "pid",
        "UsePAM": "no",
        "PermitRootLogin": "yes",
        "Subsystem": "sftp internal-sftp",
    }
    (tmp_path / "config").write_text("".join(f"{key} {value}\n" for key, value in config.items()))
    with subprocess.Popen([server, "-D", "-e", "-f", tmp_path / "config"], stderr=subprocess.PIPE) as daemon:
        options = [
            f"Port={port}",
            f"IdentityFile={tmp_path / 'user'}",
            "StrictHostKeyChecking=no",
            f"UserKnownHostsFile={tmp_path / 'known'}",
            "IdentitiesOnly=yes",
        ]
        command = ["ssh", *(part for o in options for part in ("-o", o)), "-o", "BatchMode=yes", "127.0.0.1", "true"]
        for _ in range(20):
            tried = subprocess.run(command, capture_output=True, text=True)
            if tried.returncode == 0:
                break
            if daemon.poll() is not None:
                break
        if tried.returncode:
            daemon.kill()
            pytest.skip(f"sshd does not take a connection here: {tried.stderr.strip()[-200:]}")
        yield options
        daemon.kill()


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA GPU, and this machine has none that torch can use")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(skip)
