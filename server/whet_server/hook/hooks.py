"""The webhooks of every workspace, and what the end of a run makes of them."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic_ns
from typing import Final, Protocol, TypedDict

import msgspec

from whet_server.errors import HookNotFound, WhetError
from whet_server.hook.deliveries import SERVER, WAITS, Deliveries, after, error_of, writes_of
from whet_server.hook.notice import notice
from whet_server.hook.signature import signed_headers
from whet_server.hook.spec import Delivery, DeliveryAttempt, DeliveryState, Hook, NotPostedError
from whet_server.llm.address import checked_target
from whet_server.llm.keys import KeyNotOpened, Sealer, origin_of
from whet_server.log.log import EventLog
from whet_server.store.base import Document, RemoveDocument, Store, Write, every_document
from whet_server.values import NANOSECONDS, Run, RunId, RunKind, Workspace, new_id

ATTEMPT_SECONDS: Final = 10.0
"""For a whole attempt: a receiver that needs longer should answer first and work then."""
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 -- the beginning of every secret, not one
_SECRET_BYTES: Final = 32
_COLLECTION: Final = "hooks"


class Post(Protocol):
    """Makes one request and returns the status. Raises `NotPostedError`."""

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes, *, seconds: float) -> Awaitable[int]: ...


class _Place(TypedDict):
    """What a secret is sealed for."""

    workspace: str
    endpoint: str
    origin: str


class Hooks:
    """Webhooks by workspace and name. All are in memory: the end of a run asks for them in the middle of its
    transaction.
    """

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        log: EventLog,
        *,
        clock: Callable[[], int],
        waits: Sequence[float] = WAITS,
        seconds: float = ATTEMPT_SECONDS,
    ) -> None:
        """Use `open`."""
        self._store = store
        self._sealer = sealer
        self._log = log
        self._clock = clock
        self._seconds = seconds
        self._hooks: dict[tuple[Workspace, str], Hook] = {}
        self._made: dict[RunId, list[Delivery]] = {}
        self._changing = asyncio.Lock()
        self._deliveries = Deliveries(store, self._send, clock=clock, waits=waits)

    @classmethod
    async def open(
        cls,
        store: Store,
        sealer: Sealer,
        log: EventLog,
        *,
        clock: Callable[[], int],
        waits: Sequence[float] = WAITS,
        seconds: float = ATTEMPT_SECONDS,
    ) -> "Hooks":
        """Read the webhooks and listen to `log` from now on. `waits`: seconds between attempts; `seconds`: for each."""
        hooks = cls(store, sealer, log, clock=clock, waits=waits, seconds=seconds)
        for document in await every_document(store, SERVER, _COLLECTION):
            hook = msgspec.json.decode(document.data, type=Hook)
            hooks._hooks[hook.workspace, hook.name] = hook
        log.tell(hooks)
        return hooks

    def list(self, workspace: Workspace) -> Sequence[Hook]:
        """Return the workspace's webhooks by name."""
        return [hook for (owner, _), hook in sorted(self._hooks.items()) if owner == workspace]

    def get(self, workspace: Workspace, name: str) -> Hook:
        """Return one webhook. Raises `HookNotFound`."""
        hook = self._hooks.get((workspace, name))
        if hook is None:
            known = ", ".join(each.name for each in self.list(workspace)) or "none"
            raise HookNotFound(f"There is no webhook {name[:100]}; there are: {known}.", metadata={"hook": name[:100]})
        return hook

    async def put(
        self,
        workspace: Workspace,
        name: str,
        url: str,
        *,
        kinds: Sequence[RunKind] = (),
        secret: str = "",
        request_id: str = "",
        also: Sequence[Write] = (),
    ) -> tuple[Hook, str]:
        """Make a webhook or replace the one of this name; return it and, if the server made it, its secret. Raises
        `InvalidField` for an address that nothing should be sent to.
        """
        checked_target(url, field="url")
        async with self._changing:
            before = self._hooks.get((workspace, name))
            made = "" if secret or self._secret(before) else SECRET_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
            kept = secret or made or self._secret(before)
            hook = Hook(
                name=name,
                url=url,
                workspace=workspace,
                kinds=tuple(dict.fromkeys(kinds)) or (RunKind.SWEEP,),
                sealed_secret=self._sealer.seal(kept, **_place(workspace, name, url)),
                secret_by=request_id if made else "",
                create_ns=before.create_ns if before else self._clock(),
            )
            await self._store.commit(_document(hook), *also)
            self._hooks[workspace, name] = hook
            return hook, made

    def put_before(self, workspace: Workspace, name: str, request_id: str) -> tuple[Hook, str]:
        """Return what `put` answered to this request id. Raises `HookNotFound` when the webhook is gone."""
        hook = self.get(workspace, name)
        return hook, self._secret(hook) if hook.secret_by == request_id else ""

    async def delete(self, workspace: Workspace, name: str, also: Sequence[Write] = ()) -> None:
        """Remove a webhook and its secret, and give up what waits for it. Raises `HookNotFound`."""
        async with self._changing:
            hook = self.get(workspace, name)
            del self._hooks[workspace, name]  # no run that ends meanwhile makes a delivery of it
            try:
                removal = RemoveDocument(workspace=SERVER, collection=_COLLECTION, key=_key(hook))
                await self._deliveries.give_up(workspace, name, removal, *also)
            except BaseException:
                self._hooks[workspace, name] = hook
                raise

    async def test(
        self, workspace: Workspace, name: str, *, also: Callable[[str], Sequence[Write]] = lambda _: ()
    ) -> Delivery:
        """Send a test, once; what `also` makes of its id becomes durable with it. Raises `HookNotFound`."""
        self.get(workspace, name)
        delivery = Delivery(delivery_id=new_id("dlv"), hook=name, workspace=workspace, create_ns=self._clock())
        attempt = await self._send(delivery) or DeliveryAttempt(start_ns=self._clock(), error="It was removed.")
        delivery = after(delivery, attempt, most=1)
        await self._store.commit(*writes_of(delivery), *also(delivery.delivery_id))
        return delivery

    async def delivery(self, workspace: Workspace, delivery_id: str) -> Delivery:
        """Return one delivery. Raises `HookNotFound`."""
        found = await self._deliveries.get(workspace, delivery_id)
        if found is None:
            raise HookNotFound(f"There is no delivery {delivery_id}.", metadata={"delivery_id": delivery_id})
        return found

    async def deliveries(
        self,
        workspace: Workspace,
        *,
        hook: str = "",
        state: DeliveryState | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[Delivery]:
        """Return deliveries newest first, those before `before` only."""
        return await self._deliveries.list(workspace, hook=hook, state=state, before=before, limit=limit)

    def writes(self, run: Run) -> Sequence[Write]:
        """Return the deliveries that the end of `run` makes, to become durable with it."""
        made = [
            Delivery(
                delivery_id=new_id("dlv"),
                hook=hook.name,
                workspace=run.workspace,
                run_id=run.run_id,
                create_ns=self._clock(),
            )
            for hook in self.list(run.workspace)
            if run.kind in hook.kinds
        ]
        if made:
            self._made[run.run_id] = made
        return [write for delivery in made for write in writes_of(delivery)]

    def ended(self, run: Run) -> None:
        """Send what the run's end made."""
        for delivery in self._made.pop(run.run_id, ()):
            self._deliveries.start(delivery)

    async def recover(self) -> int:
        """Go on with what waited when the server stopped; return how many deliveries."""
        return await self._deliveries.recover()

    async def drain(self, seconds: float) -> None:
        """Leave what waits to the next start: nobody waits for it here."""
        await self._deliveries.close()

    async def _send(self, delivery: Delivery) -> DeliveryAttempt | None:
        """Make one attempt; None when the webhook is gone."""
        hook = self._hooks.get((delivery.workspace, delivery.hook))
        if hook is None:
            return None
        start_ns, began = self._clock(), monotonic_ns()
        status, error = await self._posted(hook, delivery, start_ns // NANOSECONDS)
        return DeliveryAttempt(start_ns=start_ns, latency_ns=monotonic_ns() - began, status=status, error=error)

    async def _posted(self, hook: Hook, delivery: Delivery, timestamp: int) -> tuple[int, str]:
        """Return the status that came back, or 0, and what was wrong."""
        secret = self._secret(hook)
        if not secret:
            return 0, "Its secret does not open here: store the webhook again."
        try:
            body = await notice(self._log, delivery)
            headers = signed_headers(secret, delivery.delivery_id, timestamp, body)
            post = await asyncio.to_thread(_http)
            status = await post(hook.url, headers, body, seconds=self._seconds)
        except NotPostedError as error:
            return 0, str(error)
        except WhetError as error:
            return 0, f"What to send could not be read: {error}"
        return status, error_of(status)

    def _secret(self, hook: Hook | None) -> str:
        """Return a webhook's secret; nothing when there is none that opens."""
        if hook is None:
            return ""
        place = _place(hook.workspace, hook.name, hook.url)
        try:
            return self._sealer.open(hook.sealed_secret, **place).reveal(place["origin"])
        except KeyNotOpened:
            return ""


def _http() -> Post:
    from whet_server.hook.post import post  # aiohttp takes a quarter of a second, and most servers have no webhook

    return post


def _place(workspace: Workspace, name: str, url: str) -> _Place:
    """Return what a secret is sealed for; no endpoint has such a name."""
    return _Place(workspace=workspace, endpoint=f"hook {name}", origin=origin_of(url))


def _key(hook: Hook) -> str:
    """Return where a webhook is kept; no name holds the separator."""
    return f"{hook.name}@{hook.workspace}"


def _document(hook: Hook) -> Document:
    return Document(workspace=SERVER, collection=_COLLECTION, key=_key(hook), data=msgspec.json.encode(hook))
