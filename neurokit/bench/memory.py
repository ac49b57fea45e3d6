"""Peak memory of this process: resident, and on the GPU."""

from __future__ import annotations

from pathlib import Path

from neurokit.bench import gpu


def reset_peak() -> None:
    """Lets the peak of the resident memory start anew (Linux 4.0 and newer; elsewhere it stays)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def resident() -> tuple[float, float]:
    """Returns the resident memory of this process and its peak, in bytes; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    sizes = {line.split(":")[0]: float(line.split()[1]) * 1024 for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return sizes.get("VmRSS", 0.0), sizes.get("VmHWM", 0.0)


def peak(added_from: float) -> dict[str, float]:
    """Returns the peak memory in bytes.

    Args:
        added_from: Resident memory before the model was opened.

    Returns:
        "cpu" (all that is resident), "cpu_added" (by loading and running) and "gpu", as far as they are known.
    """
    highest = resident()[1]
    found = {"cpu": highest, "cpu_added": max(highest - added_from, 0.0)} if highest else {}
    on_gpu = gpu.peak_memory()
    return found if on_gpu is None else {**found, "gpu": on_gpu}
