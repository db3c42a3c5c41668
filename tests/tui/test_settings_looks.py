from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.color import ColorType
from rich.style import Style
from tests.tui.rehearsal import no_desk
from textual.color import Color
from textual.screen import Screen
from textual.theme import Theme

from whet_tui import themes
from whet_tui.application import ChatApp
from whet_tui.bridge import Progress
from whet_tui.keymap import bindings, checked, effective, known, spelled
from whet_tui.memory_shelf import MemoryShelf
from whet_tui.schema import SERVERS, SETTINGS, ChatTable
from whet_tui.screens.deciding import DecidingScreen
from whet_tui.screens.help import HelpScreen
from whet_tui.scripted import ScriptedSession
from whet_tui.settings import Settings
from whet_tui.widgets.ink import Ink, ink_of

LEAST = 4.5


async def opened(_: Progress) -> ScriptedSession:
    session = ScriptedSession()
    await session.open()
    return session


def app(tmp_path: Path, **more: object) -> ChatApp:
    return ChatApp(opened, no_desk, MemoryShelf(), Settings(data=tmp_path, **more))  # type: ignore[arg-type]  # names of Settings


def luminance(colour: Color) -> float:
    def linear(part: float) -> float:
        return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(part / 255) for part in colour.rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Color, other: Color) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def styles(ink: Ink) -> dict[str, Style]:
    names = ("base", "muted", "you", "accent", "good", "warning", "bad", "simulated")
    return {name: getattr(ink, name) for name in names}


@pytest.mark.parametrize("theme", [themes.DARK, themes.LIGHT], ids=lambda theme: theme.name)
def test_every_ink_can_be_read_on_its_ground_and_under_code(theme: Theme) -> None:
    ink = ink_of(theme)
    ground = Color.from_rich_color(ink.base.bgcolor)
    poor = {
        name: contrast(Color.from_rich_color(style.color), each)
        for name, style in styles(ink).items()
        for each in (ground, Color.parse(ink.code_ground))
        if style.color is not None and contrast(Color.from_rich_color(style.color), each) < LEAST
    }
    assert poor == {}


def test_the_ink_of_the_terminals_own_colours_holds_no_other() -> None:
    for name, style in styles(ink_of(themes.ANSI)).items():
        for colour in (style.color, style.bgcolor):
            assert colour is None or colour.type in {ColorType.DEFAULT, ColorType.STANDARD}, name


def test_states_differ_by_more_than_their_colour() -> None:
    from whet_tui.entries import LaneState

    assert len({state.value for state in LaneState}) == len(LaneState)


async def readable_everywhere(screen: Screen[Any]) -> dict[str, float]:
    """Every widget in view whose text is too close to the ground it stands on."""
    poor = {}
    for widget in screen.walk_children(with_self=True):
        ground, ink = widget.background_colors[1], widget.colors[3]
        if (found := contrast(ground + ink, ground)) < LEAST:
            poor[f"{widget!r}"] = found
    return poor


@pytest.mark.parametrize("name", ["dark", "light"])
async def test_what_the_style_sheet_colours_can_be_read(tmp_path: Path, name: str) -> None:
    chat = app(tmp_path)
    async with chat.run_test(size=(100, 30)) as pilot:
        chat.use_theme(name)
        await pilot.pause()
        assert await readable_everywhere(chat.screen) == {}
        await pilot.press("f1")
        assert isinstance(chat.screen, HelpScreen)
        assert await readable_everywhere(chat.screen) == {}


def test_every_binding_has_an_id_of_its_own_and_says_what_it_does() -> None:
    found = list(bindings())
    assert [f"{kind.__name__}: {binding.key}" for kind, binding in found if not binding.id] == []
    assert [binding.id for _, binding in found if not binding.description] == []
    assert [name for name, count in Counter(binding.id for _, binding in found).items() if count > 1] == []
    assert [binding.id for _, binding in found if (binding.id or "").count(".") != 1] == []


def test_the_tables_that_the_server_reads_are_known_here() -> None:
    from whet_server.config import OTHERS, ConfigError, config_from

    assert set(OTHERS) == {"keys", *{setting.table for setting in SETTINGS.values()}}
    with pytest.raises(ConfigError) as told:
        config_from({"nonsense": 1}, "config.toml", {})
    assert str(told.value).rpartition("known keys are ")[2].rstrip(".").split(", ") == sorted([*OTHERS, *SERVERS])


def test_keys_that_cannot_be_had_are_named_with_the_reason() -> None:
    taken, complaints = checked(
        {
            "chat.help": "f2, ctrl+h",
            "chat.helb": "f3",
            "card.approve": "a",
            "card.reject": "enter",
            "chat.unfold": "kontrol+x",
            "chat.sessions": "ctrl+y",
        }
    )
    assert taken == {"chat.help": "f2,ctrl+h"}
    assert [complaint.partition(": ")[0] for complaint in complaints] == [
        "keys.chat.helb",
        "keys.card.approve",
        "keys.card.reject",
        "keys.chat.unfold",
        "keys.chat.sessions",
    ]
    assert "Did you mean chat.help?" in complaints[0]
    assert "'a' is needed for writing" in complaints[1]
    assert "'enter' is needed for writing" in complaints[2]
    assert "'kontrol+x' is no key" in complaints[3]
    assert f"ctrl+y is card.approve already ({known()['card.approve'].about})" in complaints[4]


def test_two_actions_can_change_their_keys_with_each_other() -> None:
    swapped = {"chat.help": "ctrl+r", "chat.sessions": "f1"}
    assert checked(swapped) == (swapped, [])
    assert effective(swapped)["chat.help"].keys == ("ctrl+r",)
    assert spelled("ctrl+r") == "Ctrl+R"
    assert [spelled(key) for key in ("x", "X", "slash")] == ["x", "X", "/"]


async def test_a_changed_key_works_and_the_help_names_it_and_a_bad_one_is_told_in_the_chat(tmp_path: Path) -> None:
    chat = app(
        tmp_path,
        keys={"chat.help": "f2", "chat.nothing": "f3", "card.approve": "f4"},
        complaints=("config.toml: from the file",),
    )
    async with chat.run_test(size=(100, 60)) as pilot:
        assert isinstance(chat.screen, DecidingScreen)
        assert chat.screen._keys["approve"] == "F4"  # what the tray says
        await pilot.press("f1")
        assert not isinstance(chat.screen, HelpScreen)
        await pilot.press("f2")
        assert isinstance(chat.screen, HelpScreen)
        help_lines = chat.screen.query_one("#help Static").render_lines(chat.screen.region)
        assert any(f"{'F2':<22}Help" in strip.text for strip in help_lines)
        await pilot.press("escape")
        shown = "\n".join(strip.text for strip in chat.screen.query_one("Transcript").render_lines(chat.screen.region))
        assert "config.toml: from the file" in shown
        assert "keys.chat.nothing: no action has this name" in shown


async def test_a_theme_that_is_not_there_is_told_and_the_chat_is_dark(tmp_path: Path) -> None:

    chat = app(tmp_path, chat=ChatTable(theme="lihgt"))
    assert chat.theme == "whet-dark"
    assert chat._complaints == ["There is no theme 'lihgt'. Did you mean light?"]
