"""What public functions take: names, specs and single things; what they say of anything else; and from any thread."""

import hashlib
import inspect
import logging
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import neurokit as nk
from neurokit import cli
from neurokit.accepted import as_several
from neurokit.errors import InputError, NeurokitError, UnknownNameError, UnsupportedError
from neurokit.reports import LatencyReport

THREADS = """
import sys, threading
import neurokit as nk
def work(place):
    artifact = nk.lower("spiking_cnn", "onnx", place)
    print(artifact.manifest.parity["verdict"], flush=True)
threads = [threading.Thread(target=work, args=(f"{sys.argv[1]}/{i}",)) for i in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


@pytest.fixture(scope="module")
def captured():
    return nk.capture("spiking_cnn")


@pytest.fixture(scope="module")
def artifact(captured, tmp_path_factory):
    return nk.lower(captured, "onnx", tmp_path_factory.mktemp("accepted") / "a")


def test_threads_capture_and_lower_in_turn(tmp_path):
    """In a process of its own: what went wrong was a segmentation fault."""
    done = subprocess.run([sys.executable, "-c", THREADS, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split("\n")) == (0, ["benign rounding", "benign rounding", ""]), done.stderr


def test_a_registry_is_whole_for_every_thread():
    from neurokit.registry import Registry

    registry, seen = Registry("model", "neurokit.models"), []
    threads = [threading.Thread(target=lambda: seen.append(registry._discovered or registry.names())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4


def test_one_name_of_a_chip_is_no_list_of_letters(captured):
    alone, several = nk.simulate(captured, chips="loihi1"), nk.simulate(captured, chips=["loihi1"])
    assert [chip.chip for chip in alone.chips] == [chip.chip for chip in several.chips] == ["loihi1"]
    assert alone.chips[0].total == several.chips[0].total


def test_what_is_no_model_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="a int was given"):
        nk.lower(3, "onnx", tmp_path / "a")
    with pytest.raises(UnknownNameError, match="unknown model 'nothing'"):
        nk.lower("nothing", "onnx", tmp_path / "a")
    with pytest.raises(InputError, match="a list was given"):
        nk.simulate([1, 2])
    assert not (tmp_path / "a").exists()


def test_several_or_one():
    assert as_several("a") == as_several(["a"]) == as_several(("a",)) == ["a"]
    assert as_several(Path("a")) == [Path("a")]
    assert as_several(3) == [3]


def test_reprs_fit_a_screen(captured, artifact):
    exact = nk.exact(captured)
    energy = nk.simulate(captured, chips="loihi1")
    parity = nk.verify(artifact, record=False, simulators=False)
    latency = LatencyReport.judged("spiking_cnn", "onnx", "single", [1e-3] * 500)
    for thing in (captured, exact, artifact, energy, parity, latency):
        assert len(repr(thing)) < 160
        assert "spiking_cnn" in repr(thing)
    assert repr(energy.chips[0]).startswith("ChipReport('loihi1': at least")


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"chips": 5}, "a chip is named 5"),
        ({"chips": {"loihi1": 1, 2: 3}}, "a chip is named 2"),
        ({"chips": "loihi1", "devices": [5]}, "a device is named 5"),
        ({"chips": "loihi1", "mapping": "no"}, "mapping is 'no'"),
        ({"chips": "loihi1", "pace": "no"}, "pace is 'no'"),
        ({"chips": "loihi1", "estimators": "no"}, "unknown estimator 'no'"),
        ({"chips": "loihi1", "weight_bits": "no"}, "weight bits are 'no'"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_captured(choice, said, monkeypatch):
    monkeypatch.setattr("neurokit.accepted.as_captured", None)
    with pytest.raises(NeurokitError, match=said):
        nk.simulate("spiking_cnn", **choice)


def test_a_target_is_a_name(tmp_path):
    with pytest.raises(UnknownNameError, match="a target is named 5"):
        nk.lower("spiking_cnn", 5, tmp_path / "a")


def test_a_capture_says_that_it_does_not_pickle(captured):
    with pytest.raises(TypeError, match="a capture does not pickle"):
        pickle.dumps(captured)


def test_verifying_again_leaves_the_manifest_alone(artifact):
    place = artifact.path / "manifest.json"
    before = hashlib.sha256(place.read_bytes()).hexdigest(), place.stat().st_mtime_ns
    nk.verify(artifact, simulators=False)
    assert (hashlib.sha256(place.read_bytes()).hexdigest(), place.stat().st_mtime_ns) == before


def test_the_names_of_the_package_are_its_api():
    assert set(dir(nk)) == set(nk.__all__)


def test_stages_are_logged(captured, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="neurokit"):
        nk.lower(captured, "onnx", tmp_path / "a", verified=False)
    assert any(record.message.startswith("lower: ") for record in caplog.records)


def test_a_namesake_in_the_same_folder_is_said_in_one_line(tmp_path):
    (tmp_path / "bio").mkdir()
    (tmp_path / "bio" / "bio_ecg.py").touch()
    with pytest.raises(ImportError, match="two distributions share the import name 'neurokit'"):
        nk._refuse_namesake(tmp_path)


class Halved(torch.nn.Module):
    """Its code needs the batch as a number."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(6, 3)

    def forward(self, x):
        return torch.cat([self.layer(part) for part in x.split(int(x.shape[0] / 2))])


def test_a_batch_that_is_given_is_taken_where_none_can_be_free(tmp_path):
    """The advice was to give a fixed batch, also to who had given one."""
    spec = nk.ModelSpec("halved", lambda: Halved().eval(), (nk.TensorSpec("x", (6,)),))
    with pytest.raises(UnsupportedError, match="give a fixed --batch"):
        nk.lower(spec, "onnx", tmp_path / "a")
    assert nk.lower(spec, "onnx", tmp_path / "a", batch=4).manifest.parity["verdict"] != "failed"
    (tmp_path / "m.py").write_text(
        inspect.getsource(Halved).join(("import torch\n", "\nnet = lambda: Halved().eval()"))
    )
    command = ["export", f"{tmp_path}/m.py:net", "--input-shape", "6", "--out", f"{tmp_path}/b"]
    assert cli.main([*command, "--batch", "4"]) == 0
