"""Small artifacts for the tests of how they are written."""

from neurokit.artifact import Manifest, ModelInfo, StateInfo, TensorInfo, write_artifact


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
