"""What the terminal is told at start: flags, then the environment, then `config.toml`, then defaults.

`config.toml` is the server's file too, which checks its own tables. What the terminal reads stands in
`whet_tui.schema`. A mistake in it is reported and stops nothing, unless it may be about whom to ask with whose key.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from whet_tui.schema import KEYS, SERVERS, SETTINGS, TABLES, ChatTable, MindTable, Setting, Value, nearest

OPENAI_URL: Final = "https://api.openai.com/v1"
"""Where a key without a URL belongs."""
FALLBACK_MODEL: Final = "gpt-4.1-mini"
"""The mind when nobody names a model and the endpoint lists nothing: cheap, and it calls tools well."""
PREFERRED: Final = ("gpt-5-mini", "gpt-4.1-mini", "gpt-4o-mini", "gpt-4.1", "gpt-4o")
"""Minds in the order in which they are taken when nobody names one: tool calling first of all, then price."""
_TOKEN: Final = re.compile(rb"[!-~]+")
"""What may stand after `Bearer` in a header."""
_PAGE_DRIVER: Final = "textual.drivers.web_driver:WebDriver"
"""What textual-serve tells the programs that it runs."""
_SHOWN: Final = 40
"""Characters of a wrong value that are told."""
NOBODY: Final = "me"
"""Who rates where the machine gives its users no names."""
DEFAULT: Final = "default"
FILE: Final = "config.toml"
_ABOUT_THE_TERMINAL: Final = frozenset({"chat.plain", "chat.reduced_motion"})
"""What the environment says of these it says of this terminal: it stands above the file. Elsewhere the file does."""


class SettingsError(Exception):
    """The configuration cannot be used. `str()` names the file and says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MindChoice:
    """A tool-calling model for the agent. `model` is `endpoint/model`; empty: one that the endpoint lists is chosen."""

    base_url: str
    api_key: str = field(repr=False)
    model: str = ""
    context_tokens: int = 0
    """The window in tokens; 0: the session's own default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The global options of the command line; empty where they were not given."""

    server: str = ""
    token_file: Path | None = None
    data: Path | None = None
    config: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A setting's value and where it came from."""

    value: Value
    origin: str = DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One frozen value for the whole terminal. Nothing below it reads the environment."""

    data: Path
    config: Path | None = None
    """None when there is no such file."""
    file: Path | None = None
    """Where the settings screen writes, whether it is there or not; None when nobody said."""
    again: "Callable[[], Settings] | None" = field(default=None, repr=False, compare=False)
    """Reads everything again, as it was read; None when these were not read. Raises `SettingsError`."""
    program: str = "whet"
    """`whet` with the options that it was given, for commands that a person copies."""
    decider: str = "whet"
    """The same for a person's decision."""
    server: str = ""
    """Empty: the embedded server of `data`."""
    token: str = field(default="", repr=False)
    mind: MindChoice | None = None
    """None: the offline planner thinks."""
    chat: ChatTable = field(default_factory=ChatTable)
    keys: Mapping[str, str] = field(default_factory=dict)
    """Other keys, by the id of the binding; not checked yet, because that takes the screens."""
    found: Mapping[str, Found] = field(default_factory=dict)
    """Every setting by its key, with where it came from, as it is shown."""
    login: str = NOBODY
    """The person's name on this machine."""
    tmux: bool = False
    """Whether the terminal is one of tmux."""
    in_page: bool = False
    """Whether a page in a browser is the terminal."""
    no_color: bool = False
    """Whether no colour may be written."""
    complaints: tuple[str, ...] = ()
    """What in the configuration was not understood; shown once, never a reason to stop."""

    @property
    def rater(self) -> str:
        """Under which name the person rates."""
        return self.chat.rater.strip() or self.login


def load(flags: Flags, environment: Mapping[str, str]) -> Settings:
    """Return the settings. Raises `SettingsError`."""
    data, config = _places(flags, environment)
    tables = _tables(config)
    complaints = [f"{config}: {complaint}" for complaint in _misplaced(tables)]
    found = _settled(tables, environment, config, complaints)
    server = flags.server or environment.get("WHET_SERVER", "")
    token_file = flags.token_file or (Path(named) if (named := environment.get("WHET_TOKEN_FILE")) else None)
    return Settings(
        data=data,
        config=config if config.exists() else None,
        file=config,
        again=partial(load, flags, environment),
        server=server,
        token=_read_token(token_file or data / "person.token") if server else "",
        mind=_mind(found, environment),
        chat=ChatTable(**_of("chat", found)),
        keys=_keys(tables, config, complaints),
        found=found,
        login=_login(environment),
        tmux=bool(environment.get("TMUX")),
        in_page=environment.get("TEXTUAL_DRIVER") == _PAGE_DRIVER,
        no_color=bool(environment.get("NO_COLOR")),
        complaints=tuple(complaints),
    )


