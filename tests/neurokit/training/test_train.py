"""Training in small: the record against scikit-learn, weights that other commands read, resumption, refusals."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.metrics import confusion_matrix, f1_score, top_k_accuracy_score

import neurokit as nk
from neurokit.cli import main
from neurokit.data.digits import load_digits
from neurokit.data.files import read_arrays
from neurokit.data.folders import read_folder
from neurokit.data.puppets import CLASSES, PuppetShapes
from neurokit.errors import InputError, OutputError
from neurokit.loading import load
from neurokit.models.puppets import small_mobilenet
from neurokit.reports.training import TrainingReport
from neurokit.training.augment import Augmented, Warped, augmentation, projections
from neurokit.training.lightning_module import metrics_of
from neurokit.training.network import Classifier
from neurokit.training.recipe import RECIPES, recipe_of

STEPS = {"recipe": "scratch", "schedule": "step", "batch": 32, "seed": 3}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small network after two epochs; it need not be good."""
    folder = tmp_path_factory.mktemp("train") / "out"
    rows = []
    report = nk.train(small_mobilenet(), "puppets:8", folder, epochs=2, progress=lambda *row: rows.append(row), **STEPS)
    return folder, report, rows


@pytest.fixture(scope="module")
def artifact(trained, tmp_path_factory):
    """The trained network as ONNX."""
    spec = load(small_mobilenet(), weights=trained[0] / "weights.safetensors")
    return nk.lower(nk.capture(spec), "onnx", tmp_path_factory.mktemp("lowered") / "onnx", verified=False)


def logits(spec, shapes):
    module = spec.build().eval()
    with torch.no_grad():
        return module(shapes.images).numpy()  # in one batch, as validation does


def test_the_record_is_what_scikit_learn_finds_with_the_saved_weights(trained):
    folder, report, rows = trained
    shapes = PuppetShapes("test", 2, 48, seed=3)
    y = logits(load(small_mobilenet(), weights=folder / "weights.safetensors"), shapes)
    labels = shapes.labels.numpy()
    chosen = y.argmax(1)
    assert np.array_equal(report.confusion, confusion_matrix(labels, chosen, labels=range(15)))
    for k in (1, 2, 3):
        expected = top_k_accuracy_score(labels, y, k=k, labels=range(15))
        assert report.metrics[f"top_{k}"].value == pytest.approx(expected)
        assert report.metrics[f"top_{k}"].low < expected < report.metrics[f"top_{k}"].high
    expected = f1_score(labels, chosen, average="macro", labels=range(15), zero_division=0)
    assert report.metrics["macro_f1"].value == pytest.approx(expected)
    assert [row[:2] for row in rows] == [(1, 2), (2, 2)]
    assert report.synthetic
    assert "synthetic" in report.train_data


def test_the_record_survives_its_file(trained):
    folder, report, _ = trained
    assert TrainingReport.from_json(json.loads((folder / "record.json").read_text())) == report
    assert report.classes == CLASSES
    assert report.epochs == 2
    counts = {(a, b): n for a, b, n in report.most_confused}
    assert all(a != b and n == report.confusion[CLASSES.index(a)][CLASSES.index(b)] for (a, b), n in counts.items())


def test_training_in_two_pieces_is_training_in_one(trained, tmp_path):
    nk.train(small_mobilenet(), "puppets:8", tmp_path / "out", epochs=1, **STEPS)
    half = load_file(tmp_path / "out" / "weights.safetensors")
    nk.train(small_mobilenet(), "puppets:8", tmp_path / "out", epochs=2, resume=True, **STEPS)
    whole = load_file(trained[0] / "weights.safetensors")
    pieces = load_file(tmp_path / "out" / "weights.safetensors")
    assert all(torch.equal(value, pieces[name]) for name, value in whole.items())
    assert not all(torch.equal(value, half[name]) for name, value in whole.items())


def test_a_photograph_is_answered_by_the_artifact_as_by_the_module(trained, artifact, tmp_path):
    """The whole way: bytes of a file, preprocessing in the graph, ONNX Runtime, an answer in words."""
    shapes = PuppetShapes("test", 1, 48, seed=8)
    y = logits(load(small_mobilenet(), weights=trained[0] / "weights.safetensors"), shapes)
    for at in (0, 7):
        Image.fromarray(shapes.images[at, 0].numpy()).save(tmp_path / f"{at}.png")
    said = nk.answer(artifact, [tmp_path / "0.png", tmp_path / "7.png"])
    for at, one in zip((0, 7), said, strict=True):
        exp = np.exp(y[at] - y[at].max())
        assert one["name"] == CLASSES[y[at].argmax()]
        assert one["probability"] == pytest.approx(exp.max() / exp.sum(), rel=1e-4)
    assert artifact.manifest.inputs[0].dtype == "uint8"


