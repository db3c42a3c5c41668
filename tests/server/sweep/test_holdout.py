"""The hold-out is opened once, at the end, by the sweep that was asked to; else it stays under seal."""

import json
from typing import Any

import pytest
from tests.server.fanout.panel import HOME, ME
from tests.server.judge.court import RecordingStore
from tests.server.sweep.lab import Room, room, spec

from whet_server.dataset.spec import DatasetRef, Header, Split, SplitPolicy
from whet_server.errors import HoldoutSpent, InvalidField, Reason
from whet_server.log.events import CasesFinished, SealOpened
from whet_server.sweep.spec import SweepSpec
from whet_server.sweeping import Budget, SweepAction
from whet_server.values import Nanos, RunId

WITH_SEAL = spec(items=(), dataset=DatasetRef(name="cases", input="input", reference="reference"), holdout=True)


async def put(made: Room, rows: int = 60) -> None:
    where = ("dev", "train", "holdout")
    lines = [
        json.dumps({"id": f"r{at}", "input": f"q {at}", "reference": "yes", "where": where[at % 3]})
        for at in range(rows)
    ]
    header = Header(name="cases", key="id", policy=SplitPolicy(column="where"))
    await made.datasets.put(ME, header, "\n".join(lines).encode())


async def is_sealed(made: Room) -> bool:
    return (await made.datasets.get(HOME, "cases")).sealed


async def concluded(made: Room, wanted: SweepSpec = WITH_SEAL) -> RunId:
    await put(made)
    run_id = await made.start(wanted)
    await made.events(run_id)
    return run_id


async def test_the_best_and_the_baseline_answer_all_rows_of_the_holdout_once() -> None:
    async with room() as made:
        run_id = await concluded(made)
        result = (await made.fold(run_id)).result
        events = await made.events(run_id)
        dataset = await made.datasets.get(HOME, "cases")
        opened = await made.log.events(HOME, RunId(dataset.open_run_id))
        asked = [each for each in made.lab.asked if each.holdout]
    assert result is not None
    assert result.holdout is not None
    assert result.best is not None
    assert result.best != 0
    assert (result.holdout.dataset, result.holdout.rows, result.holdout.pairs) == ("cases@1", 20, 20)
    assert run_id in dataset.open_reason
    assert sum(isinstance(event.payload, SealOpened) for event in opened) == 1
    assert {each.number for each in asked} == {0, result.best}
    assert len(asked) == len({(each.number, each.item.item_id) for each in asked}) == 40
    rows = {each.item.item_id for each in asked}
    for event in events:
        if isinstance(event.payload, CasesFinished):
            assert event.payload.holdout is bool(rows & {case.case_id for case in event.payload.cases})


async def test_a_seal_that_was_opened_before_refuses_a_plan() -> None:
    async with room() as made:
        await put(made)
        await made.datasets.open_seal(ME, "cases", 1, "I was curious")
        with pytest.raises(HoldoutSpent, match="I was curious"):
            await made.sweeps.plan(ME, WITH_SEAL)


async def test_a_holdout_needs_a_data_set_that_has_one() -> None:
    async with room() as made:
        with pytest.raises(InvalidField):
            await made.sweeps.plan(ME, spec(holdout=True))


async def test_a_plan_opens_nothing_and_says_that_a_run_would() -> None:
    async with room() as made:
        await put(made)
        forecast = await made.sweeps.plan(ME, WITH_SEAL)
        assert forecast.opens_seal
        assert await is_sealed(made)
        assert not (await made.sweeps.plan(ME, spec())).opens_seal


async def test_the_seal_stays_closed_when_a_sweep_is_cancelled_or_finds_nothing() -> None:
    async with room() as made:
        await put(made)
        run_id = await made.start(WITH_SEAL)
        await made.sweeps.control(ME, run_id, SweepAction.CANCEL)
        await made.events(run_id)
        assert await is_sealed(made)
    async with room(truth=lambda *_: None) as made:
        await concluded(made)
        assert await is_sealed(made)


async def test_the_seal_stays_closed_when_the_time_is_up() -> None:
    async with room(jitter=900) as made:
        run_id = await concluded(made, spec_with(budget=Budget(trials=12, time_ns=30_000_000)))
        result = (await made.fold(run_id)).result
        assert await is_sealed(made)
    assert result is not None
    assert result.holdout is None or (
        result.holdout.failure is not None and result.holdout.failure.reason == Reason.DEADLINE_EXCEEDED
    )


def spec_with(**changed: Any) -> SweepSpec:
    base: dict[str, Any] = {"items": (), "dataset": WITH_SEAL.dataset, "holdout": True}
    return spec(**(base | changed))


async def test_money_is_held_back_for_the_holdout() -> None:
    money = Nanos(2_000)
    async with room() as made:
        run_id = await concluded(made, spec_with(budget=Budget(trials=12, money=money)))
        fold = await made.fold(run_id)
        totals = (await made.sweeps.run(HOME, run_id)).totals
    assert fold.result is not None
    assert fold.result.holdout is not None
    assert fold.result.holdout.failure is None
    assert fold.result.holdout.pairs == 20
    assert totals.settled <= money


@pytest.mark.parametrize("after", [b'"seal_opened"', b'"holdout":true'])
async def test_a_sweep_that_is_killed_at_its_seal_finishes_the_figure_and_opens_nothing_twice(after: bytes) -> None:
    async with room() as made:
        run_id = await concluded(made)
        wanted = (await made.fold(run_id)).result
        whole = made.store
    left = await whole.after(first_with(whole, after))
    async with room(left) as made:
        assert await made.sweeps.recover() == 1
        await made.events(run_id)
        assert (await made.fold(run_id)).result == wanted


def first_with(whole: RecordingStore, word: bytes) -> int:
    return next(
        at
        for at, writes in enumerate(whole.commits, start=1)
        if any(word in getattr(write, "record", b"") for write in writes)
    )


async def test_the_rows_of_a_sealed_holdout_are_no_cases() -> None:
    ref = DatasetRef(name="cases", split=Split.HOLDOUT, input="input", reference="reference")
    async with room() as made:
        await put(made)
        with pytest.raises(Exception, match="under seal"):
            await made.sweeps.plan(ME, spec(items=(), dataset=ref))
        assert not made.lab.asked
