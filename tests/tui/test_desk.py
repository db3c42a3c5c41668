"""What places ask of the server: one contract, kept by the twin in memory and over gRPC by a real server."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Protocol, cast

import grpc.aio
import pytest
from google.protobuf.message import Message

from whet.v1 import (
    calibration_pb2,
    dataset_pb2,
    dataset_pb2_grpc,
    event_pb2,
    fanout_pb2,
    judge_pb2,
    judging_pb2,
    ledger_pb2,
    scorer_pb2,
    value_pb2,
)
from whet_agent.catalogue import methods
from whet_agent.client import Client
from whet_agent.connect import Connection, ConnectSettings, connect, stop
from whet_tui.calibration_values import (
    Agreement,
    Audit,
    AuditAxis,
    AuditReport,
    AuditRun,
    AuditVerdict,
    AxisResult,
    Calibration,
)
from whet_tui.dataset_values import Column, Dataset, Row, Split, SplitCount, SplitPolicy
from whet_tui.desk import Desk, DeskError
from whet_tui.desk_values import Cap, Endpoint, Following, Grouping, Model, Probe, Spending, UsageLine
from whet_tui.entries import Fanout, FanoutState, LaneState, Money
from whet_tui.grpc_desk import GrpcDesk
from whet_tui.judging_values import Estimate, Judge, Outcome, OutcomeCount, RunState, Standing
from whet_tui.memory_desk import MemoryDesk

PATIENCE = 20.0
QUICK = ("sim/fast", "sim/costly")
LASTING = ("sim/steady?rate=5&tokens=500&seed=1", "sim/steady?rate=5&tokens=500&seed=2")
"""Two branches that talk until they are cancelled."""
CONFIG = 'panel = ["sim/fast"]\nsynthesiser = "sim/fast"\n'
LIMIT = 5_000_000_000
GROUPINGS: tuple[Grouping, ...] = ("model", "run", "day")


class Stage(Protocol):
    """A desk, and a way to make things happen behind it."""

    @property
    def desk(self) -> Desk: ...

    async def begin(self, *models: str) -> str:
        """Start a fan-out to these models; return its id."""
        ...

    async def calibrate(self) -> str:
        """Let a simulated judge judge six answers, rate four of them, and compare; return the judgement's id."""
        ...

    async def audit(self) -> str:
        """Audit a simulated judge on two axes to the end; return the run's id."""
        ...

    async def keep(self, name: str, rows: int) -> None:
        """Store a version of a data set with so many rows, a half of them in the hold-out."""
        ...


class GrpcStage:
    def __init__(self, connection: Connection) -> None:
        self.desk = GrpcDesk(connection)
        self._connection = connection
        self._client = Client(connection.address, connection.person_token)
        self._methods = {method.name: method for method in methods()}

    async def begin(self, *models: str) -> str:
        spec = fanout_pb2.FanoutSpec(prompt="What is a monad?", models=models)
        answer = await self._client.call(self._methods["StartFanout"], fanout_pb2.StartFanoutRequest(spec=spec))
        assert isinstance(answer, fanout_pb2.StartFanoutResponse)
        return answer.fanout.run_id

    async def keep(self, name: str, rows: int) -> None:
        lines = "".join(f'{{"id": "r{number}", "input": "Question {number}?"}}\n' for number in range(1, rows + 1))
        policy = dataset_pb2.SplitPolicy(train=1, dev=1, holdout=2)
        header = dataset_pb2.PutDatasetHeader(
            name=name, key="id", source="questions.jsonl", policy=policy, tags=["gold"]
        )
        parts = iter(
            [
                dataset_pb2.PutDatasetRequest(header=header),
                dataset_pb2.PutDatasetRequest(chunk=lines.encode()),
            ]
        )
        async with grpc.aio.insecure_channel(self._connection.address) as channel:
            put = dataset_pb2_grpc.DatasetServiceStub(channel).PutDataset
            await put(parts, metadata=(("authorization", f"Bearer {self._connection.person_token}"),), timeout=PATIENCE)

    async def calibrate(self) -> str:
        items = [
            scorer_pb2.Item(item_id=f"i{number}", input="Why?", candidates=["Because " * number])
            for number in range(1, 7)
        ]
        spec = judge_pb2.JudgementSpec(items=items, judge=judging_pb2.Judge(models=["sim/judge"]))
        run = judge_pb2.RunJudgementRequest(spec=spec)
        async with aclosing(self._client.stream(self._methods["RunJudgement"], run, timeout=PATIENCE)) as batches:
            (run_id,) = {cast("judge_pb2.RunJudgementResponse", batch).run_id async for batch in batches}
        ratings = [judging_pb2.Rating(item_id=f"i{number}", level=number) for number in range(1, 5)]
        request = calibration_pb2.PutRatingsRequest(
            run_id=run_id, ratings=ratings, rubric="problem-solving", rater="ada"
        )
        await self._call("PutRatings", request)
        await self._call("Calibrate", calibration_pb2.CalibrateRequest(run_id=run_id))
        return run_id

    async def audit(self) -> str:
        items = [
            scorer_pb2.Item(
                item_id=f"i{number}", input="Why does it rain?", candidates=[f"Because of {number} clouds."]
            )
            for number in range(1, 7)
        ]
        axes = [judging_pb2.AUDIT_AXIS_LENGTH, judging_pb2.AUDIT_AXIS_INJECTION]
        spec = calibration_pb2.AuditSpec(judge=judging_pb2.Judge(models=["sim/judge"]), items=items, axes=axes)
        run = calibration_pb2.RunAuditRequest(spec=spec)
        async with aclosing(self._client.stream(self._methods["RunAudit"], run, timeout=PATIENCE)) as batches:
            (run_id,) = {cast("calibration_pb2.RunAuditResponse", batch).run_id async for batch in batches}
        return run_id

    async def _call(self, name: str, request: Message) -> Message:
        return await self._client.call(self._methods[name], request)

    async def cap(self) -> None:
        request = ledger_pb2.PutCapRequest(period=ledger_pb2.CAP_PERIOD_DAY, limit=value_pb2.Money(nanos=LIMIT))
        await self._client.call(self._methods["PutCap"], request)

    async def close(self) -> None:
        await self.desk.close()
        await self._client.close()


