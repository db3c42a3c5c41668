"""The places beside the chat, driven key by key on the twins of the desk and of the shelf."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.tui import story
from textual._xterm_parser import XTermParser
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Input

from whet.v1 import event_pb2
from whet_agent.events import ApprovalAsked, RunHeard, ToolAsked, UserSaid
from whet_agent.sessions import SessionSummary
from whet_tui.alt_digits import read_alt_digits
from whet_tui.application import ChatApp
from whet_tui.bridge import ChatSession, Progress
from whet_tui.desk import Desk
from whet_tui.desk_values import Cap, Endpoint, Grouping, Model, Probe, Spending, UsageLine
from whet_tui.entries import Money
from whet_tui.memory_desk import MemoryDesk
from whet_tui.memory_shelf import MemoryShelf
from whet_tui.places import PLACES
from whet_tui.screens.chat import ChatScreen
from whet_tui.screens.place import PlaceScreen
from whet_tui.scripted import ScriptedSession
from whet_tui.shelf import LastWords
from whet_tui.widgets.composer import Composer
from whet_tui.widgets.rows import Rows

PATIENCE = 5.0
SECOND = 1_000_000_000
NOW = 1_090 * SECOND
"""A minute and a half after the story begins."""
RUNNING = "fan_02RUNNING"
SETTLED = {"fanout": "── answer", "sessions": "❯ And", "models": "gpt-4.1", "spending": "2026"}
"""The places that draw what the server knows, and words that each shows when all of it is there."""


@dataclass
class Stage:
    app: ChatApp
    pilot: Pilot[str]
    desk: MemoryDesk
    shelf: MemoryShelf
    session: ScriptedSession

    @property
    def place(self) -> PlaceScreen:
        screen = self.app.screen
        assert isinstance(screen, PlaceScreen)
        return screen

    @property
    def chat(self) -> ChatScreen:
        screen = self.app.screen_stack[0]
        assert isinstance(screen, ChatScreen)
        return screen

    def rows(self, name: str) -> Rows:
        return self.place.query_one(f"#{name}", Rows)

    def text(self) -> str:
        """What is on the screen, letter by letter."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in line).rstrip() for line in strips) + "\n"

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await self.pilot.pause(0.01)

    async def until_shown(self, words: str) -> None:
        await self.until(lambda: words in self.text())

    async def go(self, place_id: str) -> None:
        """Press the place's keys and wait until it has looked."""
        looks = self.desk.looks
        await self.pilot.press(next(place.key for place in PLACES if place.place_id == place_id))
        await self.until(
            lambda: isinstance(self.app.screen, PlaceScreen) and (self.desk.looks > looks or not self.place.EVERY)
        )
        await self.pilot.pause()


@asynccontextmanager
async def staged(size: tuple[int, int] = (80, 24), theme: str = "dark") -> AsyncIterator[Stage]:
    session, desk, shelf = ScriptedSession(), MemoryDesk(), MemoryShelf()
    await session.open()

    async def opener(progress: Progress) -> ChatSession:
        return session

    async def opened() -> Desk:
        return desk

    app = ChatApp(opener, opened, shelf, theme=theme, now_ns=lambda: NOW)
    async with app.run_test(size=size) as pilot:
        stage = Stage(app, pilot, desk, shelf, session)
        await stage.until(lambda: stage.chat.session is not None)
        yield stage


async def tell_run(desk: MemoryDesk) -> None:
    """Let a run have ended."""
    await desk.tell(story.RUN, *story.fanout())


async def tell_running(desk: MemoryDesk, run_id: str = RUNNING) -> story.Teller:
    """Let a run be under way: the first branch is in, the second talks."""
    teller = story.Teller(1_080)
    opened = story.opened(teller)
    opened.run_opened.run_id = run_id
    await desk.tell(run_id, opened, *story.branch(teller, "b1"), *list(story.branch(teller, "b2"))[:8])
    return teller


