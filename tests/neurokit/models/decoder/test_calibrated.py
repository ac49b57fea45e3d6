"""Calibrated decoders: the oracle's tokens, every form against the definition, planted faults, and bad input."""

import functools
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch

import neurokit as nk
from neurokit.attention.scopes import HeadList, scopes_of, write_heads
from neurokit.cli import main
from neurokit.errors import InputError, NeurokitError
from neurokit.models.decoder import DecoderConfig, decoder_spec
from neurokit.models.decoder.calibrated import CalibratedAttention, view_of
from neurokit.models.decoder.drawn import fill
from neurokit.models.decoder.net import blank
from neurokit.transforms import transform
from neurokit.transforms.act import ACT
from neurokit.transforms.common.calibrate import CalibrationTransform
from neurokit.transforms.transform import TRANSFORMS
from neurokit.transforms.zerotuning import ZeroTuning

from ...transforms.calibration_oracle import read as oracle
from .definition import by_definition, run_artifact, run_module
from .oracle import read, worst

SMALL = DecoderConfig(
    vocabulary=64, width=32, inner=48, layers=3, heads=4, kv_heads=2, head_size=8, longest=128, stop=(2,)
)
ZERO = {
    "gamma4_layers_1_2_heads_0_3": "zerotuning:gamma=4,layers=1-2,heads=0,3",
    "gamma0.3_all": "zerotuning:gamma=0.3",
}
STEPS = {
    "zerotuning": ["zerotuning:gamma=4,layers=1-2,heads=0,3"],
    "keys": ["zerotuning:gamma=0.3,keys=2-5"],
    "act": ["act:beta=0.3,layers=0-1,threshold=0.05,heads=0,2"],
    "var": ["var:dims=3,5,tau=1.5,image=2-7,summ=0.1,layers=1-2"],
    "gift": ["gift:saliency=0,image=2-7,alpha=3,layers=1-2"],
    "all": ["zerotuning:gamma=2,heads=1", "act:beta=0.5,layers=1,threshold=0.05", "gift:saliency=0,image=2-7,layers=2"],
}
FORMS = ("decomposed", "standard", "ort")


def spec(name="small"):
    return decoder_spec(name, SMALL, lambda config: fill(blank(config)))


@pytest.fixture(scope="module")
def captured():
    return functools.cache(lambda key: nk.capture(spec(), transforms=STEPS[key]))


@pytest.fixture(scope="module")
def lowered(captured, tmp_path_factory):
    @functools.cache
    def lower(key, form):
        out = tmp_path_factory.mktemp("calibrated") / "lm"
        return nk.lower(captured(key), "onnx-step", out, attention=form)

    return lower


def defined(key):
    """A model that computes by the definition, in float64."""
    return by_definition(transform(spec(), STEPS[key]))


def texts():
    """Three texts of 18, 15 and 11 tokens, padded on the left."""
    ids = np.random.default_rng(3).integers(3, 64, (3, 18))
    ids[1, :3] = ids[2, :7] = -1
    return ids


PROMPT = 13
CUTS = {"one pass": [PROMPT], "chunks": [PROMPT, 15], "steps": list(range(PROMPT, 18))}


def test_every_calibration_of_a_decoder_is_held_here():
    """What is registered is tested in every form; RefAM reads a joint transformer's blocks and has its own tests."""
    named = {step.partition(":")[0] for steps in STEPS.values() for step in steps}
    assert named == {name for name, made in TRANSFORMS.items() if isinstance(made, CalibrationTransform)} - {"refam"}


