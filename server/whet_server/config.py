"""The server's configuration: one frozen value, read once from a TOML file and the environment.

Every mistake is reported with the file, the table and the key, an unknown key with the nearest known one
(docs/configuration.md shows all of them).
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

import whet_prompts
from whet_server.fanout.spec import BranchSpec
from whet_server.ledger.ledger import Price
from whet_server.llm.base import EndpointKind, EndpointSettings, ModelSettings, RateLimits
from whet_server.llm.keys import BoundKey, origin_of
from whet_server.values import NANOS_PER_USD, CallLimits, ModelName, Nanos, Parameters, Value

DEFAULT_THRESHOLD: Final = Nanos(NANOS_PER_USD // 4)
"""A quarter of a dollar: a person is not asked for every question, and an agent cannot spend much unseen."""
DEFAULT_CACHE_SECONDS: Final = 7 * 86_400.0
"""As the contract says: prompts are worked on for days, and models change within weeks."""
DEFAULT_MAX_TOKENS: Final = 1_024
"""As the contract says."""
LOCAL_MODEL: Final = ModelName("local/smollm2")
"""Answers without a key and without a network."""
OPENAI_URL: Final = "https://api.openai.com/v1"
ENVIRONMENT_ENDPOINT: Final = "openai"
OTHERS: Final = ("chat", "keys", "mind")
"""Tables of the same file that the terminal reads."""
_OF_OTHERS: Final = 0o077
"""The permissions of everybody but the owner."""
BUILT_IN: Final = frozenset({"local", "sim"})
PERSONAS: Final = (("concise", 0.3, 11), ("teacher", 0.7, 22), ("sceptic", 1.0, 33))
"""The voices of a panel that has one model: persona, temperature and seed, far enough apart to hear the difference."""
PREFERRED: Final = (
    "gpt-4.1-mini",
    "gpt-4o-mini",
    "gpt-4.1-nano",
    "gpt-5-mini",
    "gemini-2.5-flash",
    "gemini-2.0-flash",
    "claude-haiku-4-5",
    "claude-3-5-haiku-latest",
    "mistral-small-latest",
    "deepseek-chat",
    "llama3.2",
    "qwen2.5",
)
"""Small chat models that most people with a key can call, cheap enough to ask three at a time."""
PANEL_SIZE: Final = 3
"""Enough to disagree, few enough to read side by side."""


class ConfigError(Exception):
    """The configuration cannot be used. `str()` names file, table and key and says what to do."""


class ConfiguredEndpoint(Value):
    """An endpoint of the file or the environment, with its key if it has one."""

    settings: EndpointSettings
    key: BoundKey | None = None


class ServerConfig(Value):
    """Everything that is set once at the start. An empty panel: the one that goes with the endpoints."""

    address: str = ""
    """`host:port` or `unix:PATH`; empty when neither the file nor the command line says."""
    approval_threshold: Nanos = DEFAULT_THRESHOLD
    cache_seconds: float = DEFAULT_CACHE_SECONDS
    telemetry_endpoint: str = ""
    endpoints: tuple[ConfiguredEndpoint, ...] = ()
    panel: tuple[BranchSpec, ...] = ()
    synthesiser: ModelName | None = None
    judge: ModelName | None = None
    """The model that judges when nobody says which; None: the first of the panel."""
    environment_model: str = ""
    """The model that the environment names for its endpoint."""

    @property
    def has_environment_endpoint(self) -> bool:
        return any(endpoint.settings.source == "environment" for endpoint in self.endpoints)


class Table:
    """One table of the file: what is taken from it is checked, what is left over is a mistake."""

    def __init__(self, content: Mapping[str, Any], file: Path | str, name: str) -> None:
        self._content = dict(content)
        self._known: list[str] = []
        self._file = file
        self._name = name

    def wrong(self, key: str, what: str) -> ConfigError:
        place = f"{self._name}.{key}" if self._name else key
        return ConfigError(f"{self._file}: {place}: {what}")

    def text(self, key: str, default: str = "") -> str:
        value: str = self._take(key, str, default, "a text in quotes")
        return value

    def number(self, key: str, default: int = 0) -> int:
        value: int = self._take(key, int, default, "a whole number of at least 0")
        if value < 0:
            raise self.wrong(key, "give a whole number of at least 0")
        return value

    def seconds(self, key: str) -> float | None:
        value = self._decimal(key, "a number of seconds above 0")
        if value is not None and value <= 0:
            raise self.wrong(key, "give a number of seconds above 0")
        return None if value is None else float(value)

    def flag(self, key: str) -> bool:
        self._known.append(key)
        value = self._content.pop(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, "give true or false")
        return value

    def between(self, key: str, least: int, most: int) -> float | None:
        value = self._decimal(key, f"a number from {least} to {most}")
        if value is not None and not least <= value <= most:
            raise self.wrong(key, f"give a number from {least} to {most}")
        return None if value is None else float(value)

    def dollars(self, key: str) -> Nanos | None:
        value = self._decimal(key, "an amount in US dollars of at least 0, such as 0.25")
        if value is not None and value < 0:
            raise self.wrong(key, "give an amount of at least 0")
        return None if value is None else Nanos(int(value * NANOS_PER_USD))

    def table(self, key: str) -> "Table":
        content: Mapping[str, Any] = self._take(key, dict, {}, "a table")
        return Table(content, self._file, f"{self._name}.{key}" if self._name else key)

    def tables(self, key: str) -> Sequence["Table"]:
        content: Sequence[Any] = self._take(key, list, [], "a list of tables")
        place = f"{self._name}.{key}" if self._name else key
        for item in content:
            if not isinstance(item, dict):
                raise self.wrong(key, f"give tables, each under [[{place}]]")
        return [Table(item, self._file, f"{place}[{number}]") for number, item in enumerate(content)]

    def mixed(self, key: str) -> Sequence["str | Table"]:
        """Return a list of texts and tables."""
        content: Sequence[Any] = self._take(key, list, [], "a list")
        for item in content:
            if not isinstance(item, str | dict):
                raise self.wrong(key, "give names in quotes, or tables")
        return [
            item if isinstance(item, str) else Table(item, self._file, f"{key}[{number}]")
            for number, item in enumerate(content)
        ]

    def done(self) -> None:
        """Raise `ConfigError` for the first key that nobody asked for."""
        for key in self._content:
            near = difflib.get_close_matches(key, self._known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known keys are {', '.join(sorted(self._known))}."
            raise self.wrong(key, f"there is no such key; {hint}")

    def _decimal(self, key: str, what: str) -> Decimal | None:
        value = self._take(key, (int, Decimal), None, what)
        return None if value is None else Decimal(value)

    def _take(self, key: str, kind: Any, default: Any, what: str) -> Any:
        self._known.append(key)
        if key not in self._content:
            return default
        value = self._content.pop(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.wrong(key, f"give {what}")
        return value


def read_config(path: Path, environment: Mapping[str, str]) -> ServerConfig:
    """Read the file. `environment` is where keys are looked up that the file names by `api_key_env`. Raises
    `ConfigError`.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
        others_read = bool(path.stat().st_mode & _OF_OTHERS)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the file cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: this is not TOML: {error}") from error
    if others_read and _holds_key(content):
        raise ConfigError(f"{path}: it holds an api_key and others can read it. Say chmod 600, or use api_key_env")
    return config_from(content, path, environment)


