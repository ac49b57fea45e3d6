"""Makes the files of `hw_sim/devices` from MLPerf Tiny's raw energy logs, so that every figure can be found again.

git clone https://github.com/mlcommons/tiny_results_v1.1  # and v1.0, v1.2, v1.3, all in one folder
python benchmarks/edge_devices.py FOLDER
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROUNDS = ("1.1", "1.3", "1.2", "1.0")  # the best estimate is of the first round that has the network
# Multiply-accumulates counted from the layers of the reference models (tests/hw_sim/devices does it once more).
NETWORKS = {
    "ad": ("FC autoencoder (anomaly detection)", 264_192, "anomaly_detection"),
    "kws": ("DS-CNN (keyword spotting)", 2_656_768, "keyword_spotting"),
    "vww": ("MobileNetV1 0.25 (visual wake words)", 7_489_664, "visual_wake_words"),
    "ic": ("ResNet-8 (CIFAR-10)", 12_501_632, "image_classification"),
}
FIGURE = r"(?:Energy/Inf\.\s*:\s*)([\d.]+) uJ|([\d.]+)\s*uJ/inf"
ST, NUCLEO = "STMicroelectronics", "STMicroelectronics/results/NUCLEO[-_]"
GAP, NDP = "greenwaves-technologies/results/gap9_", "syntiant/results/syntiant_9120_"
DEVICES = {  # title, maker, what computes, folder of the results
    "stm32l4r5": ("STM32L4R5 (Cortex-M4)", ST, "Cortex-M4", NUCLEO + "L4R5ZI(-P)?"),
    "stm32h7a3": ("STM32H7A3 (Cortex-M7)", ST, "Cortex-M7", NUCLEO + "H7A3ZI[-_]Q"),
    "stm32u575": ("STM32U575 (Cortex-M33)", ST, "Cortex-M33", NUCLEO + "U575ZI[-_]Q"),
    "stm32u385": ("STM32U385 (Cortex-M33)", ST, "Cortex-M33", NUCLEO + "U385RG_Q"),
    "efr32mg24": (
        "Silicon Labs xG24 (Cortex-M33 and MVP)",
        "Silicon Labs",
        "Cortex-M33 and MVP accelerator",
        "silicon_labs/results/silicon_labs_xG24_DK2601B",
    ),
    "gap9": ("GreenWaves GAP9, 0.65 V, 240 MHz", "GreenWaves", "RISC-V cluster and NE16", GAP + "650_240"),
    "gap9-fast": ("GreenWaves GAP9, 0.8 V, 370 MHz", "GreenWaves", "RISC-V cluster and NE16", GAP + "800_370"),
    "ndp9120": ("Syntiant NDP9120, 0.9 V, 30 MHz", "Syntiant", "Syntiant Core 2", NDP + "0v9_30mhz"),
    "ndp9120-fast": ("Syntiant NDP9120, 1.1 V, 98 MHz", "Syntiant", "Syntiant Core 2", NDP + "1v1_98mhz"),
}


def git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, capture_output=True, text=True, errors="ignore", check=True).stdout


def logs(folder: Path) -> dict[tuple[str, str], str]:
    """Returns every energy log by round and path."""
    found = {}
    for number in ROUNDS:
        repository = next(path for path in sorted(folder.glob(f"*tiny_results_v{number}*")) if path.is_dir())
        repository = repository / "repo" if (repository / "repo").is_dir() else repository
        for path in git(repository, "ls-tree", "-r", "--name-only", "HEAD").split("\n"):
            if re.match(r"closed/.*/energy/.*results\.txt$", path):
                found[number, path] = git(repository, "show", f"HEAD:{path}")
    return found


def main(folder: Path) -> None:
    known = logs(folder)
    target = Path(__file__).parent.parent / "hw_sim" / "devices"
    for name, (title, maker, core, place) in DEVICES.items():
        points, rounds = [], set()
        for task, (network, macs, long) in NETWORKS.items():
            measured = {}
            for (number, path), text in known.items():
                if re.fullmatch(rf"closed/{place}/({task}|{long})/energy/.*results\.txt", path):
                    measured[number] = sorted(float(a or b) for a, b in re.findall(FIGURE, text))
            if not measured:
                continue
            rounds |= measured.keys()
            first = next(measured[number] for number in ROUNDS if number in measured)
            low, high = min(v[0] for v in measured.values()), max(v[-1] for v in measured.values())
            points.append(
                f'\n[[points]]\nnetwork = "{network}"\nmacs = {macs}\njoules = {first[len(first) // 2]}e-6\n'
                f"low = {low}e-6\nhigh = {high}e-6\n"
            )
        used = ", ".join(f"v{number}" for number in sorted(rounds))
        head = {
            "name": name,
            "title": title,
            "maker": maker,
            "core": core,
            "precision": "int8",
            "source": f"MLPerf Tiny {used}, raw energy logs (EnergyRunner, median of the windows), closed division",
            "scope": "chip",
            "note": "The device under test while it computes; the interval spans the rounds, which differ by software.",
        }
        text = "".join(f'{key} = "{value}"\n' for key, value in head.items()) + "".join(points)
        (target / f"{name}.toml").write_text(text)
        print(f"{name}: {len(points)} networks, {used}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
