"""What the Judges place asks of the server: one contract, kept by the twin and over gRPC by a real server."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

import pytest
from tests.tui import judging_story as story

from whet.v1 import judge_pb2, judging_pb2, scorer_pb2
from whet_agent.catalogue import methods
from whet_agent.client import Client
from whet_agent.connect import Connection, ConnectSettings, connect, stop
from whet_tui.desk import Desk, DeskError
from whet_tui.grpc_desk import GrpcDesk
from whet_tui.judging_desk import JudgingDesk
from whet_tui.judging_values import (
    ItemOrder,
    ItemQuery,
    JudgedItem,
    Judgement,
    Mode,
    Outcome,
    Progress,
    Rating,
    RunState,
    Source,
    Standing,
)
from whet_tui.memory_desk import MemoryDesk

PATIENCE = 30.0
ITEMS = 12
GARBAGE = "sim/judge?garbage=1.0"
LASTING = "sim/judge?first_ms=60000"
"""A judge that says nothing for a minute."""


class Stage(Protocol):
    """A desk, and a way to let something be judged behind it."""

    @property
    def desk(self) -> JudgingDesk: ...

    @property
    def whole(self) -> Desk: ...

    async def judge(self, model: str = "sim/judge") -> str:
        """Start judging `ITEMS` items; return the run's id."""
        ...


class GrpcStage:
    def __init__(self, connection: Connection) -> None:
        self.whole: Desk = GrpcDesk(connection)
        self.desk = self.whole.judging
        self._client = Client(connection.address, connection.person_token)
        self._methods = {method.name: method for method in methods()}

    async def judge(self, model: str = "sim/judge") -> str:
        items = [
            scorer_pb2.Item(item_id=f"i{number}", input=f"Question {number}?", candidates=[f"Because of {number}."])
            for number in range(1, ITEMS + 1)
        ]
        spec = judge_pb2.JudgementSpec(items=items, judge=judging_pb2.Judge(models=[model]), title="Twelve answers")
        answer = await self._client.call(self._methods["StartJudgement"], judge_pb2.StartJudgementRequest(spec=spec))
        assert isinstance(answer, judge_pb2.StartJudgementResponse)
        return answer.judgement.run_id

    async def close(self) -> None:
        await self.whole.close()
        await self._client.close()


class MemoryStage:
    """The twin, told what a server with a simulated judge would tell."""

    def __init__(self) -> None:
        desk = MemoryDesk()
        self.whole: Desk = desk
        self.desk = desk.judging
        self.desk.rubrics[story.RUBRIC] = story.rubric
        self._runs = 0

    async def judge(self, model: str = "sim/judge") -> str:
        self._runs += 1
        run_id = f"jud_{self._runs:02}"
        lasts = model == LASTING
        outcome = Outcome.UNPARSEABLE if model == GARBAGE else Outcome.SCORED
        items = [] if lasts else [self._item(number, outcome) for number in range(1, ITEMS + 1)]
        criterion = replace(story.criterion(ITEMS, standing=Standing.UNCALIBRATED), scored_items=ITEMS)
        plan = replace(story.ended.plan, items=ITEMS, verdicts=ITEMS, judges=("sim/judge",))
        judgement = Judgement(
            run_id=run_id,
            title="Twelve answers",
            state=RunState.RUNNING if lasts else RunState.SUCCEEDED,
            create_ns=1,
            plan=plan,
            criteria=(criterion,),
            combined=criterion,
            verdicts=0 if lasts else ITEMS,
        )
        await self.desk.put(judgement, items)
        return run_id

    def _item(self, number: int, outcome: Outcome) -> JudgedItem:
        judged = story.judged(number, outcome=outcome)
        return replace(judged, item=replace(judged.item, input=f"Question {number}?"), verdicts=judged.verdicts[:1])


