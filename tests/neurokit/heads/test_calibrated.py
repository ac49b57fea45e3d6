"""Profiles of heads: gains are those of the transformed model, and the file that is written is what export reads."""

import json

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit.attention.scopes import read_heads
from neurokit.cli import main
from neurokit.data.documents import Document
from neurokit.errors import InputError
from neurokit.heads.calibrated import profile_heads
from neurokit.transforms import transform


def documents(labels=True):
    rng = np.random.default_rng(0)
    texts = [tuple(rng.integers(3, 250, size).tolist()) for size in (9, 12, 7)]
    return [Document(ids, label=int(rng.integers(3, 250)) if labels else None) for ids in texts]


def answers(spec, document):
    """Logarithms of the next token's probabilities behind one text, alone."""
    net = spec.build()
    states = [
        torch.zeros(1, *(x if isinstance(x, int) else 0 for x in s.shape), dtype=getattr(torch, s.dtype))
        for s in net.states
    ]
    with torch.no_grad():
        return net(torch.tensor([document.ids]), *states)["logits"][0, -1].double().log_softmax(-1)


@pytest.mark.parametrize("labels", [True, False])
def test_a_heads_gain_is_that_of_the_transformed_model(labels):
    spec, texts = nk.load("tiny_lm"), documents(labels)
    found, chosen = profile_heads(spec, "zerotuning", texts, gammas=(2.0,), share=0.25)

    def worth(model):
        logs = [answers(model, text) for text in texts]
        if labels:
            return np.mean([float(row[text.label]) for row, text in zip(logs, texts, strict=True)])
        return np.mean([float((row.exp() * row).sum()) for row in logs])

    layer, head = found.order()[0]
    gain = worth(transform(spec, [f"zerotuning:gamma=2,layers={layer},heads={head}"])) - worth(spec)
    assert found.scores[layer, head] == pytest.approx(gain, abs=1e-4)
    assert gain > 0
    assert chosen.settings == {"gamma": 2.0}
    assert sum(len(heads) for heads in chosen.by_layer(4, 4).values()) <= 4


def test_the_command_writes_a_file_that_export_reads(tmp_path, capsys):
    texts, out = tmp_path / "texts.jsonl", tmp_path / "heads.toml"
    texts.write_text("".join(json.dumps({"ids": d.ids, "label": d.label}) + "\n" for d in documents()))
    given = ["heads", "tiny_lm", "--method", "act", "--documents", str(texts), "--out", str(out)]
    assert main(given) == 0
    capsys.readouterr()
    listed = read_heads(out)
    assert (listed.method, listed.layers, listed.query_heads) == ("act", 4, 4)
    made = transform(nk.load("tiny_lm"), [f"act:file={out}"])
    methods = [m for layer in made.build().model.layers for m in getattr(layer.self_attn, "methods", ())]
    assert dict(methods[0].scope) == listed.by_layer(4, 4)


def test_what_cannot_be_profiled_is_one_line():
    spec = nk.load("tiny_lm")
    with pytest.raises(InputError, match="has no label"):
        profile_heads(spec, "zerotuning", documents(labels=False), by="label")
    with pytest.raises(InputError, match="method is 'var'"):
        profile_heads(spec, "var", documents())