class MemoryStage:
    """The twin, told what a server with simulated models would tell."""

    def __init__(self) -> None:
        self.desk = MemoryDesk()
        self.desk.tests["sim"] = Probe(ok=True, latency_ns=1_000_000, models=2)
        self.desk.endpoint_list = [
            Endpoint(
                name="sim",
                kind="sim",
                source="built-in",
                models=(
                    Model(name="sim/costly", input_price=1, output_price=1, simulated=True),
                    Model(name="sim/fast", input_price=0, output_price=0, simulated=True, in_panel=True),
                ),
            )
        ]
        self._runs = 0

    async def begin(self, *models: str) -> str:
        self._runs += 1
        run_id = f"fan_{self._runs:02}"
        plans = [event_pb2.BranchPlan(branch_id=f"b{place}", model=model) for place, model in enumerate(models, 1)]
        opened = event_pb2.RunOpened(run_id=run_id, prompt="What is a monad?", branches=plans)
        await self.desk.tell(run_id, event_pb2.Event(sequence=1, run_opened=opened))
        if models == QUICK:
            await self._finish(run_id)
        return run_id

    async def keep(self, name: str, rows: int) -> None:
        version = 1 + max((number for known, number in self.desk.data if known == name), default=0)
        places = [list(Split)[min(number % 4, 2)] for number in range(rows)]
        self.desk.data[name, version] = Dataset(
            name=name,
            version=version,
            rows=rows,
            columns=(Column(name="id", type="string"), Column(name="input", type="string")),
            splits=tuple(SplitCount(split=split, rows=places.count(split)) for split in Split),
            policy=SplitPolicy(train=1, dev=1, holdout=2),
            key="id",
            tags=("gold",),
            digest="0f" * 32,
            source="questions.jsonl",
            create_ns=1,
            role="person",
            sealed=True,
            run_id="dat_01",
        )
        self.desk.data_rows[name, version] = [
            Row(row_id=f"r{number}", number=number, split=place, json=f'{{"input": "Question {number}?"}}')
            for number, place in enumerate(places, 1)
        ]

    async def calibrate(self) -> str:
        whole = Agreement(
            items=4, exact=Estimate(value=0.25, low=0.0, high=0.75), levels=(1, 2, 3, 4, 5), matrix=(4,) + (0,) * 24
        )
        self.desk.calibration_list = [
            Calibration(
                calibration_id="cal_01",
                judge=Judge(rubric="problem-solving@1", models=("sim/judge",)),
                run_id="jud_01",
                criterion="problem-solving",
                agreements=(whole,),
                raters=("ada",),
                outcomes=(OutcomeCount(outcome=Outcome.SCORED, count=4),),
                create_ns=1,
                simulated=True,
                state=Standing.TOO_WEAK,
                reason="Too few.",
                judge_digest="0f" * 32,
                rubric_digest="0f" * 32,
                prompt_digest="0f" * 32,
            )
        ]
        return "jud_01"

    async def audit(self) -> str:
        axes = tuple(
            AxisResult(
                axis=axis,
                verdict=AuditVerdict.UNDECIDED,
                pairs=6,
                scored_pairs=6,
                flip_rate=Estimate(value=0.0),
                noise_rate=Estimate(value=0.0),
                shift=Estimate(value=0.0),
                finding="Too few pairs.",
            )
            for axis in (AuditAxis.LENGTH, AuditAxis.INJECTION)
        )
        self.desk.audit_list = [
            AuditRun(run_id="aud_01", title="An audit", state=RunState.SUCCEEDED, create_ns=1, end_ns=2)
        ]
        self.desk.audits_kept["aud_01"] = Audit(
            run_id="aud_01",
            state=RunState.SUCCEEDED,
            judge=Judge(rubric="problem-solving@1", models=("sim/judge",)),
            report=AuditReport(axes=axes, simulated=True),
            verdicts=24,
            planned=24,
        )
        return "aud_01"

    async def _finish(self, run_id: str) -> None:
        done = event_pb2.BRANCH_STATE_DONE
        for place, branch_id in enumerate(("b1", "b2"), start=2):
            finished = event_pb2.BranchFinished(
                branch_id=branch_id, state=done, text="A monad is a value in a context."
            )
            await self.desk.tell(run_id, event_pb2.Event(sequence=place, branch_finished=finished))
        ended = event_pb2.RunFinished(state=event_pb2.RUN_STATE_SUCCEEDED)
        await self.desk.tell(run_id, event_pb2.Event(sequence=4, run_finished=ended))
        line = UsageLine(key="sim/costly", money=Money(settled=12), input_tokens=10, output_tokens=20, attempts=2)
        total = UsageLine(key="", money=Money(settled=12), input_tokens=10, output_tokens=20, attempts=2)
        cap = Cap(period="day", limit=LIMIT, money=Money(settled=12))
        for grouping in GROUPINGS:
            self.desk.money[grouping] = Spending(caps=(cap,), total=total, lines=(line,), days=(line,))