def test_a_spiking_model_trains_on_image_folders(tmp_path, capsys):
    """Any model that classifies: here neurons over four time steps, grey digits of 8 x 8, through the command line."""
    digits = load_digits()
    for split, images, labels in (
        ("train", digits.train_images, digits.train_labels),
        ("val", digits.test_images, digits.test_labels),
    ):
        for at in range(60):
            folder = tmp_path / "digits" / split / str(int(labels[at]))
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray((images[at, 0] * 255).byte().numpy()).save(folder / f"{at}.png")
    (tmp_path / "digits" / "train" / "3" / "bad.png").write_text("no image")
    command = ["train", "spiking_cnn", "--data", str(tmp_path / "digits"), "--out", str(tmp_path / "out")]
    command += [
        "--recipe",
        "scratch",
        "--batch",
        "6",
        "--epochs",
        "2",
        "--no-cache",
        "--augmentation",
        "none",
        "--json",
    ]
    assert main(command) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["train_images"] == 60
    assert [path.rpartition("/")[2] for path, _ in record["unreadable"]] == ["bad.png"]
    assert not record["synthetic"]
    assert record["metrics"]["top_1"]["value"] > 0.25  # chance is 0.1
    assert main([*command[:-1], "--force"]) == 0
    said = capsys.readouterr().out
    assert "2 epochs" in said
    assert "1 files cannot be read" in said
    assert "neurokit export spiking_cnn --weights" in said


def test_published_is_the_default_and_what_the_notebook_does():
    recipe = recipe_of("published")
    assert (recipe.optimiser, recipe.lr, recipe.momentum, recipe.batch, recipe.epochs) == ("sgd", 1e-3, 0.9, 8, 50)
    assert (recipe.schedule, recipe.step_epochs, recipe.gamma) == ("step", 5, 0.1)
    assert nk.train.__kwdefaults__["recipe"] == "published"


@pytest.mark.parametrize("name", ["published", "strong"])
def test_augmented_walls_stay_walls(name):
    """What comes in from beyond the edge must not become shadow by the threshold."""
    images = torch.full((50, 1, 32, 32), 200, dtype=torch.uint8)
    moved = augmentation(name, shadows=True)(images, torch.arange(50), 0)
    assert moved.dtype == torch.uint8
    assert int(moved.min()) > 90
    assert int(augmentation(name, shadows=False)(images, torch.arange(50), 0).min()) == 0


@pytest.mark.parametrize("name", ["published", "strong"])
def test_an_image_is_changed_the_same_in_any_batch_and_otherwise_in_another_epoch(name):
    """Otherwise a training on two devices, or one that goes on, would see other images."""
    images = PuppetShapes("train", 1, 32).images
    part = Augmented(images, torch.arange(15), augmentation(name, shadows=True)).shuffled(3, 1)
    whole, labels = part.__getitems__(list(range(15)))
    for start in (0, 7, 14):
        some, same = part.__getitems__(list(range(start, min(start + 7, 15))))
        assert torch.equal(some, whole[start : start + 7])
        assert torch.equal(same, labels[start : start + 7])
    again = Augmented(images, torch.arange(15), augmentation(name, shadows=True)).shuffled(3, 2)
    other, numbers = again.__getitems__(list(range(15)))
    assert not torch.equal(other[numbers.argsort()], whole[labels.argsort()])


def test_a_batch_is_warped_as_pillow_warps_one():
    """The same map in pixels, given to Pillow, makes the same picture but for its edge."""
    image = PuppetShapes("train", 1, 64).images[4]
    pixels = np.array([[32.0, 0, 32], [0, 32, 32], [0, 0, 1]])  # from -1..1 to 0..64
    for number in range(6):
        found = Warped(255)(image[None], torch.tensor([0]), number)[0, 0].numpy().astype(float)
        (matrix,) = projections(torch.rand(1, 8, generator=torch.Generator().manual_seed(number))).double().numpy()
        map_ = pixels @ matrix @ np.linalg.inv(pixels)
        given = (map_ / map_[2, 2]).reshape(-1)[:8]
        way = Image.Transform.PERSPECTIVE, given.tolist(), Image.Resampling.BILINEAR
        expected = np.asarray(Image.fromarray(image[0].numpy()).transform((64, 64), *way, fillcolor=255), float)
        far = np.abs(found - expected) > 2
        assert far.mean() < 0.06  # on the edge of the old picture, where only one of them blends
        assert np.abs(found - image[0].numpy()).mean() > 5


