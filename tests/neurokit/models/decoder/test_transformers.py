"""Checkpoints that a public library drew and saved, loaded by name: its tokens and logits in torch and every ONNX form.

Nothing is downloaded: weights are drawn. The library is the extra `checkpoints`, which `make test-slow` installs.
"""

import json

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit.cli import main
from neurokit.errors import InputError

from .oracle import worst
from .public import LINEAR, LLAMA3, PROMPT, logits_of, reference, saved, tokens_of
from .test_forms import FORMS, stream
from .test_net import Run

pytestmark = pytest.mark.slow
FAMILIES = {
    "llama": ("Llama", {}),
    "llama3": ("Llama", {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3", {}),
    "doge": ("Doge", {}),
    "biases": ("Llama", {"attention_bias": True, "mlp_bias": True, "rope_parameters": LINEAR}),
}
KINDS = ("Llama", "Qwen2", "Qwen3", "Doge")
OWN_SIZE = ("Llama", "Qwen3", "Doge")  # heads whose width is a field of its own
SAME = [
    *((kind, {"tie_word_embeddings": tied}) for kind in KINDS for tied in (False, True)),
    *((kind, {"num_key_value_heads": heads}) for kind in KINDS for heads in (1, 2, 3, 6, None)),
    *((kind, {"rope_parameters": rope}) for kind in KINDS for rope in (LLAMA3, LINEAR, {"rope_theta": 1e6})),
    *((kind, {"dtype": dtype}) for kind in KINDS for dtype in (torch.bfloat16, torch.float16)),
    *((kind, {"shards": "20KB"}) for kind in KINDS),
    *((kind, {"head_dim": size}) for kind in OWN_SIZE for size in (4, 24)),
    *((kind, {"attention_bias": True}) for kind in OWN_SIZE),
    *((kind, {"mlp_bias": True}) for kind in ("Llama", "Doge")),
    ("Llama", {"head_dim": None}),
    *(("Doge", {"keep_window_size": 8, "num_key_value_heads": heads}) for heads in (1, 2, 6)),
    *((kind, {"use_sliding_window": False, "sliding_window": 8}) for kind in ("Qwen2", "Qwen3")),
    # Windows that hide nothing: of no layer, and wider than any text.
    *((kind, {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 2}) for kind in ("Qwen2", "Qwen3")),
    *(
        (kind, {"use_sliding_window": True, "sliding_window": 256, "max_window_layers": 0})
        for kind in ("Qwen2", "Qwen3")
    ),
]
OTHER = [
    *(
        (kind, {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}, "sliding_window=8")
        for kind in ("Qwen2", "Qwen3")
    ),
    ("Doge", {"sliding_window": 8}, "sliding_window=8"),
    ("Doge", {"is_moe": True, "num_experts": 4, "num_experts_per_tok": 2}, "is_moe=True"),
    *(
        ("Llama", {"rope_parameters": {"rope_theta": 1e4, "rope_type": kind, **more}}, f"by '{kind}'")
        for kind, more in (
            ("dynamic", {"factor": 2.0}),
            ("yarn", {"factor": 2.0}),
            ("longrope", {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4}),
        )
    ),
    ("Llama", {"hidden_act": "gelu"}, "hidden_act='gelu'"),
    ("Mistral", {}, "architecture 'mistral'"),
]


def name_of(case):
    return str(case) if isinstance(case, str) else ",".join(f"{key}={value}" for key, value in case.items()) or "plain"


@pytest.mark.parametrize(("kind", "fields"), SAME, ids=name_of)
def test_logits_of_every_position_are_the_librarys(kind, fields, tmp_path):
    """Whole, in parts of 8, 13 and 16 tokens, and behind padding."""
    folder = saved(tmp_path / "lm", kind, **fields)
    net, model = nk.load(str(folder)).build(), reference(folder)
    wanted, shorter = logits_of(model, PROMPT), logits_of(model, PROMPT[:20])
    padded = np.array([PROMPT, [-1] * 17 + PROMPT[:20].tolist()])
    for cuts in ((), (8, 21)):
        run = Run(net, 2)
        found = np.concatenate([run(part) for part in np.split(padded, cuts, 1)], 1)
        assert worst(found[0], wanted) < 1e-5
        assert worst(found[1, 17:], shorter) < 1e-5


@pytest.mark.parametrize(("kind", "fields", "said"), OTHER, ids=name_of)
def test_what_the_decoder_does_not_compute_is_refused_in_a_line(kind, fields, said, tmp_path):
    folder = saved(tmp_path / "lm", kind, **fields)
    with pytest.raises(InputError, match=said) as error:
        nk.load(str(folder))
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """The checkpoint of each family, the library's model of it, and what it writes behind two prompts."""
    made = {}

    def find(name):
        if name not in made:
            kind, fields = FAMILIES[name]
            folder = saved(tmp_path_factory.mktemp("public") / name, kind, eos_token_id=None, **fields)
            model = reference(folder)
            made[name] = folder, model, [tokens_of(model, PROMPT[:cut], 32) for cut in (37, 20)]
        return made[name]

    return find


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", FAMILIES)
def test_tokens_of_every_form_are_the_librarys(checkpoints, name, form, tmp_path):
    """Exported by the checkpoint's path; prompts whole, in chunks, token by token, and side by side behind padding."""
    folder, model, written = checkpoints(name)
    options = [part for key, value in FORMS[form].items() for part in ("--option", f"{key}={value}")]
    out = tmp_path / "out"
    assert main(["export", str(folder), "--target", "onnx-step", "--out", str(out), *options]) == 0
    prompt = PROMPT.tolist()
    for chunk in (None, 16, 13, 8, 1):
        found = nk.generate(out, [prompt, prompt[:20]], 32, chunk=chunk)
        assert [text.tokens for text in found] == written
        assert nk.generate(out, prompt, 32, chunk=chunk)[0].tokens == written[0]
    padded = np.array([prompt, [-1] * 17 + prompt[:20]])
    with nk.open(out) as runner:
        for cuts in ((), (8, 21)):
            logits = stream(runner, padded, cuts)
            assert worst(logits[0], logits_of(model, PROMPT)) < 1e-5
            assert worst(logits[1, 17:], logits_of(model, PROMPT[:20])) < 1e-5


def test_a_text_ends_where_the_librarys_loop_ends_it(checkpoints, tmp_path):
    """The tokens of generation_config.json count, one or several, and those of config.json where it has none."""
    folder, _, (written, _) = checkpoints("biases")
    later = sorted(written.index(token) for token in set(written))
    assert len(later) > 3
    for file, given in (("config.json", [1, written[later[-1]]]), ("generation_config.json", written[later[1]])):
        fields = json.loads((folder / file).read_text())
        fields["eos_token_id"] = given
        other = tmp_path / file
        other.mkdir()
        for path in folder.iterdir():
            (other / path.name).write_bytes(path.read_bytes())
        if file == "config.json":
            (other / "generation_config.json").unlink(missing_ok=True)
        (other / file).write_text(json.dumps(fields))
        wanted = tokens_of(reference(other), PROMPT, 32)
        assert 1 < len(wanted) < 32
        nk.lower(nk.capture(nk.load(str(other))), "onnx-step", tmp_path / f"{file}.out")
        (found,) = nk.generate(tmp_path / f"{file}.out", PROMPT.tolist(), 32)
        assert (found.tokens, found.ended) == (wanted, "stop")
