"""What the streaming form of ECAPA-TDNN keeps from chunk to chunk: names and sizes."""

from __future__ import annotations

KEPT_SAMPLES = 240  # of the waveform: a window of 400 less a hop of 160
NO_PEAK = -1e4  # stands below every weight of the attention, whose logarithm is bounded by its last layer
BLOCKS = (1, 2, 3)
POOLED = ("origin", "total", "squares", "peak", "weight", "weighted", "weighted_squares")


def state_sizes(channels: int, pooled: int, scale: int, mels: int = 80) -> dict[str, tuple[int, ...]]:
    """Returns the size of every state of one sample, by its name, in the order in which they are taken and given.

    Args:
        channels: Width of the trunk.
        pooled: Width after the three blocks are joined.
        scale: Parts of a Res2Net block.
        mels: Features a frame.
    """
    inner = (scale - 1) * (channels // scale)
    dilations = {block: block + 1 for block in BLOCKS}
    return {
        "audio": (KEPT_SAMPLES,),  # the last samples, which the next frame overlaps
        "frames": (1,),  # how many there were
        "stem": (mels, 4),
        **{f"past{block}": (inner, 2 * dilations[block]) for block in BLOCKS},  # inputs of the convolutions
        **{f"excited{block}": (channels,) for block in BLOCKS},  # sums over frames for squeeze-excitation
        **dict.fromkeys(POOLED, (pooled,)),
    }
