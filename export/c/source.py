"""Writes a network as one header and one source of C99, without allocation and without a library."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from neurokit.export.c.build import Network, Table
from neurokit.export.c.helpers import helper_text
from neurokit.export.c.neurons import alone, fires, starts
from neurokit.export.c.parts import BYTES, Buffer, plan

_HEADER = """\
/* {title}
   Written by neurokit {version}. C99; no allocation and no library. */
#ifndef {upper}_H
#define {upper}_H

#include <stdint.h>

{sizes}

/* Membranes and working memory of one stream: a static variable, {state_bytes} bytes. */
typedef struct {{
    int32_t steps; /* since the last reset */
{fields}}} {name}_state;

#ifdef __cplusplus
extern "C" {{
#endif

/* Sets every membrane to its initial value; call it before the first step and before every new sequence. */
void {name}_reset({name}_state *s);

/* Runs {what}. {shapes}
   Returns 0{refusal}. */
int {name}_step({name}_state *s, {parameters});

#ifdef __cplusplus
}}
#endif
#endif
"""
_TRACE = """\
/* For verification alone: what every layer was given and fired, and spikes in place of its own. */
#ifdef NK_TRACE
double *nk_currents[{count}];
signed char *nk_spikes[{count}];
const signed char *nk_forced[{count}];
#define NK_CURRENT(k, i, x) do {{ if (nk_currents[k]) {{ nk_currents[k][i] = (double)(x); }} }} while (0)
#define NK_FORCE(k, i, s) do {{ if (nk_forced[k]) {{ (s) = nk_forced[k][i]; }} }} while (0)
#define NK_SPIKE(k, i, s) do {{ if (nk_spikes[k]) {{ nk_spikes[k][i] = (signed char)(s); }} }} while (0)
#else
#define NK_CURRENT(k, i, x) ((void)0)
#define NK_FORCE(k, i, s) ((void)(i))
#define NK_SPIKE(k, i, s) ((void)0)
#endif
"""


def c_name(name: str) -> str:
    """Returns a model's name as a C identifier."""
    found = re.sub(r"\W+", "_", name).strip("_").lower() or "model"
    return found if found[0].isalpha() else f"model_{found}"


def header(net: Network, version: str) -> str:
    """Returns the header."""
    name = c_name(net.name)
    arenas = plan(net.buffers)
    limited = limit_of(net)
    sizes = [f"#define {name.upper()}_STEPS {net.steps} /* time steps of a sequence */"] if net.steps else []
    ports = [("INPUT", p, size, kind) for p, kind, size in net.inputs]
    ports += [("OUTPUT", port, size, "float") for port, size in net.outputs]
    sizes += [
        f"#define {name.upper()}_{side}_{c_name(port).upper()} {size} /* {kind} */" for side, port, size, kind in ports
    ]
    fields = [f"    {n.type} v{n.index}[{n.size}]; /* {n.path or 'neurons'} */\n" for n in net.neurons]
    fields += [f"    {c.type} c{at}[{c.size}]; /* {c.name} */\n" for at, c in enumerate(net.carried)]
    fields += [f"    {kind} work_{kind}[{size}];\n" for kind, size in arenas.items()]
    shapes = "Inputs and outputs are of one sample, in the order of the model's own tensors."
    return _HEADER.format(
        title=f"{net.name}: exact form, whole numbers",
        version=version,
        upper=name.upper(),
        sizes="\n".join(sizes),
        state_bytes=state_bytes(net),
        fields="".join(fields),
        name=name,
        what="one time step from the present membranes" if net.streams else "the network once",
        shapes=shapes,
        refusal="" if limited is None else f", or 1 and nothing is done after {limited} steps without a reset",
        parameters=_parameters(net),
    )


def source(net: Network) -> str:
    """Returns the source; `header` has placed the buffers."""
    name = c_name(net.name)
    plan(net.buffers)
    parts = [
        f'#include "{name}.h"',
        "#include <math.h>" if _needs_infinity(net) else "",
        _TRACE.format(count=max(1, len(net.neurons))),
    ]
    parts.append(helper_text(net.helpers))
    parts += [_table(table) for table in net.tables]
    parts += [
        _start_table(neuron.index, starts(neuron), neuron.type) for neuron in net.neurons if len(set(neuron.start)) > 1
    ]
    parts += [_start_table(f"c{at}", c.start, c.type) for at, c in enumerate(net.carried) if len(set(c.start)) > 1]
    parts += [fires(neuron) for neuron in net.neurons]
    parts += [_reset(net, name), _step(net, name)]
    if net.neurons:
        parts.append("#ifdef NK_TRACE\n" + "\n".join(alone(neuron, name) for neuron in net.neurons) + "#endif\n")
    return "\n".join(part for part in parts if part)


