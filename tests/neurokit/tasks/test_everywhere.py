"""Every task's metric in export, artifact, benchmark, answers and page, against eager PyTorch and other libraries."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.bench.job import Job, Rules
from neurokit.bench.measure import measure
from neurokit.bench.run import BenchRun
from neurokit.bench.subjects import host_subject, model_subject
from neurokit.cli import main
from neurokit.data.labelled import Labelled
from neurokit.errors import InputError
from neurokit.reports import LatencyReport
from neurokit.spec import GraphSpec, ModelSpec, TaskSpec, TensorSpec
from neurokit.tasks import TASKS

RULES = Rules(seconds=0.02, samples=3, warm_up_runs=1, warm_up_s=0.01, warm_up_limit_s=0.1)
rng = np.random.default_rng(0)


def _measured(what, data):
    artifact = isinstance(what, nk.Artifact)
    source = str(what.path) if artifact else what.name
    job = Job("artifact" if artifact else "eager", source, threads=1, meter="none", data=str(data), rules=RULES)
    subject = host_subject(what, job) if artifact else model_subject(what, job)
    return LatencyReport.from_json(json.loads(json.dumps(measure(subject, job))))


def _eer(embeddings, labels):
    from sklearn.metrics import roc_curve

    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    a, b = np.triu_indices(len(unit), 1)
    alarms, hits, _ = roc_curve(labels[a] == labels[b], (unit @ unit.T)[a, b])
    return float(np.interp(0, alarms - (1 - hits), alarms))


def _perplexity(logits, labels):
    return float(nn.functional.cross_entropy(torch.tensor(logits).flatten(0, 1), torch.tensor(labels).flatten()).exp())


def _f1(logits, labels):
    from torchmetrics.functional.classification import multiclass_f1_score

    y, t = torch.tensor(logits).flatten(0, 1), torch.tensor(labels).flatten()
    return float(multiclass_f1_score(y, t, 3, average="weighted"))


def _dice(logits, labels):
    from torchmetrics.functional.classification import multiclass_f1_score

    return float(multiclass_f1_score(torch.tensor(logits), torch.tensor(labels), 2, average="macro"))


CASES = {
    "classification": (
        lambda: nn.Linear(5, 4),
        (5,),
        lambda y: (y.argmax(-1) + (rng.random(len(y)) < 0.3)) % 4,
        lambda y, t: float((y.argmax(-1) == t).mean()),
    ),
    "segmentation": (
        lambda: nn.Conv2d(1, 2, 3, padding=1),
        (1, 6, 6),
        lambda y: rng.integers(0, 2, (len(y), 6, 6)),
        _dice,
    ),
    "verification": (lambda: nn.Linear(5, 8), (5,), lambda y: np.arange(len(y)) % 4, _eer),
    "sequence_labelling": (lambda: nn.Linear(5, 3), (4, 5), lambda y: rng.integers(0, 3, y.shape[:2]), _f1),
    "generation": (lambda: nn.Linear(5, 7), (4, 5), lambda y: rng.integers(0, 7, y.shape[:2]), _perplexity),
}


@pytest.mark.parametrize("name", CASES)
def test_export_benchmark_and_page_show_the_metric(name, tmp_path):
    build, shape, label, oracle = CASES[name]
    torch.manual_seed(0)
    net = build().eval()
    x = rng.normal(size=(11, *shape)).astype(np.float32)
    y = net.double()(torch.from_numpy(x).double()).detach().numpy()
    net.float()
    labels = np.asarray(label(y))
    wanted, headline = oracle(y, labels), TASKS.get(name).info.headline
    spec = ModelSpec("net", lambda: net, (TensorSpec("x", shape),), task=TaskSpec(name))
    artifact = nk.lower(nk.capture(spec), "onnx", tmp_path / "a", data=Labelled(x, labels, "given"))
    exported = artifact.manifest.target_info["accuracy"]
    assert (exported["task"], exported["headline"]) == (name, headline)
    assert exported["before"] == pytest.approx(wanted, abs=1e-5)
    assert exported["after"] == pytest.approx(wanted, abs=1e-5)
    np.savez(tmp_path / "d.npz", x=x, y=labels)
    reports = [_measured(what, tmp_path / "d.npz") for what in (artifact, spec)]
    for report in reports:
        assert report.scores["headline"] == headline
        assert report.scores["metrics"][headline]["value"] == pytest.approx(wanted, abs=1e-5)
        assert (report.accuracy is not None) == (name == "classification")
    (tmp_path / "b.json").write_text(json.dumps(BenchRun(tuple(reports)).to_json()))
    assert main(["report", str(tmp_path / "b.json"), str(tmp_path / "a"), "--html", str(tmp_path / "p.html")]) == 0
    page = (tmp_path / "p.html").read_text()
    assert f">{headline}<" in page
    assert (f"{wanted:.4g}" if headline == "perplexity" else f"{wanted:.1%}") in page


DETECTOR = """
import torch
from torch import nn
import neurokit as nk
from neurokit.spec import TaskSpec

