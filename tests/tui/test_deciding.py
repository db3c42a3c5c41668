"""Decisions: what the tray shows, what decides, and that nothing else does."""

import json
import random
import time
from dataclasses import replace
from typing import Final

import pytest
from tests.tui.rehearsal import Stage, card, staged
from textual import events
from textual.widgets import Static, TextArea

from whet_agent.events import ApprovalAsked, ApprovalDecided, Decider, UserSaid
from whet_tui.screens.arguments import ArgumentsScreen
from whet_tui.scripted import ScriptedSession

DEAF: Final = 0.5
"""Seconds for which the tray must hear nothing, whatever its own constant says."""
LATER: Final = DEAF + 5.0
"""By so much the tray's clock goes on: more than a busy machine takes to pass on a key, whose age is real."""


async def shown(stage: Stage, *cards: ApprovalAsked) -> None:
    await stage.session.tell(UserSaid(turn=1, text="go"), *cards)
    await stage.until(lambda: bool(stage.tray.display) and len(stage.tray._cards) == len(cards))
    await stage.pilot.pause()
    stage.now += LATER


async def test_the_tray_names_its_keys_the_mode_and_all_arguments() -> None:
    long = json.dumps({"spec": {"prompt": "x" * 3_000, "models": [f"sim/{number}" for number in range(60)]}})
    async with staged() as stage:
        await shown(stage, card("apr_1", arguments=long))
        text = stage.card_text()
        for words in ("Ctrl+Y approve", "Ctrl+N reject", "Ctrl+T", "Ctrl+E edit", "mode ask"):
            assert words in text
        assert "x" * 3_000 in text
        assert "sim/59" in text
        body = stage.tray.query_one("#card-body")
        await stage.until(lambda: "lines below, Ctrl+Up/Down scroll" in str(stage.tray.border_subtitle))
        await stage.pilot.press("ctrl+down")
        await stage.until(lambda: body.scroll_offset.y > 0)


async def test_a_reason_is_what_is_typed_and_leaves_the_composer() -> None:
    async with staged() as stage:
        await shown(stage, card("apr_1"))
        await stage.pilot.press("ctrl+t")
        assert stage.session.decisions == []
        await stage.until(lambda: "Type the reason first" in stage.status())
        await stage.press("too dear")
        await stage.pilot.press("ctrl+t")
        await stage.session.until_asked(1, "decisions")
        assert stage.session.decisions == [("apr_1", False)]
        assert stage.session.reasons == {"apr_1": "too dear"}
        assert stage.composer.text == ""
        assert stage.session.sent == []


async def test_changed_arguments_ask_anew_and_unchanged_ones_decide_nothing() -> None:
    async with staged() as stage:
        await shown(stage, card("apr_1"))
        await stage.pilot.press("ctrl+e")
        await stage.until(lambda: isinstance(stage.app.screen, ArgumentsScreen))
        await stage.pilot.press("ctrl+y", "ctrl+n", "ctrl+s")
        await stage.until(lambda: "nothing is decided" in stage.status())
        assert stage.session.decisions == []
        stage.now += LATER
        await stage.pilot.press("ctrl+e")
        await stage.until(lambda: isinstance(stage.app.screen, ArgumentsScreen))
        area = stage.app.screen.query_one(TextArea)
        area.load_text('{"spec": ')
        await stage.pilot.press("ctrl+s")
        assert isinstance(stage.app.screen, ArgumentsScreen)
        area.load_text('{"spec": {"prompt": "Why?"}}')
        await stage.pilot.press("ctrl+s")
        await stage.session.until_asked(1, "decisions")
        assert stage.session.decisions == [("apr_1", False)]
        assert json.loads(stage.session.edits["apr_1"]) == {"spec": {"prompt": "Why?"}}


