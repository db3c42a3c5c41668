"""Which endpoints there are, for whom, and what is known of their models.

Endpoints of the file, of the environment and the built-in ones are there for every workspace. A workspace may add its
own by RPC, also under the name of one of the file or the environment, which is then its own until it is removed.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from whet_server.errors import EndpointNotFound, InvalidField, ModelNotFound, WrongState
from whet_server.ledger.prices import Price, find_price
from whet_server.llm import sim
from whet_server.llm.address import checked_url, is_near
from whet_server.llm.base import (
    EndpointKind,
    EndpointSettings,
    ModelInfo,
    ModelSettings,
    ProviderFault,
    RateLimits,
    Request,
    Transport,
)
from whet_server.llm.breaker import CircuitState
from whet_server.llm.endpoint import Endpoint, Route
from whet_server.llm.keys import BoundKey, KeyNotOpened, Sealer, origin_of
from whet_server.store.base import EndpointRecord, RemoveEndpoint, Store, Write
from whet_server.values import CallLimits, Failure, ModelName, Parameters, Value, Workspace

TEST_SECONDS: Final = 8.0
"""For a list of models: a person waits for it."""
LIST_SECONDS: Final = 60.0
"""A list of models is asked for anew after this: new models appear once in weeks, mistakes in a URL more often."""
MAX_MODEL_NAME: Final = 200
MAX_KEY: Final = 4000
MOST_PRICES: Final = 10_000
"""Prices remembered: names of models come from callers."""
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
RPC: Final = "rpc"
_PLACES: Final = {
    "file": "in the configuration file",
    "environment": "by OPENAI_API_KEY and OPENAI_BASE_URL in the server's environment",
    "built-in": "by the server itself",
}

_log = logging.getLogger(__name__)


class EndpointStatus(Value):
    """An endpoint as it is configured and as it stands."""

    settings: EndpointSettings
    has_key: bool
    circuit: CircuitState
    current_concurrency: int
    in_flight: int
    last_failure: Failure | None = None
    last_success_ns: int | None = None


class EndpointTest(Value):
    """How asking an endpoint for its models went."""

    ok: bool
    latency_ns: int
    failure: Failure | None = None
    models: tuple[str, ...] = ()


class _Listing(Value):
    """The names an endpoint gave, and until when they are good."""

    names: tuple[str, ...]
    until: float


class Endpoints:
    """The endpoints of every workspace."""

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        transports: Mapping[EndpointKind, Transport],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use `open`."""
        self._store = store
        self._sealer = sealer
        self._transports = transports
        self._clock = clock
        self._shared: dict[str, Endpoint] = {}
        self._own: dict[tuple[Workspace, str], Endpoint] = {}
        self._listed: dict[Endpoint, _Listing] = {}
        self._prices: dict[tuple[str, str], Price | None] = {}
        self._changing = asyncio.Lock()
        self._pricing = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        store: Store,
        *,
        sealer: Sealer,
        transports: Mapping[EndpointKind, Transport],
        configured: Sequence[tuple[EndpointSettings, BoundKey | None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> "Endpoints":
        """Take the configured endpoints and load those the workspaces stored. A later one of a name wins; what it
        says of a built-in one leaves that one's models. Raises `InvalidField` for a URL that no key should be sent to.
        """
        endpoints = cls(store, sealer, transports, clock=clock)
        for settings, key in configured:
            if settings.kind is EndpointKind.OPENAI:
                field = f"endpoint {settings.name}: base_url"
                url = checked_url(settings.base_url, field=field, plain_http=settings.plain_http)
                settings = msgspec.structs.replace(settings, base_url=url)  # noqa: PLW2901 -- the checked one
            elif (built_in := endpoints._shared.get(settings.name)) and not settings.models:
                models = built_in.settings.models
                settings = msgspec.structs.replace(settings, models=models)  # noqa: PLW2901 -- with its models
            endpoints._shared[settings.name] = Endpoint(settings, key, clock)
        for record in await store.endpoints(None):
            settings = msgspec.json.decode(record.settings, type=EndpointSettings)
            endpoints._own[record.workspace, record.name] = Endpoint(
                settings, endpoints._opened(record, settings), clock
            )
        return endpoints

    async def list(self, workspace: Workspace) -> Sequence[EndpointStatus]:
        """Return the endpoints the workspace can use, by name."""
        return [_status(endpoint) for _, endpoint in sorted(self._all(workspace).items())]

    def get(self, workspace: Workspace, name: str) -> EndpointStatus:
        """Return one endpoint. Raises `EndpointNotFound`."""
        return _status(self._find(workspace, name))

    async def put(
        self, workspace: Workspace, settings: EndpointSettings, key: str | None, also: Sequence[Write] = ()
    ) -> EndpointStatus:
        """Add an endpoint to the workspace or change one, durable when this returns. What `settings` leaves empty is
        taken from the endpoint that was there; with `key` None so is its key, if the URL's origin stays.
        """
        async with self._changing:
            before = self._all(workspace).get(settings.name)
            if EndpointKind.OPENAI is not settings.kind or (before and before.settings.kind is not EndpointKind.OPENAI):
                raise WrongState(f"{settings.name} is built in and is not changed by RPC: choose another name")
            settings = _completed(settings, before.settings if before else None)
            bound = self._bound(settings, key, before)
            record = EndpointRecord(
                workspace=workspace,
                name=settings.name,
                settings=msgspec.json.encode(settings),
                sealed_key=self._sealed(workspace, settings.name, bound),
            )
            await self._store.commit(record, *also)
            own = self._own.get((workspace, settings.name))
            if own is None:
                own = self._own[workspace, settings.name] = Endpoint(settings, bound, self._clock)
            else:
                own.change(settings, bound)
            self._listed.pop(own, None)
            return _status(own)

    async def delete(self, workspace: Workspace, name: str, also: Sequence[Write] = ()) -> None:
        """Remove an endpoint of the workspace and its key. Raises `EndpointNotFound`, or `WrongState` for one that is
        configured elsewhere.
        """
        async with self._changing:
            if (workspace, name) not in self._own:
                source = self._find(workspace, name).settings.source
                raise WrongState(
                    f"{name} is configured {_PLACES.get(source, source)}: change it there",
                    metadata={"endpoint": name, "state": source},
                )
            await self._store.commit(RemoveEndpoint(workspace=workspace, name=name), *also)
            self._listed.pop(self._own.pop((workspace, name)), None)

    async def test(self, workspace: Workspace, name: str) -> EndpointTest:
        """Ask an endpoint for its models, which costs nothing. Raises `EndpointNotFound`."""
        endpoint = self._find(workspace, name)
        start = self._clock()
        try:
            names = await self._ask(endpoint)
        except ProviderFault as fault:
            endpoint.last_failure = fault.failure
            return EndpointTest(ok=False, failure=fault.failure, latency_ns=self._since(start))
        return EndpointTest(ok=True, latency_ns=self._since(start), models=tuple(sorted(names)))

    async def models(self, workspace: Workspace, endpoint: str = "") -> Sequence[ModelInfo]:
        """Return the models that can be asked, by name: those with settings, and those the endpoints name. An
        endpoint that does not answer only leaves out its own. Raises `EndpointNotFound`.
        """
        chosen = [self._find(workspace, endpoint)] if endpoint else list(self._all(workspace).values())
        listed = await asyncio.gather(*(self._names(each) for each in chosen))
        found = []
        for each, names in zip(chosen, listed, strict=True):
            await self._learn_prices(each, sorted(names))
            found += [self._info(each, name) for name in names]
        return sorted(found, key=lambda info: info.name)

    async def resolve(self, workspace: Workspace, model: ModelName) -> ModelInfo:
        """Return what is known of a model. Raises `EndpointNotFound` or `ModelNotFound`."""
        return (await self.route(workspace, model)).info

    async def route(self, workspace: Workspace, model: ModelName) -> Route:
        """Return the way to a model. Raises `EndpointNotFound` or `ModelNotFound`."""
        name, slash, rest = model.partition("/")
        if not slash or not rest or not rest.isprintable() or (len(rest) > MAX_MODEL_NAME and name != "sim"):
            message = f"{model[:100]!r} is no model's name: give endpoint/model, such as openai/gpt-4o-mini"
            raise ModelNotFound(message, metadata={"model": model[:MAX_MODEL_NAME]})
        endpoint = self._find(workspace, name)
        await self._learn_prices(endpoint, [rest])
        return Route(endpoint=endpoint, model=rest, info=self._info(endpoint, rest))

    def _info(self, endpoint: Endpoint, model: str) -> ModelInfo:
        settings, own = endpoint.settings, endpoint.model(model)
        name = ModelName(f"{settings.name}/{model}")
        if settings.kind is EndpointKind.SIM:
            return _simulated(name, model, own)
        if settings.kind is EndpointKind.LOCAL:
            return _local(name, endpoint, own)
        price = own.price or self._prices.get((settings.base_url, model))
        return ModelInfo(
            name=name,
            price=price,
            default_max_tokens=own.default_max_tokens,
            nearby=is_near(settings.base_url),
            at_once=own.limits.max_concurrency or settings.limits.max_concurrency,
        )

    async def _learn_prices(self, endpoint: Endpoint, models: Sequence[str]) -> None:
        """Look up the prices that are not known yet, in a thread: the table is large and its first reading slow. No
        provider of the table is on this machine or a private network.
        """
        url = endpoint.settings.base_url
        if endpoint.settings.kind is not EndpointKind.OPENAI or is_near(url):
            return
        if all((url, model) in self._prices for model in models):
            return
        async with self._pricing:
            missing = [model for model in models if (url, model) not in self._prices]
            found = await asyncio.to_thread(lambda: {(url, model): find_price(url, model) for model in missing})
            if len(self._prices) > MOST_PRICES:
                self._prices.clear()
            self._prices |= found

    async def _names(self, endpoint: Endpoint) -> set[str]:
        """Return the names of an endpoint's models: configured, and as it gave them a short while ago at most. The
        local model is not loaded for a list.
        """
        configured = {model.model for model in endpoint.settings.models}
        if endpoint.settings.kind is EndpointKind.LOCAL:
            return configured
        listing = self._listed.get(endpoint)
        if listing is None or listing.until < self._clock():
            try:
                names = tuple(await self._ask(endpoint))
            except ProviderFault as fault:
                endpoint.last_failure = fault.failure
                names = ()
            listing = _Listing(names=names, until=self._clock() + LIST_SECONDS)
            self._listed[endpoint] = listing
        return configured | set(listing.names)

    async def _ask(self, endpoint: Endpoint) -> Sequence[str]:
        """Ask an endpoint for its models. Raises `ProviderFault`."""
        request = Request(
            base_url=endpoint.settings.base_url,
            model="",
            messages=(),
            parameters=Parameters(),
            connect=TEST_SECONDS,
            first_token=TEST_SECONDS,
            idle=TEST_SECONDS,
            total=TEST_SECONDS,
            key=endpoint.key,
        )
        names = await self._transports[endpoint.settings.kind].models(request)
        return [name for name in names if name and len(name) <= MAX_MODEL_NAME and name.isprintable()]

    def _all(self, workspace: Workspace) -> dict[str, Endpoint]:
        own = {name: endpoint for (owner, name), endpoint in self._own.items() if owner == workspace}
        return self._shared | own

    def _find(self, workspace: Workspace, name: str) -> Endpoint:
        endpoint = self._own.get((workspace, name)) or self._shared.get(name)
        if endpoint is None:
            known = ", ".join(sorted(self._all(workspace))) or "none"
            message = f"there is no endpoint {name[:100]!r}; there are {known}"
            raise EndpointNotFound(message, metadata={"endpoint": name[:MAX_MODEL_NAME]})
        return endpoint

    def _bound(self, settings: EndpointSettings, key: str | None, before: Endpoint | None) -> BoundKey | None:
        """Return the key that goes with the settings: the one given, or the one that was there if its origin stays."""
        origin = origin_of(settings.base_url)
        if not key:
            return before.key if before and before.key and before.key.origin == origin else None
        key = key.strip()
        if not (key.isascii() and key.isprintable()) or " " in key or len(key) > MAX_KEY:
            raise InvalidField(("api_key", f"give printable ASCII without spaces, {MAX_KEY} characters at most"))
        return BoundKey(key, origin)

    def _sealed(self, workspace: Workspace, name: str, key: BoundKey | None) -> bytes:
        """Encrypt a key for the store. One that is only inherited from the configuration is not stored."""
        shared = self._shared.get(name)
        if key is None or (shared is not None and key is shared.key):
            return b""
        return self._sealer.seal(key.reveal(key.origin), workspace=workspace, endpoint=name, origin=key.origin)

    def _opened(self, record: EndpointRecord, settings: EndpointSettings) -> BoundKey | None:
        origin = origin_of(settings.base_url)
        if not record.sealed_key:
            shared = self._shared.get(record.name)
            return shared.key if shared and shared.key and shared.key.origin == origin else None
        try:
            return self._sealer.open(record.sealed_key, workspace=record.workspace, endpoint=record.name, origin=origin)
        except KeyNotOpened as error:
            _log.warning("endpoint %s of workspace %s has no usable key: %s", record.name, record.workspace, error)
            return None

    def _since(self, start: float) -> int:
        return int((self._clock() - start) * 1e9)


def _status(endpoint: Endpoint) -> EndpointStatus:
    return EndpointStatus(
        settings=endpoint.settings,
        has_key=endpoint.key is not None,
        circuit=endpoint.breaker.state,
        current_concurrency=endpoint.gate.slots.allowed,
        in_flight=endpoint.gate.slots.in_flight,
        last_failure=endpoint.last_failure,
        last_success_ns=endpoint.last_success_ns,
    )


def _completed(settings: EndpointSettings, before: EndpointSettings | None) -> EndpointSettings:
    """Fill in what was left empty from what was there, and check the whole."""
    base = before or EndpointSettings(name=settings.name)
    merged = msgspec.structs.replace(
        settings,
        base_url=settings.base_url or base.base_url,
        limits=settings.limits if settings.limits != RateLimits() else base.limits,
        models=settings.models or base.models,
        call_limits=settings.call_limits if settings.call_limits != CallLimits() else base.call_limits,
        plain_http=settings.plain_http or base.plain_http,
        source=RPC,
    )
    if not NAME.fullmatch(merged.name):
        raise InvalidField(("name", "give lower case letters, digits and hyphens, 40 at most"))
    url = checked_url(merged.base_url, field="base_url", plain_http=merged.plain_http)
    return msgspec.structs.replace(merged, base_url=url)


def _simulated(name: ModelName, model: str, own: ModelSettings) -> ModelInfo:
    """Read a simulated model's name. Raises `ModelNotFound` or `InvalidField`."""
    parsed = sim.parse(model)
    described = {preset.name: preset.description for preset in sim.presets()}
    return ModelInfo(
        name=name,
        price=own.price or sim.price(model),
        simulated=True,
        default_max_tokens=own.default_max_tokens,
        description=described.get(parsed.preset, ""),
    )


def _local(name: ModelName, endpoint: Endpoint, own: ModelSettings) -> ModelInfo:
    known = [model.model for model in endpoint.settings.models]
    if own.model not in known:
        message = f"there is no local model {own.model[:100]!r}; there is {', '.join(known)}"
        raise ModelNotFound(message, metadata={"model": name[:MAX_MODEL_NAME]})
    price = own.price or Price(input=0, output=0, source="local")
    return ModelInfo(
        name=name, price=price, default_max_tokens=own.default_max_tokens, description="On this machine, without a key."
    )
