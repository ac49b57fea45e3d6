"""Checkpoints by their public names: every tensor or none."""

import json

import pytest
import torch
from safetensors.torch import save_file

import neurokit as nk
from neurokit.cli import main
from neurokit.errors import InputError, WeightsError
from neurokit.models.decoder.checkpoints import load_checkpoint
from neurokit.models.decoder.drawn import fill
from neurokit.models.decoder.net import Decoder
from neurokit.models.decoder.public_config import parse_config

from .oracle import read

FIELDS = {**read("lm_llama")["config"], "num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 12}


def tensors(fields=FIELDS):
    return {k: v.clone() for k, v in fill(Decoder(parse_config(fields, ""))).state_dict().items()}


def write(folder, state, fields=FIELDS, files=1):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(fields))
    names = [f"model-{n + 1:05}-of-{files:05}.safetensors" for n in range(files)]
    parts = [dict(list(state.items())[n::files]) for n in range(files)]
    for name, part in zip(names, parts, strict=True):
        save_file(part, folder / name)
    if files > 1:
        places = {key: name for name, part in zip(names, parts, strict=True) for key in part}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return folder


@pytest.mark.parametrize("files", [1, 3])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "doge"])
def test_every_family_and_number_of_files_is_read(kind, files, tmp_path):
    fields = {**FIELDS, "model_type": kind}
    state = tensors(fields)
    assert any("q_norm" in key for key in state) == (kind in ("qwen3", "doge"))
    assert any(key.endswith("self_attn.A") for key in state) == (kind == "doge")
    assert any(key.endswith("q_proj.bias") for key in state) == (kind == "qwen2")
    spec = nk.load(str(write(tmp_path / "lm", state, fields, files)))
    assert spec.name == "lm"
    built = spec.build()
    assert not built.training
    assert torch.equal(built.inverse_frequencies, Decoder(parse_config(fields, "")).inverse_frequencies)
    for key, value in built.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_tied_heads_and_computed_frequencies_are_left_out(tmp_path):
    fields = {**FIELDS, "tie_word_embeddings": True}
    state = tensors(fields)
    state["lm_head.weight"] = state["model.embed_tokens.weight"].clone()
    state["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(2)
    load_checkpoint(write(tmp_path / "same", state, fields)).build()
    state["lm_head.weight"] += 1
    with pytest.raises(WeightsError, match="ties its head"):
        load_checkpoint(write(tmp_path / "other", state, fields)).build()


def test_texts_end_at_the_tokens_of_the_generation_file_else_of_the_configuration(tmp_path):
    folder = write(tmp_path / "lm", tensors(), {**FIELDS, "eos_token_id": 7})
    assert load_checkpoint(folder).task.settings["stop"] == [7]
    for said, wanted in (({"eos_token_id": [3, 4]}, [3, 4]), ({"eos_token_id": 5}, [5]), ({"temperature": 1}, [7])):
        (folder / "generation_config.json").write_text(json.dumps(said))
        assert load_checkpoint(folder).task.settings["stop"] == wanted
    for said, wanted in (("[]", "holds no JSON object"), ("{", "cannot be read"), ('{"eos_token_id": "x"}', "'x'")):
        (folder / "generation_config.json").write_text(said)
        with pytest.raises(InputError, match=wanted):
            load_checkpoint(folder)


def refusal(folder):
    with pytest.raises(WeightsError) as error:
        load_checkpoint(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_missing_extra_and_misshapen_tensors_are_named(tmp_path):
    norm = "model.norm.weight"
    state = tensors()
    assert f"lacks {norm}" in refusal(write(tmp_path / "a", {k: v for k, v in state.items() if k != norm}))
    assert "more than the model: x.bias" in refusal(write(tmp_path / "b", {**state, "x.bias": torch.ones(1)}))
    assert f"{norm} is [15] for [16]" in refusal(write(tmp_path / "c", {**state, norm: torch.ones(15)}))
    whole = {**state, norm: torch.ones(16, dtype=torch.int64)}
    with pytest.raises(WeightsError, match="int64"):
        load_checkpoint(write(tmp_path / "d", whole)).build()


def test_files_that_are_missing_damaged_or_double_are_named(tmp_path):
    folder = write(tmp_path / "a", tensors(), files=2)
    second = folder / "model-00002-of-00002.safetensors"
    second.write_bytes(second.read_bytes()[:100])
    assert "model-00002-of-00002.safetensors cannot be read" in refusal(folder)
    second.unlink()
    assert "no file model-00002-of-00002" in refusal(folder)
    (folder / "model.safetensors.index.json").write_text("[]")
    assert "index.json cannot be read" in refusal(folder)
    twice = write(tmp_path / "b", tensors())
    save_file({"model.norm.weight": torch.ones(16)}, twice / "z.safetensors")
    assert "another file holds" in refusal(twice)


def broken(folder, kind):
    """A checkpoint with one thing wrong."""
    norm, state, fields = "model.norm.weight", tensors(), dict(FIELDS)
    match kind:
        case "missing":
            del state[norm]
        case "extra":
            state["x"] = torch.ones(1)
        case "shape":
            state[norm] = torch.ones(15)
        case "type":
            state[norm] = torch.ones(16, dtype=torch.int8)
        case "heads":
            fields["num_attention_heads"] = 3
        case "deep":
            fields["num_hidden_layers"] = 10**9
        case "wide":
            fields["hidden_size"] = 10**12
        case "stop":
            fields["eos_token_id"] = 99999
    write(folder, state, fields)
    if kind == "json":
        (folder / "config.json").write_text("{")
    if kind == "empty":
        (folder / "config.json").unlink()
    if kind == "cut":
        (file,) = folder.glob("*.safetensors")
        file.write_bytes(file.read_bytes()[:200])
    return folder


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "lacks model.norm.weight"),
        ("extra", "has more than the model: x"),
        ("shape", "model.norm.weight is [15] for [16]"),
        ("type", "model.norm.weight is torch.int8"),
        ("heads", "3 query heads do not divide among 2"),
        ("deep", "decoder has layers=1,000,000,000"),
        ("wide", "decoder has width=1,000,000,000,000"),
        ("stop", "token 99999 ends a text"),
        ("json", "config.json cannot be read"),
        ("empty", "has no config.json"),
        ("cut", "safetensors cannot be read"),
    ],
)
def test_a_broken_checkpoint_is_one_line_on_the_command_line_before_any_file(kind, said, tmp_path, capsys):
    folder, out = broken(tmp_path / "lm", kind), tmp_path / "out"
    assert main(["export", str(folder), "--target", "onnx-step", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    (line,) = [line for line in error.splitlines() if line.startswith("error:")]
    assert said in line
    assert "Traceback" not in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lm"]


def test_another_architecture_is_one_line_on_the_command_line(tmp_path, capsys):
    folder = write(tmp_path / "gpt", tensors(), {**FIELDS, "model_type": "gpt2"})
    assert main(["export", str(folder), "--target", "onnx-step", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "is of architecture 'gpt2'" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()
