"""What ends a command before its time: Ctrl-C, SIGTERM, or its own time limit."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from whet_tui.cli.exits import INTERRUPTED, OK, TRY_AGAIN, Stopped


class Interruption:
    """The first strike asks whoever is at work to end it well; a second, or one that finds nobody, ends the task."""

    def __init__(self) -> None:
        self.code = OK
        """The exit code of the first strike."""
        self.ask: Callable[[], None] | None = None
        """Ends the work well: set while there is some."""
        self._task = asyncio.current_task()

    def strike(self, code: int) -> None:
        ask = None if self.code else self.ask
        self.code = self.code or code
        if ask is not None:
            ask()
        elif self._task is not None:
            self._task.cancel()


@contextmanager
def interruptible(seconds: float | None = None) -> Iterator[Interruption]:
    """Hear signals and the clock within the block. Raises `Stopped` when they end it."""
    loop, made = asyncio.get_running_loop(), Interruption()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, made.strike, INTERRUPTED)
    timer = loop.call_later(seconds, made.strike, TRY_AGAIN) if seconds is not None else None
    try:
        yield made
    except asyncio.CancelledError:
        if not made.code:
            raise
        words = "Interrupted." if made.code == INTERRUPTED else f"Not done within {seconds:g} seconds."
        raise Stopped(words, code=made.code) from None
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        if timer is not None:
            timer.cancel()
