"""The server's rooms, put together, and its life from the lock to the last call."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

from whet_server.approval.approvals import Approvals
from whet_server.audit.audits import Audits
from whet_server.calibration.calibrations import Calibrations
from whet_server.calibration.ratings import Ratings
from whet_server.config import ENVIRONMENT_ENDPOINT, ServerConfig, local_panel, panel_of, preferred
from whet_server.datadir import DEFAULT_WORKSPACE, DataDir
from whet_server.dataset.datasets import Datasets
from whet_server.errors import WhetError
from whet_server.fanout.fanouts import FanoutDefaults, Fanouts
from whet_server.hook.hooks import Hooks
from whet_server.judge.items import Items
from whet_server.judge.judgements import Judgements
from whet_server.judge.plan import Planner
from whet_server.judge.rubrics import Rubrics
from whet_server.ledger.ledger import Ledger
from whet_server.llm.base import Answer, EndpointKind, EndpointSettings, Request, Sink, Transport
from whet_server.llm.cache import ResponseCache
from whet_server.llm.call import ModelCaller
from whet_server.llm.keys import BoundKey, Sealer
from whet_server.llm.local.host import LocalHost
from whet_server.llm.local.settings import ENDPOINT as LOCAL_ENDPOINT
from whet_server.llm.local.transport import LocalTransport
from whet_server.llm.registry import Endpoints
from whet_server.llm.sim import SimTransport
from whet_server.log.log import EventLog
from whet_server.rpc.identity import Tokens
from whet_server.rpc.server import Rooms, RpcServer
from whet_server.runs import Capability
from whet_server.score.scorers import Scorers
from whet_server.store.base import Store
from whet_server.store.sql import SqlStore
from whet_server.sweep.plan import Planner as SweepPlanner
from whet_server.sweep.sweeps import Sweeps
from whet_server.sweep.targets import Models as Targets
from whet_server.trace.traces import Traces
from whet_server.values import ModelName, RunState, Value

if TYPE_CHECKING:
    from whet_server.llm.transport import HttpTransport

DRAIN_SECONDS: Final = 8.0
"""How long runs may take to end when the server is told to stop: below the ten seconds that supervisors give."""
LIST_SECONDS: Final = 3.0
"""How long the environment's endpoint may take to name its models before the server starts without them."""
IDLE_CHECKS: Final = 20
"""How often in its idle time an embedded server looks whether it is still needed."""

_log = logging.getLogger(__name__)


class ServeOptions(Value):
    """How this process serves. `idle_exit` None: until it is told to stop."""

    insecure: bool = False
    idle_exit: float | None = None


class HttpOnDemand:
    """The HTTP transport, loaded with the first call that needs it: aiohttp takes a quarter of a second and fifteen
    megabytes, and a server that only answers from its log or its simulations does without.
    """

    def __init__(self) -> None:
        self._loading: asyncio.Future[HttpTransport] | None = None

    async def send(self, request: Request, sink: Sink) -> Answer:
        return await (await self._loaded()).send(request, sink)

    async def models(self, request: Request) -> Sequence[str]:
        return await (await self._loaded()).models(request)

    async def close(self) -> None:
        if self._loading is not None:
            await (await self._loading).close()

    async def _loaded(self) -> "HttpTransport":
        if self._loading is None:
            self._loading = asyncio.ensure_future(asyncio.to_thread(_http))
        # Shielded: a caller that leaves must not take the transport away from those who wait beside it.
        return await asyncio.shield(self._loading)


def _http() -> "HttpTransport":
    from whet_server.llm.transport import HttpTransport

    return HttpTransport()


@asynccontextmanager
async def opened_rooms(
    store: Store, config: ServerConfig, sealer: Sealer, *, clock: Callable[[], int] = time.time_ns
) -> AsyncGenerator[Rooms, None]:
    """Put the rooms together over a store; close them in the opposite order."""
    async with AsyncExitStack() as stack:
        http, host = HttpOnDemand(), LocalHost()
        stack.push_async_callback(http.close)
        stack.push_async_callback(host.close)
        transports: dict[EndpointKind, Transport] = {
            EndpointKind.OPENAI: http,
            EndpointKind.LOCAL: LocalTransport(host, http),
            EndpointKind.SIM: SimTransport(),
        }
        endpoints = await Endpoints.open(store, sealer=sealer, transports=transports, configured=_configured(config))
        ledger = await Ledger.open(store, clock=clock)
        stack.push_async_callback(ledger.close)
        cache = ResponseCache(store, clock=clock, ttl=config.cache_seconds)
        stack.push_async_callback(cache.close)
        caller = ModelCaller(endpoints, ledger, cache, transports)
        log = EventLog(store, clock=clock)
        scorers = Scorers(caller, endpoints)
        stack.push_async_callback(scorers.close)
        defaults = await _defaults(config, endpoints)
        fanouts = Fanouts(log, caller, store, defaults, clock=clock, on_end=ledger.forget_run)
        datasets = Datasets(log, store, clock=clock)
        rubrics = Rubrics(store, clock=clock)
        ratings = Ratings(store, rubrics, clock=clock)
        calibrations = Calibrations(store, ratings, clock=clock)
        judges = (config.judge,) if config.judge else tuple(branch.model for branch in defaults.panel[:1])
        items = Items(fanouts, datasets)
        planner = Planner(caller, items, rubrics, scorers, judges)
        judgements = Judgements(
            log, caller, store, planner, scorers, calibrations, clock=clock, on_end=ledger.forget_run
        )
        sweeps = Sweeps(
            log,
            store,
            ledger,
            SweepPlanner(planner, items, datasets),
            datasets,
            Targets(caller, scorers, datasets, defaults),
            clock=clock,
            on_end=ledger.forget_run,
        )
        yield Rooms(
            fanouts=fanouts,
            ledger=ledger,
            caller=caller,
            endpoints=endpoints,
            cache=cache,
            approvals=Approvals(store, clock=clock),
            traces=Traces(log),
            datasets=datasets,
            scorers=scorers,
            rubrics=rubrics,
            ratings=ratings,
            calibrations=calibrations,
            judgements=judgements,
            audits=Audits(log, planner, items, judgements),
            sweeps=sweeps,
            hooks=await Hooks.open(store, sealer, log, clock=clock),
            store=store,
            approval_threshold=config.approval_threshold,
            panel=frozenset(branch.model for branch in defaults.panel),
        )


