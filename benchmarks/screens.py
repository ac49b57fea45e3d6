"""Pictures of the pages for the documentation: a trained network is deployed and priced, Chromium shows its pages.

The figures on a picture stand in the documentation for long: it waits until the machine is idle, measures with one
thread, and where a latency is still INVALID measures all anew. After the last try the pictures stay as they were.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from safetensors.torch import save_file

import neurokit as nk
from neurokit.data.digits import load_digits
from neurokit.models.spiking_cnn.train import train_digits
from neurokit.page.energy import save_html

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
WIDTHS = {1280: (1280, 800, False), 390: (390, 844, True)}
SAMPLES = 100
SECONDS = 10.0
TRIES = 3
IDLE, PATIENCE_S = 0.2, 600.0  # share of the processors that is at work, and how long that is waited for


def pages(folder: Path) -> dict[str, Path]:
    """Trains, deploys and prices; returns the pages by name."""
    module, _ = train_digits(seconds=20)
    weights = folder / "digits.safetensors"
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, weights)
    digits = load_digits()
    data = folder / "digits.npz"
    np.savez(data, x=digits.test_images[:SAMPLES].numpy(), y=digits.test_labels[:SAMPLES].numpy())
    forms = [name for name in ("onnx", "onnx:exact", "onnx-step", "openvino", "c") if _here(name)]
    measured(data, folder / "deploy", weights=weights, targets=forms, seconds=SECONDS, threads=1)
    spec = nk.load("spiking_cnn", weights=weights)
    report = nk.simulate(nk.capture(spec), data, ["loihi1", "speck2f", "truenorth"], samples=20)
    save_html(report, folder / "energy.html")
    return {"deploy": folder / "deploy" / "page.html", "energy": folder / "energy.html"}


def measured(data: Path, out: Path, **options: Any) -> None:
    """Deploys until every latency is valid; ends the script where none of the tries was.

    Args:
        data: Samples.
        out: Folder of the deployment.
        options: Those of `neurokit.deploy`.
    """
    for attempt in range(TRIES):
        wait_until_idle()
        report = nk.deploy("spiking_cnn", data, out / str(attempt), **options)
        invalid = [f"{row.form} ({row.reason})" for row in report.rows if row.status == "invalid" and not row.simulated]
        if not invalid:
            (out / str(attempt) / "page.html").rename(out / "page.html")
            return
        print(f"try {attempt + 1}: invalid: {'; '.join(invalid)}")
    raise SystemExit("the machine is too busy to be measured on; the pictures are as they were")


def wait_until_idle() -> None:
    """Waits until little else is at work, for ten minutes at most."""
    ends = time.monotonic() + PATIENCE_S
    while psutil.cpu_percent(5.0) / 100 > IDLE and time.monotonic() < ends:
        time.sleep(5.0)


def _here(form: str) -> bool:
    from neurokit.target import TARGETS

    return not TARGETS.get(form.partition(":")[0]).info.missing()


def shoot(browser: Any, name: str, page: Path) -> None:
    """Takes the first screen of a page, wide and on a phone, light and dark; checks that it prints in four pages."""
    for width, (columns, rows, phone) in WIDTHS.items():
        for look in ("light", "dark"):
            browser.resize(columns, rows, phone=phone)
            browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": look}])
            browser.open(page.as_uri())
            shot = browser.call("Page.captureScreenshot", format="png")["data"]
            _save(base64.b64decode(shot), PICTURES / f"{name}-{width}-{look}.png")
    browser.call("Emulation.setEmulatedMedia", features=[])
    printed = browser.pdf().count(b"/Type /Page\n")
    print(f"{name}: {printed} printed pages, errors: {browser.errors}")


def _save(shot: bytes, path: Path) -> None:
    """Writes a picture in 128 colours: the pages have few, and the repository keeps every version."""
    with Image.open(io.BytesIO(shot)) as image:
        image.convert("RGB").quantize(128).save(path, optimize=True)


def main() -> None:
    """Makes every picture."""
    found = next(path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name)))
    place = ROOT / "tests" / "neurokit" / "page" / "browser.py"
    spec = importlib.util.spec_from_file_location("browser", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        shown = pages(Path(made))
        with module.Browser(found, Path(made) / "profile") as browser:
            for name, page in shown.items():
                shoot(browser, name, page)


if __name__ == "__main__":
    main()
