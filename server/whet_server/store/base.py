"""What the store promises, apart from how it keeps it.

A change is a value: a `Write`. `commit(*writes)` makes all writes of one call durable in one transaction and returns
only then (group commit: several calls may share a transaction, each still all-or-nothing as seen by a reader after a
crash). Writes are upserts keyed by id, so applying one twice changes nothing. Reads see everything whose commit has
returned. Nothing here decides: rules live in the rooms above.

One process opens the data directory. Callers therefore keep what must be checked under concurrency (balances, chains,
request ids) in memory and use the store to make it durable and to find it again after a restart.
"""

from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

from whet_server.values import Billing, ModelName, Nanos, Run, RunId, RunKind, RunState, Usage, Value, Workspace

_PAGE: Final = 500
"""Documents read at once."""


class EventRecord(Value):
    """One durable event: `record` is the exact bytes that were hashed (see `log/chain.py`)."""

    run_id: RunId
    sequence: int
    record: bytes
    hash: bytes


class RequestRecord(Value):
    """An answered request id: the same id gives the same answer for as long as the run exists."""

    workspace: Workspace
    request_id: str
    method: str
    payload_digest: str
    answer: str
    """What the caller needs to answer again: a run's id, a cap's id, ... as the method defines it."""
    create_ns: int


class ReservationRecord(Value):
    """One entry of the ledger."""

    reservation_id: str
    workspace: Workspace
    run_id: str
    model: ModelName
    billing: Billing
    reserved: Nanos
    create_ns: int
    settled: Nanos = Nanos(0)
    usage: Usage = Usage()
    input_price: int = 0
    output_price: int = 0
    end_ns: int | None = None
    expire_ns: int | None = None
    reserved_tokens: int = 0
    """The most that it can use, in and out."""


class CapRecord(Value):
    """A cap of the workspace. `period` is `day` or `month`."""

    workspace: Workspace
    period: str
    limit: Nanos


class EndpointRecord(Value):
    """An endpoint configured by RPC: `settings` is JSON of `llm.base.EndpointSettings`, `sealed_key` is encrypted."""

    workspace: Workspace
    name: str
    settings: bytes
    sealed_key: bytes = b""


class CachedAnswer(Value):
    """One answer of the response cache. `key` is a SHA-256 over workspace, model, messages and parameters."""

    workspace: Workspace
    key: bytes
    text: str
    usage: Usage
    model: ModelName
    finish_reason: str
    simulated: bool
    create_ns: int
    expire_ns: int
    latency_ns: int = 0
    """How long it took when it was made; 0: nobody noted it."""


class ApprovalRecord(Value):
    """A call that waits for a person, or did."""

    approval_id: str
    workspace: Workspace
    state: str
    method: str
    summary: str
    effect: str
    arguments_json: str
    digest: str
    worst_cost: Nanos
    create_ns: int
    expire_ns: int
    decide_ns: int | None = None
    reason: str = ""
    asked_by: str = ""
    """The request id of the call that asked first."""
    used_by: str = ""
    """The request id of the one call that used the grant."""


class Document(Value):
    """A thing that is found by its key and listed by the beginning of its key: data sets, rubrics, ratings,
    calibrations. `data` is JSON of the value that its room defines; a row of a data set is one too.
    """

    workspace: Workspace
    collection: str
    key: str
    data: bytes


class RemoveCap(Value):
    workspace: Workspace
    period: str


class RemoveEndpoint(Value):
    workspace: Workspace
    name: str


class RemoveDocument(Value):
    workspace: Workspace
    collection: str
    key: str


class RemoveCached(Value):
    """Remove a workspace's cached answers: all, or those that expired before `expired_before_ns`."""

    workspace: Workspace | None = None
    expired_before_ns: int | None = None


Write: TypeAlias = (
    Run
    | EventRecord
    | RequestRecord
    | ReservationRecord
    | CapRecord
    | EndpointRecord
    | CachedAnswer
    | ApprovalRecord
    | Document
    | RemoveCap
    | RemoveEndpoint
    | RemoveCached
    | RemoveDocument
)
"""Everything that can become durable. A `Run` is its own row."""


class CacheSize(Value):
    entries: int
    size_bytes: int


