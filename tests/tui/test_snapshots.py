"""Every place as people see it: at two sizes, in dark, light and in the terminal's own colours."""

import asyncio
import difflib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.tui import judging_story, story, sweep_story
from tests.tui.pictures import Grid, runs, taken, words, written
from tests.tui.test_datasets_place import asked as seal_asked
from tests.tui.test_datasets_place import opened as datasets_opened
from tests.tui.test_places import (
    SETTLED,
    Stage,
    fill_models,
    fill_spending,
    keep_sessions,
    staged,
    tell_run,
    tell_running,
)
from tests.tui.test_settings_looks import LEAST, contrast
from tests.tui.test_trust_views import fill_audits, fill_calibrations
from tests.tui.test_trust_views import opened as report_opened
from textual.color import Color

from whet_agent.events import (
    ApprovalAsked,
    AssistantSaid,
    ContextUsed,
    MindSaid,
    Renamed,
    RunHeard,
    Spent,
    ToolAnswered,
    ToolAsked,
    TurnEnded,
    UserSaid,
)
from whet_tui.screens.audits import AuditsScreen
from whet_tui.screens.calibrations import CalibrationsScreen
from whet_tui.widgets.composer import Composer

PICTURES = Path(__file__).parent / "pictures"
SIZES = ((80, 24), (120, 40))
THEMES = ("dark", "light", "ansi")
PATIENCE = 10.0

MARKDOWN = """A **monoid** is a set with an *associative* operation and a neutral element, see
[the laws](https://example.org/laws).

| structure | operation | neutral |
|---|---|---|
| lists | `+` | `[]` |
| 自然数 | `*` | `1` |

1. 結合法則: (a + b) + c = a + (b + c)
2. a neutral element

```python
def fold(values, neutral=0):
    return sum(values, neutral)  # 合計
```

> Any grouping gives the same."""
FENCE = """It is one line and a name:

```python
def unit(value):
    return [value]

def bind(value, ste"""
ARGUMENTS = """{"spec": {"prompt": "What is a monad?", "models": ["openai/gpt-4.1", "local/smollm2"],
"synthesis": {"mode": "draft"}, "limits": {"max_cost": {"nanos": 3100000000}}}}"""

Scene = Callable[[Stage], Awaitable[str]]
"""Lets something happen; returns words that are in view when all of it is there."""


async def chat_empty(stage: Stage) -> str:
    return "Try: "


async def chat_markdown(stage: Stage) -> str:
    await stage.session.tell(
        UserSaid(turn=1, text="What is a monoid? 日本語も"),
        AssistantSaid(turn=1, step=1, text=MARKDOWN, author="scripted mind"),
        Spent(settled=1_230_000, unknown=500_000, reserved=0, input_tokens=1200, output_tokens=310),
        ContextUsed(tokens=14_200, window=128_000),
        Renamed(title="Monoids"),
        TurnEnded(turn=1, state="done"),
    )
    return "Any grouping"


async def chat_streaming(stage: Stage) -> str:
    await stage.session.tell(
        UserSaid(turn=1, text="Show me a monad"), MindSaid(turn=1, step=1, attempt=1, offset=0, text=FENCE)
    )
    return "def bind(value, ste"


async def chat_fanout(stage: Stage) -> str:
    """The first branch is in, the second is cut short, the third waits, a draft is there."""
    teller = story.Teller(1_080)
    told = [
        story.opened(teller),
        *story.branch(teller, "b1"),
        *story.branch(teller, "b2", cut=True),
        *story.draft(teller, 1, ["b1"], "A monad chains steps."),
        *list(story.branch(teller, "b3"))[:5],
    ]
    await stage.session.tell(
        UserSaid(turn=1, text="ask three models what a monad is"),
        ToolAsked(turn=1, key="k", tool="fanout", arguments_json=ARGUMENTS),
        *(RunHeard(turn=1, key="k", run_id=story.RUN, event=event) for event in told),
    )
    return "A monad chains steps."


async def chat_card(stage: Stage) -> str:
    await _ask(stage, 1)
    return "lines below" if stage.app.size.height < 30 else "mode ask"


async def chat_cards(stage: Stage) -> str:
    await _ask(stage, 3)
    return "1 of 3"