def _holds_key(content: Mapping[str, Any]) -> bool:
    endpoints = content.get("endpoint")
    return isinstance(endpoints, list) and any(isinstance(each, dict) and "api_key" in each for each in endpoints)


def config_from(content: Mapping[str, Any], file: Path | str, environment: Mapping[str, str]) -> ServerConfig:
    """Check what the file says and return it as a value. Raises `ConfigError`."""
    top = Table(content, file, "")
    server, telemetry = top.table("server"), top.table("telemetry")
    address, socket = server.text("address"), server.text("socket")
    if address and socket:
        raise server.wrong("socket", "give either address or socket, not both")
    threshold, cache_seconds = server.dollars("approval_threshold"), server.seconds("cache_ttl")
    config = ServerConfig(
        address=f"unix:{socket}" if socket else address,
        approval_threshold=DEFAULT_THRESHOLD if threshold is None else threshold,
        cache_seconds=DEFAULT_CACHE_SECONDS if cache_seconds is None else cache_seconds,
        telemetry_endpoint=telemetry.text("endpoint"),
        endpoints=tuple(_endpoint(table, environment) for table in top.tables("endpoint")),
        panel=_panel(top),
        synthesiser=_named(top, "synthesiser"),
        judge=_named(top, "judge"),
    )
    for name in OTHERS:
        top.table(name)
    for table in (server, telemetry, top):
        table.done()
    _check_names(top, [endpoint.settings.name for endpoint in config.endpoints])
    return config


