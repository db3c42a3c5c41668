"""The same thousand cases of a sweep answered by others in the same run, as the evaluations that they are made for:
Inspect and promptfoo.

All ask the same loopback provider, which takes 0.2 seconds for an answer, with a hundred calls in flight, and look for
a letter in it. They ask for whole answers, which the provider gives under another name. Ours are ten trials of a
hundred cases with suggestions in between and all of it durable; theirs are one configuration on a thousand.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final

from whet_eval.bench import judging, sweeping
from whet_eval.bench.children import provider, server
from whet_eval.bench.figure import Figure, median
from whet_eval.bench.judging_peers import Measured, compared, inspect, promptfoo

SIZE: Final = sweeping.TRIALS * sweeping.CASES
BAR: Final = 3.0
"""How many times faster we have to be: what promptfoo and Inspect took when they were first measured was 4 and 13
times the ideal, and ours may be 1.3 times it."""


async def figures() -> list[Figure]:
    """Measure everybody whose package is there."""
    found = []
    with tempfile.TemporaryDirectory(prefix="whet-sweeping-peers-") as base:
        async with provider() as url, server(Path(base) / "data", sweeping.config(url)) as running:
            walls = [await sweeping.swept(running, number) for number in range(sweeping.ROUNDS + 1)]
            mine = median(walls[1:])
            answered = await inspect(url, judging.MODEL, SIZE, "answered")
            for measured in (answered, await _promptfoo(url, Path(base))):
                found += compared(f"{SIZE} cases of a sweep", measured, mine, BAR)
    return found


async def _promptfoo(url: str, base: Path) -> Measured:
    config = {
        "prompts": ["{{question}}"],
        "providers": [{"id": f"openai:chat:{judging.MODEL}", "config": {"apiBaseUrl": url, "apiKey": "none"}}],
        "tests": [
            {"vars": {"question": f"Why is the sky blue? ({at})"}, "assert": [{"type": "contains", "value": "e"}]}
            for at in range(SIZE)
        ],
    }
    return await promptfoo(config, base, in_flight=sweeping.IN_FLIGHT)


if __name__ == "__main__":
    sys.exit(int(any(figure.short for figure in asyncio.run(figures()))))