@pytest.mark.parametrize("key", STEPS)
def test_the_deployed_form_is_the_definition(key):
    """In torch; beside it, texts alone are the texts of a batch, and a prompt may be cut where the method allows."""
    ids = texts()
    wanted = run_module(defined(key), ids, [PROMPT])
    module = transform(spec(), STEPS[key]).build().double()
    plain = run_module(spec().build().double(), ids, [PROMPT])
    real = ids >= 0
    assert np.abs(plain - wanted)[real].max() > 1e-2  # it does something
    whole = key in ("act", "gift", "all")
    for cuts in (*CUTS.values(), *([] if whole else [[], [4, 9], list(range(1, 18))])):
        assert np.abs(run_module(module, ids, cuts) - wanted)[real].max() < 1e-6
    for row, length in enumerate((18, 15, 11)):
        alone = run_module(module, ids[row : row + 1, 18 - length :], [length - 5])
        assert np.abs(alone[0] - wanted[row, 18 - length :]).max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", STEPS)
def test_every_form_gives_the_definition(lowered, key, form):
    artifact, ids = lowered(key, form), texts()
    assert artifact.manifest.parity["verdict"] == "within tolerance"
    assert artifact.manifest.parity["tokens_undecided"] == 0
    wanted = run_module(defined(key), ids, [PROMPT])
    real = ids >= 0
    with nk.open(artifact) as runner:
        for cuts in CUTS.values():
            assert worst(run_artifact(runner, ids, cuts)[real], wanted[real]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("key", STEPS)
def test_every_method_is_built_by_tensorrt(captured, key, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    artifact = nk.lower(captured(key), "tensorrt", tmp_path / "trt")
    assert artifact.manifest.parity["verdict"] == "within tolerance"


@pytest.mark.slow
def test_caches_of_a_fixed_size_hold_what_is_remembered(captured, tmp_path):
    artifact = nk.lower(captured("all"), "onnx-step", tmp_path / "lm", cache="fixed:40")
    ids = texts()
    wanted, real = run_module(defined("all"), ids, [PROMPT]), ids >= 0
    with nk.open(artifact) as runner:
        assert worst(run_artifact(runner, ids, CUTS["steps"])[real], wanted[real]) < 1e-5


def check_tokens(case, form, out):
    artifact = nk.lower(nk.capture("tiny_lm", transforms=[ZERO[case]]), "onnx-step", out, attention=form)
    assert artifact.manifest.parity["verdict"] == "within tolerance"
    wanted, prompt = tuple(oracle("zerotuning_lm")["cases"][case]["greedy_tokens"]), read("lm_llama")["prompt"]
    for chunk in (None, 8, 1):
        both = nk.generate(artifact, [prompt, prompt[:9]], 16, chunk=chunk)
        assert both[0].tokens == wanted
    return artifact


def test_zerotuning_writes_the_oracles_tokens_and_is_in_the_manifest(tmp_path):
    artifact = check_tokens("gamma4_layers_1_2_heads_0_3", "standard", tmp_path / "lm")
    (applied,) = artifact.manifest.transforms
    assert (applied.name, applied.settings["gamma"], applied.settings["heads"]) == ("zerotuning", 4.0, "0,3")
    model = onnx.load(str(artifact.file("model.onnx")))
    assert sum(node.op_type == "Attention" for node in model.graph.node) == 4
    masks = {node.input[3] for node in model.graph.node if node.op_type == "Attention"}
    assert len(masks) == 2  # layers of one setting share it
    verify_without_torch(artifact)


def verify_without_torch(artifact):
    """What a machine without torch does: there the import fails, as it does here."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import neurokit as nk\n"
        f"report = nk.verify({str(artifact.path)!r}, record=False)\n"
        "assert report.verdict == 'within tolerance', report\n"
        "assert sys.modules['torch'] is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", STEPS)
def test_every_form_is_verified_without_torch(lowered, key, form):
    verify_without_torch(lowered(key, form))


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", ZERO)
def test_zerotuning_writes_the_oracles_tokens_in_every_form(case, form, tmp_path):
    check_tokens(case, form, tmp_path / "lm")


def test_a_neutral_setting_is_the_plain_model():
    for step in (
        "zerotuning:gamma=1",
        "act:beta=1,layers=1",
        "var:p=1,dims=1,image=2-5,layers=1",
        "gift:alpha=0,saliency=0,image=2-5",
    ):
        made = transform(spec(), [step])
        assert not any(isinstance(part, CalibratedAttention) for part in made.build().modules())
        assert made.transforms[0].notes


class AtTheCallsFirstKey(ZeroTuning):
    """The bias is on the first key of the call, which is key 0 until a cache has grown."""

    def sets(self, view):
        return (view.key == view.query[:, :1])[:, None, None]


class ByKeyHead(ZeroTuning):
    """Heads are numbered by key and value head."""

    def heads_in(self, layer):
        heads = super().heads_in(layer)
        return heads if not heads else tuple(sorted({head // 2 for head in heads}))


class SinksOfPadding(ACT):
    """A column's mean is over the rows that see it, padding included, so that a padded position is the first sink."""

    def remember(self, view, weights, layer):
        seen = view.visible.sum(2).clamp_min(1)
        high = (weights.sum(2) / seen > self.threshold).float()
        sinks = high * (high.cumsum(-1) > 1)
        view.memory["act_sink"] = torch.where(view.begins[:, None, None], sinks, view.memory["act_sink"])


class NotDivided(CalibratedAttention):
    """Weights are multiplied, and rows are not divided by their sums."""

    def forward(self, x, tokens, k, v, *kept, stream=None):
        mask = torch.where(tokens.visible, 0.0, float("-inf"))
        _, k, v = super().forward(x, tokens, k, v)
        q, _, _ = self.project(x, tokens)
        view = view_of(tokens, self.config.heads, k.shape[2], stream)
        scores = self.scores(q, k)
        gained = self.mask(q, k, tokens, view)
        ratio = ((scores + gained).logsumexp(-1) - (scores + mask).logsumexp(-1)).exp()
        heads = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=gained, enable_gqa=True)
        return self.joined(heads * ratio[..., None]), k, v


FAULTS = {
    "on the wrong key": ("zerotuning", AtTheCallsFirstKey(((1, (0, 3)), (2, (0, 3))), 4.0)),
    "by key head": ("zerotuning", ByKeyHead(((1, (0, 3)), (2, (0, 3))), 4.0)),
    "not divided": ("zerotuning", ZeroTuning(((1, (0, 3)), (2, (0, 3))), 4.0)),
    "sinks of padding": ("act", SinksOfPadding(((0, (0, 2)), (1, (0, 2))), 0.3, 0.05)),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_fail_verify(lowered, tamper, fault, tmp_path, monkeypatch):
    key, wrong = FAULTS[fault]
    right = lowered(key, "standard")
    if fault == "not divided":
        monkeypatch.setattr("neurokit.models.decoder.calibrated.CalibratedAttention", NotDivided)
    other = nk.capture(spec().attention.calibrate(wrong))
    made = nk.lower(other, "onnx-step", tmp_path / "other", attention="standard", verified=False)
    faulty = onnx.load(str(made.file("model.onnx")))
    report = nk.verify(tamper(right, lambda model: model.CopyFrom(faulty), tmp_path / "wrong"), record=False)
    assert report.verdict == "failed"
    assert any(note.startswith("text ") for note in report.notes)


@pytest.mark.slow
def test_prompts_that_do_not_fit_are_refused(lowered):
    artifact = lowered("gift", "standard")
    with pytest.raises(InputError, match="8 tokens or more"):
        nk.generate(artifact, [1, 5, 6, 7, 8, 9, 10], 4)
    with pytest.raises(InputError, match="whole prompt"):
        nk.generate(artifact, [*range(3, 15)], 4, chunk=5)


BAD = {
    "zerotunning": "did you mean zerotuning",
    "zerotuning:gama=2": "no setting 'gama'",
    "zerotuning:gamma=0": "gamma is 0",
    "zerotuning:gamma=-2": "gamma is -2",
    "zerotuning:gamma=2,layers=3": "layer 3 does not exist",
    "zerotuning:gamma=2,heads=4": "query head 4 does not exist",
    "zerotuning:gamma=2,heads=x": "heads=x",
    "zerotuning:gamma=2,keys=5-3": "keys=5-3",
    "zerotuning:gamma=2,file=no.toml": "no.toml cannot be read",
    "act:beta=1.5": "beta is 1.5",
    "act:threshold=0,layers=1": "threshold is 0",
    "act": "no layer is left",
    "var:dims=3": "marks no visual tokens",
    "var:image=2-5": "no channel is named",
    "var:dims=99,image=2-5": "channel 99 does not exist",
    "var:dims=3,image=5-2": "image=5-2",
    "var:dims=3,image=2-500": "inside of texts of 128 tokens",
    "gift:image=2-5": "no saliency layer",
    "gift:saliency=7,image=2-5": "saliency layer 7 does not exist",
    "gift:saliency=1,image=2-5,layers=1": "layer 1 is changed by a map that layer 1 makes",
    "gift:saliency=0,image=2-5,alpha=-1": "alpha is -1",
    "gift:saliency=0,image=2-5,content=no.toml": "no.toml cannot be read",
}


@pytest.mark.parametrize("step", BAD)
def test_bad_settings_are_one_line(step):
    with pytest.raises(NeurokitError, match=BAD[step]) as error:
        transform(spec(), [step])
    assert "\n" not in str(error.value).replace("\n  ", " ") or "marks no" in BAD[step]


def test_a_method_with_a_memory_is_given_once_and_dense_layers_alone_are_changed():
    with pytest.raises(InputError, match="given twice"):
        transform(spec(), ["act:layers=0", "act:layers=1"])
    with pytest.raises(InputError, match="calibrates layer 1"):
        transform(spec(), ["zerotuning:gamma=2", "sparse:pattern=ssa,layers=1"])
    with pytest.raises(InputError, match="no dense softmax attention"):
        transform(spec(), ["sparse:pattern=ssa,layers=1", "zerotuning:gamma=2,layers=1"])


def test_a_list_of_heads_is_a_file_with_the_settings_that_were_chosen(tmp_path):
    path = tmp_path / "heads.toml"
    scopes = scopes_of({1: [0, 3], 2: [1]})
    write_heads(HeadList(scopes, "zerotuning", "small", {"gamma": 2.5, "accuracy": 0.5}, 3, 4), path)
    made = transform(spec(), [f"zerotuning:file={path}"])
    methods = [m for part in made.build().modules() if isinstance(part, CalibratedAttention) for m in part.methods]
    assert (methods[0].scope, methods[0].gamma) == (((1, (0, 3)), (2, (1,))), 2.5)
    assert made.transforms[0].notes == (f"gamma = 2.5, from {path}",)
    text = path.read_text()
    for old, new, said in (
        ("query_heads = 4", "query_heads = 2", "counts key and value heads"),
        ("query_heads = 4", "kv_heads = 2", "kv_heads"),
        ("layers = 3", "layers = 5", "of a model of 5 layers"),
        ("[0, 3]", "[0, 4]", "names head 4 of layer 1"),
        ('method = "zerotuning"', 'method = "act"', "heads of 'act'"),
        ("2.5", '"much"', "gamma is 'much'"),
    ):
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(InputError, match=said):
            transform(spec(), [f"zerotuning:file={path}"])


def test_the_command_line_says_what_is_wrong_and_writes_nothing(tmp_path, capsys):
    out = tmp_path / "lm"
    step = "zerotuning:gamma=4,layers=1-2,heads=0,7"
    assert main(["export", "tiny_lm", "--target", "onnx-step", "--transform", step, "--out", str(out)]) == 2
    assert "query head 7 does not exist" in capsys.readouterr().err
    assert not out.exists()