def _check_names(top: Table, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        if name in names[:number]:
            raise top.wrong(f"endpoint[{number}].name", f"{name!r} is there twice; give each endpoint its own name")


def _endpoint(table: Table, environment: Mapping[str, str]) -> ConfiguredEndpoint:
    name, kind, base_url = table.text("name"), table.text("kind", "openai"), table.text("base_url")
    if not name or not name.replace("-", "").isalnum() or name != name.lower() or not name.isascii():
        raise table.wrong("name", "give lower case letters, digits and hyphens")
    if kind not in {each.value for each in EndpointKind}:
        raise table.wrong("kind", f"give one of {', '.join(EndpointKind)}")
    if kind == EndpointKind.OPENAI and not base_url.startswith(("http://", "https://")):
        raise table.wrong("base_url", "give the URL of an OpenAI-compatible API, usually ending in /v1")
    if name in BUILT_IN and kind != name:
        raise table.wrong("name", f"{name!r} is built in; choose another name")
    key = _key(table, environment)
    limits = table.table("limits")
    timeouts = table.table("timeouts")
    settings = EndpointSettings(
        name=name,
        kind=EndpointKind(kind),
        base_url=base_url.rstrip("/"),
        limits=_rate_limits(limits),
        models=tuple(_model(model) for model in table.tables("model")),
        call_limits=CallLimits(
            connect=timeouts.seconds("connect"),
            first_token=timeouts.seconds("first_token"),
            idle=timeouts.seconds("idle"),
            total=timeouts.seconds("total"),
        ),
        plain_http=table.flag("plain_http"),
        source="file",
    )
    for each in (timeouts, table):
        each.done()
    return ConfiguredEndpoint(settings=settings, key=BoundKey(key, origin_of(base_url)) if key else None)


def _key(table: Table, environment: Mapping[str, str]) -> str:
    key, variable = table.text("api_key"), table.text("api_key_env")
    if key and variable:
        raise table.wrong("api_key_env", "give either api_key or api_key_env, not both")
    if variable and variable not in environment:
        raise table.wrong("api_key_env", f"the environment has no {variable}")
    return environment[variable] if variable else key


def _rate_limits(table: Table) -> RateLimits:
    limits = RateLimits(
        requests_per_minute=table.number("requests_per_minute"),
        tokens_per_minute=table.number("tokens_per_minute"),
        max_concurrency=table.number("max_concurrency"),
    )
    table.done()
    return limits


def _model(table: Table) -> ModelSettings:
    name, price = table.text("name"), table.table("price")
    if not name:
        raise table.wrong("name", "give the model's name at the endpoint")
    input_price, output_price = price.dollars("input"), price.dollars("output")
    price.done()
    if (input_price is None) != (output_price is None):
        raise table.wrong("price", "give both input and output, in dollars for a million tokens")
    settings = ModelSettings(
        model=name,
        price=None
        if input_price is None or output_price is None
        else Price(input=input_price, output=output_price, source="endpoint"),
        limits=_rate_limits(table.table("limits")),
        default_max_tokens=table.number("default_max_tokens") or DEFAULT_MAX_TOKENS,
    )
    table.done()
    return settings


def _named(table: Table, key: str) -> ModelName | None:
    name = table.text(key)
    if name and "/" not in name:
        raise table.wrong(key, "give the model as endpoint/model")
    return ModelName(name) if name else None


def _panel(top: Table) -> tuple[BranchSpec, ...]:
    return tuple(
        _branch(item) if isinstance(item, Table) else BranchSpec(model=ModelName(item))
        for item in _models(top, "panel")
    )


def _models(table: Table, key: str) -> "Sequence[str | Table]":
    """Return a list of models and tables, its names checked."""
    items = table.mixed(key)
    if any(isinstance(item, str) and "/" not in item for item in items):
        raise table.wrong(key, "give models as endpoint/model")
    return items


def _branch(item: Table) -> BranchSpec:
    model = _named(item, "model")
    if model is None:
        raise item.wrong("model", "give the model as endpoint/model")
    failover = _models(item, "failover")
    if any(isinstance(name, Table) for name in failover):
        raise item.wrong("failover", "give models as endpoint/model")
    parameters = Parameters(
        temperature=item.between("temperature", 0, 2),
        top_p=item.between("top_p", 0, 1),
        max_tokens=item.number("max_tokens") or None,
        seed=item.number("seed") or None,
    )
    branch = BranchSpec(
        model=model,
        persona=item.text("persona"),
        label=item.text("label"),
        parameters=parameters,
        samples=item.number("samples", 1) or 1,
        failover=tuple(ModelName(name) for name in failover if isinstance(name, str)),
    )
    item.done()
    return branch


def with_environment(config: ServerConfig, environment: Mapping[str, str]) -> ServerConfig:
    """Return the configuration with what the environment adds: an endpoint, unless the file has one of that name, and
    a collector of spans.
    """
    collector = config.telemetry_endpoint or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    key = environment.get("OPENAI_API_KEY", "")
    url = (environment.get("OPENAI_BASE_URL") or OPENAI_URL).rstrip("/")
    taken = any(endpoint.settings.name == ENVIRONMENT_ENDPOINT for endpoint in config.endpoints)
    if not key or taken:
        return replace(config, telemetry_endpoint=collector)
    settings = EndpointSettings(name=ENVIRONMENT_ENDPOINT, base_url=url, source="environment")
    added = ConfiguredEndpoint(settings=settings, key=BoundKey(key, origin_of(url)))
    return replace(
        config,
        telemetry_endpoint=collector,
        endpoints=(*config.endpoints, added),
        environment_model=environment.get("OPENAI_MODEL", ""),
    )


def local_panel() -> tuple[BranchSpec, ...]:
    """Return three voices of the local model."""
    return tuple(
        BranchSpec(
            model=LOCAL_MODEL,
            persona=whet_prompts.load(f"persona-{name}").text,
            label=name,
            parameters=Parameters(temperature=temperature, seed=seed),
        )
        for name, temperature, seed in PERSONAS
    )


def panel_of(models: Sequence[ModelName]) -> tuple[BranchSpec, ...]:
    """Return a panel of these models; of a single one, three voices. Parameters are left alone: some models refuse
    any but their own.
    """
    if len(models) == 1:
        return tuple(
            BranchSpec(model=models[0], persona=whet_prompts.load(f"persona-{name}").text, label=name)
            for name, _, _ in PERSONAS
        )
    return tuple(BranchSpec(model=model) for model in models)


def preferred(listed: Iterable[str]) -> tuple[ModelName, ...]:
    """Choose the panel of what the environment's endpoint lists: well-known small models, else the first ones."""
    names = list(listed)
    known = [name for wanted in PREFERRED for name in names if name in {wanted, f"models/{wanted}", f"{wanted}:latest"}]
    return tuple(ModelName(f"{ENVIRONMENT_ENDPOINT}/{name}") for name in (known or names)[:PANEL_SIZE])
