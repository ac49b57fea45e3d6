"""An encoder and a step with three outputs in one artifact: what passes on and what is kept, judged in float64."""

import copy

import numpy as np
import onnxruntime as ort
import pytest
import torch

import neurokit as nk
from neurokit.errors import InputError, UnsupportedError

from .nets import WIDTH, build_pair, pair

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return nk.lower(nk.capture(pair()), "onnx-step", tmp_path_factory.mktemp("pair") / "a")


@pytest.fixture(scope="module")
def wanted():
    """Frames, tokens, and what float64 makes of them, step after step."""
    net = copy.deepcopy(build_pair()).double()
    frames = torch.rand(2, 6, 3, dtype=torch.float64)
    valid = torch.ones(2, 6, dtype=torch.bool)
    valid[1, 4:] = False
    tokens = torch.tensor([[1, 2], [3, 4], [5, 6]])
    hidden, steps = torch.full((2, WIDTH), 0.25, dtype=torch.float64), []
    with torch.no_grad():
        memory = net.encode(frames, valid)
        for token in tokens:
            made = net.decode({"memory": memory["memory"], "valid": valid, "token": token}, hidden)
            hidden = made.hidden
            steps.append(made)
    return frames.float().numpy(), valid.numpy(), tokens.numpy(), memory, steps


def test_each_graph_is_a_file_with_its_ports(artifact):
    encoder, step = artifact.manifest.graphs
    assert (encoder.file, step.file) == ("encoder.onnx", "step.onnx")
    assert [port.name for port in encoder.outputs] == ["memory", "pooled"]
    assert [(port.name, port.dtype) for port in step.outputs] == [
        ("scores", "float32"),
        ("attention", "float32"),
        ("best", "int64"),
    ]
    assert [port.source for port in step.inputs] == ["", "encoder.memory", ""]
    assert (step.states[0].init, step.states[0].shape) == (0.25, ("B", WIDTH))
    assert artifact.manifest.parity["verdict"] in ("within tolerance", "exact")


def test_the_files_alone_in_onnxruntime_give_the_float64_answers(artifact, wanted):
    frames, valid, tokens, memory, steps = wanted
    encoder = ort.InferenceSession(str(artifact.path / "encoder.onnx"))
    step = ort.InferenceSession(str(artifact.path / "step.onnx"))
    kept, pooled = encoder.run(["memory", "pooled"], {"frames": frames, "valid": valid})
    np.testing.assert_allclose(pooled, memory["pooled"], **CLOSE)
    hidden = np.full((2, WIDTH), 0.25, np.float32)
    for token, right in zip(tokens, steps, strict=True):
        given = {"token": token, "memory": kept, "valid": valid, "hidden_in": hidden}
        scores, attention, best, hidden = step.run(["scores", "attention", "best", "hidden_out"], given)
        np.testing.assert_allclose(scores, right.scores, **CLOSE)
        np.testing.assert_allclose(attention, right.attention, **CLOSE)
        np.testing.assert_array_equal(best, right.best)


def test_the_runner_hands_on_what_one_graph_gave(artifact, wanted):
    frames, valid, tokens, _, steps = wanted
    with nk.open(artifact) as runner:
        assert runner.graphs == ("encoder", "step")
        runner.reset(2)
        runner.run("encoder", {"frames": frames, "valid": valid})
        for token, right in zip(tokens, steps, strict=True):
            found = runner.run("step", {"token": token, "valid": valid})
            assert list(found) == ["scores", "attention", "best"]
            np.testing.assert_allclose(found["scores"], right.scores, **CLOSE)
        runner.reset(2)
        with pytest.raises(InputError, match="'memory' is missing"):
            runner.run("step", {"token": tokens[0], "valid": valid})
        with pytest.raises(InputError, match="no graph 'decoder'"):
            runner.run("decoder", {})
        with pytest.raises(InputError, match="2 graphs: encoder, step"):
            runner({"frames": frames})


def test_forms_that_start_every_call_anew_are_refused_before_any_work(tmp_path):
    with pytest.raises(UnsupportedError, match="keeps a state between calls"):
        nk.lower(nk.capture(pair()), "onnx", tmp_path / "a")
    assert not (tmp_path / "a").exists()
