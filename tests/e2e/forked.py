"""The zygote from outside: processes that cost no imports, and how each ended."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE

from tests.e2e.serving import KEPT, PATIENCE

ROOT = Path(__file__).parents[2]


@dataclass
class Forked:
    """A process of the zygote's. `gone` is set when it has ended, however it did."""

    pid: int
    log: Path
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    def watch(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:  # it was quick
            self.gone.set()
            return

        def ended() -> None:
            loop.remove_reader(handle)
            os.close(handle)
            self.gone.set()

        loop.add_reader(handle, ended)

    async def ended(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.gone.wait()

    async def kill(self) -> None:
        if not self.gone.is_set():
            os.kill(self.pid, signal.SIGKILL)
            await self.ended()


class Zygote:
    """Forks servers and sessions."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def fork(self, run: str, arguments: Sequence[str] | Mapping[str, str], log: Path, crossing: str = "") -> Forked:
        """Return at once, but for the first time: then the zygote may still be loading."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"run": run, "arguments": arguments, "log": str(log), "crossing": crossing}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        forked = Forked(pid=int(self._process.stdout.readline()), log=log)
        forked.watch()
        return forked


@contextmanager
def zygote() -> Iterator[Zygote]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.zygote"], stdin=PIPE, stdout=PIPE, cwd=ROOT, env=kept
    ) as it:
        try:
            yield Zygote(it)
        finally:
            it.kill()
