"""Estimates with their intervals, in words and as bars of letters."""

from typing import Final

from whet_tui.judging_values import Estimate

_NONE: Final = "–"
"""What the data do not define."""
_BAR: Final = 31
"""Cells of a bar: odd, so that there is a middle."""


def figure(value: float | None, *, signed: bool = False) -> str:
    """A figure with two digits; a zero has no sign."""
    if value is None:
        return _NONE
    text = f"{value:{'+' if signed else ''}.2f}"
    return text if float(text) else "0.00"


def interval(estimate: Estimate, *, signed: bool = False) -> str:
    """`0.55 to 0.83`, or nothing."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{figure(estimate.low, signed=signed)} to {figure(estimate.high, signed=signed)}"


def told(estimate: Estimate, *, signed: bool = False) -> str:
    """`0.71 (0.55 to 0.83)`."""
    between = interval(estimate, signed=signed)
    return figure(estimate.value, signed=signed) + (f" ({between})" if between else "")


def bar(estimate: Estimate, least: float, most: float, mark: float) -> str:
    """The estimate as `●` on its interval of dashes, with a `|` at `mark`: a bar from `least` to `most`."""
    cells = ["·"] * _BAR

    def cell(value: float) -> int:
        share = (value - least) / (most - least) if most > least else 0.5
        return min(_BAR - 1, max(0, round(share * (_BAR - 1))))

    if estimate.low is not None and estimate.high is not None:
        for place in range(cell(estimate.low), cell(estimate.high) + 1):
            cells[place] = "─"
    cells[cell(mark)] = "|"
    if estimate.value is not None:
        cells[cell(estimate.value)] = "●"
    return "".join(cells)
