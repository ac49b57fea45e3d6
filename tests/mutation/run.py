"""Plants every fault into every network and form, verifies, and writes the table of docs/mutation.md.

python -m tests.mutation.run [--networks deep,rate] [--forms onnx,onnx-step] [--write]

It takes a while; in pieces: `--part 1/3 --rows a.json`, and then `--join a.json b.json ... --write`.
"""

from __future__ import annotations

import argparse
import collections
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

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
from tests.mutation.faults import FAULTS, MORE
from tests.mutation.faults.of_nir import NIR_FAULTS
from tests.mutation.graph import Graph, NotApplicableError
from tests.mutation.networks import NETWORKS

FORMS = ("onnx", "onnx-scan", "onnx-step")
NIR = "nir"  # of the networks that it takes: those with hard resets and nothing but sums between neurons
# Relative L2 error of the answers on real inputs above which an artifact is not the network any more: a hundred times
# what rounding makes of the sound ones (below 2e-7).
DIFFERENT = 2e-5
PAGE = Path(__file__).parents[2] / "docs" / "mutation.md"


@dataclass(frozen=True)
class Row:
    """One fault in one artifact.

    Attributes:
        network: The network.
        form: The form.
        fault: The fault, "" for the sound artifact.
        verdict: What `neurokit verify` says, or "refused" where it ends with an error.
        error: Relative L2 error of the answers on real inputs, by ONNX Runtime beside eager PyTorch; infinite where
            the faulty file does not run.
        why: The first line that verification says.
        bound: Relative L2 error that rounding may make of the outputs, given the spikes, as the sound artifact says.
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
        """Whether the answers on real inputs are others than rounding can make them."""
        return not self.error <= max(DIFFERENT, self.bound)


def lowered(name: str, folder: Path, forms: tuple[str, ...] = FORMS) -> dict[str, Artifact]:
    """Returns the sound artifacts of a network."""
    net = NETWORKS[name]
    captured = nk.capture(ModelSpec(name, net.build, (TensorSpec("x", net.shape),), time_steps=net.steps))
    return {form: nk.lower(captured, form, folder / f"{name}-{form}", verified=False, force=True) for form in forms}


def real_inputs(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns four samples that the artifact never saw, a little beyond its range, and eager PyTorch's answers."""
    net = NETWORKS[name]
    rng = np.random.default_rng(42)
    still = 1.2 * rng.random((1, 4, *net.shape)) - 0.1
    x = (still + 0.05 * rng.standard_normal((net.steps, 4, *net.shape))).astype(np.float32)
    module = net.build()
    functional.reset_net(module)
    with torch.no_grad():
        return x, module(torch.from_numpy(x)).numpy()


def answers(artifact: Artifact, x: np.ndarray) -> np.ndarray:
    """Returns what the file answers, by ONNX Runtime directly; of a NIR file, by the interpreter of NIR."""
    manifest = artifact.manifest
    if manifest.target == NIR:
        return _answers_of_nir(artifact, x)
    session = new_session(artifact.file("model.onnx"))
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
    if fault:
        FAULTS[fault](Graph(model, manifest, steps))
        del model.metadata_props[:]  # a faulty exporter would write the same into both: they must not give it away
    vectors = artifact.file("vectors.npz").read_bytes()
    with write_artifact(out, force=True) as draft:
        onnx.save(model, str(draft.path / "model.onnx"))
        (draft.path / "vectors.npz").write_bytes(vectors)
        draft.manifest = Manifest.model_validate({**manifest, "files": {}, "digest": "", "parity": None})
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


def judge(artifact: Artifact, name: str, form: str, fault: str, x: np.ndarray, y: np.ndarray) -> Row:
    """Verifies an artifact, and runs it beside eager PyTorch."""
    try:
        z = answers(artifact, x)
        error = float(np.linalg.norm(z - y) / np.linalg.norm(y)) if z.shape == y.shape else float("inf")
    except Exception:
        error = float("inf")
    try:
        report = nk.verify(artifact, record=False)
        verdict, why, bound = report.verdict, next(iter(report.notes), ""), report.output_tolerance
    except Exception as problem:
        verdict, why, bound = "refused", str(problem)[:120], 0.0
    return Row(name, form, fault, verdict, error, why, 0.0 if fault else bound)


