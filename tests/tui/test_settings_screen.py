import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.tui.rehearsal import no_desk
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from whet_tui.application import ChatApp
from whet_tui.bridge import Progress
from whet_tui.memory_shelf import MemoryShelf
from whet_tui.screens.help import HelpScreen
from whet_tui.screens.settings import SettingsScreen
from whet_tui.scripted import ScriptedSession
from whet_tui.settings import Flags, load

WRITTEN = "# mine\n[chat]\ntheme = 'light' # by day\n\n[keys]\nchat.help = 'f2'\n"


async def opened(_: Progress) -> ScriptedSession:
    session = ScriptedSession()
    await session.open()
    return session


def app_with(tmp_path: Path, text: str = WRITTEN, **environment: str) -> ChatApp:
    (tmp_path / "config.toml").write_text(text)
    settings = load(Flags(data=tmp_path, config=tmp_path / "config.toml"), environment)
    return ChatApp(opened, no_desk, MemoryShelf(), settings)


def content(tmp_path: Path) -> dict[str, Any]:
    return tomllib.loads((tmp_path / "config.toml").read_text())


async def choose(pilot: Pilot[Any], key: str) -> None:
    options = pilot.app.screen.query_one(OptionList)
    options.highlighted = options.get_option_index(key)
    await pilot.pause()


def row(app: ChatApp, key: str) -> str:
    return str(app.screen.query_one(OptionList).get_option(key).prompt)


def said(app: ChatApp, widget: str) -> str:
    return str(app.screen.query_one(widget, Static).render())


async def test_each_setting_is_there_with_its_value_and_where_it_came_from(tmp_path: Path) -> None:
    app = app_with(tmp_path, EDITOR="nano\x1b[31m")
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.press("alt+6")
        assert row(app, "chat.theme").split() == ["theme", "light", "config.toml"]
        assert row(app, "chat.history").split() == ["history", "true", "default"]
        assert row(app, "chat.editor").split() == ["editor", "nano", "environment:", "EDITOR"]
        assert row(app, "keys.chat.help").split() == ["chat.help", "F2", "config.toml"]
        await choose(pilot, "chat.paste_lines")
        assert "a whole number of at least 1; default: 15" in said(app, "#setting")
        await pilot.press("escape")
        assert not isinstance(app.screen, SettingsScreen)


async def test_enter_turns_over_and_takes_the_next_choice_and_d_goes_back(tmp_path: Path) -> None:
    app = app_with(tmp_path)
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.press("alt+6")
        for key in ("chat.history", "chat.approval_mode", "chat.theme"):
            await choose(pilot, key)
            await pilot.press("enter")
        assert content(tmp_path)["chat"] == {"theme": "ansi", "history": False, "approval_mode": "allowance"}
        assert (app.theme, app.settings.chat.history) == ("whet-ansi", False)
        await choose(pilot, "chat.theme")
        await pilot.press("d")
        assert "theme" not in content(tmp_path)["chat"]
        assert app.theme == "whet-dark"
        assert row(app, "chat.theme").split() == ["theme", "dark", "default"]
        assert (tmp_path / "config.toml").read_text().startswith("# mine\n")


async def test_a_value_is_written_when_it_fits_and_only_then(tmp_path: Path) -> None:
    app = app_with(tmp_path)
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.press("alt+6")
        await choose(pilot, "chat.paste_lines")
        await pilot.press("enter", "backspace", "backspace", "0", "enter")
        assert "Expected: a whole number of at least 1." in said(app, "#note")
        assert "paste_lines" not in content(tmp_path)["chat"]
        await pilot.press("backspace", "2", "5", "enter")
        assert content(tmp_path)["chat"]["paste_lines"] == 25
        assert not app.screen.query_one(Input).display
        await pilot.press("enter", "9", "escape")
        assert content(tmp_path)["chat"]["paste_lines"] == 25


async def test_a_theme_is_seen_while_it_is_typed_and_goes_with_esc(tmp_path: Path) -> None:
    app = app_with(tmp_path)
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.press("alt+6")
        await choose(pilot, "chat.theme")
        await pilot.press("e")
        app.screen.query_one(Input).value = "nord"
        await pilot.pause()
        assert app.theme == "nord"
        await pilot.press("escape")
        assert app.theme == "whet-light"
        assert content(tmp_path)["chat"]["theme"] == "light"
        began = time.perf_counter()
        await pilot.press("enter")
        assert (app.theme, time.perf_counter() - began < 1.0) == ("whet-ansi", True)


async def test_a_key_is_changed_by_pressing_it(tmp_path: Path) -> None:
    app = app_with(tmp_path)
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.press("alt+6")
        await choose(pilot, "keys.chat.help")
        await pilot.press("enter", "ctrl+d")
        assert "ctrl+d is chat.quit already" in said(app, "#note")
        await pilot.press("enter", "escape")
        assert content(tmp_path)["keys"] == {"chat": {"help": "f2"}}
        await pilot.press("enter", "f9")
        assert content(tmp_path)["keys"] == {"chat.help": "f9"}
        await pilot.press("escape", "f9")
        assert isinstance(app.screen, HelpScreen)


async def test_a_file_that_somebody_else_changed_or_broke_is_left_alone(tmp_path: Path) -> None:
    app = app_with(tmp_path)
    config = tmp_path / "config.toml"
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.press("alt+6")
        await choose(pilot, "chat.history")
        config.write_text("[chat]\nplain = true\n")
        await pilot.press("enter")
        assert "was changed by somebody else meanwhile" in said(app, "#note")
        assert content(tmp_path) == {"chat": {"plain": True}}
        await pilot.press("r")
        assert row(app, "chat.plain").split() == ["plain", "true", "config.toml"]
        await pilot.press("enter")
        assert content(tmp_path) == {"chat": {"plain": True, "history": False}}
        config.write_text("[chat\n")
        await pilot.press("r", "enter")
        assert "is not valid TOML" in said(app, "#note")
        assert config.read_text() == "[chat\n"


async def test_what_the_environment_says_of_the_terminal_stands_above_the_file(tmp_path: Path) -> None:
    app = app_with(tmp_path, "", ACCESSIBLE="1")
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.press("alt+6")
        await choose(pilot, "chat.plain")
        await pilot.press("enter")
        assert "environment: ACCESSIBLE stands above the file" in said(app, "#note")


@pytest.mark.parametrize("name", ["dark", "light"])
async def test_the_settings_can_be_read(tmp_path: Path, name: str) -> None:
    from tests.tui.test_settings_looks import readable_everywhere

    app = app_with(tmp_path, f"[chat]\ntheme = '{name}'\n")
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.press("alt+6")
        await pilot.pause()
        assert await readable_everywhere(app.screen) == {}
