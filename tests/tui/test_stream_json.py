"""Plain lines, JSON lines and the chat tell the same conversation."""

import asyncio
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tui import story
from tests.tui.rehearsal import no_desk
from tests.tui.test_view import TOLD, conversation, envelopes, seen, with_pieces

from whet_agent.events import Envelope, MindSaid, Notice, Rewound, SessionOpened, UserSaid
from whet_tui.application import ChatApp
from whet_tui.bridge import ChatSession, Progress
from whet_tui.memory_shelf import MemoryShelf
from whet_tui.plain import PlainPrinter
from whet_tui.screens.chat import ChatScreen
from whet_tui.scripted import ScriptedSession
from whet_tui.stream_json import StreamPrinter, plain
from whet_tui.view import View

GOLDEN = Path(__file__).parent / "golden"
ENTRIES = {"said", "answer", "call", "note"}


def streamed(told: Iterable[Envelope]) -> list[str]:
    lines: list[str] = []
    printer = StreamPrinter(lines.append)
    for envelope in told:
        printer.hear(envelope)
    return lines


def merged(target: dict[str, Any], part: dict[str, Any], *, append: bool = False) -> None:
    for name, value in part.items():
        if isinstance(value, dict) and isinstance(target.get(name), dict):
            merged(target[name], value, append=append)
        else:
            target[name] = target[name] + value if append else value


def folded(lines: Sequence[str]) -> dict[str, Any]:
    """What a reader of the lines knows: docs/headless.md in code."""
    status: dict[str, Any] = {}
    entries: dict[str, dict[str, Any]] = {}
    cards: dict[str, Any] = {}
    turns: dict[str, Any] = {"running": [], "waiting": []}
    for line in lines:
        told = json.loads(line)
        kind = told.pop("type")
        stamp = (told.pop("sequence"), told.pop("time"))
        assert stamp[1].endswith("Z")
        match kind:
            case "status":
                merged(status, told["set"])
            case "change":
                merged(entries[told["key"]], told.get("set", {}))
                merged(entries[told["key"]], told.get("append", {}), append=True)
            case "rewound":
                for key in told["keys"]:
                    del entries[key]
            case "turns":
                turns = told
            case "approval":
                cards[told["approval_id"]] = told
            case "approval_closed":
                del cards[told["approval_id"]]
            case _:
                assert kind in ENTRIES
                entries[told["key"]] = {"type": kind} | told
    return {"status": status, "entries": list(entries.values()), "cards": cards, "turns": turns}


def as_data(view: View) -> dict[str, Any]:
    return {
        "status": plain(view.status),
        "entries": [{"type": type(entry).__name__.lower()} | plain(entry) for entry in view.entries],
        "cards": {key: plain(card) for key, card in view.cards.items()},
        "turns": {
            "running": view.turns[:1],
            "waiting": [{"turn": said.turn, "text": said.text} for said in view.waiting],
        },
    }


def printed(told: Iterable[Envelope]) -> tuple[list[str], View]:
    lines: list[str] = []
    printer = PlainPrinter(lambda line: lines.append(f"aside   {line}"), lambda line: lines.append(f"answer  {line}"))
    for envelope in told:
        printer.hear(envelope)
    return lines, printer.view


def check_golden(name: str, lines: Sequence[str]) -> None:
    """Compare with the golden file; with WHET_GOLDEN=write in the environment, write it anew."""
    path, text = GOLDEN / name, "".join(f"{line}\n" for line in lines)
    if os.environ.get("WHET_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_the_conversation_in_json_lines_is_the_golden_one() -> None:
    check_golden("conversation.jsonl", streamed(TOLD))


def test_the_conversation_in_plain_lines_is_the_golden_one() -> None:
    check_golden("conversation-plain.txt", printed(TOLD)[0])


async def test_the_chat_the_plain_lines_and_the_json_lines_have_the_same_state() -> None:
    session = ScriptedSession()

    async def opened(progress: Progress) -> ChatSession:
        return session

    app = ChatApp(opened, no_desk, MemoryShelf())
    happenings = conversation(list(story.fanout()))
    async with app.run_test() as pilot:
        await session.tell(*happenings)
        screen = app.screen_stack[0]
        assert isinstance(screen, ChatScreen)
        async with asyncio.timeout(5):
            while screen._view is None or screen._view.heard < TOLD[-1].sequence:
                await pilot.pause(0.01)
        assert screen._view is not None
        shown = as_data(screen._view)
    assert folded(streamed(TOLD)) == as_data(printed(TOLD)[1]) == shown


@settings(max_examples=30, deadline=None)
@given(st.integers(1, len(TOLD)))
def test_wherever_a_reader_stops_it_knows_the_view_of_then(cut: int) -> None:
    assert folded(streamed(TOLD[:cut])) == as_data(seen(TOLD[:cut]))


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 40))
def test_however_texts_are_cut_the_lines_merge_to_the_same(size: int) -> None:
    told = envelopes(conversation(with_pieces(list(story.fanout()), size)))
    assert folded(streamed(told)) == folded(streamed(TOLD))


def test_texts_grow_by_what_is_new_and_are_not_told_again() -> None:
    lines = streamed(TOLD)
    for text in (story.TEXTS["b1"], story.TEXTS["b2"]):
        assert sum(line.count(text) for line in lines) <= 1  # whole in the synthesis' own report at most
    grown = [json.loads(line)["append"] for line in lines if '"append"' in line]
    lanes = [part["fanout"]["lanes"]["b1"]["text"] for part in grown if "b1" in part.get("fanout", {}).get("lanes", {})]
    assert "".join(lanes) == story.TEXTS["b1"]


def test_a_session_taken_up_is_told_as_it_stands_and_then_goes_on() -> None:
    lines: list[str] = []
    printer = StreamPrinter(lines.append)
    half = len(TOLD) // 2
    for envelope in TOLD[:half]:
        printer.view.apply(envelope)
    printer.resumed(TOLD[half - 1])
    assert folded(lines) == as_data(seen(TOLD[:half]))
    assert len(lines) < 12
    for envelope in TOLD[half:]:
        printer.hear(envelope)
    assert folded(lines) == as_data(seen(TOLD))


def test_going_back_takes_entries_out_of_the_lines_too() -> None:
    told = envelopes(
        [
            SessionOpened(session_id="s", mind="m", server="", panel=()),
            UserSaid(turn=1, text="one"),
            Notice(level="info", text="first"),
            UserSaid(turn=2, text="two"),
            Rewound(turn=1, thread=1),
            Notice(level="info", text="second"),
        ]
    )
    assert folded(streamed(told)) == as_data(seen(told))
    assert [entry["text"] for entry in folded(streamed(told))["entries"]] == ["second"]


def test_no_line_holds_what_a_terminal_could_obey() -> None:
    evil = "\x1b]0;owned\x07\u202etxt\u2028\ud800 \u200b"
    lines = streamed(envelopes([UserSaid(turn=1, text=evil), MindSaid(turn=1, step=1, attempt=1, offset=0, text=evil)]))
    assert all(line.isprintable() for line in lines)
    assert [entry["text"] for entry in folded(lines)["entries"]] == [evil, evil]