async def _ask(stage: Stage, count: int) -> None:
    await stage.session.tell(UserSaid(turn=1, text="ask the expensive ones, then forget the cap"))
    for number in range(count):
        sets = number == 2
        tool = "delete_cap" if sets else "fanout"
        await stage.session.tell(
            ToolAsked(turn=1, key=f"k{number}", tool=tool, arguments_json=ARGUMENTS),
            ApprovalAsked(
                turn=1,
                key=f"k{number}",
                approval_id=f"apr_{number}",
                tool=tool,
                summary="Remove a cap" if sets else "Ask several models the same question and draft one answer",
                effect="changes" if sets else "spends",
                arguments_json='{"period": "day"}' if sets else ARGUMENTS,
                digest="0123456789abcdef",
                worst_cost_nanos=0 if sets else 3_100_000_000,
                expires_at="2026-01-30 12:30",
            ),
        )


async def chat_failed(stage: Stage) -> str:
    await stage.session.tell(
        UserSaid(turn=1, text="How much have I spent?"),
        ToolAsked(turn=1, key="k", tool="get_usage", arguments_json="{}"),
        ToolAnswered(turn=1, key="k", tool="get_usage", ok=False, text="The workspace is unknown (NOT_FOUND)."),
        TurnEnded(turn=1, state="failed", failure="The mind's API cannot be reached: connection refused."),
        UserSaid(turn=2, text="And now?"),
        TurnEnded(turn=2, state="cancelled"),
    )
    return "And now?"


async def chat_offers(stage: Stage) -> str:
    stage.chat.query_one(Composer).insert("/fan")
    return "› /fanout"


async def help_open(stage: Stage) -> str:
    await stage.pilot.press("f1")
    return "Writing"


def place(place_id: str) -> Scene:
    """The way to a place that has something to show."""

    async def gone(stage: Stage) -> str:
        keep_sessions(stage.shelf)
        fill_models(stage.desk)
        fill_spending(stage.desk)
        await tell_running(stage.desk)
        await tell_run(stage.desk)
        await stage.go(place_id)
        return {**SETTLED, "spending": "of $5.00 left", "settings": "approval_mode"}[place_id]

    return gone


async def datasets(stage: Stage) -> str:
    await datasets_opened(stage)
    return "names the row"


async def dataset_rows(stage: Stage) -> str:
    await datasets_opened(stage)
    await stage.pilot.press("enter")
    return "10 more under seal"


async def seal(stage: Stage) -> str:
    await datasets_opened(stage)
    await seal_asked(stage)
    return "Once and for good"


async def calibrations(stage: Stage) -> str:
    fill_calibrations(stage.desk)
    await report_opened(stage, CalibrationsScreen)
    return "58 items that the judge scored"


async def audits(stage: Stage) -> str:
    fill_audits(stage.desk)
    await report_opened(stage, AuditsScreen)
    await stage.pilot.press("down")
    return "✗ biased injection"


async def judges(stage: Stage) -> str:
    """A judgement that has ended stands under one that is under way."""
    await judging_story.put_running(stage.desk)
    await judging_story.put_ended(stage.desk)
    await stage.go("judges")
    return "! stale: its model"


async def judges_rating(stage: Stage) -> str:
    """The first item is rated, the second is asked for; the verdicts are hidden."""
    await judges(stage)
    await stage.until_shown("support, dev")
    await stage.pilot.press("enter")
    await stage.until_shown("5 the best")
    await stage.pilot.press("d", "4", "3")
    await stage.until_shown("i2: 3 ✓ kept")
    return "› · i3"


async def judges_reading(stage: Stage) -> str:
    """The verdicts of an item with their evidence."""
    await judges_rating(stage)
    await stage.pilot.press("v", "enter")
    return "── judges"


async def experiments(stage: Stage) -> str:
    """A sweep that has ended stands above one that is under way."""
    await sweep_story.put_running(stage.desk)
    await sweep_story.put_ended(stage.desk)
    await stage.go("experiments")
    return "── how sure it is"


