import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from whet_server.store.base import (
    ApprovalRecord,
    CachedAnswer,
    CapRecord,
    Document,
    EndpointRecord,
    EventRecord,
    RemoveCached,
    RemoveCap,
    RemoveDocument,
    RemoveEndpoint,
    RequestRecord,
    ReservationRecord,
    Store,
    UsageSum,
    Write,
)
from whet_server.store.memory import MemoryStore
from whet_server.store.sql import SqlStore
from whet_server.values import (
    Billing,
    ModelName,
    Nanos,
    Role,
    Run,
    RunId,
    RunKind,
    RunState,
    Totals,
    Usage,
    Workspace,
)

HERE = Workspace("here")
THERE = Workspace("there")
DAY_NS = 86_400 * 1_000_000_000


def run(number: int, *, workspace: Workspace = HERE, state: RunState = RunState.RUNNING) -> Run:
    return Run(
        run_id=RunId(f"fan_{number:04}"),
        workspace=workspace,
        kind=RunKind.FANOUT,
        title="what is a monad",
        state=state,
        role=Role.PERSON,
        create_ns=number,
    )


def event(sequence: int, *, run_id: str = "fan_0001") -> EventRecord:
    return EventRecord(run_id=RunId(run_id), sequence=sequence, record=b'{"n":%d}' % sequence, hash=bytes(32))


def entry(number: int, *, workspace: Workspace = HERE, billing: Billing = Billing.RESERVED) -> ReservationRecord:
    return ReservationRecord(
        reservation_id=f"res_{number:04}",
        workspace=workspace,
        run_id="fan_0001",
        model=ModelName("sim/fast"),
        billing=billing,
        reserved=Nanos(100),
        create_ns=number,
        settled=Nanos(30) if billing is Billing.SETTLED else Nanos(0),
        usage=Usage(input_tokens=2, output_tokens=3),
    )


def answer(key: bytes, *, workspace: Workspace = HERE, expire_ns: int = 100) -> CachedAnswer:
    return CachedAnswer(
        workspace=workspace,
        key=key,
        text="a monoid in the category of endofunctors",
        usage=Usage(input_tokens=1, output_tokens=2),
        model=ModelName("sim/fast"),
        finish_reason="stop",
        simulated=True,
        create_ns=1,
        expire_ns=expire_ns,
    )


def approval(number: int, *, workspace: Workspace = HERE, state: str = "pending", digest: str = "d1") -> ApprovalRecord:
    return ApprovalRecord(
        approval_id=f"apr_{number:04}",
        workspace=workspace,
        state=state,
        method="PutCap",
        summary="set a cap",
        effect="changes",
        arguments_json="{}",
        digest=digest,
        worst_cost=Nanos(5),
        create_ns=number,
        expire_ns=number + 100,
    )


def document(key: str, data: bytes = b"{}", *, workspace: Workspace = HERE, collection: str = "rubric") -> Document:
    return Document(workspace=workspace, collection=collection, key=key, data=data)


