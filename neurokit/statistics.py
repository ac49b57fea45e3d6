"""The statistics of timed samples and the rules under which they carry a claim; standard library only."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

# A run counts when it has this many samples, lasts this long, and is this steady (standard deviation over mean).
MIN_SAMPLES = 100
MIN_SECONDS = 10.0
MAX_VARIATION = 0.10
# A percentile above the 95th is given from this many samples on: ten of them lie above it.
MIN_SAMPLES_P99 = 1000
# Largest change of the median from the first third of a run to the last.
MAX_DRIFT = 0.05
# Samples that follow each other are alike, so the mean's interval is taken from the means of this many batches.
_BATCHES = 20
_T_19 = 2.093  # Student's t, 19 degrees of freedom, 97.5 %
_NORMAL = 1.96


def percentile(samples: Sequence[float], percent: float) -> tuple[float, float, float]:
    """Returns a percentile and its 95 % interval (value, low, high), all by order statistics.

    The interval takes the normal approximation of the binomial rank, as is usual above a few dozen samples
    (Conover, Practical Nonparametric Statistics, 3rd edition, section 3.2).
    """
    ordered, count, share = sorted(samples), len(samples), percent / 100
    half = _NORMAL * math.sqrt(count * share * (1 - share))
    ranks = (count * share, count * share - half, count * share + half)
    value, low, high = (ordered[min(max(math.ceil(rank), 1), count) - 1] for rank in ranks)
    return value, low, high


def mean(samples: Sequence[float]) -> tuple[float, float, float]:
    """Returns the mean and its 95 % interval (value, low, high), from batch means where there are enough samples.

    Batch means: Law, Simulation Modeling and Analysis, 5th edition, section 9.5.3.
    """
    count, value = len(samples), statistics.fmean(samples)
    if count < 2:
        return value, value, value
    if count < 2 * _BATCHES:
        half = _NORMAL * statistics.stdev(samples) / math.sqrt(count)
    else:
        half = _T_19 * statistics.stdev(block_means(samples, _BATCHES)) / math.sqrt(_BATCHES)
    return value, value - half, value + half


def variation(samples: Sequence[float]) -> float:
    """Returns the coefficient of variation: standard deviation over mean."""
    value = statistics.fmean(samples) if samples else 0.0
    return statistics.stdev(samples) / value if len(samples) > 1 and value else 0.0


def drift(samples: Sequence[float]) -> float:
    """Returns the change of the median from the first third of the samples to the last, as a share of the first."""
    third = len(samples) // 3
    if third < 1:
        return 0.0
    first = statistics.median(samples[:third])
    return statistics.median(samples[-third:]) / first - 1.0 if first else 0.0


def faults(samples: Sequence[float], elapsed_s: float | None = None) -> list[str]:
    """Returns why these samples cannot carry a claim.

    Args:
        samples: Timed samples in seconds, in the order of measurement.
        elapsed_s: How long the measurement took; default is the sum of the samples.
    """
    elapsed = sum(samples) if elapsed_s is None else elapsed_s
    found = []
    if len(samples) < MIN_SAMPLES:
        found.append(f"{len(samples)} samples, fewer than {MIN_SAMPLES}")
    if elapsed < MIN_SECONDS:
        found.append(f"{elapsed:.3g} s of measurement, less than {MIN_SECONDS:g} s")
    if variation(samples) > MAX_VARIATION:
        found.append(f"coefficient of variation {variation(samples):.0%}, more than {MAX_VARIATION:.0%}")
    if len(samples) >= MIN_SAMPLES and abs(drift(samples)) > MAX_DRIFT:
        found.append(f"drift: the median changed by {drift(samples):+.0%} from the first third to the last")
    return found


def blocks(samples: Sequence[float], count: int) -> list[Sequence[float]]:
    """Cuts samples into `count` consecutive blocks whose sizes differ by one at most."""
    edges = [round(index * len(samples) / count) for index in range(count + 1)]
    return [samples[low:high] for low, high in itertools.pairwise(edges)]


def block_means(samples: Sequence[float], count: int) -> list[float]:
    """Returns the mean of each of `count` consecutive blocks."""
    return [statistics.fmean(block) for block in blocks(samples, count)]
