"""The choice of a path for sparse attention: what was measured is what is chosen, and what does not pay is refused."""

import json
from pathlib import Path

import pytest
import torch

from neurokit.attention import BlockIndex, Call, attend, pattern
from neurokit.errors import InputError
from neurokit.kernels.attention_path import measured, path_for, run, sparse_attention
from neurokit.kernels.dispatch import use_triton

RECORD = Path(__file__).parents[2] / "benchmarks" / "results" / "attention-h100.json"


def test_the_shipped_rows_are_those_of_the_record():
    record = json.loads(RECORD.read_text())
    shipped = json.loads(Path(measured.__file__).with_name(measured.FILE).read_text())
    assert measured.distilled(record) == shipped
    assert not [row["case"] for row in record["parity"] if row["fault"]]


def test_at_a_measured_shape_the_time_is_the_measured_one_and_the_fastest_is_chosen():
    for row in json.loads(RECORD.read_text())["rows"]:
        if row["part"] != "sparse":
            continue
        found = path_for("blocks", row["length"], row["density"])
        times = {"kernel": row["ours_ms"], "flex": row["flex_ms"]}
        assert found.path == min(times, key=times.get)
        assert found.ms == pytest.approx(min(times.values()))
        assert found.dense_ms == pytest.approx(row["sdpa_ms"])


def test_selecting_that_eats_the_gain_is_refused_and_the_length_from_which_it_pays_is_said():
    sale = path_for("blocks", 65536, 0.1, selection="sale")
    assert (sale.path, sale.pays_from) == ("dense", None)
    short = path_for("one query", 8192, keys=256)
    assert short.path == "dense"
    assert 8192 < short.pays_from <= 32768
    assert f"it pays from {short.pays_from:,} keys on" in short.why
    assert path_for("one query", short.pays_from, keys=256).path == "kernel"
    unknown = path_for("decode", 4096, 0.125)
    assert unknown.path == "dense"
    assert "nothing shorter than 8,192 keys was measured" in unknown.why
    # A selection of 1 ms is more than dense attention of 8,192 keys takes, and little beside that of 65,536.
    assert path_for("blocks", 8192, 0.1, selection=lambda n: 1.0).path == "dense"
    assert path_for("blocks", 65536, 0.1, selection=lambda n: 1.0).path == "kernel"


@pytest.mark.parametrize("given", [(0, 0.1, None), (8, None, None), (8, 0.1, 4), (8, 1.5, None), (8, 0.0, None)])
def test_wrong_shapes_are_one_line(given):
    length, density, keys = given
    with pytest.raises(InputError) as error:
        path_for("blocks", length, density, keys=keys)
    assert "\n" not in str(error.value)


def drawn(new, length):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, h, n, 16, generator=generator) for h, n in ((4, new), (2, length), (2, length))]


def test_every_path_is_the_definition():
    q, k, v = drawn(128, 256)
    table = torch.rand(1, 2, 1, 2, generator=torch.Generator().manual_seed(1)) < 0.7
    index = BlockIndex.from_blocks(table, 128, 256, 128, 128)
    exact = attend(q.double(), k.double(), v.double(), index.to_dense())[0]
    # Where kernels run, "auto" refuses lengths below those that were measured.
    for path in ("definition", "kernel", *(() if use_triton("sparse_attention", q) else ("auto",))):
        assert (sparse_attention(q, k, v, index, path=path) - exact).abs().max() < 1e-5
    one = q[:, :, -1:]
    keys = pattern("recycled", count=20).select(Call(one, k, v))
    exact = attend(one, k, v, keys.to_dense())[0]
    assert (sparse_attention(one, k, v, keys, path="kernel") - exact).abs().max() < 1e-5
    assert run.kind_of(keys) == "decode"
    assert run.share_of(keys) == pytest.approx(20 / 256)
    assert run.kind_of(index) == "blocks"
    with pytest.raises(InputError, match="path is 'fast'"):
        sparse_attention(q, k, v, index, path="fast")
    with pytest.raises(InputError, match="FlexAttention on cpu"):
        sparse_attention(q, k, v, index, path="flex")
    with pytest.raises(InputError, match="has no kernel"):
        sparse_attention(q, k, v, pattern("recycled", count=20).select(Call(q, k, v)), path="kernel")


def test_on_a_gpu_what_does_not_pay_is_refused(monkeypatch):
    monkeypatch.setattr(run, "use_triton", lambda *_: True)
    q, k, v = drawn(128, 256)
    index = BlockIndex.from_blocks(torch.ones(1, 1, 1, 2, dtype=torch.bool), 128, 256, 128, 128)
    with pytest.raises(InputError, match="nothing shorter than 8,192 keys was measured") as error:
        sparse_attention(q, k, v, index)
    assert "\n" not in str(error.value)


def test_the_command_says_the_path_and_from_where_it_pays(capsys):
    from neurokit.cli import main

    assert main(["attention", "65536", "--density", "0.1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    wanted = path_for("blocks", 65536, 0.1)
    assert (found["path"], found["ms"], found["pays_from"]) == (wanted.path, wanted.ms, wanted.pays_from)
    assert main(["attention", "8192", "--kind", "one-query", "--keys", "256"]) == 0
    said = capsys.readouterr().out
    assert "selecting does not pay" in said
    assert f"pays from {path_for('one query', 8192, keys=256).pays_from:,} keys on" in said
    assert main(["attention", "65536", "--density", "0.1", "--selection", "sale"]) == 0
    assert "it pays at no length" in capsys.readouterr().out
    for wrong in (["8"], ["8", "--density", "2"], ["8", "--density", "1", "--kind", "x"], ["0", "--keys", "4"]):
        assert main(["attention", *wrong]) == 2
        error = capsys.readouterr().err
        assert "Traceback" not in error
        assert "expected" in error