def test_float_inputs_are_normalised_as_the_task_says():
    from neurokit.training.network import Prepared

    port = nk.TensorSpec("image", (3, 4, 4), low=-1.0, high=3.0)
    spec = nk.ModelSpec("m", torch.nn.Identity, (port,), classes=("a", "b"))
    image = torch.arange(48, dtype=torch.uint8).reshape(1, 3, 4, 4) * 5
    torch.testing.assert_close(Prepared(spec)(image), image / 255 * 4 - 1)
    settings = {"classes": ["a", "b"], "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}
    spec = dataclasses.replace(spec, task=dataclasses.replace(spec.task, settings=settings))
    mean, std = (torch.tensor(settings[name]).reshape(3, 1, 1) for name in ("mean", "std"))
    torch.testing.assert_close(Prepared(spec)(image), (image / 255 - mean) / std)


def test_what_cannot_be_trained_is_refused_before_any_work(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    cases = [
        ({"recipe": "mine"}, InputError, "no recipe 'mine'"),
        ({"epoch": 3}, InputError, "no setting 'epoch'"),
        ({"epochs": 0}, InputError, "epochs is 0"),
        ({"lr": float("nan")}, InputError, "lr is nan"),
        ({"batch": True}, InputError, "batch is True"),
        ({"seed": -1}, InputError, "seed is -1"),
        ({"precision": "int8"}, InputError, "precision is 'int8'"),
        ({"devices": 0}, InputError, "devices is 0"),
        ({"data": "puppets:x"}, InputError, "data is 'puppets:x'"),
        ({"data": tmp_path / "nowhere"}, InputError, "there is no folder"),
        ({"data": (1, 2)}, InputError, "not usable"),
        ({"data": (PuppetShapes("train", 1, 32), PuppetShapes("test", 1, 32))}, InputError, r"expected|uint8"),
        ({"out": tmp_path / "full"}, OutputError, "is no training"),
        ({"resume": True}, InputError, "holds no last.ckpt"),
        ({"model": "tiny_lm"}, InputError, "has the task generation"),
        ({"model": "spiking_cnn"}, InputError, "10 numbers|10 classes"),
    ]
    for change, kind, said in cases:
        given = {"model": small_mobilenet(), "data": "puppets:4", "out": tmp_path / "new", "epochs": 1} | change
        with pytest.raises(kind, match=said):
            nk.train(**given)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [({"epochs": 2}, "all of 2 epochs"), ({"lr": 0.5}, "lr is 0.5"), ({"seed": 4}, "seed is 4"), ({}, "no checkpoint")],
)
def test_another_training_does_not_go_on_from_a_checkpoint(trained, tmp_path, change, said):
    folder = trained[0]
    if not change:
        folder = tmp_path
        (tmp_path / "last.ckpt").write_bytes((trained[0] / "last.ckpt").read_bytes()[:2000])
    with pytest.raises(InputError, match=said):
        nk.train(small_mobilenet(), "puppets:8", folder, resume=True, **{**STEPS, "epochs": 5, **change})


def _set(path, value):
    """Returns an edit of a checkpoint: the value, or what a function makes of what is there, at a path."""

    def edit(content):
        *way, last = path
        for key in way:
            content = content[key]
        content[last] = value(content[last]) if callable(value) else value

    return edit


CLASS_BIAS = "classifier.saved.network.classifier.1.bias"
MOMENT, GROUP = ("optimizer_states", 0, "state", 0, "exp_avg"), ("optimizer_states", 0, "param_groups", 0)
EPOCHS = ("loops", "fit_loop", "epoch_progress", "current")
EDITS = {
    "sparse weights": (_set(("state_dict", CLASS_BIAS), lambda x: x.to_sparse()), "no dense tensor"),
    "weights without data": (_set(("state_dict", CLASS_BIAS), lambda x: x.to("meta")), "without data"),
    "weights of another shape": (_set(("state_dict", CLASS_BIAS), lambda x: x[:3].clone()), r"float32 \[3\], float32"),
    "weights of another type": (_set(("state_dict", CLASS_BIAS), lambda x: x.long()), "is int64"),
    "text as weights": (_set(("state_dict", CLASS_BIAS), "x"), f"{CLASS_BIAS} is 'x'"),
    "no weights": (_set(("state_dict",), None), "state_dict is None"),
    "weights too many": (_set(("state_dict", "more"), torch.zeros(1)), "has 'more'"),
    "a setting that is a tensor": (_set(("neurokit", "lr"), torch.ones(3)), "TypeError"),
    "an epoch in words": (_set(("epoch",), "0"), "epoch is '0'"),
    "a version in words": (_set(("pytorch-lightning_version",), "x"), "while it was restored"),
    "no optimisers": (_set(("optimizer_states",), []), "a list of 1"),
    "an optimiser in words": (_set(("optimizer_states", 0), "x"), "param_groups is None"),
    "a moment of another shape": (_set(MOMENT, torch.zeros(2)), r"exp_avg is float32 \[2\]"),
    "a sparse moment": (_set(MOMENT, lambda x: x.to_sparse()), "exp_avg is no dense tensor"),
    "a moment in words": (_set(MOMENT, "x"), "exp_avg is 'x'"),
    "a step below zero": (_set((*MOMENT[:-1], "step"), torch.tensor(-1.0)), "step is -1"),
    "a state of no parameter": (_set((*MOMENT[:-2], 999), {}), "999, of which"),
    "a rate in words": (_set((*GROUP, "lr"), "x"), "lr is 'x'"),
    "a rate that is no number": (_set((*GROUP, "lr"), float("nan")), "has lr nan"),
    "betas of two": (_set((*GROUP, "betas"), (2.0, 2.0)), "has betas"),
    "another decay": (_set((*GROUP, "weight_decay"), 7.0), "has weight_decay 7"),
    "no schedules": (_set(("lr_schedulers",), {}), "lr_schedulers is"),
    "an empty schedule": (_set(("lr_schedulers", 0), {}), "lr_schedulers.0 has no"),
    "a schedule's step in words": (_set(("lr_schedulers", 0, "step_size"), "x"), "step_size is 'x'"),
    "a schedule far ahead": (_set(("lr_schedulers", 0, "last_epoch"), 10**12), "at most 2 was"),
    "loops in words": (_set(("loops",), "x"), "loops is 'x'"),
    "a loop without a count": (_set((*EPOCHS,), {}), "current has no"),
    "epochs that were not": (_set((*EPOCHS, "completed"), 3), "completed is 3, 1 was expected"),
    "batches without an end": (
        _set(("loops", "fit_loop", "epoch_loop.batch_progress", "current", "ready"), 10**30),
        "a count was expected",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_checkpoint_is_refused_in_one_line(trained, tmp_path, name):
    edit, said = EDITS[name]
    content = torch.load(trained[0] / "last.ckpt", weights_only=True)
    edit(content)
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(InputError, match=said) as refused:
        nk.train(small_mobilenet(), "puppets:8", tmp_path, resume=True, **{**STEPS, "epochs": 5})
    assert "\n" not in str(refused.value)
    assert str(tmp_path / "last.ckpt") in refused.value.what
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["last.ckpt"]


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_a_schedule_over_all_steps_is_gone_on_with(tmp_path, optimiser):
    """Its checkpoint fits what it is held against, also that of a training that went on once already."""
    told = []

    def stop(done, total, row):
        told.append(done)
        if done in (2, 4) and told.count(done) == 1:
            raise KeyboardInterrupt

    given = {**STEPS, "schedule": "onecycle", "optimiser": optimiser, "augmentation": "none", "epochs": 5}
    for resume in (False, True):
        with pytest.raises(KeyboardInterrupt):
            nk.train(small_mobilenet(), "puppets:8", tmp_path / "out", resume=resume, progress=stop, **given)
    nk.train(small_mobilenet(), "puppets:8", tmp_path / "out", resume=True, progress=stop, **given)
    assert told == [1, 2, 2, 3, 4, 4, 5]


def test_a_checkpoint_names_no_file_that_goes(trained, tmp_path):
    """Lightning removes the file that its callback's entry calls the best one so far."""
    (tmp_path / "kept.txt").write_text("kept")
    folder = tmp_path / "out"
    folder.mkdir()
    content = torch.load(trained[0] / "last.ckpt", weights_only=True)
    (entry,) = content["callbacks"].values()
    entry |= {"dirpath": str(folder), "best_model_path": f"{folder}/../kept.txt", "kth_value": "x"}
    torch.save(content, folder / "last.ckpt")
    report = nk.train(small_mobilenet(), "puppets:8", folder, resume=True, **{**STEPS, "epochs": 3})
    assert [row["epoch"] for row in report.history] == [3]
    assert (tmp_path / "kept.txt").read_text() == "kept"


def test_an_earlier_training_is_not_replaced_unasked(trained):
    with pytest.raises(OutputError, match="holds a training already"):
        nk.train(small_mobilenet(), "puppets:4", trained[0], epochs=1)


def test_chance_outside_is_left_alone(trained, tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    nk.train(small_mobilenet(), "puppets:4", tmp_path / "out", epochs=1, **STEPS)
    assert torch.equal(torch.get_rng_state(), before)


def test_models_over_time_answer_with_the_mean_of_their_steps():
    spec = load("spiking_cnn")
    classifier = Classifier(spec).eval()
    images = (load_digits().test_images[:4] * 255).byte()
    from spikingjelly.activation_based import functional

    functional.reset_net(classifier.model)
    with torch.no_grad():
        expected = classifier.model((images.float() / 255).repeat(spec.time_steps, 1, 1, 1, 1))
        expected = expected.mean(0) if expected.dim() == 3 else expected
        found = classifier(images)
        again = classifier(images)  # at rest once more
    torch.testing.assert_close(found, expected)
    assert torch.equal(found, again)


def test_metrics_that_agree_on_the_first_batch_stay_apart():
    """The first batch of ordered data holds one class; there top-1 and top-2 are often equal."""
    metrics = metrics_of(4)
    metrics.update(torch.tensor([[9.0, 1, 0, 0]]), torch.tensor([0]))
    metrics.update(torch.tensor([[9.0, 8, 0, 0], [9.0, 8, 7, 0]]), torch.tensor([1, 2]))
    found = {name: value.tolist() for name, value in metrics.compute().items()}
    assert [found[f"top_{k}"] for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1])


def test_recipes_are_told_apart_in_the_record():
    assert {recipe.name for recipe in RECIPES.values()} == set(RECIPES)


PREP = """graph = {graph}
[[step]]
name = "Grayscale"
[[step]]
name = "Resize"
size = 12
interpolation = "bicubic"
[[step]]
name = "CenterCrop"
size = 8
[[step]]
name = "ToDtype"
scale = true
[[step]]
name = "Normalize"
mean = 0.3
std = 0.25
"""
SMALL_NET = """from torch import nn
from neurokit.spec import ModelSpec, TensorSpec


def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).eval()


def net():
    return ModelSpec("net", build, (TensorSpec("image", (1, 8, 8)),), classes=("0", "1"))
"""


@pytest.mark.parametrize("graph", ["false", "true"], ids=["outside", "in the graph"])
def test_a_declared_preprocessing_is_trained_on_and_exported(graph, tmp_path, capsys, monkeypatch):
    """The network learns on what its artifact will see: crops, scaled and normalised, from pictures of any size."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "prep.toml").write_text(PREP.format(graph=graph))
    (tmp_path / "net.py").write_text(SMALL_NET)
    rng = np.random.default_rng(0)
    for part, many in (("train", 24), ("val", 6)):
        for label in (0, 1):
            place = tmp_path / "set" / part / str(label)
            place.mkdir(parents=True)
            for number in range(many):
                pixels = rng.integers(0, 90, (14, 17, 3)) + 140 * label
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number}.png")
    words = ["train", "net.py:net", "--data", "set", "--recipe", "scratch", "--augmentation", "none", "--epochs", "3"]
    assert main([*words, "--preprocess", "prep.toml", "--lr", "0.01", "--batch", "8"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("next: ")]
    record = json.loads((tmp_path / "build/train/net/record.json").read_text())
    assert "CenterCrop" in record["preprocess"]
    assert record["metrics"]["top_1"]["value"] == 1.0
    (first, *_) = (line.removeprefix("next: neurokit ").split() for line in lines)
    assert first[4:6] == ["--preprocess", "prep.toml"]
    assert main([*first, "--data", "set/val", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"]["after"] == 1.0
    loaded = load("net.py:net", preprocess="prep.toml", weights="build/train/net/weights.safetensors")
    classifier, shown = Classifier(loaded), tmp_path / "set" / "val" / "1" / "0.png"
    (prepared,) = read_arrays(shown, loaded, None)
    (kept,) = read_folder(tmp_path / "set" / "val", (8, 8), spec=loaded, cache=False).images[6:7]
    with torch.no_grad():
        assert torch.equal(classifier(torch.from_numpy(kept[None])), loaded.build()(torch.from_numpy(prepared[None])))
    assert main([*words, "--preprocess", "prep.toml", "--resume", "--epochs", "5"]) == 2
