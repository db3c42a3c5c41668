"""The chat in a real pseudo-terminal: what reaches the terminal byte by byte, and how soon."""

import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.tui import story

from whet_eval.terminal import Terminal, terminal
from whet_tui.app import farewell

ROOT = Path(__file__).parents[2]
SIZES = ((60, 20), (80, 24), (120, 40))
GOLDEN = Path(__file__).parent / "golden"

CONTROL_STRING = re.compile("\x1b[\\]PX^_][^\x07\x1b]*|[\x80-\x9f]")
"""An OSC, DCS, SOS, PM or APC string up to its end, or a control character of eight bits."""
SEQUENCE = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")


def environment(**more: str) -> Mapping[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "WHET_", "NO_COLOR"))}
    return (
        kept | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"} | more
    )


@contextmanager
def stage(
    scene: str, log: Path, *, size: tuple[int, int] = (100, 30), theme: str = "dark", **more: str
) -> Iterator[Terminal]:
    command = [sys.executable, "-m", "tests.tui.stage", scene, str(log), theme]
    with terminal(command, environment=environment(**more), columns=size[0], rows=size[1]) as chat:
        yield chat


def settled(lines: list[str]) -> str:
    """The screen with its clock stopped."""
    return re.sub(r"(?<=cancels |ecision )\d+ s", "# s", "\n".join(lines)).rstrip() + "\n"


def strings(raw: bytes) -> set[str]:
    return set(CONTROL_STRING.findall(raw.decode("utf-8")))


def test_nothing_that_is_said_reaches_the_terminals_control_sequences(tmp_path: Path) -> None:
    with stage("idle", tmp_path / "log") as quiet:
        quiet.until_shown("scripted mind")
        ordinary, modes = strings(bytes(quiet.raw)), _modes(bytes(quiet.raw))
    with stage("hostile", tmp_path / "log", size=(100, 60)) as chat:
        lines = chat.until_shown("end of the attack")
        chat.until_shown("Ctrl+Y approve")
        raw = bytes(chat.raw)
    assert strings(raw) <= ordinary
    assert b"\x1b]0;owned" not in raw
    assert _modes(raw) <= modes
    assert b"\xe2\x80\xae" not in raw
    assert any("[@click=app.bell]press[/]" in line for line in lines)


def _modes(raw: bytes) -> set[bytes]:
    """Every control sequence but those that set a colour or move the cursor to a place: with these Textual paints."""
    return {found for found in SEQUENCE.findall(raw) if found[-1:] not in b"mH"}


def test_what_libraries_print_goes_to_the_log_and_not_over_the_screen(tmp_path: Path) -> None:
    with stage("noisy", tmp_path / "chat.log") as chat:
        chat.until_shown("scripted mind")
        chat.send("\x04")
        assert chat.wait() == 0
        assert b"printed" not in bytes(chat.raw)
    assert "printed to one\nprinted to two\n" in (tmp_path / "chat.log").read_text()


def test_a_fanout_looks_as_it_should_at_every_size_and_unfolds(tmp_path: Path) -> None:
    with stage("quick", tmp_path / "log", size=(120, 40)) as chat:
        chat.until_shown("scripted mind")
        chat.send("ask three models what a monad is\r")
        chat.until_shown(story.RUN)
        for columns, rows in SIZES:
            chat.resize(columns, rows)
            chat.until(partial(_framed, columns))
            lines = chat.still()
            _compare(f"fanout-{columns}x{rows}.txt", settled(lines))
        chat.send("\x0f")
        lines = chat.until_shown("── 3 sim/slow")
        _compare("unfolded-120x40.txt", settled(lines))


def _framed(columns: int, lines: Sequence[str]) -> bool:
    """Whether the fan-out is there, the composer's frame has the width, and nothing is under way."""
    return (
        any(story.RUN in line for line in lines)
        and len(lines[-2]) == columns
        and lines[-2].endswith("╯")
        and "working" not in lines[-1]
    )


def test_an_approval_looks_as_it_should(tmp_path: Path) -> None:
    with stage("approval", tmp_path / "log", size=(80, 24)) as chat:
        lines = chat.until_shown("Ctrl+Y approve")
        lines = chat.until(lambda lines: "decision" in lines[-1] and any("lines below" in line for line in lines))
        _compare("approval-80x24.txt", settled(lines))


