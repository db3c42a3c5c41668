"""What the Experiments place asks of the server: one contract, kept by the twin and over gRPC by a real server."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

import pytest
from tests.tui import sweep_story as story

from whet.v1 import scorer_pb2, sweep_pb2, sweeping_pb2
from whet_agent.catalogue import methods
from whet_agent.client import Client
from whet_agent.connect import Connection, ConnectSettings, connect, stop
from whet_tui.desk import Desk, DeskError
from whet_tui.grpc_desk import GrpcDesk
from whet_tui.judging_values import Outcome, RunState
from whet_tui.memory_desk import MemoryDesk
from whet_tui.sweep_desk import SweepDesk
from whet_tui.sweep_values import (
    Action,
    ComparedCase,
    ExportFormat,
    Heard,
    Phase,
    Plan,
    Progress,
    ReportFormat,
    Retuning,
    Sweep,
    Trial,
    TrialState,
)

PATIENCE = 30.0
TRIALS = 6
CASES = 4
QUICK = "sim/fast?first_ms=0&rate=100000&tokens=5"
LASTING = "sim/fast?first_ms=60000"
"""A model that says nothing for a minute."""
NAMES = {"answer.temperature", "answer.max_tokens"}


class Stage(Protocol):
    """A desk, and a way to let a sweep begin behind it."""

    @property
    def desk(self) -> SweepDesk: ...

    async def begin(self, model: str = QUICK) -> str:
        """Start a sweep of `TRIALS` trials over `CASES` cases; return the run's id."""
        ...


class GrpcStage:
    def __init__(self, connection: Connection) -> None:
        self.whole: Desk = GrpcDesk(connection)
        self.desk = self.whole.sweeping
        self._client = Client(connection.address, connection.person_token)
        self._methods = {method.name: method for method in methods()}

    async def begin(self, model: str = QUICK) -> str:
        spec = sweep_pb2.SweepSpec(
            title="Six trials",
            pipeline=sweep_pb2.Pipeline(stages=[sweep_pb2.Stage(name="answer", model=model)]),
            space=[
                sweeping_pb2.SearchDimension(name="answer.temperature", float_range=sweeping_pb2.FloatRange(high=1.0)),
                sweeping_pb2.SearchDimension(
                    name="answer.max_tokens", int_range=sweeping_pb2.IntRange(low=1, high=200)
                ),
            ],
            items=[
                scorer_pb2.Item(item_id=f"case-{number}", input=f"Question {number}?", reference="nothing")
                for number in range(1, CASES + 1)
            ],
            scorers=["length:1-9"],
            objectives=[
                sweeping_pb2.Objective(kind=sweeping_pb2.OBJECTIVE_KIND_QUALITY),
                sweeping_pb2.Objective(kind=sweeping_pb2.OBJECTIVE_KIND_LATENCY),
            ],
            sampler=sweeping_pb2.Sampler(kind=sweeping_pb2.SAMPLER_KIND_RANDOM),
            budget=sweeping_pb2.Budget(trials=TRIALS),
            seed=3,
        )
        answer = await self._client.call(self._methods["StartSweep"], sweep_pb2.StartSweepRequest(spec=spec))
        assert isinstance(answer, sweep_pb2.StartSweepResponse)
        return answer.sweep.run_id

    async def close(self) -> None:
        await self.whole.close()
        await self._client.close()


