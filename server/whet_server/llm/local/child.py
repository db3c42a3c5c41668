"""One child process with the model in it, from its start to its end."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from whet_server.llm.local.openmp import openmp
from whet_server.llm.local.settings import LocalSettings
from whet_server.values import Value

_TAIL_LINES: Final = 12
"""Lines of the child's stderr that are kept: an error of llama.cpp comes with some ten lines around it."""
_MOST_LINE: Final = 500
_STOP_SECONDS: Final = 5.0
"""The child ends in milliseconds when its stdin does; after this it is killed."""
_FRACTIONS: Final[Mapping[str, float]] = {"started": 0.1, "library": 0.2, "model": 0.9, "ready": 1.0}
"""How far loading is at each step the child reports, by the time the steps take."""

Progress = Callable[[float], None]


class ChildFailed(Exception):
    """The child did not start, or ended. The message is for the caller."""


class _Step(Value):
    """One line of the child's report."""

    stage: str
    address: str = ""


class Child:
    """A running child. Made by `start`; `stop` it, or wait until it has `ended`."""

    def __init__(self, process: Process) -> None:
        self.address = ""
        self.ended = asyncio.Event()
        self._process = process
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._watch = asyncio.create_task(self._watch_end(), name=f"local model {process.pid}")

    @classmethod
    async def start(cls, settings: LocalSettings, weights: Path, progress: Progress) -> "Child":
        """Start a child and wait until it serves. Raises `ChildFailed`; nothing is left running then.

        The kernel takes the calling thread for the parent: call from one that lives as long as the process.
        """
        with openmp() as environment:
            return await cls._started(await _spawn(settings, weights, environment), settings, progress)

    @classmethod
    async def _started(cls, process: Process, settings: LocalSettings, progress: Progress) -> "Child":
        child = cls(process)
        try:
            async with asyncio.timeout(settings.start_seconds):
                await child._become_ready(progress)
        except TimeoutError:
            await child.stop()
            raise ChildFailed(
                f"The local model did not load within {settings.start_seconds:g} seconds{child.last_words()}"
            ) from None
        except BaseException:
            await child.stop()
            raise
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    def last_words(self) -> str:
        """How the child ended and the last lines it wrote, to be put behind a sentence."""
        code = self._process.returncode
        how = "" if code is None else f" (signal {-code})" if code < 0 else f" (exit status {code})"
        return f"{how}: {' / '.join(self._tail)}" if self._tail else f"{how}."

    async def stop(self) -> None:
        """End the child and wait until it is gone."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS):
                    await self.ended.wait()
        finally:
            if not self.ended.is_set():
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
            await self._watch

    async def _become_ready(self, progress: Progress) -> None:
        report = self._process.stdout
        while not self.address and report is not None and (line := await report.readline()):
            step = msgspec.json.decode(line, type=_Step)
            self.address = step.address
            progress(_FRACTIONS[step.stage])
        if not self.address:
            await self.ended.wait()
            raise ChildFailed(f"The local model did not load{self.last_words()}")

    async def _watch_end(self) -> None:
        """Keep the last lines of stderr, so that a death can be explained, and tell when it is over."""
        errors = self._process.stderr
        while errors is not None and (line := await errors.readline()):
            self._tail.append(line.decode(errors="replace").strip()[:_MOST_LINE])
        await self._process.wait()
        self.ended.set()


async def _spawn(settings: LocalSettings, weights: Path, environment: Mapping[str, str]) -> Process:
    """Start the process: in a session of its own, so that Ctrl-C in a terminal is the parent's, and without the
    parent's environment, which may hold keys.
    """
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "whet_server.llm.local",
        *("--parent", str(os.getpid())),
        *("--weights", str(weights)),
        *("--slots", str(settings.slots)),
        *("--context", str(settings.context_per_slot)),
        *("--threads", str(settings.threads)),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=environment,
        start_new_session=True,
    )