async def test_escape_once_too_often_over_the_arguments_cancels_no_turn() -> None:
    async with staged() as stage:
        await shown(stage, card("apr_1"))
        await stage.pilot.press("ctrl+e")
        await stage.until(lambda: isinstance(stage.app.screen, ArgumentsScreen))
        await stage.pilot.press("escape", "escape")
        await stage.until(lambda: "press it again" in stage.status())
        assert stage.session.cancels == 0
        later = events.Key("escape", None)
        later.time = time.monotonic() + DEAF
        stage.app.post_message(later)
        await stage.session.until_asked(1, "cancels")


async def test_changed_arguments_are_dropped_at_the_second_escape_only() -> None:
    async with staged() as stage:
        await shown(stage, card("apr_1"))
        await stage.pilot.press("ctrl+e")
        await stage.until(lambda: isinstance(stage.app.screen, ArgumentsScreen))
        for change in ("x", "y"):
            await stage.pilot.press(change, "escape")
            assert isinstance(stage.app.screen, ArgumentsScreen)
            assert "Esc again drops your changes" in str(
                stage.app.screen.query_one("#arguments-fault", Static).render()
            )
        await stage.pilot.press("escape")
        await stage.until(lambda: "nothing is decided" in stage.status())
        assert stage.session.decisions == []


async def test_arguments_that_were_changed_too_late_are_not_lost() -> None:
    async with staged((100, 40), session=Refusing()) as stage:
        await shown(stage, card("apr_1"))
        await stage.pilot.press("ctrl+e")
        await stage.until(lambda: isinstance(stage.app.screen, ArgumentsScreen))
        stage.app.screen.query_one(TextArea).load_text('{"spec": {"prompt": "Why?"}}')
        await stage.session.tell(ApprovalDecided(turn=1, key="s/1/apr_1", approval_id="apr_1", granted=False))
        await stage.pilot.press("ctrl+s")
        await stage.until_shown("The decision came too late: This approval has expired.")
        await stage.until_shown('Your changes: {"spec": {"prompt": "Why?"}}')


async def test_a_chord_that_comes_too_soon_says_so() -> None:
    async with staged() as stage:
        await shown(stage, card("apr_1"))
        stage.tray.deafen()
        await stage.pilot.press("ctrl+y")
        assert "too soon" in stage.status()
        assert stage.session.decisions == []


async def test_several_cards_are_gone_through_and_each_has_its_grace() -> None:
    async with staged() as stage:
        await shown(stage, card("apr_1"), card("apr_2", arguments='{"spec": {"prompt": "Second?"}}'))
        assert stage.tray.border_subtitle == "1 of 2"
        await stage.pilot.press("alt+down", "ctrl+y")
        assert "Second?" in stage.card_text()
        assert stage.session.decisions == []
        stage.now += LATER
        await stage.pilot.press("ctrl+y")
        await stage.session.until_asked(1, "decisions")
        assert stage.session.decisions == [("apr_2", True)]
        assert "on its way" in stage.card_text()
        stage.now += LATER
        await stage.pilot.press("ctrl+y")
        assert len(stage.session.decisions) == 1


async def test_all_of_one_tool_are_approved_together_and_the_others_are_not() -> None:
    async with staged() as stage:
        other = replace(card("apr_3"), tool="put_cap", effect="changes", worst_cost_nanos=0)
        await shown(stage, card("apr_1"), card("apr_2"), other)
        assert "F8 approve all 2 of fanout (at most $6.20 together)" in stage.card_text()
        await stage.pilot.press("f8")
        await stage.session.until_asked(2, "decisions")
        assert stage.session.decisions == [("apr_1", True), ("apr_2", True)]


async def test_a_card_that_joins_the_others_starts_the_grace_anew() -> None:
    async with staged() as stage:
        await shown(stage, card("apr_1"))
        await stage.session.tell(card("apr_2"))
        await stage.until(lambda: len(stage.tray._cards) == 2)
        await stage.pilot.press("f8", "ctrl+y")
        assert stage.session.decisions == []