def rows(networks: tuple[str, ...], forms: tuple[str, ...], faults: tuple[str, ...] | None = None) -> list[Row]:
    """Returns a row for every network, form and fault that it has a place for; the sound artifacts come first."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in networks:
            sound = lowered(name, Path(folder), forms)
            x, y = real_inputs(name)
            for form in forms:
                bound = 0.0
                for fault in ("", *(NIR_FAULTS if form == NIR else faults or FAULTS)):
                    try:
                        artifact = planted(sound[form], fault, Path(folder) / "planted", NETWORKS[name].steps)
                    except NotApplicableError:
                        continue
                    row = judge(artifact, name, form, fault, x, y)
                    bound = bound if fault else row.bound
                    found.append(replace(row, bound=bound))
                    print(*vars(found[-1]).values(), sep=" | ", flush=True)
    return found


def table(found: list[Row], state: str = "") -> str:
    """Returns the page: one line a fault, over all networks and forms that it was planted into.

    Args:
        found: The rows.
        state: What is to be said of the code that was run.
    """
    sound, planted_ = [r for r in found if not r.fault], [r for r in found if r.fault]
    groups: dict[str, list[Row]] = collections.defaultdict(list)
    for row in planted_:
        groups[row.fault].append(row)
    missed = [r for r in planted_ if r.real and not r.caught]
    real = [r for r in planted_ if r.real]
    other = [r for r in planted_ if not r.real]
    below = [r for r in other if r.error > DIFFERENT and not r.caught]
    kinds = len({name.partition(",")[0] for name in groups})
    lines = [
        "# Planted faults",
        "What an exporter could get wrong, planted into sound artifacts and verified. Made by",
        "`python -m tests.mutation.run --write`.",
        "",
        f"{kinds} kinds of faults ({len(groups)} with their magnitudes), {len({r.network for r in found})} networks,",
        f"forms {', '.join(dict.fromkeys(r.form for r in found))}: {len(planted_)} faulty artifacts.",
        "",
        *_combinations(found),
        *([state] if state else []),
        "",
        "*Real*: the answers to four samples that the artifact never saw differ from eager PyTorch's by more than",
        f"{DIFFERENT:g} and by more than rounding may make of the network's outputs (relative L2, by ONNX Runtime",
        f"directly; sound artifacts: {max((r.error for r in sound), default=0.0):.1e} at most). Bounds of rounding:",
        f"{_bounds(found)}. A fault that is not real on",
        "these samples may be caught all the same; one below the bound of every layer cannot be.",
        "",
        f"- real faults: {len(real)}, caught {sum(r.caught for r in real)}, missed {len(missed)}",
        f"- not seen on the four samples: {len(other)}, caught {sum(r.caught for r in other)}",
        f"- of these, off by more than {DIFFERENT:g} and below the bound of rounding, passed: {len(below)}",
        f"- sound artifacts: {len(sound)}, false alarms {sum(r.caught for r in sound)}",
        "",
        "| fault | planted | real | real and caught | not real, caught |",
        "|---|---|---|---|---|",
    ]
    for fault, entries in groups.items():
        real = [r for r in entries if r.real]
        rest = [r for r in entries if not r.real]
        cells = (len(entries), len(real), sum(r.caught for r in real), f"{sum(r.caught for r in rest)} of {len(rest)}")
        lines.append(f"| {fault} | " + " | ".join(map(str, cells)) + " |")
    if below:
        lines += ["", "Passed below the bound of rounding:"]
        lines += [f"- {r.fault}: {r.network}, {r.form}, answers off by {r.error:.1e}" for r in below]
    if missed:
        lines += ["", "Missed:"] + [f"- {r.fault}: {r.network}, {r.form}, answers off by {r.error:.1e}" for r in missed]
    return "\n".join(lines) + "\n"


def _bounds(found: list[Row]) -> str:
    bounds = {row.network: row.bound for row in sorted(found, key=lambda row: row.bound)}
    return ", ".join(f"{name} {bound:.1e}" for name, bound in sorted(bounds.items()))


def _combinations(found: list[Row]) -> list[str]:
    """Returns which networks and forms were run, and which were not."""
    ran = {(row.network, row.form) for row in found if row.form in FORMS}
    every = [(name, form) for name in NETWORKS for form in FORMS]
    lines = [f"Run: {len(ran)} of {len(every)} combinations of network and form."]
    left = [f"{name} ({form})" for name, form in every if (name, form) not in ran]
    if left:
        lines.append(f"Not run for this page: {', '.join(left)}.")
    part = sorted({row.form for row in found if row.fault in MORE})
    if found and part != sorted(FORMS):
        lines.append(
            f"The {len(MORE)} faults of tests/mutation/faults/siblings.py: {', '.join(part) or 'not run'} only."
        )
    nir = sorted({row.network for row in found if row.form == NIR})
    return [*lines, f"NIR files, with faults of their own: {', '.join(nir)}."] if nir else lines


def main() -> None:
    """Runs the suite."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--forms", default=",".join(FORMS))
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    parser.add_argument("--rows", default="", help="file for the rows as JSON")
    parser.add_argument("--part", default="1/1", help="K/N: the sound artifacts and every N-th fault from the K-th on")
    parser.add_argument("--siblings", action="store_true", help="those of siblings.py alone")
    parser.add_argument("--join", nargs="*", help="files of rows to make the table from, instead of running")
    parser.add_argument("--state", default="", help="what the page says of the code that was run")
    given = parser.parse_args()
    if given.join:
        read = [Row(**row) for file in given.join for row in json.loads(Path(file).read_text(encoding="utf-8"))]
        bounds = {row.network: row.bound for row in sorted(read, key=lambda row: row.bound) if not row.fault}
        read = [replace(row, bound=bounds.get(row.network, row.bound)) for row in read]
        found = list({(row.network, row.form, row.fault): row for row in read}.values())  # sound ones are in every part
    else:
        part, parts = map(int, given.part.split("/"))
        chosen = tuple(MORE if given.siblings else FAULTS)[part - 1 :: parts]
        found = rows(tuple(given.networks.split(",")), tuple(given.forms.split(",")), chosen)
    if given.rows:
        Path(given.rows).write_text(json.dumps([vars(row) for row in found]), encoding="utf-8")
    if given.write:
        PAGE.write_text(table(found, given.state), encoding="utf-8")
    else:
        print(table(found, given.state))


if __name__ == "__main__":
    main()