async def followed(desk: JudgingDesk, run_id: str, until: Callable[[Progress], bool]) -> Progress:
    """Follow a judgement until it is as it should be."""
    async with asyncio.timeout(PATIENCE), aclosing(desk.progress(run_id)) as heard:
        async for progress in heard:
            if until(progress):
                return progress
    pytest.fail("it ended otherwise")


async def judged(stage: Stage, model: str = "sim/judge") -> str:
    """Let items be judged to the end."""
    run_id = await stage.judge(model)
    await followed(stage.desk, run_id, lambda progress: progress.ended)
    return run_id


def level(item_rating: int, **more: object) -> Rating:
    return Rating(rubric="problem-solving", rater="anna", level=item_rating, **more)  # type: ignore[arg-type]  # fields by name


class JudgingContract:
    """What every desk does. A stage is given by the class that inherits this."""

    async def test_a_judgement_is_followed_listed_and_summed_with_its_judge_and_standing(self, stage: Stage) -> None:
        run_id = await judged(stage)
        listed = next(each for each in await stage.desk.judgements() if each.run_id == run_id)
        assert (listed.title, listed.state) == ("Twelve answers", RunState.SUCCEEDED)
        assert (listed.plan.items, listed.plan.verdicts, listed.verdicts) == (ITEMS, ITEMS, ITEMS)
        assert listed.plan.simulated
        assert not listed.criteria
        assert listed.combined is not None
        page = await stage.desk.items(ItemQuery(run_id=run_id))
        (criterion,) = page.judgement.criteria
        assert (criterion.items, criterion.scored_items) == (ITEMS, ITEMS)
        assert criterion.mean.value is not None
        assert len(criterion.histogram) == 10
        assert criterion.calibration is Standing.UNCALIBRATED
        assert criterion.judge is not None
        assert criterion.judge.mode is Mode.POINTWISE
        rubric = await stage.desk.rubric(criterion.judge.rubric)
        assert criterion.judge.rubric == f"{rubric.name}@{rubric.version}"
        assert (rubric.lowest, rubric.highest) == (1, 5)
        assert [each.name for each in rubric.dimensions] == [each.dimension for each in criterion.dimensions]
        assert all(each.anchors for each in rubric.dimensions)

    async def test_items_come_whole_page_by_page_in_the_order_asked_for(self, stage: Stage) -> None:
        query = ItemQuery(run_id=await judged(stage), order=ItemOrder.GIVEN)
        first = await stage.desk.items(query, size=5)
        second = await stage.desk.items(query, first.next_page_token, 5)
        last = await stage.desk.items(query, second.next_page_token, 5)
        assert last.next_page_token == ""
        items = [*first.items, *second.items, *last.items]
        assert [each.item.item_id for each in items] == [f"i{number}" for number in range(1, ITEMS + 1)]
        assert items[0].item.input == "Question 1?"
        (verdict,) = items[0].verdicts
        assert verdict.outcome is Outcome.SCORED
        assert verdict.score is not None
        assert verdict.judge == "sim/judge"
        assert verdict.simulated
        assert all(each.level is not None for each in verdict.dimensions)
        scores = [each.score for each in (await stage.desk.items(replace(query, order=ItemOrder.SCORE))).items]
        assert scores == sorted(scores, key=lambda score: -1.0 if score is None else score)

    async def test_items_are_filtered_by_how_a_verdict_ended(self, stage: Stage) -> None:
        run_id = await judged(stage, GARBAGE)
        unparseable = await stage.desk.items(ItemQuery(run_id=run_id, outcome=Outcome.UNPARSEABLE))
        assert len(unparseable.items) == ITEMS
        assert {each.score for each in unparseable.items} == {None}
        assert unparseable.items[0].verdicts[0].failure
        assert not (await stage.desk.items(ItemQuery(run_id=run_id, outcome=Outcome.SCORED))).items

    async def test_a_rating_is_kept_once_replaced_by_a_later_one_and_leaves_the_unrated(self, stage: Stage) -> None:
        run_id = await judged(stage)
        query = ItemQuery(run_id=run_id, order=ItemOrder.GIVEN)
        before = (await stage.desk.items(query)).rated_items  # others may have rated the same texts
        await stage.desk.rate(run_id, "i7", level(2), f"{run_id}-1")
        await stage.desk.rate(run_id, "i7", level(4, note="on second thought"), f"{run_id}-2")
        await stage.desk.rate(run_id, "i7", level(2), f"{run_id}-1")
        await stage.desk.rate(run_id, "i7", level(5, dimension=(await self._dimension(stage, run_id))), f"{run_id}-3")
        page = await stage.desk.items(query)
        assert page.rated_items == before + 1
        whole, dimension = sorted(page.items[6].ratings, key=lambda rating: rating.dimension)
        assert (whole.level, whole.note, whole.rater, whole.source) == (4, "on second thought", "anna", Source.KEYS)
        assert (whole.rubric, dimension.level) == ("problem-solving", 5)
        unrated = [each.item.item_id for each in (await stage.desk.items(replace(query, unrated=True))).items]
        assert "i7" not in unrated
        assert len(unrated) == ITEMS - page.rated_items

    async def test_a_judge_is_compared_with_people_and_that_is_the_newest_calibration(self, stage: Stage) -> None:
        run_id = await judged(stage)
        (criterion,) = (await stage.desk.items(ItemQuery(run_id=run_id))).judgement.criteria
        await stage.desk.rate(run_id, "i3", level(2), f"{run_id}-1")
        made = await stage.whole.calibrate(run_id, criterion.criterion, f"{run_id}-2")
        assert (made.run_id, made.criterion) == (run_id, criterion.criterion)
        assert made.agreements[0].items >= 1
        assert (await stage.whole.calibrations())[0].calibration_id == made.calibration_id

    async def _dimension(self, stage: Stage, run_id: str) -> str:
        (criterion,) = (await stage.desk.items(ItemQuery(run_id=run_id))).judgement.criteria
        return criterion.dimensions[0].dimension

    async def test_a_judgement_under_way_is_cancelled_and_tells_its_end(self, stage: Stage) -> None:
        run_id = await stage.judge(LASTING)
        progress = await followed(stage.desk, run_id, lambda progress: bool(progress.planned))
        assert (progress.planned, progress.ended) == (ITEMS, False)
        ending = asyncio.create_task(followed(stage.desk, run_id, lambda progress: progress.ended))
        await stage.desk.cancel(run_id)
        await ending
        assert (await stage.desk.items(ItemQuery(run_id=run_id))).judgement.state is RunState.CANCELLED

    async def test_what_is_not_there_is_said_to_be_not_there(self, stage: Stage) -> None:
        for call in (
            stage.desk.items(ItemQuery(run_id="jud_nowhere")),
            stage.desk.cancel("jud_nowhere"),
            stage.desk.rubric("nothing@1"),
            followed(stage.desk, "jud_nowhere", lambda _: True),
        ):
            with pytest.raises(DeskError):
                await call
        run_id = await judged(stage)
        for run, item, note in (("jud_nowhere", "i1", ""), (run_id, "i99", ""), (run_id, "i1", "n" * 2_001)):
            with pytest.raises(DeskError) as refused:
                await stage.desk.rate(run, item, level(3, note=note), f"nowhere-{item}")
            assert refused.value.lasting, "it is not worth trying again"


class TestMemoryJudging(JudgingContract):
    @pytest.fixture
    def stage(self) -> Stage:
        return MemoryStage()


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A real embedded server, one for all tests of this file."""
    data = tmp_path_factory.mktemp("judging")
    yield asyncio.run(connect(ConnectSettings(data=data)))
    asyncio.run(stop(data))


class TestGrpcJudging(JudgingContract):
    @pytest.fixture
    async def stage(self, connection: Connection) -> AsyncIterator[Stage]:
        stage = GrpcStage(connection)
        yield stage
        await stage.close()