def summary(session_id: str, title: str, *, age: float, **more: object) -> SessionSummary:
    used = NOW / SECOND - age
    return SessionSummary(session_id=session_id, title=title, last_used=used, created=used - 600, turns=3, **more)  # type: ignore[arg-type]  # fields by name


def keep_sessions(shelf: MemoryShelf) -> None:
    here = summary("ses_scripted", "What is a monad?", age=5, settled=12_000_000, holder=os.getpid())
    shelf.put(here, LastWords(person="And in Haskell?", answer="The same, with types."))
    shelf.put(
        summary(
            "ses_2", "Tabs or spaces?", age=7200, settled=2 * SECOND, unknown=SECOND // 10, approvals=1, runs=(RUNNING,)
        ),
        LastWords(person="So?", answer="Spaces."),
    )
    shelf.put(summary("ses_3", "Open in the other window", age=90_000, holder=1))


def fill_models(desk: MemoryDesk) -> None:
    desk.tests = {
        "sim": Probe(ok=True, latency_ns=3_000_000, models=2),
        "openai": Probe(ok=False, latency_ns=SECOND, failure="The key was refused (401)"),
    }
    desk.endpoint_list = [
        Endpoint(
            name="openai",
            kind="openai",
            url="https://api.openai.com/v1",
            has_key=True,
            source="environment",
            circuit="open",
            requests_per_minute=500,
            max_concurrency=64,
            concurrency=8,
            in_flight=3,
            failure="HTTP 503 from the provider.",
            last_success_ns=NOW - 65 * SECOND,
            models=(
                Model(
                    name="openai/gpt-4.1", input_price=2 * SECOND, output_price=8 * SECOND, price_source="genai-prices"
                ),
                Model(name="openai/new", description="Nobody knows what it costs."),
            ),
        ),
        Endpoint(
            name="sim",
            kind="sim",
            source="built-in",
            concurrency=256,
            last_success_ns=NOW - SECOND,
            models=(
                Model(
                    name="sim/costly", input_price=5 * SECOND, output_price=25 * SECOND, simulated=True, in_panel=True
                ),
                Model(name="sim/fast", input_price=0, output_price=0, simulated=True),
            ),
        ),
    ]


def line(key: str, settled: int, unknown: int = 0, **more: object) -> UsageLine:
    money = Money(settled=settled, unknown=unknown, unpriced=int(more.pop("unpriced", 0)))  # type: ignore[call-overload]  # an int
    return UsageLine(key=key, money=money, input_tokens=1234, output_tokens=567, attempts=3, **more)  # type: ignore[arg-type]  # fields by name


