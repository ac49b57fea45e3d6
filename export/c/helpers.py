"""The C functions that loops call: rounding, limits, and sums and maxima over windows."""

from __future__ import annotations

import re
from collections.abc import Collection

_ROUND = """\
/* a / 2**n, rounded to the nearest whole number and from halves to the even one. `>>` of a negative number is
   arithmetic in every compiler for these machines. */
static inline int32_t nk_round(int32_t a, int n) {
    if (n > 31) { return 0; }
    const uint32_t rest = (uint32_t)a & (uint32_t)((UINT64_C(1) << n) - 1u), half = UINT32_C(1) << (n - 1);
    const int32_t down = a >> n;
    return down + ((rest > half || (rest == half && (down & 1))) ? 1 : 0);
}
"""
_ROUND_WIDE = """\
static inline int64_t nk_round_wide(int64_t a, int n) {
    if (n > 62) { return 0; }
    const uint64_t rest = (uint64_t)a & ((UINT64_C(1) << n) - 1u), half = UINT64_C(1) << (n - 1);
    const int64_t down = a >> n;
    return down + ((rest > half || (rest == half && (down & 1))) ? 1 : 0);
}
"""
_ROUND_FLOAT = """\
/* The nearest whole number, from halves to the even one, of |a| < 2**22; `volatile` keeps both additions. */
static inline float nk_round_float(float a) {
    volatile float b = a + 12582912.0f;
    b = b - 12582912.0f;
    return b;
}
"""
_LIMIT = """\
static inline int32_t nk_limit(int32_t a, int32_t low, int32_t high) { return a < low ? low : a > high ? high : a; }
"""
_LIMIT_WIDE = """\
static inline int64_t nk_limit_wide(int64_t a, int64_t low, int64_t high) {
    return a < low ? low : a > high ? high : a;
}
"""
_LIMIT_FLOAT = """\
/* What is no number becomes `low`. */
static inline float nk_limit_float(float a, float low, float high) { return !(a > low) ? low : a > high ? high : a; }
"""
_WINDOW = """\
/* Sum of products over a window; what lies outside of the picture counts as 0. */
static {acc} nk_window_{x}_{w}(const {x} *x, const {w} *w, int32_t channels, int32_t height, int32_t width,
    int32_t rows, int32_t columns, int32_t down, int32_t along, int32_t top, int32_t left) {{
    {acc} sum = 0;
    for (; channels > 0; --channels, x += height * width) {{
        for (int32_t r = 0, y = top; r < rows; ++r, y += down, w += columns) {{
            if (y < 0 || y >= height) {{ continue; }}
            const {x} *const line = x + y * width;
            for (int32_t c = 0, z = left; c < columns; ++c, z += along) {{
                if (z >= 0 && z < width) {{ sum += ({acc})line[z] * w[c]; }}
            }}
        }}
    }}
    return sum;
}}
"""
_DOT = """\
static {acc} nk_dot_{x}_{w}(const {x} *x, const {w} *w, int32_t count, int32_t step_x, int32_t step_w) {{
    {acc} sum = 0;
    for (; count > 0; --count, x += step_x, w += step_w) {{ sum += ({acc})*x * *w; }}
    return sum;
}}
"""
_POOL = """\
static {acc} nk_{name}_{x}(const {x} *x, int32_t height, int32_t width, int32_t rows, int32_t columns,
    int32_t down, int32_t along, int32_t top, int32_t left) {{
    {acc} found = {start};
    for (int32_t r = 0, y = top; r < rows; ++r, y += down) {{
        if (y < 0 || y >= height) {{ continue; }}
        for (int32_t c = 0, z = left; c < columns; ++c, z += along) {{
            if (z >= 0 && z < width) {{
                const {acc} a = x[y * width + z];
                {take}
            }}
        }}
    }}
    return found;
}}
"""
_PLAIN = {
    "nk_round": _ROUND,
    "nk_round_wide": _ROUND_WIDE,
    "nk_round_float": _ROUND_FLOAT,
    "nk_limit": _LIMIT,
    "nk_limit_wide": _LIMIT_WIDE,
    "nk_limit_float": _LIMIT_FLOAT,
}


def accumulator(*types: str) -> str:
    """Returns the type in which products of such operands are summed."""
    return "int64_t" if "int64_t" in types else "int32_t"


def helper_text(names: Collection[str]) -> str:
    """Returns the source of the named functions; `nk_window_int8_t_int8_t` is that of two types."""
    return "\n".join(_text(name) for name in sorted(names))


def _text(name: str) -> str:
    if name in _PLAIN:
        return _PLAIN[name]
    kind, types = name.split("_")[1], re.findall(r"u?int\d+_t", name)
    acc = accumulator(*types)
    if kind == "window":
        return _WINDOW.format(acc=acc, x=types[0], w=types[1])
    if kind == "dot":
        return _DOT.format(acc=acc, x=types[0], w=types[1])
    if kind == "largest":
        return _POOL.format(
            acc=acc,
            x=types[0],
            name=kind,
            start="INT64_MIN" if acc == "int64_t" else "INT32_MIN",
            take="found = a > found ? a : found;",
        )
    return _POOL.format(acc=acc, x=types[0], name=kind, start="0", take="found += a;")
