"""Reads the machine code of a kernel for a fault of the assembler.

The assembler of CUDA 12.8, which Triton 3.6 brings, sometimes drops the instruction that sets the address of a matrix
operand: the product then reads shared memory at whatever the register held. The program gives wrong numbers or ends in
an illegal access, and memcheck and racecheck may see nothing. CUDA 12.9 assembles the same PTX rightly. It depends on
the tile sizes; so those that are shipped are checked here, without a GPU.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

_INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z0-9_.]+)\s*(.*?);")
_UNIFORM = re.compile(r"(gdesc\[|desc\[)?UR(\d+)")


def disassemble(cubin: bytes) -> str:
    """Returns the machine code of a kernel as text, by the disassembler that Triton brings."""
    return _cuobjdump(cubin, "--dump-sass")


def resource_usage(cubin: bytes) -> str:
    """Returns what a kernel takes of a multiprocessor, such as "REG:128 STACK:0": a stack is where registers spill."""
    return _cuobjdump(cubin, "--dump-resource-usage")


def _cuobjdump(cubin: bytes, option: str) -> str:
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(tool), option, file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def unset_registers(sass: str) -> list[str]:
    """Returns the instructions that read a uniform register which no instruction before them in the text sets.

    A copy of one is none of them: what it is copied to is unset then. Where registers are short, one half of an address
    is put aside with the other before it is computed.
    """
    written: set[int] = set()
    aside: set[str] = set()  # other registers that hold what was unset
    found = []
    for line in sass.splitlines():
        match = _INSTRUCTION.search(line)
        if match is None:
            continue
        name, rest = match.groups()
        operands = [part.strip() for part in rest.split(",")]
        sets = set()
        if (copied := _copy(name, operands)) is not None:
            to, of = copied
            unset = of in aside or (of.startswith("UR") and int(of[2:]) not in written)
            if to.startswith("UR"):
                (written.discard if unset else written.add)(int(to[2:]))
            else:
                (aside.add if unset else aside.discard)(to)
            continue
        if re.fullmatch(r"UR\d+", operands[0]):
            first = int(operands.pop(0)[2:])
            sets = {first, first + 1} if ".64" in name or "WIDE" in name else {first}
        # A register's bytes in another order: those of a vector that nobody fills, which PTX reads unset itself.
        own = name == "UPRMT" and _reads(name, operands) <= sets
        if not own and not _reads(name, operands) <= written:
            found.append(match.group(0).split("*/", 1)[1].strip())
        written |= sets
    return found


def _copy(name: str, operands: list[str]) -> tuple[str, str] | None:
    """Returns the two registers of a copy, to and from, one of them uniform; None of another instruction."""
    if name not in ("MOV", "UMOV", "R2UR") or len(operands) != 2:
        return None
    to, of = operands
    whole = all(re.fullmatch(r"U?R\d+", one) for one in operands)
    return (to, of) if whole and "U" in to + of else None


def _reads(name: str, operands: list[str]) -> set[int]:
    reads: set[int] = set()
    for operand in operands:
        for kind, number in _UNIFORM.findall(operand):
            first = int(number)
            if kind == "gdesc[":
                # Two addresses of two registers; the first stands for nothing where A comes from registers.
                in_registers = re.match(r"R\d+", operands[1]) is not None
                reads |= {first + 2, first + 3} | (set() if in_registers else {first, first + 1})
            else:
                # An address in shared memory is one register, whatever the size of what lies there.
                shared = operand.startswith("[UR") or name.startswith(("STS", "LDS"))
                reads |= {first, first + 1} if kind or (".64" in name and not shared) else {first}
    return reads
