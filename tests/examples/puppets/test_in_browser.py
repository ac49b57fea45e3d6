"""The page in a real browser: its answers are ONNX Runtime's in Python, with pictures, with a camera, and offline."""

from __future__ import annotations

import contextlib
import json
import threading

import numpy as np
import pytest
from PIL import Image

from neurokit import pipeline
from neurokit.answers import answer
from neurokit.data.puppets import CLASSES, render
from neurokit.tasks.choice import softmax

READY = "document.body.dataset.ready === 'yes'"
SCORES = "document.getElementById('answer').dataset.scores"


@contextlib.contextmanager
def served(serving, folder):
    server = serving.server(folder)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def page(chromium, runtime, serving, bundling, artifacts, tmp_path_factory):
    """The folder of the page, with two networks."""
    folder = tmp_path_factory.mktemp("page") / "page"
    bundling.bundle(list(artifacts.values()), folder)
    return folder


def choose(browser, number):
    browser.evaluate(
        f"(m => {{m.value = '{number}'; m.dispatchEvent(new Event('change'))}})(document.getElementById('model'))"
    )
    browser.wait_for("!document.getElementById('model').disabled")


def answers_of(browser, files):
    """Puts files into the page and reads classes and confidences from its table."""
    browser.choose_files("#files", files)
    browser.wait_for("document.getElementById('several').dataset.done === 'yes'")
    rows = browser.evaluate("[...document.querySelectorAll('#rows tr')].map(r => [...r.cells].map(c => c.textContent))")
    browser.evaluate("document.getElementById('several').dataset.done = ''")
    assert [row[0] for row in rows] == [file.name for file in files]
    return [row[1] for row in rows], [float(row[2].rstrip(" %")) / 100 for row in rows]


def scores_of(browser, file):
    browser.evaluate(f"{SCORES} = ''")
    browser.choose_files("#files", [file])
    return np.array(json.loads(browser.wait_for(SCORES)))


def write(folder, pictures):
    """Writes pictures as PNG files."""
    files = []
    for number, picture in enumerate(pictures):
        files.append(folder / f"{number:03d}.png")
        Image.fromarray(picture).save(files[-1])
    return files


def test_the_class_on_the_page_is_that_of_python(page, serving, browsers, chromium, artifacts, tmp_path):
    """Also of pictures of other sizes and in colour, and when there is no server any more."""
    pictures, _ = render("test", 1, 64, seed=5)
    colours = np.random.default_rng(0).integers(0, 255, (101, 173, 3), dtype=np.uint8)
    *files, odd = write(tmp_path, [*pictures, colours])
    expected = [said["name"] for said in answer(artifacts["onnx"], files)]
    assert len(set(expected)) >= 4  # a page that always says one class would fail
    with browsers(chromium, tmp_path / "profile") as browser:
        with served(serving, page) as url:
            browser.open(url)
            browser.wait_for(READY)
            assert answers_of(browser, files)[0] == expected
            browser.wait_for("document.getElementById('offline').dataset.ready === 'yes'")
        browser.open(url)  # the server has ended
        browser.wait_for(READY)
        assert answers_of(browser, files[:3])[0] == expected[:3]
        with pipeline.open(artifacts["onnx"]) as runner:
            grey = np.asarray(Image.open(odd).convert("L").resize((64, 64)))
            for file, sample in ((files[0], pictures[0]), (odd, grey)):
                want = runner(sample[None, None])[0]
                np.testing.assert_allclose(scores_of(browser, file), want, rtol=1e-4, atol=1e-4)
        assert browser.errors == []
        assert all(asked.startswith((url, "blob:", "data:")) for asked in browser.requests)


def test_files_that_are_no_pictures(page, serving, browsers, chromium, tmp_path):
    (tmp_path / "letter.png").write_text("dear reader")
    with browsers(chromium, tmp_path / "profile") as browser, served(serving, page) as url:
        browser.open(url)
        browser.wait_for(READY)
        browser.choose_files("#files", [tmp_path / "letter.png"])
        said = browser.wait_for("document.getElementById('problem').textContent")
        assert said.startswith("letter.png is no picture that this browser can read")
        browser.evaluate("document.getElementById('camera').click()")  # none here
        browser.wait_for("document.getElementById('problem').textContent.startsWith('There is no camera.')")
        assert browser.errors == []


FAKE = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
WAIT_FOR_TROUBLE = "document.getElementById('problem').textContent"