def _configured(config: ServerConfig) -> list[tuple[EndpointSettings, BoundKey | None]]:
    """Return the built-in endpoints and the others; the file may set limits of a built-in one, which then stands
    later and wins.
    """
    built_in = (LOCAL_ENDPOINT, EndpointSettings(name="sim", kind=EndpointKind.SIM, source="built-in"))
    return [*((settings, None) for settings in built_in), *((each.settings, each.key) for each in config.endpoints)]


async def _defaults(config: ServerConfig, endpoints: Endpoints) -> FanoutDefaults:
    """Choose whom to ask when nobody says."""
    if config.panel:
        return FanoutDefaults(panel=config.panel, synthesiser=config.synthesiser)
    models = await _environment_models(config, endpoints) if config.has_environment_endpoint else ()
    if models:
        return FanoutDefaults(panel=panel_of(models), synthesiser=config.synthesiser)
    return FanoutDefaults(panel=local_panel(), synthesiser=config.synthesiser)


async def _environment_models(config: ServerConfig, endpoints: Endpoints) -> tuple[ModelName, ...]:
    """Return the models of the environment's endpoint to ask; none when it does not say what it has in time."""
    if config.environment_model:
        return (ModelName(f"{ENVIRONMENT_ENDPOINT}/{config.environment_model}"),)
    try:
        async with asyncio.timeout(LIST_SECONDS):
            test = await endpoints.test(DEFAULT_WORKSPACE, ENVIRONMENT_ENDPOINT)
    except TimeoutError:
        problem = f"no answer within {LIST_SECONDS:g} seconds"
    else:
        if models := preferred(test.models):
            return models
        problem = test.failure.message if test.failure else "it names none"
    _log.warning("the panel is the local model's: the endpoint openai does not name its models: %s", problem)
    return ()


async def serve(config: ServerConfig, directory: DataDir, options: ServeOptions) -> None:
    """Serve until told to stop. The caller holds the directory's lock. Raises `AddressRefused`, `InvalidField` for a
    configured URL, or `StorageUnavailable`.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        store = await SqlStore.open(directory.database)
        stack.push_async_callback(store.close)
        directory.make_first_tokens()
        rooms = await stack.enter_async_context(opened_rooms(store, config, Sealer.from_file(directory.master_key)))
        tokens = Tokens(directory.tokens, clock=time.time_ns)
        server = RpcServer(rooms, tokens, clock=time.time_ns, spans=bool(config.telemetry_endpoint))
        address = await server.start(config.address, insecure=options.insecure)
        stack.push_async_callback(server.stop, DRAIN_SECONDS)
        stack.enter_context(directory.announced(address))
        _log.info("ready on %s", address)
        await stack.enter_async_context(_recovery(rooms.capabilities, server))
        await _until_needless(stop, server, store, options.idle_exit)
        _log.info("stopping")


@asynccontextmanager
async def _recovery(capabilities: Sequence[Capability], server: RpcServer) -> AsyncGenerator[None, None]:
    """Take up what a crash left, beside the calls that come in; give up at the end of the block."""

    async def recover() -> None:
        try:
            for capability in capabilities:
                await _recover(capability)
        finally:
            server.recovered()

    task = asyncio.create_task(recover(), name="recovery")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _recover(capability: Capability) -> None:
    try:
        if count := await capability.recover():
            _log.info("%s: took up %d that had not ended", type(capability).__name__.lower(), count)
    except WhetError as error:
        _log.error("runs that had not ended could not be taken up: %s", error)


async def _until_needless(stop: asyncio.Event, server: RpcServer, store: Store, idle_exit: float | None) -> None:
    """Wait for the signal, or until nobody has called for `idle_exit` seconds and no run is under way."""
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), None if idle_exit is None else idle_exit / IDLE_CHECKS)
        if (
            idle_exit is not None
            and server.activity.idle_seconds >= idle_exit
            and not await store.runs(None, state=RunState.RUNNING, limit=1)
        ):
            _log.info("nobody has called for %g seconds", idle_exit)
            return
