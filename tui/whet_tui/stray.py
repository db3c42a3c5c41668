"""Keep what libraries print away from the screen.

The screen is painted on the terminal behind standard output and error. A library that writes there, also from C,
would paint over it. So while the chat runs, file descriptors 1 and 2 lead to a log file, and Python's original
streams, which Textual paints with, lead to the terminal.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def stray_output_to(log: Path) -> Iterator[None]:
    """Send what is written to descriptors 1 and 2 to the end of `log`, for as long as this lasts."""
    log.parent.mkdir(parents=True, exist_ok=True)
    streams = sys.__stdout__, sys.__stderr__
    kept = os.dup(1), os.dup(2)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    sink = os.open(log, flags, 0o600)
    with os.fdopen(os.dup(kept[0]), "w") as out, os.fdopen(os.dup(kept[1]), "w") as err:
        _flush()
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        os.close(sink)
        sys.__stdout__, sys.__stderr__ = out, err  # type: ignore[misc]  # Textual takes its terminal from these names
        try:
            yield
        finally:
            _flush()
            sys.__stdout__, sys.__stderr__ = streams  # type: ignore[misc]  # the same
            for number, original in enumerate(kept, start=1):
                os.dup2(original, number)
                os.close(original)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
