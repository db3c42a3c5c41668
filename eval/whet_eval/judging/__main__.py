"""A judge from its first verdict to the gate, by the commands that anybody would type: `make judging`.

Seventy-two answers to twelve problems, two of which are held out under seal; the others are rated twice on the six
dimensions of the built-in rubric. Each command is shown, then what it prints. It all happens in a data directory of its
own that is removed at the end.
"""

import argparse
import asyncio
import json
import os
import shlex
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Final

import whet_prompts

HERE: Final = Path(str(resources.files(__package__)))
SIMULATED: Final = "sim/judge?noise=0.05"
NOISY: Final = "sim/judge?noise=0.3"
OBEDIENT: Final = "sim/judge?bias=injection"
LOCAL: Final = "local/smollm2"
DATASET: Final = "problem-answers"
RUBRIC: Final = "problem-solving"
LOCAL_ITEMS: Final = 30
"""As many rated items as a calibration asks for: twenty seconds each on an idle machine, minutes on a busy one."""
BAR: Final = "0.25"
REFUSED: Final = 4
"""The exit code of a gate that refuses to decide."""
_STORY: Final = frozenset({0, 1, REFUSED})
"""Done, a no, and a refusal: what a judge's way may lead to."""


class Failed(Exception):
    """A command did what it should not do. `str()` says which and how it ended."""


class Story:
    """Runs commands one after the other, as they would be typed, and shows them."""

    def __init__(self, data: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "WHET_"))}
        self._environment = kept | {"WHET_DATA": str(data)}
        self._program = str(Path(sys.executable).with_name("whet"))

    def says(self, text: str) -> None:
        """Say what comes next."""
        print(f"\n# {text}\n", flush=True)

    async def whet(self, *words: str, ends: int | None = None) -> None:
        """Run a command. Raises `Failed` when it ends otherwise than the story has it: by `ends`, or by any end that a
        judge's way may lead to.
        """
        print(f"$ whet {shlex.join(_short(word) for word in words)}", flush=True)
        process = await asyncio.create_subprocess_exec(self._program, *words, env=self._environment)
        code = await process.wait()
        if code not in ({ends} if ends is not None else _STORY):
            raise Failed(f"whet {' '.join(words[:2])} ended with code {code}")
        print(flush=True)

    async def newest(self) -> str:
        """Return the id of the newest judgement."""
        process = await asyncio.create_subprocess_exec(
            self._program, "judge", "list", "--json", env=self._environment, stdout=asyncio.subprocess.PIPE
        )
        told, _ = await process.communicate()
        return str(json.loads(told)["judgements"][0]["run_id"])


def _short(word: str) -> str:
    """Return a word of a command without the folder of the example, and a long text by its first line."""
    first, _, more = word.replace(f"{HERE}/", "").partition("\n")
    return f"{first} ..." if more else first


async def prepare(story: Story) -> None:
    """Store the answers and what readers said of them."""
    story.says("Seventy-two answers, twelve of them under seal, and what two readers said of the others")
    answers, ratings = HERE / "answers.jsonl", HERE / "ratings.csv"
    await story.whet("dataset", "put", DATASET, "--path", str(answers), "--key", "id", "--column", "split", ends=0)
    await story.whet("dataset", "list-rows", DATASET, "--split", "holdout", ends=1)
    await story.whet(
        "calibration", "put-ratings", "--dataset", DATASET, "--rubric", RUBRIC, "--csv", f"@{ratings}", ends=0
    )


async def trust(story: Story, model: str, *limits: str) -> None:
    """Judge, compare with people, and ask the gate."""
    await story.whet("judge", "run", "--dataset", DATASET, "--model", model, *limits)
    judgement = await story.newest()
    await story.whet("calibration", "calibrate", judgement)
    await story.whet("judge", "gate", judgement, "--min-mean", BAR)


async def simulated(story: Story) -> None:
    """A judge that readers agree with, one that obeys whom it judges, and a rubric that changes by one word."""
    story.says("A simulated judge is checked against the readers, and may decide; one that guesses more may not")
    await trust(story, SIMULATED)
    await trust(story, NOISY)
    story.says("It is audited, and beside it one that obeys orders in an answer")
    for model in (SIMULATED, OBEDIENT):
        await story.whet("calibration", "run-audit", "--dataset", DATASET, "--model", model, ends=0)
    story.says("The hold-out is opened, once and on the record, and judged")
    await story.whet("dataset", "open-seal", "--name", DATASET, "--version", "1", "--reason", "the last check", ends=0)
    await story.whet("judge", "run", "--dataset", DATASET, "--dataset-split", "holdout", "--model", SIMULATED, ends=0)
    await story.whet("judge", "gate", await story.newest(), "--min-mean", BAR)
    story.says("One word of the rubric changes, and nobody may decide by this judge until people have checked it again")
    changed = whet_prompts.load_rubric(RUBRIC).text.replace("without harm", "without damage")
    await story.whet("rubric", "put", "--name", RUBRIC, "--text", changed, ends=0)
    await story.whet("judge", "run", "--dataset", DATASET, "--dataset-split", "dev", "--model", SIMULATED, ends=0)
    await story.whet("judge", "gate", await story.newest(), "--min-mean", BAR, ends=REFUSED)


async def tell(*, local_items: int) -> None:
    """Tell the story, in a data directory that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="whet-judging-") as data:
        story = Story(Path(data))
        await prepare(story)
        if local_items:
            story.says(f"The local model judges {local_items} answers; it is small, and the gate should not trust it")
            await trust(story, LOCAL, "--dataset-limit", str(local_items))
        await simulated(story)


def main() -> int:
    """Tell the story; return 1 when it goes another way."""
    parser = argparse.ArgumentParser(prog="python -m whet_eval.judging", description=__doc__)
    parser.add_argument(
        "--local-items", type=int, default=LOCAL_ITEMS, help="Answers for the local model; 0: leave it out."
    )
    try:
        asyncio.run(tell(local_items=parser.parse_args().local_items))
    except Failed as failed:
        print(failed, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