class MemoryStage:
    """The twin, told what a server with a simulated model would tell."""

    def __init__(self) -> None:
        self.desk = MemoryDesk().sweeping
        self._runs = 0

    async def begin(self, model: str = QUICK) -> str:
        self._runs += 1
        run_id = f"swp_{self._runs:02}"
        lasts = model == LASTING
        trials = [self._trial(number, lasts=lasts) for number in range(4 if lasts else TRIALS)]
        plan = Plan(
            target="pipeline",
            space=tuple(replace(each, name=name) for each, name in zip(story.plan.space[1:], NAMES, strict=True)),
            trials=TRIALS,
            cases=CASES,
            objectives=story.plan.objectives,
            concurrency=32,
            trials_at_once=4,
            simulated=True,
        )
        sweep = Sweep(
            run_id=run_id,
            title="Six trials",
            state=RunState.RUNNING if lasts else RunState.SUCCEEDED,
            create_ns=1,
            end_ns=0 if lasts else 2,
            plan=plan,
            progress=Progress(running=4, in_flight=16) if lasts else Progress(ended=TRIALS, best=0, best_value=1.0),
            best=None if lasts else trials[0],
            baseline=trials[0],
            result=None if lasts else replace(story.result, best=0),
        )
        await self.desk.put(sweep, trials, [] if lasts else self._cases())
        return run_id

    def _trial(self, number: int, *, lasts: bool) -> Trial:
        parameters = tuple(
            replace(each, name=name) for each, name in zip(story.trial(number).parameters[1:], NAMES, strict=True)
        )
        if lasts:
            return Trial(number=number, parameters=parameters)
        return replace(
            story.trial(number),
            state=TrialState.COMPLETE,
            parameters=parameters,
            cases=CASES,
            scored_cases=CASES,
            front=number == 0,
        )

    def _cases(self) -> list[ComparedCase]:
        return list(story.cases(range(TRIALS)))[:CASES]


async def heard(desk: SweepDesk, run_id: str, until: Callable[[Heard], bool]) -> Heard:
    """Watch a sweep until it tells what it should."""
    async with asyncio.timeout(PATIENCE), aclosing(desk.watch(run_id)) as told:
        async for each in told:
            if until(each):
                return each
    pytest.fail("it ended otherwise")


async def ended(stage: Stage) -> Sweep:
    """Let a sweep come to its end."""
    run_id = await stage.begin()
    await heard(stage.desk, run_id, lambda each: each.ended)
    return await stage.desk.sweep(run_id)


