"""Ranges of the items of a log: which of them are new."""

from bisect import bisect_left


class Ranges:
    """Ranges of numbers, which grow."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []

    def add(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Add the numbers from `start` up to, not with, `stop`. Returns the ranges of those that
        were not there."""
        first = bisect_left(self._ranges, start, key=lambda one: one[1])
        last = first
        new, at = [], start
        low, high = start, stop
        while last < len(self._ranges) and self._ranges[last][0] <= stop:
            begin, end = self._ranges[last]
            if at < begin:
                new.append((at, begin))
            at = max(at, end)
            low, high = min(low, begin), max(high, end)
            last += 1
        if at < stop:
            new.append((at, stop))
        self._ranges[first:last] = [(low, high)]
        return new
