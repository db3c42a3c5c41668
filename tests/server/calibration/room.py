"""The calibration room over a store in memory, with a rubric, items and a judge that says what it is told to."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from whet_server.calibration.calibrations import Calibrations
from whet_server.calibration.ratings import Added, Origin, Ratings
from whet_server.calibration.sheet import Given, read
from whet_server.calibration.standing import Calibration
from whet_server.judge.asking import identity
from whet_server.judge.rubrics import Rubrics
from whet_server.judging import DimensionScore, Item, Judge, JudgeIdentity, JudgeMode, Outcome, Rating, Verdict
from whet_server.store.base import Store
from whet_server.store.memory import MemoryStore
from whet_server.values import ModelName, Principal, Role, Workspace

HOME = Workspace("default")
PERSON = Principal(workspace=HOME, role=Role.PERSON)
MODEL = ModelName("sim/judge")
LEVELS = (1, 2, 3, 4, 5)
RUN = "jud_01"
RUBRIC = """
description = "Whether an answer is kind."
lowest = 1
highest = 5

[[dimension]]
name = "warmth"
question = "Does it greet?"
[dimension.levels]
1 = "No."
2 = "Hardly."
3 = "Shortly."
4 = "Kindly."
5 = "Warmly."

[[dimension]]
name = "candour"
question = "Does it say what it does not know?"
[dimension.levels]
1 = "No."
2 = "Hardly."
3 = "In part."
4 = "Mostly."
5 = "Openly."
"""

Said = int | float | Outcome | Sequence[int | float]


def items(many: int) -> dict[str, Item]:
    made = (
        Item(item_id=f"i{place}", input=f"Question {place}?", candidates=(f"Answer {place}.",)) for place in range(many)
    )
    return {item.item_id: item for item in made}


@dataclass
class Room:
    """`text` is the rubric `tone` as it was put last."""

    store: Store = field(default_factory=MemoryStore)
    items: dict[str, Item] = field(default_factory=lambda: items(60))
    clock: Callable[[], int] = field(default_factory=lambda: count(1_000_000_000).__next__)

    def __post_init__(self) -> None:
        self.rubrics = Rubrics(self.store, clock=self.clock)
        self.ratings = Ratings(self.store, self.rubrics, clock=self.clock)
        self.calibrations = Calibrations(self.store, self.ratings, clock=self.clock)

    async def tone(self, text: str = RUBRIC) -> None:
        await self.rubrics.put(HOME, "tone", text, also=lambda *_: ())

    async def rate(self, levels: Mapping[str, int], *, rater: str = "ada", dimension: str = "") -> Added:
        given = [
            Given(
                rating=Rating(
                    subject="", item_id=item_id, rubric="tone", rater=rater, dimension=dimension, level=level
                ),
                path=f"ratings[{place}]",
            )
            for place, (item_id, level) in enumerate(levels.items())
        ]
        return await self.put(given)

    async def put(self, given: Iterable[Given], principal: Principal = PERSON) -> Added:
        return await self.ratings.put(principal, list(given), Origin(items=self.items, run_id=RUN))

    async def sheet(self, text: str) -> Added:
        given, wrong = read(text)
        return await self.ratings.put(PERSON, given, Origin(items=self.items, run_id=RUN), wrong=wrong)

    async def counting(self, *item_ids: str) -> list[Rating]:
        subjects = [self.items[item_id].subject for item_id in item_ids]
        found = await self.ratings.of(HOME, subjects, "tone")
        return [rating for subject in subjects for rating in found.get(subject, ())]

    async def identity(self, judge: Judge | None = None) -> JudgeIdentity:
        judge = judge or Judge(rubric="tone", models=(MODEL,))
        return identity(judge, await self.rubrics.get(HOME, judge.rubric))

    async def calibrate(self, said: Mapping[str, Said], judge: Judge | None = None) -> Calibration:
        judge = judge or Judge(rubric="tone", models=(MODEL,))
        verdicts = {
            self.items[item_id].subject: verdicts_of(item_id, judge.models, one) for item_id, one in said.items()
        }
        rubric = await self.rubrics.get(HOME, judge.rubric)
        return await self.calibrations.calibrate(
            PERSON,
            judge,
            await self.identity(judge),
            run_id=RUN,
            criterion="tone",
            levels=LEVELS,
            dimensions=rubric.dimensions,
            verdicts=verdicts,
        )


def verdicts_of(item_id: str, models: Sequence[ModelName], said: Said) -> tuple[Verdict, ...]:
    """Each model's verdict: the level it gave, on the whole and for warmth, or how it ended."""
    each = said if isinstance(said, Sequence) and not isinstance(said, str) else [said] * len(models)
    return tuple(verdict_of(item_id, model, one) for model, one in zip(models, each, strict=True))


def verdict_of(item_id: str, model: ModelName, said: float | Outcome) -> Verdict:
    if isinstance(said, Outcome):
        return Verdict(item_id=item_id, criterion="tone", outcome=said, judge=model)
    return Verdict(
        item_id=item_id,
        criterion="tone",
        outcome=Outcome.SCORED,
        judge=model,
        value=float(said),
        score=(said - 1) / 4,
        dimensions=(DimensionScore(dimension="warmth", level=round(said)),),
        simulated=model.startswith("sim/"),
    )


def preference(item_id: str, score: float, ranking: Sequence[int]) -> Verdict:
    return Verdict(
        item_id=item_id,
        criterion="tone",
        outcome=Outcome.SCORED,
        judge=MODEL,
        score=score,
        order=tuple(sorted(ranking)),
        ranking=tuple(ranking),
        tie=score == 0.5,
    )


PAIRS = JudgeMode.PAIRWISE
LISTS = JudgeMode.LISTWISE
