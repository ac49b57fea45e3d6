"""tiny_vlm: LLaVA's tokens and features under public names, in torch and in ONNX Runtime, calibrated and plain."""

import functools

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit.cli import main
from neurokit.errors import InputError
from neurokit.transforms import transform

from ...transforms.calibration_oracle import agrees, draw, read
from ..decoder.definition import by_definition, run_artifact, run_module
from ..decoder.oracle import worst


def start(module, batch=1, kind=torch.float64):
    return [
        torch.zeros(
            batch,
            *(size if isinstance(size, int) else 0 for size in state.shape),
            dtype=torch.int64 if state.dtype == "int64" else kind,
        )
        for state in module.states
    ]


def pixels():
    return draw("lm_llava", "pixel_values", (1, 3, 28, 28))


def written(module, features, prompt, count, cuts=()):
    """Greedy tokens, and the logits of the prompt."""
    states, logits, tokens = start(module), [], []
    parts = [part.tolist() for part in np.split(np.array(prompt), cuts)]
    for step in range(count + len(parts) - 1):
        ids = parts[step] if step < len(parts) else tokens[-1:]
        found = module(torch.tensor([ids]), features, *states)
        states = [found[state.name] for state in module.states]
        logits.append(found["logits"])
        if step >= len(parts) - 1:
            tokens.append(int(found["logits"][0, -1].argmax()))
    return tokens, torch.cat(logits[: len(parts)], 1)


def test_the_public_state_loads_strictly_and_gives_the_oracles_tokens():
    data, module = read("lm_llava"), nk.load("tiny_vlm").build()
    assert {name: list(x.shape) for name, x in module.state_dict().items()} == data["state"]
    assert sum(x.numel() for x in module.parameters()) == data["parameters"]
    module.load_state_dict(dict(module.state_dict()), strict=True)
    module = module.double()
    with torch.no_grad():
        features = module.vision(torch.from_numpy(pixels()))["features"]
        assert agrees(features[0], data["outputs"]["image_features"], 1e-5)
        for cuts in ((), (7, 21)):
            tokens, logits = written(module, features, data["tokens"], 12, cuts)
            assert tokens == data["outputs"]["greedy_tokens"]
            assert agrees(logits, data["outputs"]["prefill_logits_[1,26,V]"], 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["decomposed", "standard", "ort"])
def test_every_form_writes_the_oracles_tokens(form, tmp_path, capsys):
    data = read("lm_llava")
    artifact = nk.lower("tiny_vlm", "onnx-step", tmp_path / "vlm", attention=form)
    assert artifact.manifest.parity["verdict"] == "within tolerance"
    image = pixels().astype(np.float32)
    for chunk in (None, 7, 1):
        (found,) = nk.generate(artifact, data["tokens"], 12, chunk=chunk, inputs={"pixel_values": image})
        assert list(found.tokens) == data["outputs"]["greedy_tokens"]
    np.save(tmp_path / "image.npy", image)
    prompt = ",".join(map(str, data["tokens"]))
    given = ["--prompt-ids", prompt, "--tokens", "12", "--input", f"pixel_values={tmp_path / 'image.npy'}"]
    assert main(["run", str(artifact.path), *given]) == 0
    assert capsys.readouterr().out.splitlines()[0] == ",".join(map(str, data["outputs"]["greedy_tokens"]))
    for prompt, inputs, said in (
        ([1, 2, 3], {}, "no picture"),
        ([1, 250, 3], {"pixel_values": image}, "1 image tokens"),
    ):
        with pytest.raises(InputError, match=said):
            nk.generate(artifact, prompt, 2, inputs=inputs)


STEPS = ["var:dims=3,17,tau=1.5,summ=0.05,layers=1-2", "gift:saliency=0,alpha=3,layers=1-3", "act:threshold=0.05"]


@pytest.mark.parametrize("step", STEPS)
def test_visual_tokens_are_those_of_the_image(step):
    """The image's tokens as the model marks them are its range of positions, whatever the method."""
    data, spec = read("lm_llava"), nk.load("tiny_vlm")
    module = transform(spec, [step]).build().double()
    image = "3-19"
    other = transform(spec, [step if step.startswith("act") else f"{step},image={image}"]).build().double()
    plain = spec.build().double()
    with torch.no_grad():
        features = module.vision(torch.from_numpy(pixels()))["features"]
        (tokens, logits), (again, same), (_, before) = (
            written(net, features, data["tokens"], 6) for net in (module, other, plain)
        )
    assert tokens == again
    assert torch.equal(logits, same)
    assert (logits - before).abs().max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("form", ["decomposed", "standard", "ort"])
