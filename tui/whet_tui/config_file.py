"""Write `config.toml`: one key at a time, with everything else in it left as its owner wrote it."""

import os
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from whet_tui.schema import KEYS, Value

if TYPE_CHECKING:
    from tomlkit import TOMLDocument
    from tomlkit.items import Table

_PRIVATE = 0o600
"""A new file may come to hold a key."""


class NotWritten(Exception):
    """The file is as it was. `str()` says why and what to do."""


class ConfigFile:
    """The file as it was when it was read; it is written only as long as nobody else has changed it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = _content(path)

    def look_again(self) -> None:
        """Take the file as it is now for what is to be changed."""
        self._seen = _content(self.path)

    def set(self, key: str, value: Value | None) -> None:
        """Write a setting (`chat.theme`) or a binding's keys (`keys.chat.help`); None takes it out. Raises
        `NotWritten`.
        """
        table, _, name = key.partition(".")
        document = self._document()
        _change(document, table, name, value)
        self._replace(document.as_string())

    def _document(self) -> "TOMLDocument":
        import tomlkit  # for those who change something

        now = _content(self.path)
        if now != self._seen:
            raise NotWritten(f"{self.path} was changed by somebody else meanwhile. Look at it again, then change it.")
        try:
            text = now.decode()
            tomllib.loads(text)
            return tomlkit.parse(text)
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise NotWritten(
                f"{self.path} is not valid TOML: {error}. Correct that line in an editor first."
            ) from error

    def _replace(self, text: str) -> None:
        """All or nothing: a new file takes the place of the old one, with its permissions."""
        target = self.path.resolve()  # a link stays a link
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            mode = target.stat().st_mode & 0o777 if target.exists() else _PRIVATE
            descriptor, name = tempfile.mkstemp(prefix=".config-", dir=target.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(text.encode())
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).chmod(mode)
                Path(name).replace(target)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise NotWritten(f"{self.path} cannot be written: {error.strerror}. Check who may write there.") from error
        self._seen = text.encode()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise NotWritten(f"{path} cannot be read: {error.strerror}. Check who may read it.") from error


def _change(document: "TOMLDocument", name: str, key: str, value: Value | None) -> None:
    import tomlkit  # for those who change something

    if name not in document:
        if value is None:
            return
        document[name] = tomlkit.table()
    table: Table = document[name]
    if name == KEYS:
        key = _without_nested(table, key)
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


def _without_nested(table: "Table", binding: str) -> str:
    """Take out what the binding has as TOML nests it (`chat.help = "f2"`): a dotted key can stand beside it only when
    it is quoted, and one of the two must go.
    """
    place, _, action = binding.partition(".")
    nested = table.get(place)
    if isinstance(nested, dict):
        nested.pop(action, None)
        if not nested:
            table.pop(place)
    return binding
