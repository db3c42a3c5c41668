"""What the terminal is told at start: flags, then the environment, then `config.toml`, then defaults.

`config.toml` is the server's file too. The terminal reads two tables of it, `[mind]` and `[chat]`; a key in them that
it does not know is a mistake and is reported, the other tables are the server's.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

OPENAI_URL: Final = "https://api.openai.com/v1"
"""Where a key without a URL belongs."""
FALLBACK_MODEL: Final = "gpt-4.1-mini"
"""The mind when nobody names a model and the endpoint lists nothing: cheap, and it calls tools well."""
PREFERRED: Final = ("gpt-5-mini", "gpt-4.1-mini", "gpt-4o-mini", "gpt-4.1", "gpt-4o")
"""Minds in the order in which they are taken when nobody names one: tool calling first of all, then price."""
_TOKEN: Final = re.compile(rb"[!-~]+")
"""What may stand after `Bearer` in a header."""
_TEXT: Final = "text"
_KNOWN: Final[Mapping[str, Mapping[str, str]]] = {
    "mind": {"base_url": _TEXT, "api_key_env": _TEXT, "model": _TEXT},
    "chat": {"theme": _TEXT},
}


class SettingsError(Exception):
    """The configuration cannot be used. `str()` names the file and says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MindChoice:
    """A tool-calling model for the agent. `model` is `endpoint/model`; empty: one that the endpoint lists is chosen."""

    base_url: str
    api_key: str = field(repr=False)
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The global options of the command line; empty where they were not given."""

    server: str = ""
    token_file: Path | None = None
    data: Path | None = None
    config: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One frozen value for the whole terminal. Nothing below it reads the environment."""

    data: Path
    config: Path | None = None
    """None when there is no such file."""
    server: str = ""
    """Empty: the embedded server of `data`."""
    token: str = field(default="", repr=False)
    mind: MindChoice | None = None
    """None: the offline planner thinks."""
    theme: str = "dark"
    tmux: bool = False
    """Whether the terminal is one of tmux."""
    complaints: tuple[str, ...] = ()
    """What in the configuration was not understood; shown once, never a reason to stop."""


def load(flags: Flags, environment: Mapping[str, str]) -> Settings:
    """Return the settings. Raises `SettingsError`."""
    data, config = _places(flags, environment)
    tables = _tables(config)
    complaints = tuple(_complaints(tables, config))
    server = flags.server or environment.get("WHET_SERVER", "")
    token_file = flags.token_file or (Path(found) if (found := environment.get("WHET_TOKEN_FILE")) else None)
    return Settings(
        data=data,
        config=config if config.exists() else None,
        server=server,
        token=_read_token(token_file or data / "person.token") if server else "",
        mind=_mind(tables.get("mind", {}), environment),
        theme=str(tables.get("chat", {}).get("theme", "dark")),
        tmux=bool(environment.get("TMUX")),
        complaints=complaints,
    )


def _places(flags: Flags, environment: Mapping[str, str]) -> tuple[Path, Path]:
    """The data directory and the configuration file."""
    import platformdirs

    folders = platformdirs.PlatformDirs("whet")
    data = flags.data or Path(environment.get("WHET_DATA") or folders.user_data_dir)
    named = flags.config or (Path(found) if (found := environment.get("WHET_CONFIG")) else None)
    if named is not None and not named.exists():
        raise SettingsError(f"{named}: there is no such file. Write it, or leave out --config and WHET_CONFIG.")
    return data.expanduser().absolute(), (named or Path(folders.user_config_dir) / "config.toml").absolute()


def _tables(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"{config} cannot be read: {error.strerror}. Check who may read it.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{config} is not valid TOML: {error}. Correct that line.") from error


def _complaints(tables: Mapping[str, Any], config: Path) -> list[str]:
    found = []
    for table, known in _KNOWN.items():
        given = tables.get(table, {})
        if not isinstance(given, dict):
            raise SettingsError(f"{config}: {table} must be a table: write [{table}] on a line of its own.")
        for key, value in given.items():
            if key not in known:
                found.append(f"{config}: [{table}] knows no key {key!r}. It knows: {', '.join(known)}.")
            elif not isinstance(value, str):
                raise SettingsError(f"{config}: {table}.{key} must be text: put it in quotes.")
    return found


def _mind(table: Mapping[str, Any], environment: Mapping[str, str]) -> MindChoice | None:
    """`[mind]` first; without it, OPENAI_API_KEY makes a mind by itself."""
    variable = str(table.get("api_key_env", "OPENAI_API_KEY"))
    key = environment.get(variable, "")
    base_url = str(table.get("base_url", "")) or environment.get("OPENAI_BASE_URL", "")
    named = environment.get("OPENAI_MODEL", "")
    model = str(table.get("model", "")) or (f"openai/{named}" if named else "")
    if not key and not table.get("base_url"):
        return None  # a URL in the environment without a key is other tools' business; one in our file may need no key
    return MindChoice(base_url=base_url or OPENAI_URL, api_key=key, model=model)


def _read_token(path: Path) -> str:
    try:
        token = path.read_bytes().strip()
    except OSError as error:
        raise SettingsError(
            f"The token in {path} cannot be read: {error.strerror}. Give the file that holds it: --token-file PATH."
        ) from error
    if _TOKEN.fullmatch(token) is None:
        raise SettingsError(f"{path} holds no token. Give the file that does: --token-file PATH.")
    return token.decode()