def limit_of(net: Network) -> int | None:
    """Returns the number of steps that membranes in whole numbers are proven for; None for any."""
    return None if all(part.endless for part in (*net.neurons, *net.carried)) else net.steps


def state_bytes(net: Network) -> int:
    """Returns the size of the state on a machine that aligns 64-bit numbers to 8 bytes."""
    fields = [("int32_t", 1), *((n.type, n.size) for n in (*net.neurons, *net.carried)), *plan(net.buffers).items()]
    at = 0
    for kind, count in fields:
        width = BYTES[kind]
        at = -(-at // width) * width + width * count
    widest = max(BYTES[kind] for kind, _ in fields)
    return -(-at // widest) * widest


def weight_bytes(net: Network) -> int:
    """Returns the size of the constants."""
    return sum(BYTES[table.type] * table.values.size for table in net.tables)


def _needs_infinity(net: Network) -> bool:
    return any("INFINITY" in line for loop in net.loops for line in loop.body)


def _parameters(net: Network) -> str:
    given = [f"const {kind} *in{at}" for at, (_, kind, _) in enumerate(net.inputs)]
    return ", ".join([*given, *(f"float *out{at}" for at in range(len(net.outputs)))])


def _numbers(values: Sequence[object]) -> str:
    lines, line = [], ""
    for value in values:
        text = f"{value},"
        if len(line) + len(text) > 116:
            lines, line = [*lines, line], ""
        line += text
    return "\n    ".join([*lines, line])


def _table(table: Table) -> str:
    values = [
        "INT32_MIN" if v == -(2**31) else f"INT64_C({v})" if table.type == "int64_t" else v
        for v in table.values.tolist()
    ]
    return f"static const {table.type} {table.name}[{len(values)}] = {{\n    {_numbers(values)}\n}};"


def _start_table(index: int | str, values: np.ndarray, kind: str) -> str:
    texts = [f"{float(v).hex()}f" if kind == "float" else str(int(v)) for v in values]
    return f"static const {kind} start{index}[{len(texts)}] = {{\n    {_numbers(texts)}\n}};"


def _reset(net: Network, name: str) -> str:
    lines = ["s->steps = 0;"]
    kept = [(f"v{n.index}", str(n.index), n, starts(n)) for n in net.neurons]
    kept += [(f"c{at}", f"c{at}", carried, carried.start) for at, carried in enumerate(net.carried)]
    for field, table, part, values in kept:
        first = f"{float(values[0]).hex()}f" if part.type == "float" else str(int(values[0])) if len(values) else "0"
        one = f"start{table}[i]" if len(set(part.start)) > 1 else first
        lines.append(f"for (int32_t i = 0; i < {part.size}; ++i) {{ s->{field}[i] = {one}; }}")
    body = "\n".join(f"    {line}" for line in lines)
    return f"void {name}_reset({name}_state *s) {{\n{body}\n}}\n"


def _step(net: Network, name: str) -> str:
    limit = limit_of(net)
    lines = [f"if (s->steps >= {limit}) {{ return 1; }}"] if limit is not None else []
    lines.append("++s->steps;" if net.streams else "(void)s;")
    lines += [_placed(buffer) for buffer in net.buffers if buffer.planned]
    for loop in net.loops:
        body = _used(loop.body)
        if not body:
            continue
        lines.append(f"{{ /* {loop.title} */" if loop.title else "{")
        depth = 1
        for line in [*loop.head, *body, *loop.tail, "}"]:
            depth -= line.startswith("}")
            lines.append("    " * depth + line)
            depth += line.endswith("{")
    body = "\n".join(f"    {line}" for line in [*lines, "return 0;"])
    return f"int {name}_step({name}_state *s, {_parameters(net)}) {{\n{body}\n}}\n"


def _used(body: Sequence[str]) -> list[str]:
    """Returns a loop's statements without those that only compute what nobody reads."""
    kept = list(body)
    while True:
        words = Counter(word for line in kept for word in re.findall(r"\w+", line))
        made = [re.match(r"const \w+ (v\d+) = ", line) for line in kept]
        left = [line for line, found in zip(kept, made, strict=True) if found is None or words[found[1]] > 1]
        if len(left) == len(kept):
            return kept
        kept = left


def _placed(buffer: Buffer) -> str:
    return f"{buffer.type} *const {buffer.name} = s->work_{buffer.type} + {buffer.offset};"
