"""Where blocks of different heights stand when they are stacked."""

from bisect import bisect_right


class Heights:
    """A list of heights that answers at which line a block begins and which block covers a line. Sums are kept up to
    the first block that changed, so that a block that grows at the end costs nothing.
    """

    def __init__(self) -> None:
        self._heights: list[int] = []
        self._ends: list[int] = []

    def __len__(self) -> int:
        return len(self._heights)

    def __getitem__(self, place: int) -> int:
        return self._heights[place]

    def append(self, height: int) -> None:
        self._heights.append(height)

    def set(self, place: int, height: int) -> int:
        """Set a height and return by how much it grew."""
        grown = height - self._heights[place]
        if grown:
            self._heights[place] = height
            del self._ends[place:]
        return grown

    @property
    def total(self) -> int:
        return self.start(len(self._heights))

    def start(self, place: int) -> int:
        """The line at which the block begins."""
        self._sum()
        return self._ends[place - 1] if place else 0

    def at(self, line: int) -> int:
        """The block that covers the line; the number of blocks for a line below all of them."""
        self._sum()
        return bisect_right(self._ends, line)

    def _sum(self) -> None:
        total = self._ends[-1] if self._ends else 0
        for height in self._heights[len(self._ends) :]:
            total += height
            self._ends.append(total)