class UsageSum(Value):
    """A sum over ledger entries that share a key (a model, a run or a UTC day)."""

    key: str
    billing: Billing
    money: Nanos
    """Settled money for SETTLED, reserved money for RESERVED and UNKNOWN."""
    input_tokens: int
    output_tokens: int
    estimated: bool
    entries: int
    held_tokens: int = 0
    """Tokens as caps count them: used ones for SETTLED, the most there can be for RESERVED and UNKNOWN."""


class Store(Protocol):
    """Durable state. Implemented by `store.memory.MemoryStore` and `store.sql.SqlStore`; one contract test class runs
    over both.
    """

    async def commit(self, *writes: Write) -> None:
        """Make the writes durable, all or nothing. Raises `StorageUnavailable` when the disk refuses; then nothing
        was written.
        """

    async def run(self, run_id: RunId) -> Run | None: ...

    async def runs(
        self,
        workspace: Workspace | None,
        *,
        kind: RunKind | None = None,
        state: RunState | None = None,
        before: RunId | None = None,
        limit: int = 50,
    ) -> Sequence[Run]:
        """Return runs newest first (by id), those before `before` only. `workspace` None means all: used by recovery
        at start.
        """

    async def events(self, run_id: RunId, *, after: int = 0, limit: int = 500) -> Sequence[EventRecord]:
        """Return events in order, those with a sequence above `after`."""

    async def request(self, workspace: Workspace, request_id: str) -> RequestRecord | None: ...

    async def reservation(self, workspace: Workspace, reservation_id: str) -> ReservationRecord | None: ...

    async def reservations(
        self,
        workspace: Workspace | None,
        *,
        billing: Billing | None = None,
        run_id: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[ReservationRecord]:
        """Return ledger entries newest first (by id)."""

    async def usage(
        self,
        workspace: Workspace,
        *,
        group: str,
        start_ns: int | None = None,
        end_ns: int | None = None,
        run_id: str | None = None,
    ) -> Sequence[UsageSum]:
        """Sum ledger entries by `group`: `model`, `run`, `day` or `all`, and by billing state. Times select by
        creation.
        """

    async def caps(self, workspace: Workspace | None) -> Sequence[CapRecord]: ...

    async def endpoints(self, workspace: Workspace | None) -> Sequence[EndpointRecord]: ...

    async def cached(self, workspace: Workspace, key: bytes) -> CachedAnswer | None: ...

    async def cache_size(self, workspace: Workspace) -> CacheSize: ...

    async def approval(self, workspace: Workspace, approval_id: str) -> ApprovalRecord | None: ...

    async def approvals(
        self,
        workspace: Workspace,
        *,
        state: str | None = None,
        digest: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[ApprovalRecord]: ...

    async def document(self, workspace: Workspace, collection: str, key: str) -> Document | None: ...

    async def documents(
        self,
        workspace: Workspace,
        collection: str,
        *,
        prefix: str = "",
        after: str | None = None,
        before: str | None = None,
        newest_first: bool = False,
        limit: int = 500,
    ) -> Sequence[Document]:
        """Return documents whose key begins with `prefix`, by key: those strictly after and before the given keys."""

    async def close(self) -> None:
        """Finish what was submitted and release the files."""


async def every_document(
    store: Store, workspace: Workspace, collection: str, *, prefix: str = "", newest_first: bool = False
) -> list[Document]:
    """Return all documents whose key begins with `prefix`, by key. Others are answered between two pages."""
    found: list[Document] = []
    while True:
        last = found[-1].key if found else None
        page = await store.documents(
            workspace,
            collection,
            prefix=prefix,
            after=None if newest_first else last,
            before=last if newest_first else None,
            newest_first=newest_first,
            limit=_PAGE,
        )
        found += page
        if len(page) < _PAGE:
            return found


__all__ = [
    "ApprovalRecord",
    "CacheSize",
    "CachedAnswer",
    "CapRecord",
    "Document",
    "EndpointRecord",
    "EventRecord",
    "RemoveCached",
    "RemoveCap",
    "RemoveDocument",
    "RemoveEndpoint",
    "RequestRecord",
    "ReservationRecord",
    "Store",
    "UsageSum",
    "Write",
    "every_document",
]