async def test_a_chord_is_not_heard_when_the_window_has_just_come_back() -> None:
    async with staged() as stage:
        await shown(stage, card("apr_1"))
        stage.app.post_message(events.AppBlur())
        stage.app.post_message(events.AppFocus())
        await stage.pilot.pause()
        await stage.pilot.press("ctrl+y")
        assert stage.session.decisions == []
        stage.now += LATER
        await stage.pilot.press("ctrl+y")
        assert stage.session.decisions == [("apr_1", True)]


async def test_a_chord_pressed_before_the_card_could_be_seen_is_not_heard_however_late_its_turn_comes() -> None:
    async with staged() as stage:
        await shown(stage, card("apr_1"))
        key = events.Key("ctrl+y", None)
        key.time = time.monotonic() - LATER
        stage.app.post_message(key)
        await stage.pilot.pause()
        assert stage.session.decisions == []


async def test_clicks_on_the_tray_decide_nothing_and_take_no_focus() -> None:
    async with staged() as stage:
        await shown(stage, card("apr_1"))
        for y in range(stage.tray.region.height):
            await stage.pilot.click(offset=(stage.tray.region.x + 5, stage.tray.region.y + y))
        assert stage.session.decisions == []
        assert stage.app.focused is stage.composer


class Refusing(ScriptedSession):
    """The server says no to whatever is decided."""

    async def decide(
        self, approval_id: str, *, grant: bool, reason: str = "", arguments_json: str = "", by: Decider = "person"
    ) -> None:
        await super().decide(approval_id, grant=grant)
        raise LookupError("This approval has expired.")


async def test_a_decision_that_is_not_taken_says_why_and_can_be_tried_again() -> None:
    async with staged(session=Refusing()) as stage:
        await shown(stage, card("apr_1"))
        await stage.pilot.press("ctrl+y")
        await stage.until(lambda: "not taken: This approval has expired." in stage.card_text())
        stage.now += LATER
        await stage.pilot.press("ctrl+y")
        await stage.session.until_asked(2, "decisions")


TYPED: Final = (*"abc yn/@", "enter", "tab", "space", "backspace", "up", "down", "escape", "ctrl+j", "ctrl+s", "ctrl+a")
CHORDS: Final = ("ctrl+y", "ctrl+n", "ctrl+t", "f8", "ctrl+e")


@pytest.mark.parametrize("seed", range(4))
async def test_typing_pasting_and_switching_windows_around_cards_decide_nothing(seed: int) -> None:
    """Everything a person does at the wrong moment, in random order. A chord within the grace counts as typing; after
    it, exactly the chord decides.
    """
    draw = random.Random(seed)
    async with staged() as stage:
        await stage.session.tell(UserSaid(turn=1, text="go"))
        cards = 0
        for _ in range(60):
            match draw.choice(("type", "chord", "chord", "chord", "paste", "focus", "card", "gone")):
                case "type":
                    await stage.pilot.press(draw.choice(TYPED))
                case "chord" if not quiet(stage):
                    await stage.pilot.press(draw.choice(CHORDS))
                case "paste":
                    await stage.paste(draw.choice(("y\r", "\x19\x0e\r", "approve\n" * 30)))
                case "focus":
                    stage.app.post_message(events.AppBlur())
                    stage.app.post_message(events.AppFocus())
                case "card":
                    cards += 1
                    await stage.session.tell(card(f"apr_{cards}"))
                case "gone" if stage.tray.card is not None:
                    gone = stage.tray.card.approval_id
                    await stage.session.tell(
                        ApprovalDecided(turn=1, key=f"s/1/{gone}", approval_id=gone, granted=False, by="elsewhere")
                    )
            stage.now += draw.choice((0.0, 0.05, 0.1, 0.2, LATER))
        assert stage.session.decisions == []


def quiet(stage: Stage) -> bool:
    """Whether the cards have stood there for so long that a chord is meant."""
    return stage.tray.card is not None and stage.now - stage.tray._shown_at >= DEAF - 0.01
