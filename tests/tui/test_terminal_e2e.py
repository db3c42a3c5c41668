"""The real chat in a real terminal, on a real server, thinking with a model that speaks over HTTP.

One chat plays scene after scene, as a person would have it. The model refuses, as providers do, a conversation in which
a call has no answer.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.agent.sse import Provider, Reply, calls, provider, text

from whet_agent.connect import stop
from whet_eval.terminal import Terminal, terminal

APPROVE, REJECT, ESCAPE = "\x19", "\x0e", "\x1b"
CARD = "May the agent do this?"
SLOW = "sim/steady?first_ms=400&rate=40&tokens=80"
LINES = 5_000
PATIENCE = 30.0


def mind(request: dict[str, Any]) -> Reply:
    """Do what the person's last message names."""
    messages = request["messages"]
    if (wrong := unanswered(messages)) is not None:
        return Reply(status=400, error=f"no tool message for the call {wrong}")
    *_, said = (place for place, message in enumerate(messages) if message["role"] == "user")
    word, _, rest = messages[said]["content"].partition(" ")
    answers = [message["content"] for message in messages[said:] if message["role"] == "tool"]
    return ACTS.get(word, plain)(rest, answers)


def unanswered(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """The first call without an answer right behind it."""
    for place, message in enumerate(messages):
        asked: set[str] = {call["id"] for call in message.get("tool_calls", ())}
        behind = messages[place + 1 : place + 1 + len(asked)]
        if missing := asked - {answer.get("tool_call_id", "") for answer in behind}:
            return min(missing)
    return None


def plain(rest: str, _: Sequence[str]) -> Reply:
    return text("You said ", f"{len(rest.splitlines())} lines.")


def stream(rest: str, _: Sequence[str]) -> Reply:
    words = [f"{number}-{rest} " for number in range(120)]
    return Reply(deltas=[{"content": word} for word in [*words, f"The end of {rest}."]], pace=0.01)


def both(_: str, answers: Sequence[str]) -> Reply:
    if answers:
        return text(f"{len(answers)} answers are in.")
    return calls(("list_caps", {}), ("plan_fanout", {"spec": {"prompt": "cold?", "models": [SLOW]}}))


def cap(rest: str, answers: Sequence[str]) -> Reply:
    """Try to change something, slowly enough that somebody types meanwhile."""
    if answers:
        return text("Rejected " if "rejected by the person" in answers[0] else "Capped ", f"at {rest}.")
    asked = calls(("put_cap", {"period": "day", "limit": {"nanos": int(rest) * 1_000_000_000}}))
    return Reply(deltas=[{"content": "One "}, {"content": "moment. "}, *asked.deltas], finish=asked.finish, pace=0.1)


def run(rest: str, answers: Sequence[str]) -> Reply:
    spec = {"prompt": rest, "models": [SLOW], "cache": {"bypass": True}}
    return text(f"{rest} was run.") if answers else calls(("fanout", {"spec": spec}))


ACTS: dict[str, Callable[[str, Sequence[str]], Reply]] = {"stream": stream, "both": both, "cap": cap, "run": run}


@dataclass
class Place:
    """A data directory, its server and the model."""

    data: Path
    model: Provider

    def chat(self, *arguments: str) -> contextlib.AbstractContextManager[Terminal]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "WHET_", "NO_COLOR"))}
        own = {"WHET_DATA": str(self.data), "WHET_CONFIG": str(self.data / "config.toml"), "LANG": "C.UTF-8"}
        more = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        command = [sys.executable, "-m", "whet_tui", "chat", *arguments]
        return terminal(command, environment=kept | own | more, columns=100, rows=30)