@pytest.mark.parametrize("step", STEPS)
def test_calibrated_artifacts_write_the_modules_tokens(step, form, tmp_path):
    data = read("lm_llava")
    spec = transform(nk.load("tiny_vlm"), [step])
    artifact = nk.lower(nk.capture(spec), "onnx-step", tmp_path / "vlm", attention=form)
    assert artifact.manifest.parity["verdict"] == "within tolerance"
    image = pixels().astype(np.float32)
    module = spec.build().double()
    with torch.no_grad():
        features = module.vision(torch.from_numpy(pixels()))["features"]
        wanted, _ = written(module, features, data["tokens"], 8)
    (found,) = nk.generate(artifact, data["tokens"], 8, inputs={"pixel_values": image})
    assert list(found.tokens) == wanted
    if not step.startswith("act"):
        with pytest.raises(InputError, match="0 image tokens"):
            nk.generate(artifact, [1, 17, 33, 40], 2, inputs={"pixel_values": image})


METHODS = {
    "zerotuning": ["zerotuning:gamma=4,layers=1-2,heads=0,3"],
    "act": ["act:beta=0.3,threshold=0.05,layers=1-2,heads=0,2"],
    "var": ["var:dims=3,17,tau=1.5,summ=0.05,layers=1-2"],
    "gift": ["gift:saliency=0,alpha=3,layers=1-3"],
    "all": ["zerotuning:gamma=2,heads=1", "act:beta=0.5,layers=1,threshold=0.05", "gift:saliency=0,layers=2-3"],
}
PROMPT, PADS = 26, (0, 1, 3)
CUTS = {"prompt": [PROMPT], "chunks": [PROMPT, PROMPT + 2], "steps": list(range(PROMPT, PROMPT + 5))}


def batch():
    """Three pictures, and texts of 31, 30 and 28 tokens behind padding, each with its picture's place in it."""
    draw_ = np.random.default_rng(5)
    text = np.array(read("lm_llava")["tokens"])
    ids = np.full((3, PROMPT + 5), -1)
    for row, pad in enumerate(PADS):
        ids[row, pad:PROMPT] = text[pad:]
        ids[row, PROMPT:] = draw_.integers(3, 200, 5)
    scales = np.array([1.0, -0.7, 0.4]).reshape(3, 1, 1, 1)
    return ids, (pixels() * scales + draw_.normal(0, 0.2, (3, 3, 28, 28))).astype(np.float32)


def texts_alone(module, ids, pictures):
    """Logits of each text by itself without padding, its prompt in one call."""
    found = np.zeros((*ids.shape, module.config.vocabulary))
    for row, pad in enumerate(PADS):
        features = module.vision(torch.from_numpy(pictures[row : row + 1]).double())["features"]
        found[row, pad:] = run_module(module, ids[row : row + 1, pad:], [PROMPT - pad], features)[0]
    return found


@pytest.mark.parametrize("key", METHODS)
def test_a_padded_batch_is_its_texts_by_the_definition(key):
    """In torch: three texts and pictures behind padding, prompt, chunks and steps."""
    (ids, pictures), spec = batch(), transform(nk.load("tiny_vlm"), METHODS[key])
    module, real = spec.build().double(), ids >= 0
    with torch.no_grad():
        wanted = texts_alone(by_definition(spec), ids, pictures)
        plain = texts_alone(nk.load("tiny_vlm").build().double(), ids, pictures)
        features = module.vision(torch.from_numpy(pictures).double())["features"]
        for cuts in CUTS.values():
            assert worst(run_module(module, ids, cuts, features)[real], wanted[real]) < 1e-6
    assert worst(plain[real], wanted[real]) > 1e-3  # it does something


@pytest.fixture(scope="module")
def calibrated():
    """The captured model of a list of transforms, and the logits of the batch's texts by the definition."""

    @functools.cache
    def make(key):
        spec = transform(nk.load("tiny_vlm"), METHODS[key])
        with torch.no_grad():
            return nk.capture(spec), texts_alone(by_definition(spec), *batch())

    return make


@pytest.mark.slow
@pytest.mark.parametrize("form", ["decomposed", "standard", "ort"])
@pytest.mark.parametrize("key", METHODS)
def test_a_padded_batch_is_its_texts_in_every_form(calibrated, key, form, tmp_path):
    (ids, pictures), (captured, wanted) = batch(), calibrated(key)
    artifact, real = nk.lower(captured, "onnx-step", tmp_path / "vlm", attention=form), ids >= 0
    assert artifact.manifest.parity["verdict"] == "within tolerance"
    with nk.open(artifact) as runner:
        for cuts in CUTS.values():
            found = run_artifact(runner, ids, cuts, vision={"pixel_values": pictures})
            assert worst(found[real], wanted[real]) < 1e-5