class Detector(nn.Module):
    '''Sixteen boxes around the cells of a grid; brightness is the score of class 0, darkness of class 1.'''
    def forward(self, image):
        light = nn.functional.avg_pool2d(image, 4).flatten(1)
        at = torch.arange(4) * 0.25
        low = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).reshape(1, 16, 2).expand(image.shape[0], 16, 2)
        return {"boxes": torch.cat([low, low + 0.25], -1) * 1.0, "scores": torch.stack([light, 1 - light], -1) - 0.5}

def detector():
    return nk.ModelSpec("detector", lambda: Detector().eval(), (nk.TensorSpec("image", (1, 16, 16)),),
        task=TaskSpec("detection", {"boxes": "boxes", "scores": "scores", "scale": [16, 16],
                                    "classes": ["lamp", "hole"]}))

class Gaze(nn.Module):
    '''Looks at the brightest of four quarters, then at the darkest, then ends.'''
    def forward(self, image):
        light = nn.functional.avg_pool2d(image, 8).flatten(1)
        end = torch.full_like(light[:, :1], -9.0)
        stop = torch.cat([light * 0, end + 20], 1)
        return torch.stack([torch.cat([light, end], 1), torch.cat([-light, end], 1), stop], 1)

def gaze():
    return nk.ModelSpec("gaze", lambda: Gaze().eval(), (nk.TensorSpec("image", (1, 16, 16)),),
        task=TaskSpec("scanpaths", {"places": [[4, 4], [12, 4], [4, 12], [12, 12]], "size": [16, 16], "map": [16, 16]}))
