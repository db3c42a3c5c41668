"""A judge from its first verdict to the gate, by the commands that anybody would type: `make judging`.

Seventy-two answers to twelve problems, rated by people on the six dimensions of the built-in rubric. Two problems are
held out under seal. Each command is shown and then what it prints; everything happens in a data directory of its own
that is removed at the end.
"""

import argparse
import asyncio
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(str(resources.files(__package__)))
SIMULATED: Final = "sim/judge?noise=0.3"
OBEDIENT: Final = "sim/judge?bias=injection"
LOCAL: Final = "local/smollm2"
DATASET: Final = "problem-answers"
RUBRIC: Final = "problem-solving"
LOCAL_ITEMS: Final = 30
"""As many rated items as a calibration asks for; the local model reads each in a few seconds."""
_ENOUGH: Final = frozenset({0, 1, 4})
"""Done, a gate's no, and a gate's refusal: all of them are part of the story."""


class Failed(Exception):
    """A command did what it should not do. `str()` says which and how it ended."""


class Story:
    """Runs commands one after the other and shows them."""

    def __init__(self, data: Path) -> None:
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "WHET_"))},
            "WHET_DATA": str(data),
        }

    def says(self, text: str) -> None:
        """Say what comes next."""
        print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n# {text}", flush=True)

    async def whet(self, *words: str, ends: int | None = None) -> int:
        """Run a command, show it and what it prints, and return its exit code. Raises `Failed` when that is not what the
        story expects.
        """
        print(f"$ whet {shlex.join(words)}", flush=True)
        process = await asyncio.create_subprocess_exec(*_program(), *words, env=self._environment)
        code = await process.wait()
        if code not in _ENOUGH or (ends is not None and code != ends):
            raise Failed(f"whet {shlex.join(words)} ended with code {code}" + (f", not {ends}" if ends else ""))
        return code

    async def newest(self, *words: str) -> str:
        """Return the id of the newest run that a list names."""
        process = await asyncio.create_subprocess_exec(
            *_program(), *words, "--json", env=self._environment, stdout=asyncio.subprocess.PIPE
        )
        told, _ = await process.communicate()
        [listed] = [value for value in json.loads(told).values() if isinstance(value, list)]
        return str(listed[0]["run_id"])


async def check_against_people(story: Story, model: str, *limits: str) -> str:
    """Judge, rate, calibrate and ask the gate; return the judgement."""
    await story.whet("judge", "run", "--dataset", DATASET, "--rubric", RUBRIC, "--model", model, *limits)
    run_id = await story.newest("judge", "list")
    await story.whet("calibration", "put-ratings", "--dataset", DATASET, "--rubric", RUBRIC, "--csv", _file("ratings.csv"))
    await story.whet("calibration", "calibrate", run_id)
    await story.whet("judge", "gate", run_id, "--min-mean", "0.25")
    return run_id