async def followed(desk: Desk, following: Following, until: Callable[[Fanout], bool]) -> Fanout:
    """Follow a run until it is as it should be, then leave it."""
    async with asyncio.timeout(PATIENCE), aclosing(desk.follow(following)) as changes:
        async for _ in changes:
            if until(following.fanout):
                break
    return following.fanout


def follow(run_id: str) -> Following:
    return Following(run_id=run_id, fanout=Fanout(run_id=run_id))


def talking(fanout: Fanout) -> bool:
    return bool(fanout.lanes) and not any(lane.state.ended for lane in fanout.lanes.values())


class DeskContract:
    """What every desk does. A stage is given by the class that inherits this."""

    async def test_a_run_is_listed_followed_to_its_end_and_then_told_at_once(self, stage: Stage) -> None:
        run_id = await stage.begin(*QUICK)
        following = follow(run_id)
        fanout = await followed(stage.desk, following, lambda fanout: fanout.ended)
        assert fanout.state is FanoutState.SUCCEEDED
        assert [lane.state for lane in fanout.lanes.values()] == [LaneState.DONE, LaneState.DONE]
        listed = next(run for run in await stage.desk.runs() if run.run_id == run_id)
        assert (listed.title, listed.state) == ("What is a monad?", FanoutState.SUCCEEDED)
        assert await followed(stage.desk, following, lambda _: False) is fanout

    async def test_a_run_can_be_left_and_taken_up_where_it_was_left(self, stage: Stage) -> None:
        run_id = await stage.begin(*LASTING)
        following = follow(run_id)
        await followed(stage.desk, following, talking)
        cursor = following.cursor
        assert cursor
        await stage.desk.cancel(run_id)
        fanout = await followed(stage.desk, following, lambda fanout: fanout.ended)
        assert fanout.state is FanoutState.CANCELLED
        assert following.cursor != cursor

    async def test_one_branch_is_cancelled_and_the_others_go_on(self, stage: Stage) -> None:
        run_id = await stage.begin(*LASTING)
        following = follow(run_id)
        first, second = (await followed(stage.desk, following, talking)).lanes
        await stage.desk.cancel(run_id, first)
        fanout = await followed(stage.desk, following, lambda fanout: fanout.lanes[first].state.ended)
        assert fanout.lanes[first].state in {LaneState.CANCELLED, LaneState.PARTIAL}
        assert not fanout.lanes[second].state.ended
        assert not fanout.ended
        await stage.desk.cancel(run_id)

    async def test_what_is_not_there_is_said_to_be_not_there(self, stage: Stage) -> None:
        with pytest.raises(DeskError):
            await stage.desk.cancel("fan_nowhere")
        with pytest.raises(DeskError):
            await followed(stage.desk, follow("fan_nowhere"), lambda _: False)
        with pytest.raises(DeskError):
            await stage.desk.test("nowhere")
        run_id = await stage.begin(*QUICK)
        with pytest.raises(DeskError, match="no branch"):
            await stage.desk.cancel(run_id, "b99")

    async def test_endpoints_have_their_models_with_prices_and_panel_and_can_be_tested(self, stage: Stage) -> None:
        endpoint = next(each for each in await stage.desk.endpoints() if each.name == "sim")
        assert (endpoint.kind, endpoint.circuit, endpoint.source) == ("sim", "closed", "built-in")
        models = {model.name: model for model in endpoint.models}
        assert models["sim/fast"].in_panel
        assert models["sim/fast"].simulated
        assert models["sim/fast"].output_price == 0
        assert models["sim/costly"].output_price
        assert (await stage.desk.test("sim")).ok

    async def test_spending_adds_up_however_it_is_grouped(self, stage: Stage) -> None:
        run_id = await stage.begin(*QUICK)
        await followed(stage.desk, follow(run_id), lambda fanout: fanout.ended)
        for grouping in GROUPINGS:
            spending = await stage.desk.spending(grouping)
            assert spending.total.attempts == sum(line.attempts for line in spending.lines) > 0
            assert spending.total.money.settled == sum(line.money.settled for line in spending.lines) > 0
            assert sum(day.money.settled for day in spending.days) == spending.total.money.settled
            (cap,) = spending.caps
            assert cap.period == "day"
            assert cap.left == LIMIT - cap.money.settled - cap.money.unknown - cap.money.reserved

    async def test_data_sets_are_listed_with_their_newest_version_and_one_with_all(self, stage: Stage) -> None:
        for rows in (8, 12):
            await stage.keep("listed", rows)
        await stage.keep("listed-too", 4)
        named = {data.name: data for data in await stage.desk.datasets()}
        assert list(named) == sorted(named)
        data = named["listed"]
        assert (data.version, data.rows, data.sealed, data.tags, data.key) == (2, 12, True, ("gold",), "id")
        assert data.rows_of(None) + data.rows_of(Split.HOLDOUT) == 12
        assert data.policy.holdout == 2 * data.policy.train
        assert {column.name: column.type for column in data.columns} == {"id": "string", "input": "string"}
        assert len(data.digest) == 64
        assert data.source == "questions.jsonl"
        assert data.role == "person"
        assert data.create_ns
        assert data.run_id
        assert [each.version for each in await stage.desk.datasets("listed")] == [2, 1]

    async def test_rows_come_page_by_page_without_those_under_seal_or_of_one_split(self, stage: Stage) -> None:
        await stage.keep("paged", 500)
        data = (await stage.desk.datasets("paged"))[0]
        found: list[Row] = []
        token = ""
        while True:
            page = await stage.desk.rows("paged", 1, token=token)
            assert page.sealed_rows == data.rows_of(Split.HOLDOUT) > 0
            found += page.rows
            token = page.next_page_token
            if not token:
                break
        assert len(found) == data.rows_of(None)
        assert [row.number for row in found] == sorted({row.number for row in found})
        assert {row.split for row in found} == {Split.TRAIN, Split.DEV}
        assert json.loads(found[0].json)["input"] == f"Question {found[0].number}?"
        dev = await stage.desk.rows("paged", 1, split=Split.DEV)
        assert {row.split for row in dev.rows} == {Split.DEV}
        assert dev.sealed_rows == 0

    async def test_a_seal_is_opened_once_with_a_reason_that_stays(self, stage: Stage) -> None:
        await stage.keep("sealed", 12)
        with pytest.raises(DeskError):
            await stage.desk.rows("sealed", 1, split=Split.HOLDOUT)
        opened = await stage.desk.open_seal("sealed", 1, "The report is due.")
        assert (opened.sealed, opened.open_reason) == (False, "The report is due.")
        assert opened.open_ns
        assert opened.open_run_id
        page = await stage.desk.rows("sealed", 1, split=Split.HOLDOUT)
        assert len(page.rows) == opened.rows_of(Split.HOLDOUT) > 0
        with pytest.raises(DeskError):
            await stage.desk.open_seal("sealed", 1, "Again.")
        with pytest.raises(DeskError):
            await stage.desk.rows("nowhere", 1)

    async def test_a_calibration_tells_its_judge_its_agreement_and_why_it_does_not_hold(self, stage: Stage) -> None:
        run_id = await stage.calibrate()
        found = next(each for each in await stage.desk.calibrations() if each.run_id == run_id)
        assert found.judge.models == ("sim/judge",)
        assert found.judge.rubric == "problem-solving@1"
        assert (found.state, found.simulated, found.raters) == (Standing.TOO_WEAK, True, ("ada",))
        assert found.reason
        assert found.create_ns
        assert found.outcomes[0].outcome is Outcome.SCORED
        assert {len(each) for each in (found.judge_digest, found.rubric_digest, found.prompt_digest)} == {64}
        whole = found.agreements[0]
        assert (whole.dimension, whole.items) == ("", 4)
        assert whole.levels == (1, 2, 3, 4, 5)
        assert len(whole.matrix) == 25
        assert sum(whole.matrix) == 4
        assert whole.exact.value is not None
        assert whole.exact.low is not None

    async def test_an_audit_is_listed_and_tells_what_it_found_on_each_axis(self, stage: Stage) -> None:
        run_id = await stage.audit()
        listed = next(each for each in await stage.desk.audits() if each.run_id == run_id)
        assert listed.state is RunState.SUCCEEDED
        assert listed.title
        assert 0 < listed.create_ns < listed.end_ns
        audit = await stage.desk.audit(run_id)
        assert (audit.state, audit.judge.models) == (RunState.SUCCEEDED, ("sim/judge",))
        assert audit.verdicts == audit.planned > 0
        assert audit.report is not None
        assert audit.report.simulated
        assert [axis.axis for axis in audit.report.axes] == [AuditAxis.LENGTH, AuditAxis.INJECTION]
        assert all(axis.pairs == axis.scored_pairs >= 6 for axis in audit.report.axes)
        assert all(axis.finding and axis.shift.value is not None for axis in audit.report.axes)
        with pytest.raises(DeskError):
            await stage.desk.audit("aud_nowhere")


