"""Times as people say them."""

from typing import Final

_SECOND: Final = 1_000_000_000
_UNITS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def duration(nanos: int) -> str:
    """How long something took."""
    if nanos < _SECOND:
        return f"{nanos / 1e6:.0f} ms"
    return f"{nanos / _SECOND:.1f} s"


def ago(then_ns: int, now_ns: int) -> str:
    """How long ago something was, in one unit."""
    seconds = max(0, now_ns - then_ns) // _SECOND
    for size, unit in _UNITS:
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' * (count != 1)} ago"
    return "just now"
