import tomllib
from pathlib import Path

import pytest

from whet_tui.config_file import ConfigFile, NotWritten

WRITTEN = """\
# mine
panel = ["sim/fast"]   # two are enough

[server]
approval_threshold = 0.0 # ask me always

[chat]
# it is late
theme = "dark"         # of course
history = true

[keys]
chat.help = "f2"
"chat.unfold" = "f3"

[[endpoint]]
name = "a"
base_url = "http://127.0.0.1:1/v1"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(WRITTEN)
    path.chmod(0o640)
    return path


def test_one_key_changes_and_the_rest_stays_to_the_letter(path: Path) -> None:
    ConfigFile(path).set("chat.theme", "light")
    assert path.read_text() == WRITTEN.replace('theme = "dark"  ', 'theme = "light"  ')
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(path.parent.iterdir()) == [path]


def test_what_is_new_finds_its_table_and_what_goes_leaves_the_comments(path: Path) -> None:
    file = ConfigFile(path)
    file.set("chat.plain", True)
    file.set("mind.context_tokens", 32_000)
    file.set("chat.history", None)
    file.set("chat.allowance", None)
    content = tomllib.loads(path.read_text())
    assert content["chat"] == {"theme": "dark", "plain": True}
    assert content["mind"] == {"context_tokens": 32_000}
    assert content["endpoint"] == [{"name": "a", "base_url": "http://127.0.0.1:1/v1"}]
    for comment in ("# mine", "# two are enough", "# ask me always", "# it is late", "# of course"):
        assert comment in path.read_text()


def test_keys_are_changed_however_they_were_written(path: Path) -> None:
    file = ConfigFile(path)
    file.set("keys.chat.help", "f5")
    file.set("keys.chat.unfold", "f6")
    file.set("keys.chat.leave", "f7")
    assert tomllib.loads(path.read_text())["keys"] == {"chat.help": "f5", "chat.unfold": "f6", "chat.leave": "f7"}
    file.set("keys.chat.help", None)
    file.set("keys.chat.unfold", None)
    assert tomllib.loads(path.read_text())["keys"] == {"chat.leave": "f7"}


def test_a_file_that_is_not_there_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.toml"
    ConfigFile(path).set("chat.theme", "ansi")
    assert tomllib.loads(path.read_text()) == {"chat": {"theme": "ansi"}}
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_change_of_somebody_else_is_not_lost(path: Path) -> None:
    file = ConfigFile(path)
    path.write_text("[chat]\ntheme = 'ansi'\n")
    with pytest.raises(NotWritten, match="changed by somebody else"):
        file.set("chat.theme", "light")
    assert path.read_text() == "[chat]\ntheme = 'ansi'\n"
    file.look_again()
    file.set("chat.theme", "light")
    assert path.read_text() == '[chat]\ntheme = "light"\n'


@pytest.mark.parametrize("broken", [b"[chat\n", b"\xff"])
def test_a_file_that_is_not_valid_is_left_alone(path: Path, broken: bytes) -> None:
    path.write_bytes(broken)
    with pytest.raises(NotWritten, match="is not valid TOML"):
        ConfigFile(path).set("chat.theme", "light")
    assert path.read_bytes() == broken


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    ConfigFile(link).set("chat.theme", "light")
    assert link.is_symlink()
    assert tomllib.loads(path.read_text())["chat"]["theme"] == "light"
