"""What a budget means, and which row is recommended: held against choices worked out by hand and by brute force."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurokit.deploy.budget import parse_budget, resolve
from neurokit.deploy.choose import answer, choose, worth_training
from neurokit.errors import InputError
from neurokit.quantity import Quantity
from neurokit.reports.deploy import HERE, DeployRow, Metric

ACCURACY = Metric("accuracy")


def row(form, accuracy=None, p50=1e-3, size=1e4, *, status="ok", device=HERE, spread=0.0, **more):
    figures = {
        "p50": Quantity(p50, p50 * (1 - spread), p50 * (1 + spread), "s", "measured", "t"),
        "size": Quantity.exact(size, "B", "measured", "t"),
    }
    if accuracy is not None:
        figures["accuracy"] = Quantity.exact(accuracy, "", "measured", "t")
    return DeployRow(form, form, "float", device, status, figures=figures, **more)


def terms(text, metric=ACCURACY):
    return resolve(parse_budget(text), metric)


@pytest.mark.parametrize(
    ("text", "figure", "limit"),
    [
        ("p99<10ms", "p99", 0.01),
        ("p50 <= 800 us", "p50", 8e-4),
        ("latency<1s", "p50", 1.0),
        ("size<5MB", "size", 5e6),
        ("size<1.5MiB", "size", 1.5 * 2**20),
        ("energy<3mJ", "energy", 3e-3),
        ("loss<1", "loss", 1.0),
        ("loss<0.5%", "loss", 0.5),
        ("accuracy>90", "metric", 90),
        ("accuracy>0.9", "metric", 90),
        ("accuracy>90%", "metric", 90),
    ],
)
def test_terms(text, figure, limit):
    (term,) = terms(text)
    assert (term.figure, term.limit) == (figure, pytest.approx(limit))


@pytest.mark.parametrize(
    "text",
    [
        *("", "p99", "p99<", "p99<10", "p99<10MB", "size<5", "size<5ms", "loss<1ms", "p99<1.2.3ms", "speed<3"),
        *("p99<1ms,,", "p99<1ms,p99<2ms", "p99=1ms", "p99<-1ms", "size<5%", "accuracy>9ms"),
    ],
)
def test_what_is_no_budget_is_refused_in_a_line(text):
    with pytest.raises(InputError) as caught:
        terms(text)
    assert caught.value.expected
    assert "\n" not in str(caught.value)


def test_a_loss_without_labels_is_refused():
    with pytest.raises(InputError, match="no labels"):
        terms("loss<1", None)


def test_the_sentence_of_the_answer():
    rows = [
        row("onnx-int8", 0.924, 4e-3, 12e3, device="pi"),
        row("onnx", 0.926, 12e-3, 48e3, device="pi"),
        row("onnx", 0.926, 1e-3, 48e3),
        DeployRow(
            *("spiking", "c", "", "Chip", "lower-bound"),
            figures={"energy": Quantity(2e-6, 1e-6, 4e-6, "J", "simulated", "t")},
            simulated=True,
        ),
    ]
    chosen, said = answer(rows, ["pi"], (), ACCURACY, 0.926)
    assert chosen == 0
    assert said == (
        "onnx-int8: 92.4 %, 4 ms on pi, 12 kB",
        "onnx is 0.2 points better and 3 times slower",
        "as a spiking network on Chip it would take at least 2 µJ [1, 4]",
    )


def test_what_no_row_keeps_is_named():
    rows = [row("a", 0.95, 5e-3, 9e6), row("b", 0.80, 1e-3, 1e6)]
    chosen, said = answer(rows, [HERE], terms("p50<500us"), ACCURACY, 0.95)
    assert chosen is None
    assert said == ("no form on this machine keeps p50<500us: the nearest is b on this machine with 1 ms",)
    chosen, said = answer(rows, [HERE], terms("p50<2ms,loss<1"), ACCURACY, 0.95)
    assert chosen is None
    assert "keeps all of p50<2ms, loss<1 at once" in said[0]


def test_rows_that_do_not_count_are_taken_only_where_there_are_no_others():
    rows = [row("quick", 0.9, 1e-4, status="invalid"), row("slow", 0.9, 1e-2), row("broken", status="failed")]
    assert choose(rows, HERE, (), ACCURACY, 0.9) == 1
    assert choose(rows[:1], HERE, (), ACCURACY, 0.9) == 0
    assert any("INVALID" in line for line in answer(rows[:1], [HERE], (), ACCURACY, 0.9)[1])
    assert choose(rows[2:], HERE, (), ACCURACY, 0.9) is None


def test_times_that_cannot_be_told_apart_are_decided_by_size():
    rows = [row("a", 0.9, 1.00e-3, 9e4, spread=0.1), row("b", 0.9, 1.05e-3, 1e4, spread=0.1)]
    assert choose(rows, HERE, (), ACCURACY, 0.9) == 1


SCORES = st.sampled_from([0.5, 0.89, 0.895, 0.9])
ROWS = st.lists(st.tuples(SCORES, st.sampled_from([1e-3, 2e-3, 3e-3]), st.sampled_from([1e3, 1e4, 1e5])), min_size=1)


@given(ROWS, st.sampled_from([None, "p50<2.5ms", "size<20kB", "loss<2", "p50<2.5ms,loss<2,size<20kB"]))
def test_the_choice_keeps_the_budget_and_nothing_that_does_is_better_in_all(found, text):
    rows = [row(str(n), *figures) for n, figures in enumerate(found)]
    best = max(score for score, *_ in found)
    limits = terms(text) if text else ()
    able = [
        figures
        for figures in found
        if (not text or "p50" not in text or figures[1] < 2.5e-3)
        and (not text or "size" not in text or figures[2] < 2e4)
        and (not text or "loss" not in text or (best - figures[0]) * 100 < 2)
    ]
    at = choose(rows, HERE, limits, ACCURACY, best)
    assert (at is None) == (not able)
    if at is None:
        return
    assert found[at] in able
    for score, p50, size in able:
        assert not (score > found[at][0] and p50 < found[at][1] and size < found[at][2])


def test_less_is_better_where_the_metric_says_so():
    error = Metric("eer", less_is_better=True)
    rows = [
        DeployRow(
            *(name, name, "float", HERE, "ok"),
            figures={
                "p50": Quantity.exact(p50, "s", "measured", "t"),
                "eer": Quantity.exact(value, "", "measured", "t"),
            },
        )
        for name, value, p50 in (("a", 0.02, 2e-3), ("b", 0.05, 1e-3), ("c", 0.021, 1e-3))
    ]
    assert rows[choose(rows, HERE, (), error, 0.02)].form == "c"
    for a, b in itertools.pairwise([0.02, 0.03, 0.04]):
        assert error.loss(b, a) == pytest.approx(1.0)


def test_a_form_that_rounding_costs_a_point_is_worth_training():
    rows = [row("onnx", 0.95), row("onnx-int8", 0.93), row("onnx-int8", 0.93, device="pi"), row("openvino-int8", 0.9)]
    (said,) = worth_training(rows, ACCURACY, 0.95, ["onnx-int8"])
    assert said.startswith("onnx-int8 loses 2 points to rounding: export with --target onnx-int8 --fine-tune ")
    assert worth_training([row("onnx-int8", 0.945)], ACCURACY, 0.95, ["onnx-int8"]) == []
    assert worth_training(rows, None, None, ["onnx-int8"]) == []
