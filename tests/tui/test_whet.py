"""The real command in a real terminal, against a real embedded server and simulated models."""

import asyncio
import os
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


@dataclass(frozen=True)
class Home:
    """A data directory of its own."""

    data: Path

    def whet(self, *arguments: str) -> AbstractContextManager[Terminal]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "WHET_", "NO_COLOR"))}
        places = {"WHET_DATA": str(self.data), "WHET_CONFIG": str(self.data / "config.toml"), "LANG": "C.UTF-8"}
        return terminal(
            [sys.executable, "-m", "whet_tui", *arguments],
            environment=kept | places | {"TERM": "xterm-256color", "COLORTERM": "truecolor"},
            columns=110,
            rows=40,
        )


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    (tmp_path / "config.toml").write_text(CONFIG)
    yield Home(tmp_path)
    asyncio.run(stop(tmp_path))


def test_a_question_is_answered_killed_and_found_again(home: Home) -> None:
    with home.whet() as chat:
        chat.until_written("Ask something")
        chat.send("is a tomato a fruit\r")  # before the session is there
        chat.until_shown("Ctrl+Y approve", timeout=40)
        chat.until_shown("decision 1 s")
        chat.send("\x19")
        chat.until_shown("fan_", timeout=30)
        chat.until(lambda shown: "working" not in shown[-1])
        lines = chat.until(lambda shown: any("planner" in line and "fan_" in line for line in shown))  # told last
        assert any("simulated" in line for line in lines)
        assert any("❯ is a tomato a fruit" in line for line in lines)
        chat.kill()
        assert chat.wait() == -9
    with home.whet("chat", "--continue") as chat:
        again = chat.until_shown("fan_", timeout=40)
        assert [line for line in again if "❯" in line or "fan_" in line] == [
            line for line in lines if "❯" in line or "fan_" in line
        ]
        chat.until(lambda shown: "working" not in shown[-1])
        chat.send("\x04")
        assert chat.wait() == 0
        assert b"Resume with: whet chat --resume ses_" in chat.raw


def test_a_session_that_is_not_there_is_named_and_the_chat_stays(home: Home) -> None:
    with home.whet("chat", "--resume", "ses_missing") as chat:
        chat.until_shown("There is no session 'ses_missing'", timeout=40)
        chat.send("\x04")
        assert chat.wait() == 0
