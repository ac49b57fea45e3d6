"""Cortex-M: sizes in flash and memory by the cross compiler, and a run of the test vectors on QEMU's boards."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.scratch import scratch

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.parity.vectors import Vectors

COMPILER = "arm-none-eabi-gcc"
EMULATOR = "qemu-system-arm"
INSTALL = "apt-get install gcc-arm-none-eabi qemu-system-arm"
_FLAGS = ("-std=c99", "-O2", "-mthumb", "-ffunction-sections", "-fdata-sections", "-ffreestanding")
_SECONDS = 60.0


@dataclass(frozen=True)
class Board:
    """A board of QEMU.

    Attributes:
        cpu: Name for the compiler.
        machine: QEMU's name.
        flags: Of the compiler, for the processor and its arithmetic unit.
        nanoseconds: Of one tick of the board's SysTick counter.
        flash: Start and bytes of the memory that holds the code.
        memory: Start and bytes of the memory for variables.
    """

    cpu: str
    machine: str
    flags: tuple[str, ...]
    nanoseconds: float
    flash: tuple[int, int]
    memory: tuple[int, int]


BOARDS = (
    Board(
        "cortex-m4",
        "mps2-an386",
        ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
        40.0,
        (0x0, 4 << 20),
        (0x20000000, 4 << 20),
    ),
    Board(
        "cortex-m55",
        "mps3-an547",
        ("-mcpu=cortex-m55", "-mfloat-abi=hard"),
        31.25,
        (0x0, 512 << 10),
        (0x21000000, 2 << 20),
    ),
)
_LINK = """\
MEMORY {{ FLASH (rx) : ORIGIN = {flash:#x}, LENGTH = {flash_bytes}
  RAM (rwx) : ORIGIN = {ram:#x}, LENGTH = {ram_bytes} }}
ENTRY(start)
SECTIONS {{
  .text : {{ KEEP(*(.vectors)) *(.text*) *(.rodata*) . = ALIGN(8); }} > FLASH
  .ARM.exidx : {{ *(.ARM.exidx*) }} > FLASH
  .data : {{ . = ALIGN(8); *(.data*) . = ALIGN(8); }} > RAM
  .bss (NOLOAD) : {{ . = ALIGN(8); *(.bss*) *(COMMON) . = ALIGN(8); }} > RAM
  stack_top = ORIGIN(RAM) + LENGTH(RAM);
}}
"""
_MAIN = """\
#include <stdint.h>
#include "{name}.h"
#include "vectors.h"
extern uint32_t stack_top;
void start(void);
static void call(int what, const void *with) {{
    register int r0 __asm__("r0") = what;
    register const void *r1 __asm__("r1") = with;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}}
static void text(const char *s) {{ call(0x04, s); }}
static void count(uint32_t n) {{
    char digits[12];
    int at = 11;
    digits[at] = 0;
    do {{ digits[--at] = (char)('0' + n % 10u); n /= 10u; }} while (n);
    text(digits + at);
}}
static void stop(int failed) {{ call(0x18, (const void *)(uintptr_t)(failed ? 0x20023 : 0x20026)); for (;;) {{}} }}
static void fault(void) {{ text("fault\\n"); stop(1); }}
__attribute__((section(".vectors"), used)) static const uintptr_t table[16] = {{
    (uintptr_t)&stack_top, (uintptr_t)start, (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault,
    (uintptr_t)fault}};
static {name}_state state;
{buffers}
#define SYST ((volatile uint32_t *)0xe000e010)
void *memcpy(void *to, const void *from, unsigned long n);
void *memcpy(void *to, const void *from, unsigned long n) {{
    for (unsigned long i = 0; i < n; ++i) {{ ((volatile char *)to)[i] = ((const char *)from)[i]; }}
    return to;
}}
void *memset(void *to, int c, unsigned long n);
void *memset(void *to, int c, unsigned long n) {{
    for (unsigned long i = 0; i < n; ++i) {{ ((volatile char *)to)[i] = (char)c; }}
    return to;
}}
static void run(void) {{
    uint32_t worst = 0, wrong = 0;
    for (int b = 0; b < SAMPLES; ++b) {{
        {name}_reset(&state);
        for (int t = 0; t < TIMES; ++t) {{
            const int at = b * TIMES + t;
            SYST[1] = 0xffffff; SYST[2] = 0; SYST[0] = 5;
            const int failed = {name}_step(&state, {arguments});
            const uint32_t ticks = 0xffffff - (SYST[2] & 0xffffff);
            wrong += SYST[0] & 0x10000 ? 0x10000u : 0u; /* the counter went round */
            worst = ticks > worst ? ticks : worst;
            wrong += failed ? 1u : 0u;
{checks}
        }}
    }}
    text("wrong "); count(wrong); text(" ticks "); count(worst); text("\\n");
    stop(wrong != 0);
}}
void start(void) {{
    *(volatile uint32_t *)0xe000ed88 |= 0xfu << 20; /* the arithmetic unit for floats and vectors */
    __asm__ volatile("dsb\\n isb");
    run();
}}
"""


def sizes(folder: Path, name: str) -> dict[str, Any] | None:
    """Returns flash and memory of the network alone on a Cortex-M4, as linked; None without the cross compiler.

    Args:
        folder: Where header and source are.
        name: Their name.
    """
    board = BOARDS[0]
    if shutil.which(COMPILER) is None:
        return None
    with scratch("c") as made:
        main, out = made / "state.c", made / "network.elf"
        main.write_text(
            f'#include "{name}.h"\n{name}_state state;\nvoid start(void);\n'
            f"void start(void) {{ {name}_reset(&state); }}\n",
            encoding="utf-8",
        )
        link = made / "board.ld"
        link.write_text(_link(board), encoding="utf-8")
        keep = (f"-Wl,--undefined={name}_step", f"-Wl,--undefined={name}_reset", "-Wl,--gc-sections")
        ran = _compile(board, link, out, [folder / f"{name}.c", main], [folder], keep)
        if ran.returncode:
            return {"cpu": board.cpu, "error": _line(ran.stderr)}
        listed = subprocess.run(["arm-none-eabi-size", str(out)], capture_output=True, text=True, check=False)
        text, data, bss = (int(number) for number in listed.stdout.splitlines()[1].split()[:3])
    return {"cpu": board.cpu, "flash_bytes": text + data, "ram_bytes": data + bss, "optimisation": "-O2"}


def run_on_boards(artifact: Artifact, vectors: Vectors) -> tuple[list[str], list[str]]:
    """Runs an artifact's test vectors on every board; returns faults, and notes with counted instructions."""
    missing = [tool for tool in (COMPILER, EMULATOR) if shutil.which(tool) is None]
    if missing:
        return [], [f"not run on an emulated Cortex-M: {' and '.join(missing)} not installed ({INSTALL})"]
    faults, notes = [], []
    for board in BOARDS:
        fault, note = _run(board, artifact, vectors)
        faults += [fault] if fault else []
        notes += [note] if note else []
    return faults, notes


def _run(board: Board, artifact: Artifact, vectors: Vectors) -> tuple[str, str]:
    name = artifact.manifest.target_info["name"]
    label = f"{board.cpu} (QEMU {board.machine})"
    with scratch("c") as folder:
        steps, batch = _write(folder, artifact, vectors, name)
        link, out = folder / "board.ld", folder / "test.elf"
        link.write_text(_link(board), encoding="utf-8")
        source = artifact.file(f"{name}.c")
        ran = _compile(board, link, out, [source, folder / "main.c"], [source.parent, folder], ())
        if ran.returncode:
            said = _line(ran.stderr)
            if "overflowed by" in ran.stderr or "will not fit" in ran.stderr:
                return "", f"not run on {label}: with its test vectors it does not fit the board's memory"
            return f"{label}: the cross compiler refuses it: {said}", ""
        command = [EMULATOR, "-M", board.machine, "-kernel", str(out), "-icount", "shift=0", "-nographic"]
        command += ["-semihosting-config", "enable=on,target=native", "-monitor", "none", "-serial", "none"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=_SECONDS, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            return "", f"not run on {label}: stopped after {_SECONDS:.0f} s"
    said = re.search(r"wrong (\d+) ticks (\d+)", done.stdout + done.stderr)
    if said is None:
        return f"{label}: it ended without an answer: {_line(done.stderr or done.stdout)}", ""
    wrong, ticks = int(said[1]), int(said[2])
    if wrong & 0xFFFF:
        return f"{label}: {wrong & 0xFFFF} of its outputs differ from the reference", ""
    instructions = round(ticks * board.nanoseconds)  # icount shift=0: an instruction a nanosecond
    counted = f"{instructions:,} instructions a step" if wrong < 0x10000 else "more instructions than its counter holds"
    return "", f"{label}: {batch} sample(s) of {steps} step(s) equal to the bit, {counted} (counted, not cycles)"


def _write(folder: Path, artifact: Artifact, vectors: Vectors, name: str) -> tuple[int, int]:
    """Writes the program that runs the test vectors; returns the number of steps and samples."""
    from neurokit.export.c.host import CRunner
    from neurokit.feeds import repeated

    timed = artifact.manifest.time_steps is not None
    feeds = dict(vectors.feeds)
    if timed and vectors.time_input == "image":
        steps = int(artifact.manifest.time_steps)  # type: ignore[arg-type]
        feeds = repeated(feeds, artifact.manifest.inputs, steps)
    if not timed:
        feeds = {key: x[None] for key, x in feeds.items()}
    times, batch = next(iter(feeds.values())).shape[:2]
    with CRunner(artifact) as runner:  # what every step puts out: equal to the reference, as the host run shows
        runner.reset(batch)
        outputs = [runner._run({key: x[t] for key, x in feeds.items()}, batch) for t in range(times)]
    lines = [f"#define SAMPLES {batch}", f"#define TIMES {times}"]
    arguments, checks, buffers = [], [], []
    for at, port in enumerate(artifact.manifest.inputs):
        value = np.ascontiguousarray(np.moveaxis(feeds[port.name], 1, 0)).reshape(batch * times, -1)
        kind = {"float32": "float", "bool": "uint8_t"}.get(str(value.dtype), f"{value.dtype}_t")
        lines.append(_array(f"given{at}", kind, value))
        arguments.append(f"given{at}[at]")
    for at, port in enumerate(artifact.manifest.outputs):
        value = np.stack([np.stack([step[port.name][b].reshape(-1) for step in outputs]) for b in range(batch)])
        value = value.reshape(batch * times, -1).astype(np.float32)  # as the code writes whole numbers, too
        lines.append(_array(f"wanted{at}", "uint32_t", value.view(np.uint32)))
        buffers.append(f"static union {{ float as[{value.shape[1]}]; uint32_t bits[{value.shape[1]}]; }} got{at};")
        arguments.append(f"got{at}.as")
        checks.append(
            f"            for (int i = 0; i < {value.shape[1]}; ++i) "
            f"{{ wrong += got{at}.bits[i] != wanted{at}[at][i] && wrong < 0xffff; }}"
        )
    (folder / "vectors.h").write_text("\n".join(lines) + "\n", encoding="utf-8")
    main = _MAIN.format(name=name, arguments=", ".join(arguments), checks="\n".join(checks), buffers="\n".join(buffers))
    (folder / "main.c").write_text(main, encoding="utf-8")
    return int(times), int(batch)


def _array(name: str, kind: str, value: np.ndarray) -> str:
    write = (
        (lambda v: f"{float(v).hex()}f")
        if kind == "float"
        else (lambda v: f"{int(v)}u" if kind == "uint32_t" else str(int(v)))
    )
    rows = ",\n".join("{" + ",".join(write(v) for v in row) + "}" for row in value)
    return f"static const {kind} {name}[{value.shape[0]}][{value.shape[1]}] = {{\n{rows}\n}};"


def _link(board: Board) -> str:
    return _LINK.format(
        flash=board.flash[0], flash_bytes=board.flash[1], ram=board.memory[0], ram_bytes=board.memory[1]
    )


def _compile(board: Board, link: Path, out: Path, sources: Any, include: Any, more: Any) -> Any:
    command = [COMPILER, *_FLAGS, *board.flags, "-nostdlib", f"-T{link}", *(f"-I{folder}" for folder in include), *more]
    # libgcc has what the processor lacks, such as shifts of 64 bits.
    return subprocess.run(
        [*command, *map(str, sources), "-lgcc", "-o", str(out)], capture_output=True, text=True, check=False
    )


def _line(text: str) -> str:
    lines = (
        [line for line in text.strip().splitlines() if "error" in line] or text.strip().splitlines() or ["no message"]
    )
    return lines[0][:200]
