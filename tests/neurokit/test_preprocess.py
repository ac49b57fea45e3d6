"""Declared preprocessing held against torchvision and torchaudio themselves, in files, artifacts and the graph."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torchvision import models
from torchvision.transforms import InterpolationMode, v2

import neurokit as nk
from neurokit.cli import main
from neurokit.data.files import read_arrays
from neurokit.errors import InputError
from neurokit.preprocess import Preprocessing, preprocessing, with_preprocessing
from neurokit.spec import ModelSpec, TensorSpec

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
TOML = """graph = {graph}
[[step]]
name = "Resize"
size = 36
[[step]]
name = "CenterCrop"
size = 32
[[step]]
name = "ToDtype"
scale = true
[[step]]
name = "Normalize"
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"""


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5)).eval()


def spec(channels=3, size=32):
    return ModelSpec("net", net, (TensorSpec("image", (channels, size, size)),), classes=tuple("abcde"))


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (47, 61, 3), dtype=np.uint8)
    path = tmp_path / "p.png"
    Image.fromarray(pixels).save(path)
    return path


def norm():
    return [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]


@pytest.mark.parametrize(
    "steps",
    [
        [v2.Resize(36), v2.CenterCrop(32), *norm()],
        [v2.Resize((32, 32), interpolation=InterpolationMode.BICUBIC), *norm()],
        [v2.Resize(20, max_size=25), v2.CenterCrop(32), *norm()],
        [v2.CenterCrop((32, 32)), v2.Grayscale(3), *norm()],
        [v2.RGB(), v2.CenterCrop(32), v2.ToImage(), v2.ToDtype(torch.float32, scale=False)],
    ],
    ids=["resized and cropped", "bicubic", "padded", "gray", "unscaled"],
)
def test_pictures_are_torchvisions(steps, picture):
    (found,) = read_arrays(picture, with_preprocessing(spec(), v2.Compose(steps)), None)
    wanted = v2.Compose(steps)(Image.open(picture))
    assert found.dtype == np.float32
    assert np.allclose(found, wanted.numpy(), rtol=0, atol=1e-6)  # it multiplies by 1 / 255, and older ones divide


def test_what_resizes_tensors_differs_by_a_unit_of_brightness_at_most(picture):
    steps = [v2.ToImage(), v2.Resize(36), v2.CenterCrop(32), v2.ToDtype(torch.float32, scale=True)]
    (found,) = read_arrays(picture, with_preprocessing(spec(), steps), None)
    assert np.abs(found - v2.Compose(steps)(Image.open(picture)).numpy()).max() <= 1.001 / 255


def test_the_preset_of_published_weights_is_taken(picture):
    preset = models.ResNet18_Weights.DEFAULT.transforms()
    (found,) = read_arrays(picture, with_preprocessing(spec(size=224), preset), None)
    assert np.array_equal(found, preset(Image.open(picture)).numpy())


def test_brightness_of_one_channel(tmp_path):
    Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32)).save(tmp_path / "g.png")
    steps = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    (found,) = read_arrays(tmp_path / "g.png", with_preprocessing(spec(1), steps), None)
    assert np.allclose(found, v2.Compose(steps)(Image.open(tmp_path / "g.png")).numpy(), rtol=0, atol=1e-6)


def test_sound_is_torchaudios(tmp_path):
    from scipy.io import wavfile
    from torchaudio import transforms as T

    wave = np.random.default_rng(1).integers(-20000, 20000, 8000, dtype=np.int16)
    wavfile.write(tmp_path / "a.wav", 16000, wave)
    mel = T.MelSpectrogram(sample_rate=8000, n_fft=256, hop_length=128, n_mels=12)
    steps = [T.Resample(16000, 8000), mel, T.AmplitudeToDB(top_db=80)]
    wanted = nn.Sequential(*steps)(torch.from_numpy(wave.astype(np.float32) / 32768)).numpy()
    taken = ModelSpec("s", net, (TensorSpec("mel", (1, 12, wanted.shape[1])),))
    (found,) = read_arrays(tmp_path / "a.wav", with_preprocessing(taken, nn.Sequential(*steps)), None)
    assert np.allclose(found[0], wanted, atol=1e-4)
    timed = ModelSpec("s", net, (TensorSpec("mel", (12,), layout="F"),), time_steps=wanted.shape[1])
    (frames,) = read_arrays(tmp_path / "a.wav", with_preprocessing(timed, steps), wanted.shape[1])
    assert np.allclose(frames, wanted.T, atol=1e-4)
    with pytest.raises(InputError, match="16000 samples a second, and MelSpectrogram is for 8000"):
        read_arrays(tmp_path / "a.wav", with_preprocessing(timed, [mel]), wanted.shape[1])


@pytest.mark.parametrize("graph", [False, True], ids=["recorded", "in the graph"])
def test_by_command_an_artifact_answers_as_the_users_own_pipeline(graph, tmp_path, picture, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prep.toml").write_text(TOML.format(graph=str(graph).lower()))
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\nfrom neurokit.spec import ModelSpec, TensorSpec\n"
        "def net():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5)).eval()\n"
        "def spec():\n    return ModelSpec('n', net, (TensorSpec('image', (3, 32, 32)),), classes=tuple('abcde'))\n"
    )
    assert main(["export", "net.py:spec", "--preprocess", "prep.toml", "--out", "a"]) == 0
    capsys.readouterr()
    assert main(["run", "a", str(picture), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    pipeline = v2.Compose([v2.Resize(36), v2.CenterCrop(32), *norm()])
    with torch.no_grad():
        wanted = net()(pipeline(Image.open(picture))[None]).softmax(1)[0]
    (said,) = shown["answers"]
    assert said["answer"]["class"] == int(wanted.argmax())
    assert said["answer"]["probability"] == pytest.approx(float(wanted.max()), abs=1e-4)
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert [step["name"] for step in manifest["preprocess"]][:2] == ["Resize", "CenterCrop"]
    assert manifest["graphs"][0]["inputs"][0]["dtype"] == ("uint8" if graph else "float32")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ([v2.RandomCrop(32)], "augmentation belongs to training"),
        ([v2.Resize(32)], "Resize and CenterCrop set the size"),
        ([v2.Resize((32, 32))], "ToDtype"),
        ([v2.Normalize(MEAN, STD)], "follows no ToDtype"),
        ([{"name": "Resize", "size": 0}], "size is 0"),
        ([{"name": "Resize", "sise": 3}], "no setting 'sise'"),
        ([{"name": "Normalize", "mean": MEAN}], "lacks 'std'"),
        ("nowhere.py:x", "no preprocessing file"),
        ("prep.yaml", "a .toml file"),
        ([], "no steps"),
    ],
)
def test_what_cannot_be_declared_is_refused_in_a_line(source, said):
    with pytest.raises(InputError) as error:
        with_preprocessing(spec(), source)
    assert said in f"{error.value}"


def test_a_python_file_gives_it_by_name(tmp_path):
    (tmp_path / "prep.py").write_text(
        "from torchvision.transforms import v2\nimport torch\n"
        "def small():\n    steps = [v2.Resize((32, 32)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]\n"
        "    return v2.Compose(steps)\n"
    )
    names = [step.name for step in preprocessing(f"{tmp_path}/prep.py:small").steps]
    assert names == ["Resize", "ToImage", "ToDtype"]
    assert nk.load(spec(), preprocess=f"{tmp_path}/prep.py:small").preprocess[0].settings["size"] == [32, 32]


def test_energy_of_a_picture_says_that_nothing_is_declared(tmp_path, picture):
    def spiking():
        torch.manual_seed(0)
        layers = (
            layer.Conv2d(3, 4, 3, stride=4),
            neuron.LIFNode(),
            layer.Flatten(),
            layer.Linear(256, 5),
            neuron.LIFNode(),
        )
        made = nn.Sequential(*layers).eval()
        functional.set_step_mode(made, "m")
        return made

    made = ModelSpec("own", spiking, (TensorSpec("image", (3, 32, 32)),), time_steps=2)
    said = "no preprocessing is declared"
    bare = nk.simulate(made, picture, ["loihi1"])
    assert any(said in line for line in bare.assumptions)
    steps = [v2.Resize(36), v2.CenterCrop(32), *norm()]
    meant = nk.simulate(nk.load(made, preprocess=steps), picture, ["loihi1"])
    assert not any(said in line for line in meant.assumptions)
    assert meant.chips[0].total.value != bare.chips[0].total.value


def test_bench_explain_and_sweeps_take_it(tmp_path, picture, capsys):
    """A model that is measured, explained or swept sees what an exported one sees."""
    from neurokit.bench.job import Job
    from neurokit.bench.subjects import load_model
    from neurokit.sweep.evaluate import _spec
    from neurokit.sweep.study import read_study

    (tmp_path / "prep.toml").write_text(TOML.format(graph="false"))
    (tmp_path / "net.py").write_text(
        "from torch import nn\nfrom neurokit.spec import ModelSpec, TensorSpec\n\n\ndef net():\n"
        "    body = lambda: nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.Flatten(), nn.Linear(256, 2)).eval()\n"
        "    return ModelSpec('net', body, (TensorSpec('image', (3, 32, 32)),), classes=('a', 'b'))\n"
    )
    wanted = preprocessing(tmp_path / "prep.toml").steps
    source = f"{tmp_path}/net.py:net"
    job = Job("eager", source, preprocess=str(tmp_path / "prep.toml"))
    assert load_model(source, job).preprocess == wanted
    assert Job.from_json(json.loads(json.dumps(job.to_json()))) == job
    study = tmp_path / "study.toml"
    study.write_text(
        'name = "s"\nobjectives = ["score"]\n[data]\nplace = "x"\n'
        '[models.m]\nsource = "net.py:net"\npreprocess = "prep.toml"\n'
    )
    (tmp_path / "x").mkdir()
    placed = read_study(study).models["m"]
    assert _spec({**placed.model_dump(), "threshold": 1.0}).preprocess == wanted
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "data" / name / f"{number}.png").write_bytes(picture.read_bytes())
    words = ["explain", source, "--data", str(tmp_path / "data"), "--html", str(tmp_path / "page.html"), "--json"]
    assert main([*words, "--preprocess", str(tmp_path / "prep.toml")]) == 0
    assert json.loads(capsys.readouterr().out)["html"]
    words = [
        "bench",
        source,
        "--target",
        "torch-eager",
        "--seconds",
        "0.05",
        "--data",
        str(tmp_path / "data"),
        "--json",
    ]
    assert main([*words, "--preprocess", str(tmp_path / "prep.toml")]) == 0
    assert "eager" in capsys.readouterr().out
    assert main([*words, "--preprocess", str(tmp_path / "nothing.toml")]) == 2


def test_sound_in_the_graph_answers_as_sound_prepared_outside(tmp_path):
    """Samples go in; what follows FixLength is the first layers of the lowered file."""
    from scipy.io import wavfile

    wave = np.random.default_rng(1).integers(-20000, 20000, 9000, dtype=np.int16)
    wavfile.write(tmp_path / "a.wav", 16000, wave)
    wavfile.write(tmp_path / "b.wav", 11025, wave)
    steps = [
        {"name": "FixLength", "size": 8000},
        {"name": "Resample", "orig_freq": 16000, "new_freq": 8000},
        {"name": "MelSpectrogram", "sample_rate": 8000, "n_fft": 256, "hop_length": 128, "n_mels": 12},
        {"name": "AmplitudeToDB", "top_db": 80.0},
    ]

    def body():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.Flatten(), nn.Linear(300, 5)).eval()

    made = ModelSpec("s", body, (TensorSpec("mel", (1, 12, 32)),), classes=tuple("abcde"))
    outside = nk.load(made, preprocess=steps)
    inside = nk.load(made, preprocess=Preprocessing(outside.preprocess, graph=True))
    assert inside.inputs[0].shape == (8000,)
    artifact = nk.lower(inside, "onnx", tmp_path / "onnx")
    assert artifact.manifest.parity["passed"]
    (said,) = nk.answer(artifact, [tmp_path / "a.wav"])
    (prepared,) = read_arrays(tmp_path / "a.wav", outside, None)
    with torch.no_grad():
        wanted = body()(torch.from_numpy(prepared[None])).softmax(1)[0]
    assert said["class"] == int(wanted.argmax())
    assert said["probability"] == pytest.approx(float(wanted.max()), abs=1e-4)
    with pytest.raises(InputError, match="11025 samples a second"):
        nk.answer(artifact, [tmp_path / "b.wav"])
    for wrong in (steps[1:], steps[:1]):
        with pytest.raises(InputError, match="needs to know how many samples"):
            nk.load(made, preprocess=Preprocessing(preprocessing(wrong).steps, graph=True))
    longer = [{"name": "FixLength", "size": 9000}, *steps[1:]]
    with pytest.raises(InputError, match=r"gives \[12, 36\], input 'mel' is \[1, 12, 32\]"):
        nk.load(made, preprocess=Preprocessing(preprocessing(longer).steps, graph=True))


@pytest.mark.parametrize("graph", [False, True], ids=["outside", "in the graph"])
def test_a_network_converted_to_spikes_takes_what_its_source_takes(graph, tmp_path, picture):
    """Rates are of the crop that was declared, not of the picture as any model would take it."""
    from neurokit.transforms import transform

    steps = preprocessing([v2.Resize(36), v2.CenterCrop(32), *norm()]).steps
    source = nk.load(spec(), preprocess=Preprocessing(steps, graph))
    (wanted,) = read_arrays(picture, source, None)
    for name in ("rate_coding", "ann2snn"):
        made = transform(source, [f"{name}:time_steps=4"])
        (found,) = read_arrays(picture, made, made.time_steps)
        assert np.array_equal(found, wanted)
        report = nk.simulate(made, picture, "loihi1")
        assert not any("no preprocessing is declared" in line for line in report.assumptions)
