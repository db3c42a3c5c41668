"""Times as people say them."""

from typing import Final

_SECOND: Final = 1_000_000_000
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def duration(nanos: int) -> str:
    """How long something took."""
    if nanos < _SECOND:
        return f"{nanos / 1e6:.0f} ms"
    return f"{nanos / _SECOND:.1f} s"


def roughly(nanos: int) -> str:
    """How long something will take or took, in its largest unit."""
    seconds = max(0, nanos) // _SECOND
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return "less than 1 s"


def ago(then_ns: int, now_ns: int) -> str:
    """How long ago something was, in one unit."""
    return f"{roughly(now_ns - then_ns)} ago" if now_ns - then_ns >= _SECOND else "now"
