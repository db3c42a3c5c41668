"""A judge from its first verdict to the gate, by the commands that anybody would type: `make judging`.

Seventy-two answers to twelve problems, two of which are held out under seal; the others are rated twice on the six
dimensions of the built-in rubric. Each command is shown, then what it prints. It all happens in a data directory of its
own that is removed at the end.
"""

import argparse
import asyncio
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Final

import whet_prompts
from whet_eval.story import Failed, Story

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


async def newest(story: Story) -> str:
    """Return the id of the newest judgement."""
    return str((await story.told("judge", "list"))["judgements"][0]["run_id"])


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
    judgement = await newest(story)
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
    await story.whet("judge", "gate", await newest(story), "--min-mean", BAR)
    story.says("One word of the rubric changes, and nobody may decide by this judge until people have checked it again")
    changed = whet_prompts.load_rubric(RUBRIC).text.replace("without harm", "without damage")
    await story.whet("rubric", "put", "--name", RUBRIC, "--text", changed, ends=0)
    await story.whet("judge", "run", "--dataset", DATASET, "--dataset-split", "dev", "--model", SIMULATED, ends=0)
    await story.whet("judge", "gate", await newest(story), "--min-mean", BAR, ends=REFUSED)


async def tell(*, local_items: int) -> None:
    """Tell the story, in a data directory that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="whet-judging-") as data:
        story = Story(Path(data), HERE, ends=_STORY)
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