class SweepContract:
    """What every desk does. A stage is given by the class that inherits this."""

    async def test_a_sweep_is_watched_to_its_end_listed_and_read(self, stage: Stage) -> None:
        sweep = await ended(stage)
        assert (sweep.title, sweep.state) == ("Six trials", RunState.SUCCEEDED)
        assert (sweep.plan.trials, sweep.plan.cases, sweep.progress.ended) == (TRIALS, CASES, TRIALS)
        assert {each.name for each in sweep.plan.space} == NAMES
        assert sweep.plan.simulated
        assert len(sweep.plan.goals) == 2
        assert sweep.result is not None
        assert sweep.result.finding
        assert sweep.result.best is not None
        assert sweep.baseline is not None
        assert sweep.baseline.number == 0
        listed = next(each for each in await stage.desk.sweeps() if each.run_id == sweep.run_id)
        assert (listed.state, listed.result is not None) == (RunState.SUCCEEDED, True)

    async def test_trials_come_whole_page_by_page_by_number(self, stage: Stage) -> None:
        run_id = (await ended(stage)).run_id
        first = await stage.desk.trials(run_id, size=4)
        last = await stage.desk.trials(run_id, first.next_page_token, 4)
        assert (first.count, last.next_page_token) == (TRIALS, "")
        trials = [*first.trials, *last.trials]
        assert [each.number for each in trials] == list(range(TRIALS))
        for trial in trials:
            assert trial.state in {TrialState.COMPLETE, TrialState.PRUNED}
            assert {each.name for each in trial.parameters} == NAMES
            assert trial.quality.value is not None
            assert trial.cost is not None
            assert trial.latency_ns is not None
            assert trial.simulated
        front = await stage.desk.trials(run_id, front=True)
        assert 0 < front.count <= TRIALS
        assert all(each.front for each in front.trials)

    async def test_cases_stand_side_by_side_with_what_each_trial_answered(self, stage: Stage) -> None:
        run_id = (await ended(stage)).run_id
        page = await stage.desk.cases(run_id, (0, 3), differing=False)
        assert [each.number for each in page.trials] == [0, 3]
        assert sorted(each.item.item_id for each in page.cases) == [f"case-{number}" for number in range(1, CASES + 1)]
        for case in page.cases:
            assert [cell.number for cell in case.cells] == [0, 3]
            answer = case.cells[0].answers[0]
            assert (answer.outcome, answer.simulated) == (Outcome.SCORED, True)
            assert answer.output
            assert case.cells[0].score == answer.score
        differing = await stage.desk.cases(run_id, (0, 3), differing=True)
        assert all(case.cells[0].score != case.cells[1].score for case in differing.cases)

    async def test_a_sweep_under_way_is_paused_goes_on_is_retuned_and_cancelled(self, stage: Stage) -> None:
        run_id = await stage.begin(LASTING)
        watching = asyncio.create_task(heard(stage.desk, run_id, lambda each: each.ended))
        paused = await stage.desk.control(run_id, Action.PAUSE, f"{run_id}-1", None)
        assert paused.progress.phase is Phase.PAUSED
        again = await stage.desk.control(run_id, Action.PAUSE, f"{run_id}-1", None)
        assert len(again.controls) == 1, "the same request changes nothing"
        resumed = await stage.desk.control(run_id, Action.RESUME, f"{run_id}-2", None)
        assert resumed.progress.phase is Phase.SEARCH
        settings = Retuning(money=5_000_000_000, trials=9, concurrency=7)
        retuned = await stage.desk.control(run_id, Action.RETUNE, f"{run_id}-3", settings)
        assert (retuned.plan.budget.money, retuned.planned, retuned.concurrency) == (5_000_000_000, 9, 7)
        await stage.desk.control(run_id, Action.CANCEL, f"{run_id}-4", None)
        await watching
        sweep = await stage.desk.sweep(run_id)
        assert sweep.ended
        told = [each.action for each in sweep.controls]
        assert told == [Action.PAUSE, Action.RESUME, Action.RETUNE, Action.CANCEL]
        assert {each.role for each in sweep.controls} == {"person"}

    async def test_a_configuration_and_a_report_are_given_as_files(self, stage: Stage) -> None:
        run_id = (await ended(stage)).run_id
        for kind in ExportFormat:
            document = await stage.desk.export(run_id, 2, kind)
            assert run_id in document.content
            assert document.file_name
        assert (await stage.desk.export(run_id, None, ExportFormat.JSON)).content.lstrip().startswith("{")
        assert (await stage.desk.report(run_id, ReportFormat.MARKDOWN)).content.startswith("# ")
        assert "<!doctype html>" in (await stage.desk.report(run_id, ReportFormat.HTML)).content.lower()

    async def test_what_is_not_there_is_said_to_be_not_there(self, stage: Stage) -> None:
        nowhere = "swp_01m8hrarns7hrb19s0w4tbsh2b"
        for call in (
            stage.desk.sweep(nowhere),
            stage.desk.trials(nowhere),
            stage.desk.cases(nowhere, (), differing=True),
            stage.desk.control(nowhere, Action.PAUSE, "nowhere-1", None),
            stage.desk.export(nowhere, None, ExportFormat.JSON),
            stage.desk.report(nowhere, ReportFormat.HTML),
            heard(stage.desk, nowhere, lambda _: True),
        ):
            with pytest.raises(DeskError):
                await call
        sweep = await ended(stage)
        with pytest.raises(DeskError) as refused:
            await stage.desk.control(sweep.run_id, Action.PAUSE, f"{sweep.run_id}-1", None)
        assert refused.value.lasting, "it is not worth trying again"


class TestMemorySweeps(SweepContract):
    @pytest.fixture
    def stage(self) -> Stage:
        return MemoryStage()


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A real embedded server, one for all tests of this file."""
    data = tmp_path_factory.mktemp("sweeping")
    yield asyncio.run(connect(ConnectSettings(data=data)))
    asyncio.run(stop(data))


class TestGrpcSweeps(SweepContract):
    @pytest.fixture
    async def stage(self, connection: Connection) -> AsyncIterator[Stage]:
        stage = GrpcStage(connection)
        yield stage
        await stage.close()