def _compare(name: str, screen: str) -> None:
    """Compare with the golden file; with WHET_GOLDEN=write in the environment, write it anew."""
    path = GOLDEN / name
    if os.environ.get("WHET_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(screen)
    assert screen == path.read_text()


def test_a_resize_while_words_stream_keeps_the_screen_whole(tmp_path: Path) -> None:
    with stage("long_stream", tmp_path / "log") as chat:
        chat.until_shown("working", timeout=20)
        for columns, rows in ((60, 20), (120, 40), (80, 24)):
            chat.resize(columns, rows)
            mark = len(chat.raw)
            chat.until(lambda lines, mark=mark: len(chat.raw) > mark and "working" in lines[-1])  # type: ignore[misc]
        lines = chat.screen()
        assert lines[-2].startswith("╰")
        assert len(lines[-2]) == 80


def test_the_way_out_tells_how_to_come_back_and_where_a_fault_is_told() -> None:
    log = Path("/data/chat.log")
    assert farewell("ses_1", 0, log) == "Resume with: whet chat --resume ses_1\n"
    assert farewell("", 0, log) == ""
    assert farewell("ses_1", 1, log).splitlines() == [
        "The chat stopped by a fault of its own. What is known is at the end of /data/chat.log.",
        "Resume with: whet chat --resume ses_1",
    ]


def test_a_fault_of_the_chat_leaves_the_terminal_whole_and_is_told_in_the_log(tmp_path: Path) -> None:
    with stage("fault", tmp_path / "chat.log") as chat:
        assert chat.wait() == 1
        assert b"\x1b[?1049l" in chat.raw
    assert "TheRoofFellIn" in (tmp_path / "chat.log").read_text()


def test_the_light_theme_paints_a_light_ground(tmp_path: Path) -> None:
    with stage("idle", tmp_path / "log", theme="light") as chat:
        chat.until_shown("scripted mind")
        assert b"48;2;251;250;247" in chat.raw


def test_without_colours_nothing_is_lost_but_colours(tmp_path: Path) -> None:
    with stage("quick", tmp_path / "log", NO_COLOR="1") as chat:
        chat.until_shown("scripted mind")
        chat.send("ask three models what a monad is\r")
        chat.until_shown(story.RUN, timeout=20)
        colours = re.findall(rb"[34]8;2;(\d+);(\d+);(\d+)", bytes(chat.raw))
        assert all(red == green == blue for red, green, blue in colours)


def test_keys_echo_at_once_while_a_thousand_messages_are_above_and_words_stream(tmp_path: Path) -> None:
    with stage("long_stream", tmp_path / "log", size=(120, 40)) as chat:
        chat.until_shown("working", timeout=20)
        echoes = chat.echoes(25)
    assert statistics.median(echoes) < 0.1  # the bar is 16 ms, taken by `make bench` where nothing else runs


def test_keys_typed_before_the_first_frame_are_kept(tmp_path: Path) -> None:
    with stage("idle", tmp_path / "log") as chat:
        chat.send("fast fingers")
        chat.until_shown("│ fast fingers")


def test_keys_that_terminals_like_to_keep_reach_the_chat(tmp_path: Path) -> None:
    """Ctrl+S stops the output of a terminal whose flow control is on."""
    with stage("long_stream", tmp_path / "log") as chat:
        chat.until_shown("working", timeout=20)
        chat.send("be brief\x13")
        chat.until_shown("↳ be brief")
        chat.send("x" * 5 + "\x1b[200~" + "line\r" * 5_000 + "\x1b[201~")
        chat.until_shown("xxxxx[pasted 1: 5,000 lines]")


def test_an_editor_has_the_terminal_and_gives_the_text_back(tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho "an editor on $(tty)"\nread line\nprintf "%s" "$line" > "$1"\n')
    editor.chmod(0o755)
    with stage("quick", tmp_path / "log", EDITOR=str(editor)) as chat:
        chat.until_shown("scripted mind")
        chat.send("draft\x07")
        chat.until_written("an editor on /dev/pts/")
        chat.send("finished elsewhere\r")
        chat.until_shown("│ finished elsewhere")


ENOUGH = 6
"""Cards that have come and gone while somebody typed; a busy machine needs longer for them."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_typing_while_a_card_appears_decides_nothing_in_a_real_terminal(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    typed = [
        "y",
        "n",
        "\r",
        " ",
        "\t",
        "\x0a",
        "\x1b[A",
        "\x1b[I",
        "\x1b[O\x1b[I",
        "\x1b[200~y\r\x19\x0e\x1b[201~",
        "\x1b",
    ]
    chords = ["\x19", "\x0e", "\x14", "\x1b[19~", "\x1d"]
    with stage("cards", tmp_path / "log", size=(100, 40)) as chat:
        chat.until_shown("May the agent do this?")
        deadline = time.monotonic() + 8
        while time.monotonic() < deadline or _cards_gone(tmp_path) < ENOUGH:
            chat.send("".join(draw.choices(typed, k=4)))
            if draw.random() < 0.5:
                chat.send("\x1b[O\x1b[I" + draw.choice(chords))  # the window has just come back
            chat.read(draw.uniform(0.0, 0.1))
    assert set(re.findall(r"decided: (\d+)", (tmp_path / "log").read_text())) == {"0"}


def _cards_gone(folder: Path) -> int:
    return (folder / "log").read_text().count("decided: ")


def test_an_idle_chat_uses_no_processor(tmp_path: Path) -> None:
    with stage("idle", tmp_path / "log") as chat:
        chat.until_shown("scripted mind")
        chat.until(bool)
        before = chat.processor_seconds()
        chat.read(1.5)
        assert chat.processor_seconds() - before <= 0.03


def test_the_first_frame_loads_textual_and_nothing_of_the_agent() -> None:
    heavy = [
        "grpc",
        "google.protobuf",
        "langgraph",
        "openai",
        "aiohttp",
        "markdown_it",
        "whet",
        "whet_agent",
        "whet_server",
    ]
    first = "import sys, whet_tui.application, whet_tui.cli.chat"
    code = f"{first}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"