def write_video(path, picture, frames=20):
    """Writes a camera's frames, 640 x 480: the picture in the middle of a wall of its own brightness."""
    grey = np.full((480, 640), picture[0, 0], np.uint8)
    big = np.kron(picture, np.ones((7, 7), np.uint8))
    top, left = (480 - len(big)) // 2, (640 - len(big)) // 2
    grey[top : top + len(big), left : left + len(big)] = big
    luma = np.rint(16 + grey.astype(float) * 219 / 255).astype(np.uint8)
    frame = b"FRAME\n" + luma.tobytes() + b"\x80" * (480 * 320)
    path.write_bytes(b"YUV4MPEG2 W640 H480 F10:1 Ip A1:1 C420mpeg2\n" + frame * frames)
    return grey


def python_says(artifact, pictures):
    """Returns ONNX Runtime's scores in Python, the mean over time of a network that takes time steps."""
    steps = artifact.manifest.time_steps
    with pipeline.open(artifact) as runner:
        fed = pictures[:, None] if steps is None else np.repeat(pictures[None, :, None], steps, axis=0)
        scores = np.asarray(runner(fed))
    return scores.mean(0) if scores.ndim == 3 else scores


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["trained", "every_form"])
@pytest.mark.parametrize("form", ["onnx", "onnx-int8", "onnx-step"])
def test_150_silhouettes(form, kind, runtime, serving, browsers, chromium, bundling, tmp_path, request):
    """The class on the page equals ONNX Runtime's in Python on every one: trained networks, and a random one."""
    artifact = request.getfixturevalue(kind)[form]
    bundling.bundle([artifact], tmp_path / "page")
    pictures, labels = render("test", 10, 64, seed=8)
    files = write(tmp_path, pictures)
    scores = python_says(artifact, pictures)
    expected = [CLASSES[number] for number in scores.argmax(-1)]
    assert len(set(expected)) >= 4  # a page that always says one class would fail
    assert kind != "trained" or (scores.argmax(-1) == labels).mean() >= 0.9
    with browsers(chromium, tmp_path / "profile") as browser, served(serving, tmp_path / "page") as url:
        browser.open(url)
        browser.wait_for(READY)
        found, shares = answers_of(browser, files)
        assert found == expected
        np.testing.assert_allclose(shares, softmax(scores).max(-1), atol=0.01)
        spiking = browser.evaluate("document.getElementById('spiking').hidden") is False
        assert spiking == (form == "onnx-step")
        if spiking:
            assert browser.evaluate("Number(document.getElementById('answer').dataset.spikes)") > 0
        heat = json.loads(browser.evaluate("document.getElementById('answer').dataset.map"))
        assert np.ndim(heat) == 2
        assert np.max(heat) > 0
        assert browser.errors == []


@pytest.mark.slow
def test_a_camera(page, serving, browsers, chromium, artifacts, tmp_path):
    """What the page says of a camera of one silhouette is what Python says of the middle of its frame."""
    picture = render("test", 1, 64, seed=5)[0][3]
    frame = write_video(tmp_path / "camera.y4m", picture)
    seen = np.asarray(Image.fromarray(frame[:, 80:560]).resize((64, 64)))
    with pipeline.open(artifacts["onnx"]) as runner:
        expected = CLASSES[int(runner(seen[None, None])[0].argmax())]
    flags = (*FAKE, f"--use-file-for-fake-video-capture={tmp_path / 'camera.y4m'}")
    with browsers(chromium, tmp_path / "profile", *flags) as browser, served(serving, page) as url:
        browser.open(url)
        browser.wait_for(READY)
        browser.evaluate("document.getElementById('camera').click()")
        browser.wait_for("Number(document.getElementById('answer').dataset.frames) > 5")
        assert browser.evaluate("document.getElementById('class').textContent") == expected
        assert browser.evaluate(WAIT_FOR_TROUBLE) == ""
        browser.evaluate("document.getElementById('camera').click()")
        assert browser.evaluate("document.getElementById('camera').textContent") == "Use the camera"
        assert browser.errors == []


@pytest.mark.slow
def test_a_camera_that_is_not_allowed(page, serving, browsers, chromium, tmp_path):
    with browsers(chromium, tmp_path / "profile", FAKE[1]) as browser, served(serving, page) as url:
        browser.open(url)
        browser.wait_for(READY)
        browser.evaluate("document.getElementById('camera').click()")
        assert browser.wait_for(WAIT_FOR_TROUBLE).startswith("The camera was not allowed.")


@pytest.mark.slow
def test_a_browser_without_simd(page, serving, browsers, chromium, tmp_path):
    """A real browser, told that the processor has no SSE."""
    flags = "--js-flags=--no-enable-sse4-1 --no-enable-sse4-2 --no-enable-avx --no-enable-ssse3"
    with browsers(chromium, tmp_path / "profile", flags) as browser, served(serving, page) as url:
        browser.open(url)
        assert browser.wait_for(WAIT_FOR_TROUBLE).startswith("This browser's WebAssembly has no SIMD")
        assert browser.evaluate("document.getElementById('camera').disabled") is True
