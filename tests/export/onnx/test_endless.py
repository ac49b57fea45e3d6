"""Graphs that could run for ever are refused before ONNX Runtime sees them, or stopped; sound loops run."""

import contextlib
import gc
import time

import numpy as np
import onnx
import onnxruntime
import pytest

from neurokit.errors import ArtifactError
from neurokit.export.onnx import watched
from neurokit.export.onnx.endless import MOST_RUNS, EndlessError, may_loop
from neurokit.export.onnx.watched import Watched
from neurokit.export.ort import new_session

HEAD = '<ir_version: 10, opset_import: ["" : 20, "own" : 1]>\nnet (float[T,B,4] x) => (float[T,B,4] y)\n'
BODY = "body: graph = turn (int64 i, bool c, float[] a) => (bool d, float[] b) { d = Identity(c) b = Relu(a) }"
INNER = "body: graph = inner (int64 j, bool e, float[] g) => (bool f, float[] h) { f = Identity(e) h = Relu(g) }"
OUTER = BODY.replace("Relu(a)", f"Loop(m, , a) <{INNER}>")
SCAN = "num_scan_inputs: int = 1, body: graph = turn (float[] a, float[] e) => (float[] b) { b = Relu(a) }"


def model(constants, nodes, functions=""):
    return onnx.parser.parse_model(f"{HEAD}<{constants}>\n{{ {nodes} }}\n{functions}")


def function(name, nodes):
    return f'<domain: "own", opset_import: ["" : 20, "own" : 1]>\n{name} (p) => (q) {{ {nodes} }}\n'


def doubled(deep):
    """Functions that each call the one before twice."""
    made = function("f0", "q = Relu(p)")
    return made + "".join(function(f"f{at}", f"r = own.f{at - 1}(p) q = own.f{at - 1}(r)") for at in range(1, deep))


ENDLESS = {
    "a count": ("int64 m = {4611686018427387904}, bool k = {1}", f"y = Loop(m, k, x) <{BODY}>"),
    "a condition alone": ("bool k = {1}", f"y = Loop(, k, x) <{BODY}>"),
    "neither": ("int64 m = {1}", f"y = Loop(, , x) <{BODY}>"),
    "a count in a node": (
        "int64 k = {1}",
        f"m = Constant <value_int: int = 9223372036854775807> () y = Loop(m, , x) <{BODY}>",
    ),
    "a count from values": (
        "int64 k = {1}",
        f"t = ReduceMax <keepdims: int = 0> (x) m = Cast <to: int = 7> (t) y = Loop(m, , x) <{BODY}>",
    ),
    "a product of sizes": ("int64 k = {1125899906842624}", f"s = Size(x) m = Mul(s, k) y = Loop(m, , x) <{BODY}>"),
    "a sum that is doubled": (
        "int64 k = {1}",
        "s0 = Size(x) "
        + " ".join(f"s{at + 1} = Add(s{at}, s{at})" for at in range(40))
        + f" y = Loop(s40, , x) <{BODY}>",
    ),
    "a size and much": ("int64 k = {1125899906842624}", f"s = Size(x) m = Add(s, k) y = Loop(m, , x) <{BODY}>"),
    "loops in loops": ("int64 m = {100000}", f"y = Loop(m, , x) <{OUTER}>"),
    "in a branch": (
        "int64 m = {4611686018427387904}, bool k = {1}",
        f"y = If(k) <then_branch: graph = t () => (float[] u) {{ u = Loop(m, , x) <{BODY}> }}, "
        "else_branch: graph = e () => (float[] v) { v = Relu(x) }>",
    ),
    "in a scan": (
        "int64 m = {4611686018427387904}",
        "z, w = Scan(x, x) <num_scan_inputs: int = 1, body: graph = turn (float[] a, float[] e) => "
        f"(float[] b, float[] o) {{ b = Relu(a) o = Loop(m, , e) <{INNER}> }}> y = Relu(w)",
    ),
    "functions that call functions": ("int64 k = {1}", "y = own.f39(x)", doubled(40)),
    "a function that calls itself": ("int64 k = {1}", "y = own.f(x)", function("f", "q = own.f(p)")),
    "in a function": (
        "int64 k = {1}",
        "y = own.f(x)",
        function("f", f"m = Constant <value = int64 {{4611686018427387904}}> () q = Loop(m, , p) <{BODY}>"),
    ),
    "a count that a function is given": (
        "int64 m = {4611686018427387904}",
        "y = own.f(x, m)",
        '<domain: "own", opset_import: ["" : 20]>\nf (p, n) => (q) { q = Loop(n, , p) <' + BODY + "> }\n",
    ),
}
SOUND = {
    "a small count": ("int64 m = {3}", f"y = Loop(m, , x) <{BODY}>"),
    "tiles of a size": (
        "int64 one = {1}, int64 tile = {64}",
        f"t = Shape <start: int = 0, end: int = 1> (x) s = Squeeze(t) u = Add(s, tile) w = Sub(u, one) "
        f"m = Div(w, tile) y = Loop(m, , x) <{BODY}>",
    ),
    "a scan": ("int64 k = {1}", f"y = Scan(x, x) <{SCAN}>"),
    "functions": ("int64 k = {1}", "y = own.f3(x)", doubled(4)),
}
HUGE_AXIS = ("int64[2] n = {1099511627776, 0}", f"w = ConstantOfShape(n) y = Scan(x, w) <{SCAN}>")