"""


def _images():
    """A lamp in one quarter's corner cell and a hole in another's, on grey."""
    x = np.full((4, 1, 16, 16), 0.5, np.float32)
    boxes, paths = np.full((4, 2, 5), -1.0), np.full((4, 3, 3), -1.0)
    for n, (lamp, hole) in enumerate(((0, 15), (3, 12), (12, 3), (15, 0))):
        for row, (cell, value) in enumerate(((lamp, 1.0), (hole, 0.0))):
            left, top = 4 * (cell % 4), 4 * (cell // 4)
            x[n, 0, top : top + 4, left : left + 4] = value
            boxes[n, row] = [row, left, top, left + 4, top + 4]
            paths[n, row] = [4 if left < 8 else 12, 4 if top < 8 else 12, 0.0]
    return x, boxes, paths


@pytest.mark.parametrize(("name", "metric", "said"), [("detector", "map", "lamp"), ("gaze", "scanmatch", "fixations")])
def test_from_a_users_file_to_the_page_by_commands(name, metric, said, tmp_path, capsys):
    from PIL import Image

    (tmp_path / "mine.py").write_text(DETECTOR)
    x, boxes, paths = _images()
    labels = boxes if name == "detector" else paths
    labels[0] = labels[1]  # one of four is wrong
    np.savez(tmp_path / "d.npz", x=x, y=labels)
    Image.fromarray((x[2, 0] * 255).astype(np.uint8)).save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", x[3])
    out, data = str(tmp_path / "art"), ["--data", str(tmp_path / "d.npz")]
    assert main(["export", f"{tmp_path}/mine.py:{name}", "--out", out, *data, "--json"]) == 0
    exported = json.loads(capsys.readouterr().out)["accuracy"]
    assert exported["headline"] == metric
    assert 0.5 < exported["before"] == exported["after"] < 1
    assert main(["run", out, str(tmp_path / "a.png"), str(tmp_path / "b.npy"), "--json"]) == 0
    answers = [row["answer"] for row in json.loads(capsys.readouterr().out)["answers"]]
    if name == "detector":
        for answer, truth in zip(answers, boxes[2:], strict=True):
            lamp, hole = sorted(answer["objects"], key=lambda entry: entry["class"])
            assert (lamp["name"], hole["name"]) == ("lamp", "hole")
            np.testing.assert_allclose([lamp["box"], hole["box"]], truth[:, 1:], atol=1e-4)
    else:
        seen = [[[f["x"], f["y"]] for f in answer["fixations"]] for answer in answers]
        assert seen == paths[2:, :2, :2].tolist()
    assert main(["run", out, str(tmp_path / "a.png")]) == 0
    assert said in capsys.readouterr().out
    if name == "detector":
        bench = ["bench", out, *data, "--seconds", "0.05", "--threads", "1", "--out", str(tmp_path / "b.json")]
        assert main(bench) == 0
        assert f"{metric} {exported['before']:.2%} on 4 samples of d.npz: onnx" in capsys.readouterr().out
    else:
        BenchRun((_measured(nk.Artifact.load(out), tmp_path / "d.npz"),)).save(tmp_path / "b.json")
    (report,) = BenchRun.load(tmp_path / "b.json").reports
    assert report.scores["metrics"][metric]["value"] == pytest.approx(exported["before"])
    assert main(["report", str(tmp_path / "b.json"), "--html", str(tmp_path / "p.html")]) == 0
    assert f">{metric}<" in (tmp_path / "p.html").read_text()


class Two(nn.Module):
    """An encoder and a step that reads what it gives; the step takes tokens, and a gain as a second input."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(9, 6), nn.Linear(6, 5)

    def encoder(self, image):
        return image.flatten(1)

    def step(self, ids, gain, memory):
        return self.head(self.table(ids) + memory[:, None]) * gain[:, None]


def test_several_graphs_and_inputs_are_scored_by_name(tmp_path):
    torch.manual_seed(0)
    net = Two().eval()
    graphs = (
        GraphSpec("encoder", (TensorSpec("image", (2, 3)),), ("memory",), method="encoder"),
        GraphSpec(
            "step",
            (
                TensorSpec("ids", (4,), "int64", high=8),
                TensorSpec("gain", (1,)),
                TensorSpec("memory", (6,), source="encoder.memory"),
            ),
            ("logits",),
            method="step",
        ),
    )
    spec = ModelSpec("two", lambda: net, graphs=graphs, task=TaskSpec("generation"))
    given = {
        "image": rng.normal(size=(10, 2, 3)).astype(np.float32),
        "ids": rng.integers(0, 9, (10, 4)),
        "gain": rng.random((10, 1)).astype(np.float32),
    }
    labels = rng.integers(0, 5, (10, 4))
    image, ids, gain = (torch.from_numpy(value) for value in given.values())
    wanted = _perplexity(net.step(ids, gain, net.encoder(image)).detach().numpy(), labels)
    artifact = nk.lower(nk.capture(spec), "onnx", tmp_path / "a", data=Labelled(given, labels))
    assert artifact.manifest.target_info["accuracy"]["after"] == pytest.approx(wanted, rel=1e-5)
    np.savez(tmp_path / "d.npz", y=labels, **given)
    report = _measured(artifact, tmp_path / "d.npz")
    assert report.scores["metrics"]["perplexity"]["value"] == pytest.approx(wanted, rel=1e-5)
    np.savez(tmp_path / "one.npz", **{name: value[0] for name, value in given.items()})
    (said,) = nk.answer(artifact, [tmp_path / "one.npz"])
    assert said["tokens"] == net.step(ids, gain, net.encoder(image))[0].argmax(-1).tolist()
    with pytest.raises(InputError, match="lacks 'gain'"):
        nk.answer(artifact, [{"image": given["image"][0], "ids": given["ids"][0]}])
    with pytest.raises(InputError, match="has no input 'gain'"):
        _measured(artifact, _without_gain(tmp_path, given, labels))


def _without_gain(folder, given, labels):
    np.savez(folder / "less.npz", y=labels, image=given["image"], ids=given["ids"])
    return str(folder / "less.npz")