class TestMemoryDesk(DeskContract):
    @pytest.fixture
    def stage(self) -> Stage:
        return MemoryStage()

    async def test_it_can_be_away_and_says_why(self) -> None:
        stage = MemoryStage()
        run_id = await stage.begin(*LASTING)
        following = follow(run_id)
        await followed(stage.desk, following, talking)
        await stage.desk.leave("The server is gone.")
        with pytest.raises(DeskError, match="gone"):
            await stage.desk.runs()
        with pytest.raises(DeskError, match="gone"):
            await followed(stage.desk, following, lambda _: False)


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A real embedded server, one for all tests of this file."""
    data = tmp_path_factory.mktemp("desk")
    config = data / "config.toml"
    config.write_text(CONFIG)
    yield asyncio.run(connect(ConnectSettings(data=data, config=config)))
    asyncio.run(stop(data))


class TestGrpcDesk(DeskContract):
    @pytest.fixture
    async def stage(self, connection: Connection) -> AsyncIterator[Stage]:
        stage = GrpcStage(connection)
        await stage.cap()
        yield stage
        await stage.close()


async def test_a_desk_brings_a_server_back_that_has_died_and_none_that_was_stopped(tmp_path: Path) -> None:
    settings = ConnectSettings(data=tmp_path)
    desk = GrpcDesk(await connect(settings))
    try:
        assert await desk.endpoints()
        pid = int(json.loads((tmp_path / "server.json").read_text())["pid"])
        os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(os.waitpid, pid, 0)
        assert await desk.endpoints()
        await stop(tmp_path)
        with pytest.raises(DeskError, match="cannot be reached"):
            await desk.endpoints()
        assert not await stop(tmp_path)
        await connect(settings)
        assert await desk.endpoints()
    finally:
        await desk.close()
        with suppress(TimeoutError):
            await stop(tmp_path)