def fill_spending(desk: MemoryDesk) -> None:
    days = (line("2026-01-28", SECOND // 2), line("2026-01-30", 2 * SECOND, SECOND // 4))
    lines: dict[Grouping, tuple[UsageLine, ...]] = {
        "model": (line("openai/gpt-4.1", 2 * SECOND, SECOND // 4), line("sim/costly", SECOND // 2)),
        "run": (line(story.RUN, 2 * SECOND, title="What is a monad?", unpriced=2), line("ses_scripted", SECOND // 2)),
        "day": days[::-1],
    }
    caps = (
        Cap(period="day", limit=5 * SECOND, money=Money(settled=2 * SECOND, unknown=SECOND // 4, reserved=SECOND // 2)),
        Cap(period="month", limit=2 * SECOND, money=Money(settled=2 * SECOND, unknown=SECOND // 4)),
    )
    total = line("", 5 * SECOND // 2, SECOND // 4, unpriced=2)
    for grouping, of_grouping in lines.items():
        desk.money[grouping] = Spending(caps=caps, total=total, lines=of_grouping, days=days)


# The way between places


async def test_alt_and_a_digit_lead_everywhere_and_escape_back_to_a_chat_that_went_on() -> None:
    async with staged() as stage:
        stage.chat.query_one(Composer).insert("half a thought")
        for place in PLACES[1:]:
            await stage.pilot.press(place.key)
            assert stage.place.place == place
            assert len(stage.app.screen_stack) == 2
        await stage.session.tell(UserSaid(turn=1, text="said underneath"))
        await stage.pilot.press("escape")
        assert stage.app.screen is stage.chat
        assert stage.chat.query_one(Composer).text == "half a thought"
        await stage.until_shown("said underneath")
        await stage.pilot.press("alt+4", "alt+1")
        assert stage.app.screen is stage.chat


async def test_a_slash_command_opens_a_place_and_with_words_behind_it_goes_to_the_agent() -> None:
    async with staged() as stage:
        composer = stage.chat.query_one(Composer)
        for place in PLACES[1:]:
            composer.insert(f"/{place.command}")
            await stage.pilot.press("enter")
            await stage.until(lambda: isinstance(stage.app.screen, PlaceScreen))
            assert stage.place.place == place
            await stage.pilot.press("alt+1")
        assert not stage.session.sent
        composer.insert("/models openai")
        await stage.pilot.press("enter")
        await stage.session.until_asked(1, "sent")
        assert stage.session.sent == ["/models openai"]


async def test_what_lies_over_a_place_is_closed_before_one_goes_elsewhere() -> None:
    async with staged() as stage:
        await stage.go("models")
        await stage.pilot.press("f1")
        await stage.until_shown("Test connection")
        shown = stage.app.screen
        assert shown.is_modal
        await stage.pilot.press("alt+5")
        assert stage.app.screen is shown
        await stage.pilot.press("escape", "alt+5")
        assert stage.place.place.place_id == "spending"


def test_an_escape_and_a_digit_are_alt_and_the_digit_and_not_what_a_mac_would_write() -> None:
    read_alt_digits()
    keys = [event.key for event in XTermParser().feed("\x1b2\x1b5™") if isinstance(event, Key)]
    assert keys == ["alt+2", "alt+5", "trade_mark_sign"]


async def test_nothing_is_fetched_or_followed_for_a_place_that_nobody_sees() -> None:
    async with staged() as stage:
        await tell_running(stage.desk)
        await stage.go("fanout")
        await stage.until(lambda: stage.desk.followers == 1)
        assert stage.place._looking is not None
        fanout = stage.place
        await stage.pilot.press("alt+1")
        await stage.until(lambda: stage.desk.followers == 0)
        assert not [worker for worker in stage.app.workers if worker.group in {"look", "follow"} and worker.is_running]
        await stage.go("fanout")
        assert stage.place is fanout
        await stage.until(lambda: stage.desk.followers == 1)


async def test_a_place_tells_at_once_that_the_conversation_waits_for_a_decision() -> None:
    async with staged() as stage:
        await stage.go("models")
        await stage.until(lambda: "Looking" not in stage.text())
        began = time.monotonic()
        await stage.session.tell(
            UserSaid(turn=1, text="ask"),
            ApprovalAsked(
                turn=1,
                key="k",
                approval_id="apr_1",
                tool="fanout",
                summary="Ask",
                effect="spends",
                arguments_json="{}",
                digest="d",
                worst_cost_nanos=1,
                expires_at="",
            ),
        )
        await stage.until_shown("Chat waits for your decision (Alt+1)")
        assert time.monotonic() - began < stage.place.EVERY, "only the next look has told it"
        await stage.pilot.press("ctrl+y")
        assert not stage.session.decisions


async def test_a_place_without_a_server_says_so_and_recovers() -> None:
    async with staged() as stage:
        keep_sessions(stage.shelf)
        for place_id in SETTLED:
            await stage.desk.leave("The server cannot be reached. Check that it runs: whet status.")
            await stage.go(place_id)
            await stage.until_shown("The server cannot be reached.")
            if place_id == "sessions":
                assert "Tabs or spaces?" in stage.text()
            await stage.desk.leave("")
            stage.place.look_again()
            await stage.until(lambda: "cannot be reached" not in stage.text())


# Fan-out


async def test_a_run_shows_its_lanes_its_answer_with_marks_and_what_was_found() -> None:
    async with staged((120, 40)) as stage:
        await tell_run(stage.desk)
        await stage.go("fanout")
        await stage.until_shown("A monad chains steps.¹·²")
        text = stage.text()
        assert "✓ done" in text
        assert "◐ partial" in text
        assert "≠ ¹ and ² differ (number)" in text
        assert "! only ³ says" in text
        assert "1 said by several branches" in text


async def test_a_branch_is_opened_in_full_and_left_again() -> None:
    async with staged() as stage:
        await tell_run(stage.desk)
        await stage.go("fanout")
        await stage.until(lambda: len(stage.rows("lanes").keys) == 3)
        await stage.pilot.press("enter", "down", "enter")
        await stage.until_shown("── 2 sim/fast")
        assert story.TEXTS["b2"] in " ".join(stage.text().split())
        await stage.pilot.press("escape")
        await stage.until_shown("── answer")
        assert stage.app.focused is stage.rows("lanes")
        await stage.pilot.press("escape")
        assert stage.app.screen is stage.chat


async def test_a_run_that_was_started_elsewhere_grows_while_it_is_watched() -> None:
    async with staged() as stage:
        teller = await tell_running(stage.desk)
        await stage.go("fanout")
        await stage.until_shown("1 of 3 in")
        await stage.desk.tell(RUNNING, *list(story.branch(teller, "b2"))[-1:])
        await stage.until_shown("2 of 3 in")


async def test_x_cancels_a_branch_and_the_run_goes_on_until_x_is_pressed_twice_with_shift() -> None:
    async with staged() as stage:
        await tell_running(stage.desk)
        await stage.go("fanout")
        await stage.until(lambda: len(stage.rows("lanes").keys) == 3)
        await stage.pilot.press("x")
        await stage.until_shown("That branch has ended.")
        await stage.pilot.press("enter", "down", "x")
        await stage.until_shown("Cancelled branch 2")
        await stage.until_shown("2 of 3 in")
        await stage.pilot.press("X")
        await stage.until_shown("Press X again")
        await stage.pilot.press("X")
        await stage.until_shown("– cancelled")
        await stage.pilot.press("X")
        await stage.until_shown("That run has ended.")


async def test_a_pinned_branch_stays_on_top_for_as_long_as_it_is_pinned() -> None:
    async with staged() as stage:
        await tell_running(stage.desk)
        await stage.go("fanout")
        await stage.until(lambda: stage.rows("lanes").keys == ["b1", "b2", "b3"])
        await stage.pilot.press("enter", "end", "p")
        await stage.until(lambda: stage.rows("lanes").keys == ["b3", "b1", "b2"])
        assert stage.rows("lanes").key == "b3"
        assert "◆ 3" in stage.text()
        await stage.pilot.press("alt+1", "alt+2")
        await stage.until(lambda: stage.rows("lanes").keys == ["b3", "b1", "b2"])
        await stage.pilot.press("p")
        await stage.until(lambda: stage.rows("lanes").keys == ["b1", "b2", "b3"])


async def test_the_run_of_the_conversation_is_the_one_that_is_shown_first() -> None:
    async with staged() as stage:
        await tell_run(stage.desk)
        await tell_running(stage.desk)
        await stage.session.tell(
            UserSaid(turn=1, text="ask"),
            ToolAsked(turn=1, key="k", tool="fanout", arguments_json="{}"),
            *(RunHeard(turn=1, key="k", run_id=story.RUN, event=event) for event in story.fanout()),
        )
        await stage.until(lambda: bool(stage.chat.run_ids))
        await stage.go("fanout")
        await stage.until(lambda: stage.rows("runs").key == story.RUN)
        assert "here" in stage.text()


async def test_two_hundred_branches_are_drawn_at_once() -> None:
    plans = [event_pb2.BranchPlan(branch_id=f"b{place}", model=f"sim/model-{place}") for place in range(1, 201)]
    opened = event_pb2.RunOpened(run_id=RUNNING, prompt="Everyone?", branches=plans)
    async with staged((120, 40)) as stage:
        await stage.desk.tell(RUNNING, event_pb2.Event(sequence=1, run_opened=opened))
        await stage.go("fanout")
        await stage.until(lambda: len(stage.rows("lanes").keys) == 200)
        started = time.process_time()
        for place in range(1, 11):
            delta = event_pb2.BranchDelta(branch_id=f"b{place}", text=f"word {place}")
            await stage.desk.tell(RUNNING, event_pb2.Event(branch_delta=delta))
            stage.place._draw()  # type: ignore[attr-defined]  # the fan-out's
        assert (time.process_time() - started) / 10 < 0.05
        await stage.until_shown("word 10")
        await stage.pilot.press("enter", "end")
        await stage.until_shown("sim/model-200")


async def test_a_workspace_without_runs_says_what_to_do() -> None:
    async with staged() as stage:
        await stage.go("fanout")
        await stage.until_shown("No fan-out yet. Ask something in the chat (Alt+1).")


# Sessions


async def test_sessions_tell_their_state_and_their_last_words() -> None:
    async with staged() as stage:
        keep_sessions(stage.shelf)
        await tell_running(stage.desk)
        await stage.go("sessions")
        await stage.until_shown("1 to decide, 1 running")
        assert "here" in stage.text()
        assert "open elsewhere" in stage.text()
        await stage.until_shown("❯ And in Haskell?")
        await stage.pilot.press("down")
        await stage.until_shown("Spaces.")


async def test_enter_takes_up_a_session_but_none_that_is_open_elsewhere() -> None:
    async with staged() as stage:
        keep_sessions(stage.shelf)
        await stage.go("sessions")
        await stage.pilot.press("enter")
        await stage.until(lambda: stage.app.screen is stage.chat)
        await stage.go("sessions")
        await stage.pilot.press("end", "enter")
        await stage.until_shown("open in another terminal (process 1)")
        await stage.pilot.press("up", "enter")
        await stage.until(lambda: stage.app.return_value == "ses_2")
        assert stage.session.closed


async def test_a_session_is_renamed_in_a_line_that_can_be_left() -> None:
    async with staged() as stage:
        keep_sessions(stage.shelf)
        await stage.go("sessions")
        await stage.pilot.press("down", "r")
        title = stage.place.query_one("#title", Input)
        assert title.value == "Tabs or spaces?"
        await stage.pilot.press("escape")
        assert not title.display
        await stage.pilot.press("r", "exclamation_mark", "enter")
        await stage.until(lambda: stage.shelf.kept["ses_2"].title == "Tabs or spaces?!")
        await stage.until_shown("Tabs or spaces?!")


async def test_a_deleted_session_comes_back_with_u_and_the_open_one_stays() -> None:
    async with staged() as stage:
        keep_sessions(stage.shelf)
        await stage.go("sessions")
        await stage.pilot.press("d")
        await stage.until_shown("This conversation is open here.")
        await stage.pilot.press("down", "d")
        await stage.until_shown("Deleted “Tabs or spaces?”. u brings it back.")
        assert "ses_2" not in stage.shelf.kept
        await stage.pilot.press("u")
        await stage.until(lambda: stage.rows("sessions").key == "ses_2")
        await stage.until_shown("“Tabs or spaces?” is back.")


async def test_a_fork_is_chosen_when_it_is_there_and_the_open_session_forks_itself() -> None:
    async with staged() as stage:
        keep_sessions(stage.shelf)
        await stage.go("sessions")
        await stage.pilot.press("f")
        await stage.until(lambda: stage.session.calls == ["fork 0"])
        await stage.pilot.press("down", "f")
        await stage.until_shown("Tabs or spaces? (fork)")
        await stage.until(lambda: stage.rows("sessions").key == "ses_fork1")


async def test_a_filter_narrows_the_list_and_is_cleared() -> None:
    async with staged() as stage:
        keep_sessions(stage.shelf)
        await stage.go("sessions")
        await stage.pilot.press("slash", *"tabs")
        await stage.until(lambda: stage.rows("sessions").keys == ["ses_2"])
        await stage.pilot.press("enter")
        assert stage.app.focused is stage.rows("sessions")
        await stage.pilot.press("slash", *"zzz")
        await stage.until_shown("Nothing passes the filter.")
        await stage.pilot.press("escape")
        await stage.until(lambda: len(stage.rows("sessions").keys) == 3)
        assert isinstance(stage.app.screen, PlaceScreen)


async def test_running_work_is_listed_with_its_conversation_watched_and_cancelled() -> None:
    async with staged() as stage:
        keep_sessions(stage.shelf)
        await tell_run(stage.desk)
        await tell_running(stage.desk)
        await stage.go("sessions")
        await stage.pilot.press("w")
        await stage.until(lambda: stage.rows("jobs").keys == [RUNNING])
        assert "Tabs or spaces?" in stage.text()
        await stage.pilot.press("enter")
        await stage.until(lambda: stage.place.place.place_id == "fanout")
        await stage.until(lambda: stage.rows("runs").key == RUNNING)
        await stage.go("sessions")
        await stage.pilot.press("x")
        await stage.until_shown("Nothing is running.")
        await stage.pilot.press("escape")
        assert "❯ And in Haskell?" in stage.text()


# Models


async def test_endpoints_tell_their_health_limits_and_prices_and_are_tested() -> None:
    async with staged() as stage:
        fill_models(stage.desk)
        await stage.go("models")
        await stage.until_shown("500 requests a minute, 64 at once")
        text = stage.text()
        assert "✗ open" in text
        assert "3 of 8" in text
        assert "Last failure: HTTP 503 from the provider." in text
        assert "price unknown" in text
        await stage.pilot.press("t")
        await stage.until_shown("Tested in 1.0 s: The key was refused (401).")
        await stage.pilot.press("down")
        await stage.until_shown("$25.00")
        assert "✓ yes" in stage.text()
        await stage.pilot.press("t")
        await stage.until_shown("Tested in 3 ms: it answers, and names 2 models.")


async def test_a_look_again_keeps_the_cursor_on_its_endpoint() -> None:
    async with staged() as stage:
        fill_models(stage.desk)
        await stage.go("models")
        await stage.pilot.press("down")
        stage.desk.endpoint_list = [Endpoint(name="local", kind="local"), *stage.desk.endpoint_list]
        stage.place.look_again()
        await stage.until(lambda: len(stage.rows("endpoints").keys) == 3)
        assert stage.rows("endpoints").key == "sim"


async def test_endpoints_are_found_by_their_models_too() -> None:
    async with staged() as stage:
        fill_models(stage.desk)
        await stage.go("models")
        await stage.pilot.press("slash", *"costly")
        await stage.until(lambda: stage.rows("endpoints").keys == ["sim"])
        await stage.pilot.press("escape", "escape")
        assert stage.app.screen is stage.chat


# Spending


async def test_caps_are_told_in_bars_and_words_and_what_is_unknown_is_named() -> None:
    async with staged() as stage:
        fill_spending(stage.desk)
        await stage.go("spending")
        await stage.until_shown("$2.25 of $5.00 left")
        text = " ".join(stage.text().split())
        assert "[████████████??▒▒▒·············]" in text
        assert "$0 of $2.00 left" in text
        assert "$0.25 may have been spent" in text
        assert "2 requests to models without a known price" in text


async def test_m_r_and_d_choose_the_table_and_a_run_leads_to_itself() -> None:
    async with staged() as stage:
        fill_spending(stage.desk)
        await tell_run(stage.desk)
        await stage.go("spending")
        await stage.until_shown("openai/gpt-4.1")
        await stage.pilot.press("d")
        await stage.until(lambda: stage.rows("lines").keys == ["2026-01-30", "2026-01-28"])
        await stage.pilot.press("m")
        await stage.until(lambda: "sim/costly" in stage.rows("lines").keys)
        await stage.pilot.press("r")
        await stage.until_shown("What is a monad?")
        await stage.pilot.press("home", "enter")
        await stage.until(lambda: stage.place.place.place_id == "fanout")
        await stage.until_shown(story.RUN)


async def test_days_are_plotted_where_there_is_room_and_told_where_there_is_none() -> None:
    async with staged((120, 40)) as stage:
        fill_spending(stage.desk)
        await stage.go("spending")
        await stage.until_shown("Spending by day, US dollars")
        await stage.pilot.press("t")
        await stage.until_shown("2026-01-30  $2.00 + $0.25 unknown")
        await stage.pilot.press("t")
        await stage.until_shown("Spending by day, US dollars")
    async with staged() as stage:
        fill_spending(stage.desk)
        await stage.go("spending")
        await stage.until_shown("2026-01-30  $2.00 + $0.25 unknown")


# Pictures


async def test_rows_stand_on_the_ground_of_the_theme_also_when_it_changes() -> None:
    async with staged() as stage:
        fill_models(stage.desk)
        await stage.go("models")
        await stage.until(lambda: "Looking" not in stage.text())
        for theme in ("light", "dark"):
            stage.app.theme = f"textual-{theme}"
            await stage.pilot.pause()
            colours = [
                segment.style.bgcolor.get_truecolor()
                for y in range(3)
                for segment in stage.rows("endpoints").render_line(y)
                if segment.style is not None and segment.style.bgcolor is not None
            ]
            assert colours
            assert all((sum(colour) > 3 * 127) == (theme == "light") for colour in colours)


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m [@click=app.bell]press[/] \u202eesrever"


async def test_nothing_that_others_wrote_reaches_the_terminal_as_a_sequence() -> None:
    async with staged((120, 40)) as stage:
        stage.shelf.put(summary("ses_2", HOSTILE, age=1), LastWords(person=HOSTILE, answer=HOSTILE))
        stage.desk.endpoint_list = [
            Endpoint(
                name=HOSTILE,
                kind="openai",
                url=HOSTILE,
                failure=HOSTILE,
                models=(Model(name=HOSTILE, description=HOSTILE),),
            )
        ]
        stage.desk.tests[HOSTILE] = Probe(ok=False, latency_ns=1, failure=HOSTILE)
        hostile = line(HOSTILE, 1, title=HOSTILE)
        stage.desk.money["model"] = Spending(total=hostile, lines=(hostile,), days=(line("2026-01-01", 1),))
        plan = event_pb2.BranchPlan(branch_id="b1", model=HOSTILE, persona=HOSTILE)
        opened = event_pb2.RunOpened(run_id=RUNNING, prompt=HOSTILE, branches=[plan])
        delta = event_pb2.BranchDelta(branch_id="b1", text=HOSTILE)
        await stage.desk.tell(
            RUNNING, event_pb2.Event(sequence=1, run_opened=opened), event_pb2.Event(branch_delta=delta)
        )
        for place_id in SETTLED:
            await stage.go(place_id)
            await stage.until_shown("[@click=app.bell]press[/]")
            if place_id == "models":
                await stage.pilot.press("t")
                await stage.until_shown("Tested in")
            assert not set("\x1b\x07\x9b\u202e") & set(stage.text())
