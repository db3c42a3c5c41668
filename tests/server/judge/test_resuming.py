"""Killed at any point, a judgement goes on: verdicts on record stay, and what may have been paid is not asked again."""

from tests.server.fanout.panel import HOME, ME, Answer, Panel, Script, of
from tests.server.judge.court import (
    GARBAGE,
    JUDGE,
    SECOND,
    Court,
    RecordingStore,
    by_number,
    court,
    items,
    judge,
    verdicts,
)

from whet_server.dataset.spec import DataFormat, DatasetRef, Header, Split, SplitPolicy
from whet_server.errors import Reason
from whet_server.judge import asking
from whet_server.judge.spec import JudgementSpec
from whet_server.judging import Outcome, Verdict
from whet_server.llm.base import call_of
from whet_server.log.events import JudgementSummed, RunFinished
from whet_server.store.base import ReservationRecord
from whet_server.values import RunId, RunState

SCRIPTS: dict[str, Script] = {
    JUDGE: by_number({3: Answer(text=GARBAGE)}),
    SECOND: by_number(level=lambda number: 1 + (number + 1) % 5),
}
SPEC = JudgementSpec(items=items(6), judge=judge(JUDGE, SECOND), scorers=("exact",), concurrency=4)


async def recorded() -> tuple[RecordingStore, RunId, dict[asking.Key, Verdict]]:
    """Judge to the end and return everything that became durable on the way, in its order."""
    store = RecordingStore()
    panel = Panel(dict(SCRIPTS), store=store)
    async with court({}, panel=panel, store=store) as room:
        run_id = await room.start(SPEC)
        await room.events(run_id)
        return store, run_id, {asking.key(each): each for each in await room.verdicts(run_id)}


async def resumed(room: Court, run_id: RunId) -> list[Verdict]:
    assert await room.judgements.recover() == 1
    events = await room.events(run_id)
    assert await room.judgements.recover() == 0
    assert (await room.log.verify(HOME, run_id)).valid
    assert len(of(events, JudgementSummed)) == len(of(events, RunFinished)) == 1
    return verdicts(events)


def paid(store: RecordingStore) -> set[str]:
    """Return the calls that the ledger knows of."""
    return {
        str(call_of(write.reservation_id))
        for writes in store.commits
        for write in writes
        if isinstance(write, ReservationRecord)
    }


async def test_after_a_kill_at_any_commit_every_question_is_answered_once_and_paid_once() -> None:
    whole, run_id, wanted = await recorded()
    interrupted_somewhere = 0
    for cut in range(1, len(whole.commits)):
        store = await whole.after(cut)
        if (run := await store.run(run_id)) is None or run.state is not RunState.RUNNING:
            continue
        before, panel = paid(store), Panel(dict(SCRIPTS), store=store)
        async with court({}, panel=panel, store=store) as room:
            on_record = {asking.key(each): each for each in await room.verdicts(run_id)}
            found = await resumed(room, run_id)
        keys = [asking.key(verdict) for verdict in found]
        assert len(keys) == len(set(keys)), cut
        assert set(keys) == set(wanted), cut
        assert not before & {call.call_id for call in panel.asked}, cut
        for verdict in found:
            key = asking.key(verdict)
            if verdict.failure is not None and verdict.failure.reason == Reason.INTERRUPTED:
                interrupted_somewhere += 1
                assert key not in on_record
                assert verdict.totals.unknown
            else:
                same = on_record.get(key, wanted[key])
                assert (verdict.outcome, verdict.score) == (same.outcome, same.score), cut
    assert interrupted_somewhere


async def test_what_costs_nothing_is_asked_again_and_what_it_used_is_added() -> None:
    whole, run_id, wanted = await recorded()
    store = await whole.after(len(whole.commits) // 2)
    panel = Panel(dict(SCRIPTS), store=store, cached=True)
    async with court({}, panel=panel, store=store) as room:
        found = await resumed(room, run_id)
    assert {asking.key(each): each.outcome for each in found} == {key: each.outcome for key, each in wanted.items()}
    assert any(each.totals.attempts == 2 and not each.repaired for each in found if each.outcome is Outcome.SCORED)


async def test_rows_of_a_data_set_are_read_again_without_those_whose_seal_was_opened_since() -> None:
    rows = "".join(
        f'{{"input": "Why?", "output": "Air: the answer number {number} of the sea.", "part": "{part}"}}\n'
        for number, part in enumerate(["dev", "dev", "holdout", "dev"])
    )
    policy = SplitPolicy(column="part")
    header = Header(name="small", format=DataFormat.JSONL, policy=policy)
    spec = JudgementSpec(dataset=DatasetRef(name="small"), judge=judge(), concurrency=1)
    store = RecordingStore()
    async with court({}, panel=Panel({JUDGE: Answer(gate="never")}), store=store) as room:
        await room.datasets.put(ME, header, rows.encode())
        run_id = await room.start(spec)
        await room.panel.until(lambda: len(room.panel.asked) == 1)
        view = await room.judgements.get(HOME, run_id)
        await room.judgements.drain(0)
    async with court({}, panel=Panel({JUDGE: by_number()}), store=store) as room:
        await room.datasets.open_seal(ME, "small", 1, "to see")
        await resumed(room, run_id)
        after = await room.judgements.get(HOME, run_id)
        judged, _ = await room.judgements.rated(HOME, run_id)
    assert view.plan.origin == "data set small@1"
    assert (view.plan.items, after.sums.criteria[0].scored_items, len(judged)) == (3, 3, 3)
    assert after.run.state is RunState.SUCCEEDED


async def test_a_run_whose_items_are_gone_is_closed_with_the_reason() -> None:
    spec = JudgementSpec(dataset=DatasetRef(name="small", split=Split.DEV), judge=judge())
    header = Header(name="small", format=DataFormat.JSONL, policy=SplitPolicy(column="part"))
    store = RecordingStore()
    async with court({}, panel=Panel({JUDGE: Answer(gate="never")}), store=store) as room:
        row = b'{"input": "Why?", "output": "Air: the answer number 1.", "part": "dev"}\n'
        await room.datasets.put(ME, header, row)
        run_id = await room.start(spec)
        await room.panel.until(lambda: len(room.panel.asked) == 1)
        await room.judgements.drain(0)
    bare = RecordingStore()
    for writes in store.commits:
        kept = [write for write in writes if type(write).__name__ != "Document"]
        if kept:
            await bare.commit(*kept)
    async with court({}, panel=Panel({JUDGE: by_number()}), store=bare) as room:
        assert await room.judgements.recover() == 1
        run = await room.judgements.run(HOME, run_id)
    assert run.state is RunState.FAILED
