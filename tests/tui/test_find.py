"""Finding words in the conversation, going back in it, and how little of it is kept laid out."""

from tests.tui import story
from tests.tui.rehearsal import Stage, staged
from textual.widgets import Input

from whet_agent.events import AssistantSaid, Rewound, RunHeard, ToolAnswered, ToolAsked, TurnEnded, UserSaid
from whet_tui.widgets.find_bar import FindBar


async def told(stage: Stage, count: int) -> None:
    for turn in range(1, count + 1):
        await stage.session.tell(
            UserSaid(turn=turn, text=f"question {turn}"),
            AssistantSaid(turn=turn, step=1, text=f"The **needle {turn}** lies in a *haystack*.", author="m"),
            TurnEnded(turn=turn, state="done"),
        )
    await stage.until_shown(f"needle {count}")


def count_told(stage: Stage) -> str:
    return str(stage.chat.query_one("#find-count").render())


async def test_words_are_found_however_far_up_and_counted() -> None:
    async with staged() as stage:
        await told(stage, 300)
        await stage.pilot.press("ctrl+f")
        await stage.until(lambda: isinstance(stage.app.focused, Input))
        await stage.press("needle")
        await stage.until(lambda: count_told(stage) == "300 of 300")
        await stage.pilot.press("enter")
        await stage.until(lambda: count_told(stage) == "1 of 300")
        await stage.until_shown("needle 1 lies")
        await stage.pilot.press("shift+enter", "shift+enter")
        await stage.until(lambda: count_told(stage) == "299 of 300")
        await stage.until_shown("needle 299 lies")
        await stage.pilot.press("escape")
        await stage.until(lambda: not stage.chat.query(FindBar))
        assert stage.app.focused is stage.composer


async def test_found_words_are_set_off_and_not_by_colour_alone() -> None:
    async with staged() as stage:
        await told(stage, 1)
        await stage.type("/find NEEDLE")
        await stage.pilot.press("enter")
        await stage.until(lambda: bool(stage.chat.query(FindBar)) and count_told(stage) == "1 of 1")
        row = next(y for y, line in enumerate(stage.lines()) if "needle 1" in line)
        strip = stage.transcript.render_line(row)
        assert [segment.text for segment in strip if segment.style and segment.style.reverse] == ["needle"]
        assert strip.text.strip() == "The needle 1 lies in a haystack."
        await stage.press("zq")
        await stage.until(lambda: count_told(stage) == "not found")


async def test_what_is_folded_away_is_unfolded_when_it_is_found() -> None:
    async with staged((100, 40)) as stage:
        await stage.say("ask three models")
        await stage.session.tell(ToolAsked(turn=1, key="k", tool="fanout", arguments_json="{}"))
        for event in story.fanout():
            await stage.session.tell(RunHeard(turn=1, key="k", run_id=story.RUN, event=event))
        await stage.session.tell(ToolAnswered(turn=1, key="k", tool="fanout", ok=True, text="done", run_id=story.RUN))
        await stage.until_shown("A monad chains steps")
        assert not any(
            "There are 4 laws. " in line or line.endswith("operations. There are 4 laws.") for line in stage.lines()
        )
        await stage.type("/find They have 2 operations")
        await stage.pilot.press("enter")
        await stage.until_shown("They have 2 operations")


async def test_going_back_leaves_what_was_before_and_what_comes_after() -> None:
    async with staged((80, 30)) as stage:
        await told(stage, 5)
        await stage.session.tell(Rewound(turn=3, thread=1))
        await stage.until(lambda: not any("needle 3" in line for line in stage.lines()))
        await stage.until_shown("needle 2")
        await stage.session.tell(
            UserSaid(turn=6, text="another"), AssistantSaid(turn=6, step=1, text="the other way", author="m")
        )
        await stage.until_shown("the other way")
        assert [block.entry.key for block in stage.transcript._blocks] == [
            "own/greeting", "said/1", "answer/1/1", "said/2", "answer/2/1", "said/6", "answer/6/1",
        ]  # fmt: skip


async def test_lines_are_kept_for_a_few_screens_however_far_one_scrolls() -> None:
    async with staged((80, 20)) as stage:
        await told(stage, 1_000)
        for line in range(stage.transcript.max_scroll_y, 0, -15):
            stage.transcript.scroll_to(y=line, animate=False, force=True)
        await stage.pilot.pause()
        held = [block for block in stage.transcript._blocks if block.lines is not None]
        assert 0 < len(held) <= 220
        assert all(not block._laid for block in stage.transcript._blocks if block.lines is None)
        assert any("question" in line or "needle" in line for line in stage.lines())


async def test_a_text_that_is_told_twice_is_held_once() -> None:
    async with staged() as stage:
        answer, again = (f"The {word}" for word in ("answer", "answer"))
        await stage.say("go")
        await stage.session.tell(
            ToolAsked(turn=1, key="k", tool="fanout", arguments_json="{}"),
            ToolAnswered(turn=1, key="k", tool="fanout", ok=True, text=answer),
            AssistantSaid(turn=1, step=2, text=again, author="m"),
        )
        await stage.until_shown("The answer")
        view = stage.chat._view
        assert view is not None
        call, said = view.find("call/k"), view.find("answer/1/2")
        assert call is not None
        assert said is not None
        assert getattr(call, "result", None) is getattr(said, "text", "")
