"""Commands of the terminal one after the other, as they would be typed, and shown: what the examples are told in."""

import asyncio
import json
import os
import shlex
import sys
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Final

_WELL: Final = frozenset({0})


class Failed(Exception):
    """A command did what it should not do. `str()` says which and how it ended."""


class Story:
    """Runs commands on the data directory `data`. Files of the folder `here` are shown by their names. `ends`: the exit
    codes that a command may have where nobody says which.
    """

    def __init__(self, data: Path, here: Path, *, ends: AbstractSet[int] = _WELL) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "WHET_"))}
        self._environment = kept | {"WHET_DATA": str(data)}
        self._program = str(Path(sys.executable).with_name("whet"))
        self._here = here
        self._ends = ends

    def says(self, text: str) -> None:
        """Say what comes next."""
        print(f"\n# {text}\n", flush=True)

    async def whet(self, *words: str, ends: int | None = None) -> None:
        """Run a command. Raises `Failed` when its exit code is another than `ends`, or none that a command may have."""
        print(f"$ whet {shlex.join(self._short(word) for word in words)}", flush=True)
        process = await asyncio.create_subprocess_exec(self._program, *words, env=self._environment)
        if (code := await process.wait()) not in (self._ends if ends is None else {ends}):
            raise Failed(f"whet {' '.join(words[:2])} ended with code {code}")
        print(flush=True)

    async def told(self, *words: str) -> dict[str, Any]:
        """Run a command without showing it and return its answer. Raises `Failed`."""
        process = await asyncio.create_subprocess_exec(
            self._program, *words, "--json", env=self._environment, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        if process.returncode:
            raise Failed(f"whet {' '.join(words[:2])} ended with code {process.returncode}")
        answer: dict[str, Any] = json.loads(out)
        return answer

    def _short(self, word: str) -> str:
        """Return a word of a command without the folder of the example, and a long text by its first line."""
        first, _, more = word.replace(f"{self._here}/", "").partition("\n")
        return f"{first} ..." if more else first
