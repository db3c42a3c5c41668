"""A pseudo-terminal to run a program in, as a person would: keys go in, bytes come out, and the clock runs.

What the program wrote is kept raw, which is what latencies are measured on, and can be laid out as the screen that a
person would see.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pyte

_CHUNK: Final = 65_536

PAUSE: Final = 0.4
"""A program that has painted nothing for so long has nothing more to paint."""

_KEYBOARD: Final = re.compile(rb"\x1b\[[<>=][0-9;]*[A-Za-z]")
"""Requests about keyboards that pyte would print."""
_TORN: Final = re.compile(rb"\x1b(?:\[[<>=]?[0-9;]*)?\Z")
"""The beginning of a sequence whose end is still to come."""

_RUNES: Final = tuple(chr(code) for code in range(0x16A0, 0x16EB))
"""Letters one cell wide that no program prints by itself: seeing one is seeing its echo."""


class NotSeen(Exception):
    """What was waited for did not come in time. `str()` shows the screen."""


class Terminal:
    """A running program and its screen."""

    def __init__(self, pid: int, descriptor: int, columns: int, rows: int) -> None:
        """Use `terminal`."""
        self.pid = pid
        self.raw = bytearray()
        """Everything the program wrote."""
        self._descriptor = descriptor
        self._size = (columns, rows)
        self._screen: pyte.Screen | None = None
        self._laid_out = 0
        """How much of what was written is on `_screen`."""
        self._started = time.perf_counter()

    def send(self, keys: str) -> None:
        """Type. Enter is a carriage return, Esc is 27, Ctrl+C is 3."""
        data = keys.encode()
        while data:
            data = data[os.write(self._descriptor, data) :]

    def resize(self, columns: int, rows: int) -> None:
        self._size = (columns, rows)
        self._screen, self._laid_out = None, len(self.raw)  # a program paints everything anew when its terminal changes
        _set_size(self._descriptor, columns, rows)

    def screen(self) -> list[str]:
        """The lines in view, without blanks at their ends."""
        return [line.rstrip() for line in self.layout().display]

    def read(self, seconds: float) -> bytes:
        """Read what comes within the time, at most one chunk; empty when nothing came or the program has ended."""
        ready, _, _ = select.select([self._descriptor], [], [], max(0.0, seconds))
        if not ready:
            return b""
        try:
            chunk = os.read(self._descriptor, _CHUNK)
        except OSError:
            return b""  # Linux's way to say that the program has closed its terminal
        self.raw += chunk
        return chunk

    def until_written(self, words: str, *, timeout: float = 10.0) -> float:
        """Wait until the program has written these bytes in a row; return the seconds since it was started."""
        wanted, place = words.encode(), 0
        deadline = time.perf_counter() + timeout
        while (found := self.raw.find(wanted, place)) < 0:
            place = max(0, len(self.raw) - len(wanted))
            self._more(deadline, words)
        del found
        return time.perf_counter() - self._started

    def until(self, condition: Callable[[Sequence[str]], bool], *, timeout: float = 10.0) -> list[str]:
        """Wait until the screen is as wanted; return its lines."""
        deadline = time.perf_counter() + timeout
        while not condition(lines := self.screen()):
            self._more(deadline, "the condition")
            while self.read(0.02):
                pass  # lay the screen out when the program pauses, not for each chunk
        return lines

    def until_shown(self, words: str, *, timeout: float = 10.0) -> list[str]:
        """Wait until a line of the screen holds the words."""
        return self.until(lambda lines: any(words in line for line in lines), timeout=timeout)

    def still(self, *, timeout: float = 10.0) -> list[str]:
        """Wait until the screen has not changed for a moment, but for its last line, where clocks tick; return it."""
        deadline, before = time.perf_counter() + timeout, [""]
        while (lines := self.screen())[:-1] != before:
            if time.perf_counter() > deadline:
                raise NotSeen("The screen goes on changing:\n" + "\n".join(lines))
            before = lines[:-1]
            self._drain(PAUSE)
        return lines

    def echoes(self, count: int, *, pause: float = 0.05, timeout: float = 5.0) -> list[float]:
        """Type letters one by one; return for each the seconds until it was on the screen."""
        taken = []
        for place in range(count):
            rune = _RUNES[place % len(_RUNES)]
            mark, started = len(self.raw), time.perf_counter()
            self.send(rune)
            while rune.encode() not in self.raw[mark:]:
                self._more(started + timeout, rune)
            taken.append(time.perf_counter() - started)
            self._drain(pause)
        return taken

    def seconds_until(self, act: Callable[[], None], met: Callable[["pyte.Screen"], bool], *, timeout: float) -> float:
        """Do something; return the seconds until what was painted then met the condition. All that comes until the
        program pauses is taken in first and laid out afterwards, so that laying out costs no time.
        """
        mark, started = len(self.raw), time.perf_counter()
        act()
        chunks: list[tuple[float, bytes]] = []
        while time.perf_counter() < started + timeout and (chunk := self.read(timeout if not chunks else PAUSE)):
            chunks.append((time.perf_counter() - started, chunk))
        for seconds, chunk in chunks:
            mark += len(chunk)
            if met(self.layout(mark)):
                return seconds
        raise NotSeen("What was done has not led to what it should.\n" + "\n".join(self.screen()))

    def layout(self, end: int | None = None) -> "pyte.Screen":
        """The screen with its colours, as of all that was written or of its first `end` bytes."""
        import pyte  # tests and benchmarks of the screen only

        if self._screen is None:
            self._screen = pyte.Screen(*self._size)
            self._stream = pyte.ByteStream(self._screen)
        piece = bytes(self.raw[self._laid_out : end])
        torn = _TORN.search(piece)  # what is taken out below must not lie across two pieces
        piece = piece[: torn.start()] if torn else piece
        self._laid_out += len(piece)
        self._stream.feed(_KEYBOARD.sub(b"", piece))
        return self._screen

    def processor_seconds(self) -> float:
        """Processor time that the program has used."""
        return processor_seconds(self.pid)

    def memory(self) -> int:
        """Resident memory in bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def wait(self, timeout: float = 10.0) -> int:
        """Read until the program ends; return its exit code, negative for a signal."""
        deadline = time.perf_counter() + timeout
        while time.perf_counter() < deadline:
            self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                while self.read(0.05):
                    pass
                return os.waitstatus_to_exitcode(status)
        raise NotSeen(f"The program has not ended within {timeout} s.\n" + "\n".join(self.screen()))

    def age(self) -> float:
        """Seconds since the program was started."""
        return time.perf_counter() - self._started

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.pid:
            os.kill(self.pid, number)

    def close(self) -> None:
        if self.pid:
            self.kill()
            os.waitpid(self.pid, 0)
            self.pid = 0
        os.close(self._descriptor)

    def _more(self, deadline: float, wanted: str) -> None:
        left = deadline - time.perf_counter()
        if left <= 0:
            raise NotSeen(f"{wanted!r} did not come in time. The screen:\n" + "\n".join(self.screen()))
        self.read(min(left, 0.25))

    def _drain(self, seconds: float) -> None:
        deadline = time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0:
            self.read(left)


@contextmanager
def terminal(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    columns: int = 80,
    rows: int = 24,
    folder: Path | None = None,
) -> Iterator[Terminal]:
    """Run a command line in a terminal of its own, in this folder, and end it afterwards."""
    pid, descriptor = pty.fork()
    if pid == 0:
        if folder is not None:
            os.chdir(folder)
        sized = {name: value for name, value in environment.items() if name not in _SIZE}
        os.execvpe(command[0], list(command), sized)  # noqa: S606 -- a program of our own, without a shell
    _set_size(descriptor, columns, rows)
    running = Terminal(pid, descriptor, columns, rows)
    try:
        yield running
    finally:
        running.close()


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


_SIZE: Final = frozenset({"COLUMNS", "LINES"})
"""Would stand above the size that the terminal has, also after it has changed."""


def _set_size(descriptor: int, columns: int, rows: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
