import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from whet_server.approval.approvals import LIFETIME, Approvals, ApprovalState
from whet_server.errors import ApprovalNotOpen, ApprovalRequired
from whet_server.store.base import ApprovalRecord
from whet_server.store.memory import MemoryStore
from whet_server.store.sql import SqlStore
from whet_server.values import Nanos, Workspace

HOME = Workspace("home")
ELSEWHERE = Workspace("elsewhere")


class Clock:
    now_ns = 1_768_000_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def pass_by(self, time: timedelta) -> None:
        self.now_ns += time // timedelta(microseconds=1) * 1000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def approvals(clock: Clock) -> Approvals:
    return Approvals(MemoryStore(), clock=clock)


async def use(approvals: Approvals, request_id: str = "r1", *, digest: str = "d1", workspace: Workspace = HOME) -> None:
    await approvals.use(
        workspace,
        method="PutCap",
        summary="set a cap of 5 dollars a day",
        effect="changes",
        arguments_json='{"limit":5}',
        digest=digest,
        worst_cost=Nanos(70),
        request_id=request_id,
    )


async def asked(approvals: Approvals, request_id: str = "r1", *, digest: str = "d1") -> str:
    """Ask, be told to wait, and return the approval's id."""
    with pytest.raises(ApprovalRequired) as refused:
        await use(approvals, request_id, digest=digest)
    return refused.value.metadata["approval_id"]


async def grant(approvals: Approvals, approval_id: str, *, digest: str = "d1") -> ApprovalRecord:
    return await approvals.decide(HOME, approval_id, grant=True, digest=digest, reason="")


async def reject(approvals: Approvals, approval_id: str) -> ApprovalRecord:
    return await approvals.decide(HOME, approval_id, grant=False, digest="d1", reason="too much")


async def test_the_first_call_opens_a_question_with_everything_a_person_needs(approvals: Approvals) -> None:
    with pytest.raises(ApprovalRequired) as refused:
        await use(approvals)
    [record] = await approvals.list(HOME)
    assert refused.value.metadata == {
        "approval_id": record.approval_id,
        "digest": "d1",
        "worst_cost_nanos": "70",
        "expires_at": "2026-01-10T23:06:40Z",
    }
    assert (record.state, record.method, record.arguments_json) == ("pending", "PutCap", '{"limit":5}')


async def test_asking_again_finds_the_same_question(approvals: Approvals) -> None:
    ids = {await asked(approvals, request_id) for request_id in ("r1", "r1", "r2", "")}
    assert len(ids) == 1


async def test_a_grant_serves_one_call_which_may_repeat(approvals: Approvals) -> None:
    approval_id = await asked(approvals)
    await grant(approvals, approval_id)
    await use(approvals, "r1")
    await use(approvals, "r1")
    assert (await approvals.get(HOME, approval_id)).used_by == "r1"
    assert await asked(approvals, "r2") != approval_id
    await use(approvals, "r1")


async def test_of_many_calls_at_once_one_uses_the_grant(approvals: Approvals) -> None:
    await grant(approvals, await asked(approvals))
    calls = [use(approvals, f"r{number}") for number in range(20)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert results.count(None) == 1
    assert [type(result) for result in results if result is not None] == [ApprovalRequired] * 19


async def test_calls_without_a_request_id_never_repeat(approvals: Approvals) -> None:
    await grant(approvals, await asked(approvals, ""))
    await use(approvals, "")
    await asked(approvals, "")


async def test_a_grant_is_bound_to_the_arguments(approvals: Approvals) -> None:
    approval_id = await asked(approvals)
    with pytest.raises(ApprovalNotOpen, match="arguments"):
        await grant(approvals, approval_id, digest="d2")
    await grant(approvals, approval_id)
    await asked(approvals, digest="d2")
    await use(approvals)


async def test_a_rejection_is_told_to_the_call_that_asked_and_a_later_one_asks_anew(approvals: Approvals) -> None:
    approval_id = await asked(approvals)
    await reject(approvals, approval_id)
    for _ in range(2):
        with pytest.raises(ApprovalNotOpen, match="too much") as refused:
            await use(approvals, "r1")
        assert refused.value.metadata["state"] == "rejected"
    assert await asked(approvals, "r2") != approval_id


async def test_deciding_the_same_way_again_changes_nothing_and_the_other_way_is_refused(approvals: Approvals) -> None:
    granted, rejected = await asked(approvals), await asked(approvals, digest="d2")
    first = await grant(approvals, granted)
    assert await grant(approvals, granted) == first
    with pytest.raises(ApprovalNotOpen):
        await reject(approvals, granted)
    await use(approvals)
    assert (await grant(approvals, granted)).state == ApprovalState.USED
    await approvals.decide(HOME, rejected, grant=False, digest="d2", reason="")
    with pytest.raises(ApprovalNotOpen):
        await grant(approvals, rejected, digest="d2")


async def test_a_question_nobody_answered_expires_and_is_asked_again(approvals: Approvals, clock: Clock) -> None:
    approval_id = await asked(approvals)
    clock.pass_by(LIFETIME - timedelta(seconds=1))
    assert await asked(approvals) == approval_id
    clock.pass_by(timedelta(seconds=1))
    with pytest.raises(ApprovalNotOpen) as refused:
        await grant(approvals, approval_id)
    assert refused.value.metadata["state"] == "expired"
    assert await asked(approvals) != approval_id


async def test_a_grant_nobody_used_expires(approvals: Approvals, clock: Clock) -> None:
    approval_id = await asked(approvals)
    await grant(approvals, approval_id)
    clock.pass_by(LIFETIME)
    assert [record.state for record in await approvals.list(HOME)] == ["expired"]
    assert await asked(approvals) != approval_id


async def test_lists_show_what_asks_for_an_answer_now(approvals: Approvals, clock: Clock) -> None:
    await asked(approvals, digest="old")
    clock.pass_by(LIFETIME)
    newer = await asked(approvals, digest="new")
    assert [record.approval_id for record in await approvals.list(HOME, state=ApprovalState.PENDING)] == [newer]
    assert [record.digest for record in await approvals.list(HOME)] == ["new", "old"]
    assert [record.digest for record in await approvals.list(HOME, before=newer, limit=1)] == ["old"]


async def test_another_workspace_neither_sees_nor_decides_nor_uses(approvals: Approvals) -> None:
    approval_id = await asked(approvals)
    assert await approvals.list(ELSEWHERE) == []
    with pytest.raises(ApprovalNotOpen, match="no approval"):
        await approvals.get(ELSEWHERE, approval_id)
    with pytest.raises(ApprovalNotOpen, match="no approval"):
        await approvals.decide(ELSEWHERE, approval_id, grant=True, digest="d1", reason="")
    await grant(approvals, approval_id)
    with pytest.raises(ApprovalRequired):
        await use(approvals, workspace=ELSEWHERE)
    await use(approvals)


async def test_a_grant_survives_a_restart_and_so_does_its_use(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "again.db"
    for step in range(3):
        store = await SqlStore.open(path)
        approvals = Approvals(store, clock=clock)
        if step == 0:
            await grant(approvals, await asked(approvals))
        elif step == 1:
            await use(approvals)
        else:
            await use(approvals)
            await asked(approvals, "r2")
        await store.close()