async def study(stage: Stage) -> str:
    """Trials of a sweep under way, two of them marked."""
    await sweep_story.put_running(stage.desk)
    await stage.go("experiments")
    await stage.until_shown("A better prompt")
    await stage.pilot.press("enter")
    await stage.until_shown("on the front")
    await stage.pilot.press("space", "down", "space")
    return "◆ 0"


async def study_figures(stage: Stage) -> str:
    await study(stage)
    await stage.pilot.press("f", "f", "d")
    await stage.until_shown("quality against answer.temperature")
    return "quality against answer.temperature"


async def study_verdict(stage: Stage) -> str:
    await experiments(stage)
    await stage.pilot.press("enter")
    await stage.until_shown("✓ complete")
    await stage.pilot.press("v")
    return "corrected for 39 comparisons"


async def study_cases(stage: Stage) -> str:
    await experiments(stage)
    await stage.pilot.press("enter")
    await stage.until_shown("✓ complete")
    await stage.pilot.press("c")
    return "── trial 0 · baseline"


async def study_retune(stage: Stage) -> str:
    await study(stage)
    await stage.pilot.press("R")
    return "cases at once"


SCENES: dict[str, Scene] = {
    "experiments": experiments,
    "study": study,
    "study-figures": study_figures,
    "study-verdict": study_verdict,
    "study-cases": study_cases,
    "study-retune": study_retune,
    "chat-empty": chat_empty,
    "chat-markdown": chat_markdown,
    "chat-streaming": chat_streaming,
    "chat-fanout": chat_fanout,
    "chat-failed": chat_failed,
    "chat-offers": chat_offers,
    "chat-card": chat_card,
    "chat-cards": chat_cards,
    "help": help_open,
    "judges": judges,
    "judges-rating": judges_rating,
    "judges-reading": judges_reading,
    "datasets": datasets,
    "datasets-rows": dataset_rows,
    "datasets-seal": seal,
    "calibrations": calibrations,
    "audits": audits,
    **{place_id: place(place_id) for place_id in (*SETTLED, "settings")},
}


@pytest.mark.parametrize("name", SCENES)
async def test_a_place_looks_as_in_its_pictures_and_can_be_read(name: str) -> None:
    async with staged(SIZES[0]) as stage:
        shown = await SCENES[name](stage)
        for size in SIZES:
            await stage.pilot.resize_terminal(*size)
            await stage.until_shown(shown)
            grids = await compared(stage, f"{name}-{size[0]}x{size[1]}.txt")
            assert len({words(grid) for grid in grids.values()}) == 1, "the words depend on the colours"
            assert {theme: too_pale(grids[theme]) for theme in ("dark", "light")} == {"dark": {}, "light": {}}
            assert [run for run in runs(grids["ansi"]) if "#" in f"{run[1].front}{run[1].ground}"] == []


async def compared(stage: Stage, name: str) -> dict[str, Grid]:
    """Wait until the screen looks as in the file; with WHET_GOLDEN=write in the environment, write it anew once the
    screen has come to rest.
    """
    write = os.environ.get("WHET_GOLDEN") == "write"
    wanted, loop = "" if write else kept(name), asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while loop.time() < deadline:
        grids = {theme: await in_theme(stage, theme) for theme in THEMES}
        text = written(grids)
        if text == wanted:
            keep(name, text)
            return grids
        wanted = text if write else wanted
    told = "\n".join(difflib.unified_diff(wanted.splitlines(), text.splitlines(), lineterm=""))
    pytest.fail(f"{name} differs; WHET_GOLDEN=write takes it anew.\n{told}")


def kept(name: str) -> str:
    return (PICTURES / name).read_text()


def keep(name: str, text: str) -> None:
    if os.environ.get("WHET_GOLDEN") == "write":
        (PICTURES / name).write_text(text)


async def in_theme(stage: Stage, theme: str) -> Grid:
    stage.app.use_theme(theme)
    await stage.pilot.pause()
    return taken(stage.app)


def too_pale(grid: Grid) -> dict[str, float]:
    """Words that are too close to their ground."""
    poor = {}
    for text, look in runs(grid):
        if any(character.isalnum() for character in text):
            found = contrast(Color.parse(look.front), Color.parse(look.ground))
            if found < LEAST:
                poor[f"{text} ({look})"] = found
    return poor