class StoreContract:
    async def test_a_document_is_found_as_it_was_last_written_and_in_its_workspace_only(self, store: Store) -> None:
        await store.commit(document("a@1"), document("a@1", b"2"), document("a@1", collection="rating"))
        assert await store.document(HERE, "rubric", "a@1") == document("a@1", b"2")
        assert await store.document(HERE, "rubric", "a@2") is None
        assert await store.document(Workspace("there"), "rubric", "a@1") is None

    async def test_a_document_that_is_removed_is_gone_and_no_other(self, store: Store) -> None:
        await store.commit(document("a@1"), document("a@2"), document("a@1", workspace=THERE))
        await store.commit(RemoveDocument(workspace=HERE, collection="rubric", key="a@1"))
        await store.commit(RemoveDocument(workspace=HERE, collection="rubric", key="a@1"))
        assert await store.document(HERE, "rubric", "a@1") is None
        assert await store.document(HERE, "rubric", "a@2") == document("a@2")
        assert await store.document(THERE, "rubric", "a@1") == document("a@1", workspace=THERE)

    async def test_documents_are_listed_by_the_beginning_of_their_keys_in_both_directions(self, store: Store) -> None:
        await store.commit(*map(document, ("b@1", "a@2", "a@1", "ab@1", "a@3")))

        async def keys(**how: Any) -> list[str]:
            return [found.key for found in await store.documents(HERE, "rubric", **how)]

        assert await keys() == ["a@1", "a@2", "a@3", "ab@1", "b@1"]
        assert await keys(prefix="a@") == ["a@1", "a@2", "a@3"]
        assert await keys(prefix="a@", newest_first=True, limit=2) == ["a@3", "a@2"]
        assert await keys(prefix="a@", newest_first=True, before="a@3") == ["a@2", "a@1"]
        assert await keys(after="a@3", limit=1) == ["ab@1"]

    async def test_a_run_is_found_as_it_was_last_written(self, store: Store) -> None:
        await store.commit(run(1))
        ended = replace(
            run(1),
            state=RunState.SUCCEEDED,
            end_ns=9,
            event_count=7,
            head_hash=bytes(range(32)),
            totals=Totals(settled=Nanos(4), usage=Usage(input_tokens=1), attempts=2),
            request_id="r/1",
        )
        await store.commit(ended)
        assert await store.run(RunId("fan_0001")) == ended
        assert await store.run(RunId("fan_0002")) is None

    async def test_runs_come_newest_first_and_only_those_asked_for(self, store: Store) -> None:
        await store.commit(run(1), run(3, state=RunState.FAILED), run(2), run(4, workspace=THERE))
        assert [r.create_ns for r in await store.runs(HERE)] == [3, 2, 1]
        assert [r.create_ns for r in await store.runs(None)] == [4, 3, 2, 1]
        assert [r.create_ns for r in await store.runs(HERE, state=RunState.RUNNING)] == [2, 1]
        assert [r.create_ns for r in await store.runs(HERE, kind=RunKind.FANOUT, limit=1)] == [3]
        assert [r.create_ns for r in await store.runs(HERE, before=RunId("fan_0003"))] == [2, 1]

    async def test_events_come_in_order_after_the_one_named(self, store: Store) -> None:
        await store.commit(event(3), event(1), event(10), event(2), event(1, run_id="fan_0002"))
        assert await store.events(RunId("fan_0001")) == [event(1), event(2), event(3), event(10)]
        assert await store.events(RunId("fan_0001"), after=1, limit=2) == [event(2), event(3)]
        assert await store.events(RunId("fan_0009")) == []

    async def test_records_are_kept_byte_for_byte(self, store: Store) -> None:
        odd = replace(event(1), record='{"text":"π \\u0000 \U0001f642"}'.encode() + bytes(range(256)), hash=b"\0" * 32)
        await store.commit(odd)
        assert await store.events(odd.run_id) == [odd]

    async def test_a_write_applied_twice_changes_nothing(self, store: Store) -> None:
        writes: list[Write] = [
            run(1),
            event(1),
            entry(1),
            approval(1),
            answer(b"k"),
            CapRecord(workspace=HERE, period="day", limit=Nanos(5)),
        ]
        await store.commit(*writes)
        await store.commit(*writes, *writes)
        assert len(await store.runs(HERE)) == len(await store.events(RunId("fan_0001"))) == 1
        assert len(await store.reservations(HERE)) == len(await store.approvals(HERE)) == 1
        assert (await store.cache_size(HERE)).entries == len(await store.caps(HERE)) == 1

    async def test_a_request_id_is_the_workspaces_own(self, store: Store) -> None:
        record = RequestRecord(
            workspace=HERE, request_id="r", method="StartFanout", payload_digest="ab", answer="fan_0001", create_ns=4
        )
        await store.commit(record)
        assert await store.request(HERE, "r") == record
        assert await store.request(THERE, "r") is None
        assert await store.request(HERE, "q") is None

    async def test_entries_of_the_ledger_are_found_by_what_they_are(self, store: Store) -> None:
        ended = replace(entry(2, billing=Billing.SETTLED), end_ns=7, expire_ns=9, input_price=11, output_price=13)
        other_run = replace(entry(3), run_id="fan_0002", usage=Usage(estimated=True))
        await store.commit(entry(1), ended, other_run, entry(4, workspace=THERE))
        assert await store.reservation(HERE, "res_0002") == ended
        assert await store.reservation(HERE, "res_0003") == other_run
        assert await store.reservation(HERE, "res_0004") is None
        assert await store.reservations(HERE, billing=Billing.RESERVED) == [other_run, entry(1)]
        assert await store.reservations(HERE, run_id="fan_0001", limit=1) == [ended]
        assert await store.reservations(HERE, before="res_0002") == [entry(1)]
        assert len(await store.reservations(None)) == 4

    async def test_usage_sums_the_tokens_that_each_state_counts_with(self, store: Store) -> None:
        states = (Billing.RESERVED, Billing.UNKNOWN, Billing.SETTLED, Billing.NONE)
        entries = [replace(entry(n, billing=billing), reserved_tokens=50) for n, billing in enumerate(states, start=1)]
        await store.commit(*entries, replace(entry(5), reserved_tokens=7))
        assert await store.reservation(HERE, entries[0].reservation_id) == entries[0]
        held = {line.billing: line.held_tokens for line in await store.usage(HERE, group="all")}
        assert held == {Billing.RESERVED: 57, Billing.UNKNOWN: 50, Billing.SETTLED: 5, Billing.NONE: 0}

    async def test_usage_sums_what_each_state_counts_with(self, store: Store) -> None:
        late = replace(entry(5, billing=Billing.UNKNOWN), create_ns=DAY_NS, model=ModelName("sim/slow"), run_id="other")
        estimated = replace(entry(2, billing=Billing.SETTLED), usage=Usage(input_tokens=1, estimated=True))
        await store.commit(entry(1, billing=Billing.SETTLED), estimated, entry(3), entry(4, billing=Billing.NONE), late)
        await store.commit(entry(6, workspace=THERE))

        def line(key: str, billing: Billing, money: int, tokens: tuple[int, int], entries: int) -> UsageSum:
            return UsageSum(
                key=key,
                billing=billing,
                money=Nanos(money),
                input_tokens=tokens[0],
                output_tokens=tokens[1],
                estimated=billing is Billing.SETTLED,
                entries=entries,
                held_tokens=sum(tokens) if billing is Billing.SETTLED else 0,
            )

        def early(key: str) -> list[UsageSum]:
            return [
                line(key, Billing.NONE, 0, (2, 3), 1),
                line(key, Billing.RESERVED, 100, (2, 3), 1),
                line(key, Billing.SETTLED, 60, (3, 3), 2),
            ]

        def after(key: str) -> UsageSum:
            return line(key, Billing.UNKNOWN, 100, (2, 3), 1)

        assert await store.usage(HERE, group="model") == [*early("sim/fast"), after("sim/slow")]
        assert await store.usage(HERE, group="run") == [*early("fan_0001"), after("other")]
        assert await store.usage(HERE, group="day") == [*early("1970-01-01"), after("1970-01-02")]
        assert await store.usage(HERE, group="all") == [*early(""), after("")]
        assert await store.usage(HERE, group="all", start_ns=DAY_NS) == [after("")]
        assert await store.usage(HERE, group="all", end_ns=DAY_NS) == early("")
        assert await store.usage(HERE, group="all", run_id="other") == [after("")]

    async def test_the_last_nanosecond_of_a_day_belongs_to_it(self, store: Store) -> None:
        await store.commit(
            replace(entry(1), create_ns=20_000 * DAY_NS - 1), replace(entry(2), create_ns=20_000 * DAY_NS)
        )
        assert [line.key for line in await store.usage(HERE, group="day")] == ["2024-10-03", "2024-10-04"]

    async def test_caps_are_put_replaced_and_removed(self, store: Store) -> None:
        day = CapRecord(workspace=HERE, period="day", limit=Nanos(5))
        there = CapRecord(workspace=THERE, period="month", limit=Nanos(9))
        await store.commit(day, there)
        await store.commit(replace(day, limit=Nanos(6)))
        assert await store.caps(HERE) == [replace(day, limit=Nanos(6))]
        assert len(await store.caps(None)) == 2
        await store.commit(RemoveCap(workspace=HERE, period="day"), RemoveCap(workspace=HERE, period="month"))
        assert await store.caps(None) == [there]

    async def test_within_one_commit_the_last_write_of_a_thing_wins(self, store: Store) -> None:
        cap = CapRecord(workspace=HERE, period="day", limit=Nanos(5))
        gone = RemoveCap(workspace=HERE, period="day")
        await store.commit(cap, gone)
        assert await store.caps(HERE) == []
        await store.commit(cap, gone, replace(cap, limit=Nanos(7)))
        assert await store.caps(HERE) == [replace(cap, limit=Nanos(7))]

    async def test_endpoints_are_put_and_removed(self, store: Store) -> None:
        mine = EndpointRecord(workspace=HERE, name="lab", settings=b"{}", sealed_key=b"\x00\xff")
        await store.commit(mine, EndpointRecord(workspace=THERE, name="lab", settings=b"[]"))
        assert await store.endpoints(HERE) == [mine]
        assert len(await store.endpoints(None)) == 2
        await store.commit(RemoveEndpoint(workspace=HERE, name="lab"))
        assert await store.endpoints(HERE) == []

    async def test_a_cached_answer_is_found_by_its_workspace_and_key(self, store: Store) -> None:
        await store.commit(answer(b"k1"))
        assert await store.cached(HERE, b"k1") == answer(b"k1")
        assert await store.cached(THERE, b"k1") is None
        assert await store.cached(HERE, b"k2") is None

    async def test_cached_answers_are_removed_by_age_and_workspace(self, store: Store) -> None:
        await store.commit(
            answer(b"old", expire_ns=10), answer(b"new", expire_ns=20), answer(b"t", workspace=THERE, expire_ns=10)
        )
        assert (await store.cache_size(HERE)).entries == 2
        assert (await store.cache_size(HERE)).size_bytes > 0
        await store.commit(RemoveCached(workspace=HERE, expired_before_ns=20))
        assert await store.cached(HERE, b"old") is None
        assert await store.cached(HERE, b"new") is not None
        assert await store.cached(THERE, b"t") is not None
        await store.commit(RemoveCached(expired_before_ns=11))
        assert (await store.cache_size(THERE)).entries == 0
        await store.commit(answer(b"first"), RemoveCached(workspace=HERE), answer(b"last"))
        assert (await store.cache_size(HERE)).entries == 1
        assert await store.cached(HERE, b"last") is not None
        await store.commit(RemoveCached())
        assert (await store.cache_size(HERE)).entries == 0

    async def test_approvals_are_found_by_state_and_digest_newest_first(self, store: Store) -> None:
        used = replace(approval(2, state="used", digest="d2"), decide_ns=4, reason="fine", asked_by="r1", used_by="r1")
        await store.commit(approval(1), used, approval(3), approval(4, workspace=THERE))
        assert await store.approval(HERE, "apr_0002") == used
        assert await store.approval(HERE, "apr_0004") is None
        assert await store.approvals(HERE) == [approval(3), used, approval(1)]
        assert await store.approvals(HERE, state="pending", limit=1) == [approval(3)]
        assert await store.approvals(HERE, digest="d2") == [used]
        assert await store.approvals(HERE, before="apr_0003") == [used, approval(1)]

    async def test_what_a_returned_commit_wrote_is_read_at_once_by_everybody(self, store: Store) -> None:
        async def write_and_read(number: int) -> bool:
            await store.commit(run(number), entry(number), event(number))
            found = await store.run(RunId(f"fan_{number:04}"))
            return found is not None and await store.reservation(HERE, f"res_{number:04}") is not None

        assert all(await asyncio.gather(*(write_and_read(number) for number in range(1, 301))))
        assert [e.sequence for e in await store.events(RunId("fan_0001"))] == list(range(1, 301))

    async def test_commits_take_effect_in_the_order_in_which_they_were_asked_for(self, store: Store) -> None:
        caps = [CapRecord(workspace=HERE, period="day", limit=Nanos(number)) for number in range(3000)]
        await asyncio.gather(*(store.commit(cap) for cap in caps))
        assert await store.caps(HERE) == [caps[-1]]

    async def test_a_cancelled_commit_leaves_the_others_alone(self, store: Store) -> None:
        tasks = [asyncio.create_task(store.commit(run(number), event(number))) for number in range(1, 201)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.commit(run(999))
        there = {r.create_ns for r in await store.runs(HERE, limit=1000)}
        assert there >= {number for number, task in enumerate(tasks, start=1) if not task.cancelled()}
        assert there - {999} == {e.sequence for e in await store.events(RunId("fan_0001"))}

    async def test_what_is_no_write_is_refused_and_nothing_of_it_is_written(self, store: Store) -> None:
        with pytest.raises(TypeError, match="Write"):
            await store.commit(run(1), Usage())  # type: ignore[arg-type]  # the point of the test
        assert await store.runs(HERE) == []

    async def test_committing_nothing_is_allowed(self, store: Store) -> None:
        await store.commit()
        assert await store.runs(None) == []


class TestMemoryStore(StoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        store = MemoryStore()
        yield store
        await store.close()


class TestSqlStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        store = await SqlStore.open(tmp_path / "whet.db")
        yield store
        await store.close()