@contextlib.contextmanager
def model() -> Iterator[Provider]:
    """Serve the model from a thread: this one waits for the terminal."""
    ready: list[Provider] = []
    up, down = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        async with provider(thinks=mind) as serving:
            ready.append(serving)
            loops.append(asyncio.get_running_loop())
            up.set()
            await down.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert up.wait(PATIENCE)
    try:
        yield ready[0]
    finally:
        loops[0].call_soon_threadsafe(down.set)
        thread.join(PATIENCE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    data = tmp_path_factory.mktemp("e2e")
    with model() as serving:
        (data / "config.toml").write_text(
            f'[mind]\nbase_url = "{serving.url}"\nmodel = "stub/m"\n'
            f'[[endpoint]]\nname = "stub"\nbase_url = "{serving.url}"\n'
            '[[endpoint.model]]\nname = "m"\nprice = { input = 1.0, output = 3.0 }\n'
        )
        try:
            yield Place(data, serving)
        finally:
            asyncio.run(stop(data))


@pytest.fixture(scope="module")
def chat(place: Place) -> Iterator[Terminal]:
    with place.chat() as running:
        running.until_shown("stub/m", timeout=PATIENCE)
        yield running


def decided(chat: Terminal, key: str) -> None:
    """Decide the card in view, as soon as it listens."""
    chat.until_shown(CARD, timeout=PATIENCE)
    while any(CARD in line for line in chat.screen()):
        chat.send(key)
        while chat.read(0.2):
            pass


def test_an_answer_streams_to_its_end_while_the_window_changes_its_size(chat: Terminal) -> None:
    chat.send("stream alpha\r")
    for columns, rows in ((60, 20), (120, 40), (100, 30)):
        chat.until_shown("-alpha", timeout=PATIENCE)
        chat.resize(columns, rows)
    lines = chat.until_shown("The end of alpha.", timeout=PATIENCE)
    framed = next(line for line in reversed(lines) if line.startswith("╰"))
    assert len(framed) == 100


def test_calls_that_are_made_together_are_both_answered(chat: Terminal) -> None:
    chat.send("both\r")
    lines = chat.until_shown("2 answers are in.", timeout=PATIENCE)
    assert sum(line.lstrip().startswith("✓") for line in lines) >= 2


def test_what_is_typed_while_a_card_appears_is_text_and_decides_nothing(chat: Terminal, place: Place) -> None:
    chat.send("cap 7\r")
    for letter in "yes y n a 1 2 3 ok":
        chat.send(letter)
        chat.read(0.05)
    chat.until(lambda lines: any(CARD in line for line in lines) and any("yes y n a" in line for line in lines))
    chat.send("\x7f" * 18)
    assert_open(chat, place)
    decided(chat, APPROVE)
    chat.until_shown("Capped at 7.", timeout=PATIENCE)


def assert_open(chat: Terminal, place: Place) -> None:
    """The card is still there, and the model has not been told anything of its call."""
    asked = len(place.model.requests)
    while chat.read(0.2):
        pass
    assert any(CARD in line for line in chat.screen())
    assert len(place.model.requests) == asked


def test_a_rejected_call_is_told_to_the_mind(chat: Terminal) -> None:
    chat.send("cap 8\r")
    decided(chat, REJECT)
    chat.until_shown("Rejected at 8.", timeout=PATIENCE)


def test_after_escape_in_a_call_the_next_message_is_answered(chat: Terminal) -> None:
    chat.send("run first\r")
    chat.until_shown("streaming", timeout=PATIENCE)
    chat.send(ESCAPE)
    chat.until_shown("Cancelled.", timeout=PATIENCE)
    chat.send("hello you\r")
    chat.until_shown("You said 1 lines.", timeout=PATIENCE)


def test_a_paste_of_thousands_of_lines_is_one_message_and_whole(chat: Terminal, place: Place) -> None:
    pasted = "\r".join(f"line {number}" for number in range(LINES))
    chat.send(f"\x1b[200~paste {pasted}\x1b[201~")
    chat.read(1.0)
    chat.send("\r")
    chat.until_shown(f"You said {LINES:d} lines.", timeout=PATIENCE)
    said = next(m["content"] for m in reversed(place.model.requests[-1]["messages"]) if m["role"] == "user")
    assert said.splitlines()[-1] == f"line {LINES - 1}"


def test_a_server_that_is_killed_in_a_run_comes_back_and_the_turn_ends(chat: Terminal, place: Place) -> None:
    chat.send("run second\r")
    chat.until_shown("streaming", timeout=PATIENCE)
    os.kill(json.loads((place.data / "server.json").read_text())["pid"], signal.SIGKILL)
    chat.until_shown("second was run.", timeout=PATIENCE)


def test_a_chat_that_is_killed_comes_back_with_its_screen_and_the_open_card(place: Place) -> None:
    with place.chat() as chat:
        chat.until_shown("stub/m", timeout=PATIENCE)
        chat.send("both\r")
        chat.until_shown("2 answers are in.", timeout=PATIENCE)
        chat.send("cap 9\r")
        before = shown(chat)
        chat.kill()
        chat.wait()
    with place.chat("--continue") as chat:
        assert shown(chat) == before
        decided(chat, APPROVE)
        chat.until_shown("Capped at 9.", timeout=PATIENCE)


def shown(chat: Terminal) -> list[str]:
    """The screen with its card and without the status line, once nothing moves any more."""
    chat.until_shown(CARD, timeout=PATIENCE)
    return chat.still(timeout=PATIENCE)[:-1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_no_key_but_the_chord_ever_decides(place: Place, seed: int) -> None:
    draw = random.Random(seed)
    with place.chat() as chat:
        chat.until_shown("stub/m", timeout=PATIENCE)
        chat.send(f"cap {100 + seed}\r")
        modes = 3 * "\x1b[Z"  # once round: in another mode than that to ask there would be no card
        for _ in range(60):
            chat.send(draw.choice([*"yYnNaAeE123 ", "\r", "\t", "\x1b[A", "\x1b[B", "\x7f", "\x0a", modes]))
            chat.read(draw.random() * 0.04)
        chat.until_shown(CARD, timeout=PATIENCE)
        assert_open(chat, place)
