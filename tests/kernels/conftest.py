"""Where the kernels run in these tests: a GPU, the Triton interpreter, or (neither) the reference on a CPU."""

from __future__ import annotations

import os

import pytest
import torch

from neurokit.kernels._compat import INTERPRET

ON_GPU = torch.cuda.is_available() and not INTERPRET


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs_kernel: compares a Triton kernel, on a GPU or under the interpreter")
    config.addinivalue_line("markers", "heavy_interpreted: slow under the interpreter, as what it adds there is little")
    # Float references must not be rounded to TF32.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if INTERPRET:
        from tests.kernels.interpreter import hasten

        hasten()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a GPU, what compares Triton kernels runs in the interpreter's process (test_interpreter), not here."""
    if INTERPRET:
        for item in items:
            if item.get_closest_marker("heavy_interpreted"):
                item.add_marker(pytest.mark.slow)
        part, parts = map(int, os.environ.get("NEUROKIT_TESTS_PART", "0/1").split("/"))
        other = [item for index, item in enumerate(items) if index % parts != part]
        items[:] = items[part::parts]
        config.hook.pytest_deselected(items=other)
    if ON_GPU or INTERPRET:
        return
    elsewhere = [item for item in items if item.get_closest_marker("needs_kernel")]
    items[:] = [item for item in items if not item.get_closest_marker("needs_kernel")]
    config.hook.pytest_deselected(items=elsewhere)


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda" if ON_GPU else "cpu")


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch):
    """Runs a function on the plain PyTorch definition."""

    def run(function, *args, **kwargs):
        with monkeypatch.context() as patch:
            patch.setenv("NEUROKIT_KERNELS", "reference")
            return function(*args, **kwargs)

    return run


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fills every fresh allocation with NaN (or a number that no kernel writes), to find outputs left unwritten."""

    def fill(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.fill_(float("nan") if tensor.is_floating_point() else 77)

    for owner, name in (
        (torch, "empty"),
        (torch, "empty_like"),
        (torch.Tensor, "new_empty"),
        (torch.Tensor, "new_empty_strided"),
    ):
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, _original=original, **k: fill(_original(*a, **k)))