@pytest.mark.parametrize("name", ENDLESS)
def test_a_model_that_could_run_for_ever_is_refused(name):
    made = model(*ENDLESS[name])
    with pytest.raises(EndlessError):
        may_loop(made.SerializeToString())
    start = time.process_time()
    with pytest.raises(ArtifactError, match="could run for ever") as caught:
        new_session(made)
    assert "\n" not in caught.value.what
    assert time.process_time() - start < 2


@pytest.mark.parametrize("name", SOUND)
def test_what_goes_round_by_sizes_runs(name):
    made, x = model(*SOUND[name]), np.linspace(-1, 1, 24, dtype=np.float32).reshape(3, 2, 4)
    session = new_session(made)
    plain = onnxruntime.InferenceSession(made.SerializeToString())
    np.testing.assert_array_equal(session.run(["y"], {"x": x})[0], plain.run(["y"], {"x": x})[0])
    assert isinstance(session, Watched) == (name != "functions")


def test_operators_of_functions_are_counted_as_written_out():
    deep = MOST_RUNS.bit_length()  # 2^(deep - 1) operators at least
    may_loop(model("int64 k = {1}", f"y = own.f{deep - 3}(x)", doubled(deep - 2)).SerializeToString())
    with pytest.raises(EndlessError, match=r"run [0-9,]+ times a call"):
        may_loop(model("int64 k = {1}", f"y = own.f{deep}(x)", doubled(deep + 1)).SerializeToString())


@pytest.mark.parametrize("bound", [False, True], ids=["arrays", "bound"])
def test_a_loop_over_an_axis_without_an_end_is_stopped(monkeypatch, bound):
    monkeypatch.setattr(watched, "FIRST_S", 0.3)
    monkeypatch.setattr(watched, "STEP_S", 0.01)
    session, x = new_session(model(*HUGE_AXIS)), np.ones((3, 2, 4), np.float32)
    start = time.monotonic()
    binding = session.io_binding()
    binding.bind_cpu_input("x", x)
    binding.bind_output("y")
    with pytest.raises(ArtifactError, match=r"was stopped after 0 s: they go round without an end"):
        watched.run_bound(session, binding, [x]) if bound else session.run(None, {"x": x})
    assert 0.3 < time.monotonic() - start < 10


def test_a_call_after_one_that_was_stopped_is_whole(monkeypatch):
    """Its own time begins anew, and sessions that nobody holds are not looked after."""
    monkeypatch.setattr(watched, "FIRST_S", 0.1)
    monkeypatch.setattr(watched, "STEP_S", 0.0)
    made = model(
        "int64[1] one = {1}, int64[1] zero = {0}",
        f"s = Cast <to: int = 7> (x) n = ReduceMax <keepdims: int = 0> (s) "
        f"l = Reshape(n, one) j = Concat <axis: int = 0> (l, zero) w = ConstantOfShape(j) y = Scan(x, w) <{SCAN}>",
    )
    session = new_session(made)
    with pytest.raises(ArtifactError, match="was stopped"):
        session.run(None, {"x": np.full((1, 1, 4), 5e8, np.float32)})
    x = np.full((1, 1, 4), 2, np.float32)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], x)
    del session
    gc.collect()
    assert not list(watched._EVERY)


def test_any_byte_of_a_model_may_be_another():
    """What reads the bytes ends in an answer or in a ValueError, whatever they are."""
    whole, drawn = model(*SOUND["tiles of a size"]).SerializeToString(), np.random.default_rng(0)
    for _ in range(300):
        content = bytearray(whole)
        for at in drawn.integers(0, len(content), 3):
            content[at] = int(drawn.integers(0, 256))
        with contextlib.suppress(ValueError):
            may_loop(bytes(content))


def test_weights_in_another_file_are_not_read(tmp_path):
    made = model(*SOUND["a scan"])
    onnx.save(made, tmp_path / "m.onnx", save_as_external_data=True, location="w", size_threshold=0)
    assert isinstance(new_session(tmp_path / "m.onnx"), Watched)
