"""A fault in one artifact: networks are lowered, faults planted, and the result verified and run beside its source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from spikingjelly.activation_based import functional

import neurokit as nk
from neurokit.artifact import Artifact, write_artifact
from neurokit.export.ort import new_session
from neurokit.export.sequence import initial_states, reduce_steps
from neurokit.manifest import Manifest
from neurokit.spec import ModelSpec, TensorSpec
from tests.mutation.faults import FAULTS
from tests.mutation.faults.of_files import FILE_FAULTS
from tests.mutation.faults.of_int8 import INT8_FAULTS
from tests.mutation.faults.of_nir import NIR_FAULTS
from tests.mutation.graph import Graph
from tests.mutation.networks import LOOPED, NETWORKS, WITHOUT_NEURONS, Network

FORMS = ("onnx", "onnx-scan", "onnx-step")
NIR = "nir"  # of the networks that it takes: those with hard resets and nothing but sums between neurons
EXACT = "exact"  # `--numerics exact`, as onnx; what its answers are held against are the sound file's bits
HELD_TO_BITS = (EXACT, "c")
INT8 = "onnx-int8"  # of networks without neurons; held against what int8 itself moved the float network's answers by
OPENVINO_INT8 = "openvino-int8"  # likewise; its files are edited by `drawn` alone
OF_INT8 = (INT8, OPENVINO_INT8)
FILES = "files"  # manifest and test vectors of an onnx-step artifact
OTHERS = ("c", "openvino", "litert", "aoti")  # targets whose files `drawn` edits; `c` in the exact form alone
ALL_FORMS = (*FORMS, EXACT, FILES, NIR, INT8)
# Relative L2 error of the answers on real inputs above which an artifact is not the network any more: a hundred times
# what rounding makes of the sound ones (below 2e-7).
DIFFERENT = 2e-5


@dataclass(frozen=True)
class Row:
    """One fault in one artifact.

    Attributes:
        network: The network.
        form: The form.
        fault: The fault, "" for the sound artifact.
        verdict: What `neurokit verify` says, or "refused" where it ends with an error.
        error: Relative L2 error of the answers on real inputs, by ONNX Runtime beside eager PyTorch (beside the sound
            file's answers in exact and int8 forms); infinite where the faulty file does not run.
        why: The first line that verification says.
        bound: Relative L2 error that rounding may make of the outputs, given the spikes, as the sound artifact says;
            in int8, how far the sound file's answers on the real inputs are from the float network's.
    """

    network: str
    form: str
    fault: str
    verdict: str
    error: float
    why: str = ""
    bound: float = 0.0

    @property
    def caught(self) -> bool:
        """Whether the fault does not pass."""
        return self.verdict in ("failed", "refused")

    @property
    def real(self) -> bool:
        """Whether the answers on real inputs are others than rounding can make them; a file's fault always is."""
        if self.form == FILES:
            return bool(self.fault)
        return not self.error <= (0.0 if self.form in HELD_TO_BITS else max(DIFFERENT, self.bound))


def networks_of(form: str) -> dict[str, Network]:
    """Returns the networks that a form's faults are planted into."""
    if form in OF_INT8:
        return WITHOUT_NEURONS
    kept = {NIR: ("sound", "wide"), FILES: ("deep", "rate")}.get(form, tuple(NETWORKS))
    return {name: NETWORKS[name] for name in kept}


def network(name: str) -> Network:
    """Returns a network by its name."""
    return {**NETWORKS, **LOOPED, **WITHOUT_NEURONS}[name]


def faults_of(form: str) -> Mapping[str, Any]:
    """Returns the faults that may be planted into a form."""
    own: dict[str, Mapping[str, Any]] = {NIR: NIR_FAULTS, FILES: FILE_FAULTS, INT8: {**FAULTS, **INT8_FAULTS}}
    return own.get(form, FAULTS)


def lowered(name: str, folder: Path, forms: tuple[str, ...] = FORMS) -> dict[str, Artifact]:
    """Returns the sound artifacts of a network."""
    net = network(name)
    steps = net.steps or None
    captured = nk.capture(ModelSpec(name, net.build, (TensorSpec("x", net.shape),), time_steps=steps))
    made = {}
    for form in forms:
        target = {EXACT: "onnx", FILES: "onnx-step"}.get(form, form)
        settings: dict[str, Any] = {"numerics": "exact"} if form in HELD_TO_BITS else {}
        if form in OF_INT8:
            settings = {"calibration": np.random.default_rng(1).random((32, *net.shape), dtype=np.float32)}
        out = folder / f"{name}-{form}"
        made[form] = nk.lower(captured, target, out, verified=False, force=True, **settings)
    return made


def real_inputs(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns four samples that the artifact never saw, a little beyond its range, and eager PyTorch's answers."""
    net = network(name)
    rng = np.random.default_rng(42)
    still = 1.2 * rng.random((1, 4, *net.shape)) - 0.1
    x = (still + 0.05 * rng.standard_normal((net.steps or 1, 4, *net.shape))).astype(np.float32)
    x = x if net.steps else np.clip(x[0], 0.0, 1.0)  # int8 clips beyond what it was calibrated on
    module = net.build()
    functional.reset_net(module)
    with torch.no_grad():
        return x, module(torch.from_numpy(x)).numpy()


def answers(artifact: Artifact, x: np.ndarray) -> np.ndarray:
    """Returns what the file answers, by ONNX Runtime directly; of a NIR file, by the interpreter of NIR."""
    manifest = artifact.manifest
    if manifest.target == NIR:
        return _answers_of_nir(artifact, x)
    if manifest.target.partition("-")[0] in OTHERS:
        if manifest.time_steps is None:
            with nk.open(artifact) as run:
                return np.asarray(run(x))
        axis = 1 if manifest.target_info["time_output"] == "sequence" else 0
        with nk.open(artifact) as run:  # what is edited is a file, not the runner; a LiteRT file has a batch of one
            return np.concatenate([np.asarray(run(x[:, at : at + 1])) for at in range(x.shape[1])], axis)
    session = new_session(artifact.file("model.onnx"), threads=1)
    name, output = manifest.inputs[0].name, manifest.outputs[0].name
    if manifest.form != "step":
        return session.run([output], {name: x})[0]
    held, steps = initial_states(manifest.states, x.shape[1]), []
    taken = {value.name for value in session.get_inputs()}
    for x_t in x:
        results = session.run(None, {name: x_t, **{k: v for k, v in held.items() if k in taken}})
        found = dict(zip([value.name for value in session.get_outputs()], results, strict=True))
        steps.append(found[output])
        held = {state.input: found[state.output] for state in manifest.states}
    return reduce_steps(np.stack(steps), manifest.target_info["time_output"])


def _answers_of_nir(artifact: Artifact, x: np.ndarray) -> np.ndarray:
    """Runs the file alone: opened as an artifact, it would be held against its manifest."""
    from neurokit.interchange.nir_net import read_net

    net = read_net(artifact.file("model.nir"))
    functional.reset_net(net)
    with torch.no_grad():
        (y,) = net.run((torch.from_numpy(x),), net.call)
    return reduce_steps(y.numpy(), artifact.manifest.target_info["time_output"])


def planted(artifact: Artifact, fault: str, out: Path, steps: int) -> Artifact:
    """Returns a copy of an artifact with a fault, sealed as an exporter would.

    Raises:
        NotApplicableError: If the network has no place for it.
    """
    if artifact.manifest.target == NIR:
        return _planted_nir(artifact, fault, out)
    model = onnx.load(str(artifact.file("model.onnx")))
    manifest = json.loads(artifact.manifest.to_text())
    with np.load(artifact.file("vectors.npz")) as read:
        vectors = {key: read[key] for key in read.files}
    if fault in FILE_FAULTS:
        FILE_FAULTS[fault](manifest, vectors)
    elif fault:
        {**FAULTS, **INT8_FAULTS}[fault](Graph(model, manifest, steps))
    if fault and fault not in FILE_FAULTS:
        del model.metadata_props[:]  # a faulty exporter would write the same into both: they must not give it away
    return resealed(artifact, model, out, manifest, vectors)


def resealed(
    artifact: Artifact,
    model: onnx.ModelProto,
    out: Path,
    manifest: Mapping[str, Any] | None = None,
    vectors: Mapping[str, np.ndarray] | None = None,
) -> Artifact:
    """Returns a copy of an artifact with another graph, sealed as an exporter would.

    Args:
        artifact: The sound one.
        model: The graph.
        out: Where the copy goes.
        manifest: What its manifest says; default is that of the sound one.
        vectors: Its test vectors; default are those of the sound one.
    """
    said = json.loads(artifact.manifest.to_text()) if manifest is None else manifest
    with write_artifact(out, force=True) as draft:
        onnx.save(model, str(draft.path / "model.onnx"))
        for name in set(artifact.manifest.files) - {"model.onnx"}:
            (draft.path / name).write_bytes(artifact.file(name).read_bytes())
        if vectors is not None:
            np.savez(draft.path / "vectors.npz", **vectors)
        draft.manifest = Manifest.model_validate({**said, "files": {}, "digest": "", "parity": None})
    assert draft.artifact is not None
    return draft.artifact


def _planted_nir(artifact: Artifact, fault: str, out: Path) -> Artifact:
    import nir

    graph = nir.read(str(artifact.file("model.nir")))
    if fault:
        NIR_FAULTS[fault](graph)
    with write_artifact(out, force=True) as draft:
        nir.write(str(draft.path / "model.nir"), graph)
        (draft.path / "vectors.npz").write_bytes(artifact.file("vectors.npz").read_bytes())
        said = json.loads(artifact.manifest.to_text())
        draft.manifest = Manifest.model_validate({**said, "files": {}, "digest": "", "parity": None})
    return draft.artifact


def distance(found: np.ndarray, wanted: np.ndarray) -> float:
    """Returns the relative L2 distance of two answers; infinite where their shapes differ."""
    if found.shape != wanted.shape:
        return float("inf")
    return float(np.linalg.norm(found - wanted) / (np.linalg.norm(wanted) or 1.0))


def judge(artifact: Artifact, name: str, form: str, fault: str, x: np.ndarray, y: np.ndarray) -> Row:
    """Verifies an artifact, and runs it beside its source's answers."""
    try:
        error = distance(answers(artifact, x), y)
    except Exception:
        error = float("inf")
    try:
        one = {} if form in (NIR, "c") else {"threads": 1}  # several processes would wait for each other's threads
        report = nk.verify(artifact, record=False, **one)
        verdict, why, bound = report.verdict, next(iter(report.notes), ""), report.output_tolerance
    except Exception as problem:
        verdict, why, bound = "refused", str(problem)[:120], 0.0
    return Row(name, form, fault, verdict, error, why, 0.0 if fault or form in (*HELD_TO_BITS, *OF_INT8) else bound)


def reference(artifact: Artifact, form: str, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns the real inputs of a form, the answers that it is held to there, and how far these are from eager's."""
    if form not in (*HELD_TO_BITS, *OF_INT8):
        return x, y, 0.0
    x = np.clip(x, 0.0, 1.0)  # what is exact or calibrated is so within the declared range
    sound = answers(artifact, x)
    return x, sound, distance(sound, y)
