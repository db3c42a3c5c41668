"""What only a real terminal can show: colours that are not there, keys as they are sent, plain lines."""

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from whet_agent.connect import stop
from whet_eval.terminal import Terminal, terminal

CONFIG = """
panel = ["sim/fast", "sim/costly"]
synthesiser = "sim/fast"

[server]
approval_threshold = 0.0
"""
SGR = re.compile(rb"\x1b\[([0-9;:]*)m")


@dataclass(frozen=True)
class Home:
    """A data directory of its own."""

    data: Path

    def whet(self, *arguments: str, **environment: str) -> AbstractContextManager[Terminal]:
        dropped = ("OPENAI_", "WHET_", "NO_COLOR", "ACCESSIBLE", "TEXTUAL", "TMUX")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
        places = {"WHET_DATA": str(self.data), "WHET_CONFIG": str(self.data / "config.toml"), "LANG": "C.UTF-8"}
        return terminal(
            [sys.executable, "-m", "whet_tui", *arguments],
            environment=kept | places | {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | environment,
            columns=110,
            rows=40,
        )


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    (tmp_path / "config.toml").write_text(CONFIG)
    yield Home(tmp_path)
    asyncio.run(stop(tmp_path))


def coloured(raw: bytes) -> list[bytes]:
    """The parameters of every sequence that sets a colour; the defaults (39, 49) are none."""
    found = []
    for sequence in SGR.findall(raw):
        numbers = [int(number) for number in re.split(rb"[;:]", sequence) if number]
        if any(30 <= number <= 38 or 40 <= number <= 48 or 90 <= number <= 107 for number in numbers):
            found.append(sequence)
    return found


def test_no_color_writes_no_colour_and_what_is_chosen_can_still_be_seen(home: Home) -> None:
    with home.whet(NO_COLOR="1") as chat:
        chat.until_shown("The panel that answers", timeout=40)
        chat.send("is a tomato a fruit\r")
        chat.until_shown("Ctrl+Y approve", timeout=40)
        chat.send("\x1b6")  # Alt+6, as terminals send it
        chat.until_shown("approval_mode")
        chat.send("\x1b[B")
        chat.until_shown("Clocks are drawn once a second")
        assert any(b"7" in sequence.split(b";") for sequence in SGR.findall(bytes(chat.raw)))
        chat.send("\x1b")
        chat.until_shown("Ctrl+Y approve")
        assert coloured(bytes(chat.raw)) == []
        chat.send("\x11")  # Ctrl+Q, which is Textual's own: the session must be closed all the same
        assert chat.wait() == 0


def test_with_colours_the_same_look_finds_some(home: Home) -> None:
    with home.whet() as chat:
        chat.until_written("Ask something")
        assert coloured(bytes(chat.raw)) != []


EDITOR = f"{sys.executable} -c \"import sys, pathlib as p; f = p.Path(sys.argv[1]); f.write_text('no json')\""


def test_a_terminal_that_cannot_draw_is_only_ever_written_to(home: Home) -> None:
    with home.whet(TERM="dumb", EDITOR=EDITOR) as chat:
        chat.until_written("you> ", timeout=40)
        chat.send("is a tomato\\\r a fruit\r")
        for typed in ("", "1", "edit", "approve"):
            chat.until_written("decide> ", timeout=40)
            del chat.raw[: chat.raw.index(b"decide> ") + 8]
            chat.send(f"{typed}\r")
            answer = {"edit": "were not changed", "approve": "offline planner"}.get(typed, "Nothing is decided.")
            chat.until_written(answer, timeout=40)
        chat.until_written("you> ")
        chat.send("\x04")
        assert chat.wait() == 0
        assert b"Resume with: whet chat --resume ses_" in chat.raw
        assert coloured(bytes(chat.raw)) == []


def test_lines_are_cancelled_by_ctrl_c_and_taken_up_again(home: Home) -> None:
    with home.whet("chat", "--plain") as chat:
        chat.until_written("you> ", timeout=40)
        chat.send('"""\rWhat is one\rand two?\r"""\r')
        chat.until_written('"prompt": "What is one\\nand two?"', timeout=40)
        chat.until_written("decide> ", timeout=40)
        assert b"\x1b[?1049h" not in chat.raw
        assert b"> What" not in chat.raw.replace(b"...> What", b"")
        chat.send("\x03")
        chat.until_written("Cancelled.", timeout=20)
        chat.send("/quit\r")
        assert chat.wait() == 0
    with home.whet("chat", "--plain", "--continue") as chat:
        chat.until_written("> What is one", timeout=40)
        chat.until_written("you> ")
        chat.send("/help\r")
        chat.until_written("/verify_trace ")
        del chat.raw[: chat.raw.index(b"/verify_trace ")]
        chat.until_written("you> ")
        chat.send("\x04")
        assert chat.wait() == 0