def _login(environment: Mapping[str, str]) -> str:
    """The person's login name."""
    return environment.get("LOGNAME") or environment.get("USER") or environment.get("USERNAME") or NOBODY


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


def _misplaced(tables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the names in the file. Raises `SettingsError` for a table that is none."""
    known = [*TABLES, KEYS, *SERVERS]
    for name in tables:
        if name not in known:
            yield f"there is no {name!r}. {nearest(name, known)}"
    for name in TABLES:
        keys = [setting.name for setting in SETTINGS.values() if setting.table == name]
        for key in _table(tables, name):
            if key not in keys:
                yield f"[{name}] knows no key {key!r}. {nearest(key, keys)}"


def _table(tables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = tables.get(name, {})
    return table if isinstance(table, dict) else {}


def _settled(
    tables: Mapping[str, Any], environment: Mapping[str, str], config: Path, complaints: list[str]
) -> dict[str, Found]:
    """Every setting from the highest place that names it. Raises `SettingsError` for a fault in `[mind]`: whom to ask,
    and with whose key, is not guessed.
    """
    for name in (*TABLES, KEYS):
        if not isinstance(tables.get(name, {}), dict):
            raise SettingsError(f"{config}: {name} must be a table: write [{name}] on a line of its own.")
    around, found = dict(_around(environment)), {}
    for key, setting in SETTINGS.items():
        given = _table(tables, setting.table).get(setting.name)
        if given is not None and not setting.fits(given):
            complaint = f"{config}: {key} must be {setting.expected}, not {_shown(given)}."
            if setting.table == "mind":
                raise SettingsError(complaint)
            complaints.append(f"{complaint} {_shown(setting.default)} is taken.")
            given = None
        found[key] = _highest(setting, given, around.get(key))
    return found


def _highest(setting: Setting, given: Value | None, around: Found | None) -> Found:
    if around is not None and (given is None or setting.key in _ABOUT_THE_TERMINAL):
        return around
    return Found(value=setting.default) if given is None else Found(value=given, origin=FILE)


def _around(environment: Mapping[str, str]) -> Iterator[tuple[str, Found]]:
    """What the environment says of settings, and which variable says it."""

    def said(key: str, value: Value, variable: str) -> tuple[str, Found]:
        return key, Found(value=value, origin=f"environment: {variable}")

    if environment.get("TERM") == "dumb":
        yield said("chat.plain", True, "TERM")
    if environment.get("ACCESSIBLE", "0") not in {"", "0"}:
        yield said("chat.plain", True, "ACCESSIBLE")
    if environment.get("TEXTUAL_ANIMATIONS", "").lower() == "none":
        yield said("chat.reduced_motion", True, "TEXTUAL_ANIMATIONS")
    for variable in ("EDITOR", "VISUAL"):
        if editor := environment.get(variable):
            yield said("chat.editor", editor, variable)
    if url := environment.get("OPENAI_BASE_URL"):
        yield said("mind.base_url", url, "OPENAI_BASE_URL")
    if model := environment.get("OPENAI_MODEL"):
        yield said("mind.model", f"openai/{model}", "OPENAI_MODEL")


def _of(table: str, found: Mapping[str, Found]) -> dict[str, Any]:
    return {key.partition(".")[2]: each.value for key, each in found.items() if key.startswith(f"{table}.")}


def _keys(tables: Mapping[str, Any], config: Path, complaints: list[str]) -> dict[str, str]:
    """`[keys]`, also as TOML nests it when an id is written without quotes: `chat.steer = "ctrl+s"`."""
    keys: dict[str, str] = {}
    for name, value in _table(tables, KEYS).items():
        nested = (
            {f"{name}.{action}": each for action, each in value.items()} if isinstance(value, dict) else {name: value}
        )
        for binding, each in nested.items():
            if isinstance(each, str) and each.strip():
                keys[binding] = each
            else:
                complaints.append(
                    f'{config}: keys.{binding} must be keys in quotes, such as "ctrl+s", not {_shown(each)}.'
                )
    return keys


def _shown(value: object) -> str:
    """A value as the file writes it, more or less, for a complaint."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _mind(found: Mapping[str, Found], environment: Mapping[str, str]) -> MindChoice | None:
    """`[mind]` first; without it, OPENAI_API_KEY makes a mind by itself."""
    table = MindTable(**_of("mind", found))
    key = environment.get(table.api_key_env, "")
    if not key and (not table.base_url or found["mind.base_url"].origin != FILE):
        return None  # a URL in the environment without a key is other tools' business; one in our file may need no key
    return MindChoice(
        base_url=table.base_url or OPENAI_URL, api_key=key, model=table.model, context_tokens=table.context_tokens
    )


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
