"""A queue of times whose ties come in a fixed order: that of a binary heap as the C++ standard library keeps it."""

from __future__ import annotations


class Earliest:
    """Gives the earliest entry first.

    Cores that do the same work send at exactly the same time, and then the order decides who waits. Python's heapq
    would take the smaller core; the schedule that this repeats keeps times alone in its heap, so entries of one time
    come as the moves of that heap leave them: on taking one, a hole sinks to a leaf past the earlier children, and
    the last entry rises from there.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, int]] = []

    def __bool__(self) -> bool:
        return bool(self._heap)

    def push(self, time: float, core: int, number: int) -> None:
        """Adds an entry."""
        self._heap.append((time, core, number))
        self._rise(len(self._heap) - 1, (time, core, number))

    def pop(self) -> tuple[float, int, int]:
        """Takes the earliest entry."""
        heap = self._heap
        first, last = heap[0], heap.pop()
        if not heap:
            return first
        hole, size = 0, len(heap)
        while 2 * hole + 2 < size:
            left, right = 2 * hole + 1, 2 * hole + 2
            child = left if heap[right][0] > heap[left][0] else right
            heap[hole] = heap[child]
            hole = child
        if 2 * hole + 2 == size:  # a last parent with one child
            heap[hole] = heap[2 * hole + 1]
            hole = 2 * hole + 1
        self._rise(hole, last)
        return first

    def _rise(self, hole: int, entry: tuple[float, int, int]) -> None:
        heap = self._heap
        while hole and heap[(hole - 1) // 2][0] > entry[0]:
            heap[hole] = heap[(hole - 1) // 2]
            hole = (hole - 1) // 2
        heap[hole] = entry
