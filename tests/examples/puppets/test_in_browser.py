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
from neurokit.data.puppets import render

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
    """Puts files into the page and reads the classes from its table."""
    browser.choose_files("#files", files)
    browser.wait_for("document.getElementById('several').dataset.done === 'yes'")
    rows = browser.evaluate("[...document.querySelectorAll('#rows tr')].map(r => [...r.cells].map(c => c.textContent))")
    browser.evaluate("document.getElementById('several').dataset.done = ''")
    assert [row[0] for row in rows] == [file.name for file in files]
    return [row[1] for row in rows]


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
            assert answers_of(browser, files) == expected
            browser.wait_for("document.getElementById('offline').dataset.ready === 'yes'")
        browser.open(url)  # the server has ended
        browser.wait_for(READY)
        assert answers_of(browser, files[:3]) == expected[:3]
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
