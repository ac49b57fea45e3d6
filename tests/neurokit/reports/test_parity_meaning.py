"""A verdict's words are no wider than what was run: every combination of runs has its own sentence."""

import itertools

import pytest

from neurokit.reports import LayerParity, ParityReport
from neurokit.reports import parity_meaning as words

KINDS = (words.FORCED, words.FORCED_OUTPUTS, words.COVERING, words.BEYOND, words.BATCHES, words.CALLS, words.WAYS)


def report(verdict, *, flips_forced=0, flips_free=0, layers=1, **more):
    layer = LayerParity("0", "LIFNode", 100, flips_forced, 1e-7, 1e-6, 0.0, None, flips_free, 0.1)
    given = {"output_error_forced": 0.0, "output_tolerance": 1e-5, **more}
    return ParityReport(
        "net", "onnx", "sequence", verdict, (layer,) * layers, spikes_flipped=layers * flips_forced, **given
    )


@pytest.mark.parametrize("rounded", [set(some) for n in range(3) for some in itertools.combinations(KINDS, n)])
def test_what_was_rounded_is_never_said_to_be_equal(rounded):
    equal = tuple(kind for kind in KINDS if kind not in rounded)
    verdict = "exact" if rounded <= {words.BEYOND} else "benign rounding"
    said = report(verdict, equal=equal, rounded=tuple(rounded)).meaning
    claim, _, rest = said.partition("within rounding, not equal, are ")
    assert all(kind in rest and kind not in claim for kind in rounded)
    assert bool(rest) == bool(rounded)
    if verdict == "exact":
        assert all(kind in claim for kind in set(equal) - {words.FORCED, words.FORCED_OUTPUTS})


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"verdict": "exact"}, "every spike and every bit of the output equal on the test vectors"),
        ({"verdict": "exact", "layers": 0}, "every bit of the output equal on the test vectors"),
        (
            {"verdict": "benign rounding", "output_error_free": 1e-7},
            "every spike equal on the test vectors, the output within rounding",
        ),
        (
            {"verdict": "benign rounding", "flips_forced": 3},
            "every bit of the output equal on the test vectors; 3 spikes flipped when forced, each within the rounding "
            "of its own layer",
        ),
        (
            {"verdict": "benign rounding", "flips_free": 3000, "output_error_free": 0.3},
            "outputs as their spikes lead to, within rounding; 3,000 spikes flipped running freely, each as its own "
            "current and state say",
        ),
        (
            {"verdict": "benign rounding", "flips_free": 7, "output_error_forced": None, "free_run": "first"},
            "every bit of the output equal on the test vectors; 7 spikes flipped running freely, the first of them at "
            "a near miss; the layers were not forced one by one",
        ),
        (
            {"verdict": "benign rounding", "flips_free": 7, "output_error_forced": None, "free_run": "none"},
            "every bit of the output equal on the test vectors; 7 spikes flipped running freely, not judged one by "
            "one, because a layer is not seen; the layers were not forced one by one",
        ),
        (
            {"verdict": "exact", "output_error_forced": None},
            "every spike and every bit of the output equal on the test vectors; the layers were not forced one by one",
        ),
        (
            {"verdict": "within tolerance", "layers": 0, "output_error_free": 1e-7},
            "outputs within 1e-05 of the reference's on the test vectors (relative L2)",
        ),
        (
            {"verdict": "exact", "layers": 0, "unseen": ("0: dead",)},
            "every bit of the output equal on the test vectors; on what was exercised",
        ),
        ({"verdict": "failed"}, ""),
    ],
)
def test_the_sentence(given, wanted):
    made = report(**given)
    assert made.meaning == wanted
    assert made.to_json()["meaning"] == wanted
    assert ParityReport.from_json(made.to_json()) == made


def test_an_elementwise_proof_is_never_called_exact_in_any_precision():
    layers = [{"name": "1", "status": "elementwise"}]
    info = {"proof": {"status": "elementwise", "layers": layers, "steps_any_precision": 11, "time_steps": 48}}
    assert "11 of 48 time steps" in words.proof_reach(info)
    assert words.proof_reach(info).startswith("elementwise")
    assert words.proof_reach({}) == ""
