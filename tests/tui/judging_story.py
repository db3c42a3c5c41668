"""Judgements for scenes and tests: one that has ended, one that is under way, one of pairs."""

from dataclasses import replace

from whet_tui.entries import Money
from whet_tui.judging_values import (
    Anchor,
    Criterion,
    Dimension,
    DimensionScore,
    DimensionSummary,
    Estimate,
    Item,
    Judge,
    JudgedItem,
    Judgement,
    Mode,
    Outcome,
    OutcomeCount,
    Plan,
    Progress,
    Quote,
    Rating,
    Rubric,
    RunState,
    Source,
    Standing,
    Verdict,
)
from whet_tui.memory_desk import MemoryDesk

SECOND = 1_000_000_000
DONE = "jud_01DONE"
RUNNING = "jud_02RUNNING"
PAIRS = "jud_03PAIRS"
RUBRIC = "problem-solving@2"
ANSWER = "Check the log first. Then restart the service and see whether the fault comes again."
DIMENSIONS = ("causal_linking", "safety")

rubric = Rubric(
    name="problem-solving",
    version=2,
    dimensions=tuple(
        Dimension(
            name=name,
            weight=0.5,
            anchors=(Anchor(level=1, description=f"no {name}"), Anchor(level=5, description=f"full {name}")),
        )
        for name in DIMENSIONS
    ),
)


def verdict(level: int, *, judge: str = "sim/judge", outcome: Outcome = Outcome.SCORED) -> Verdict:
    if outcome is not Outcome.SCORED:
        return Verdict(criterion="problem-solving", outcome=outcome, judge=judge, failure="It is no JSON.")
    quote = Quote(text=ANSWER[:19], start=0, end=19)
    scores = tuple(
        DimensionScore(dimension=name, level=level, rationale=f"It is {name}.", quotes=(quote,)) for name in DIMENSIONS
    )
    return Verdict(
        criterion="problem-solving",
        outcome=outcome,
        score=(level - 1) / 4,
        value=float(level),
        judge=judge,
        dimensions=scores,
        rationale="A sound plan in the right order.",
        simulated=True,
    )


def judged(number: int, *, disagreement: float = 0.0, outcome: Outcome = Outcome.SCORED) -> JudgedItem:
    level = number % 5 + 1
    scorer = Verdict(criterion="words", outcome=Outcome.SCORED, score=0.5, value=15.0, rationale="missing: budget")
    return JudgedItem(
        item=Item(
            item_id=f"i{number}",
            input=f"The service {number} does not answer. What do you do?",
            candidates=(ANSWER,),
            reference="Look before you restart.",
            writers=("local/smollm2",),
        ),
        verdicts=(verdict(level, outcome=outcome), scorer),
        score=(level - 1) / 4 if outcome is Outcome.SCORED else None,
        disagreement=disagreement,
    )


def criterion(items: int, *, mode: Mode = Mode.POINTWISE, standing: Standing = Standing.STALE) -> Criterion:
    return Criterion(
        criterion="problem-solving",
        unit="level",
        items=items,
        scored_items=items - 2,
        outcomes=(
            OutcomeCount(outcome=Outcome.SCORED, count=items - 2),
            OutcomeCount(outcome=Outcome.UNPARSEABLE, count=1),
            OutcomeCount(outcome=Outcome.TIMED_OUT, count=1),
        ),
        mean=Estimate(value=0.62, low=0.55, high=0.7),
        deviation=0.21,
        histogram=(1, 0, 2, 4, 6, 9, 12, 9, 5, 2),
        mean_value=3.5,
        dimensions=tuple(
            DimensionSummary(
                dimension=name,
                weight=0.5,
                scored=items - 2,
                mean=Estimate(value=3.5, low=3.2, high=3.8),
                levels=(1, 2, 3, 4, 5),
            )
            for name in DIMENSIONS
        ),
        calibration=standing,
        simulated=True,
        judge=Judge(rubric=RUBRIC, models=("sim/judge",), mode=mode),
    )


words = Criterion(
    criterion="words",
    unit="words",
    items=60,
    scored_items=60,
    outcomes=(OutcomeCount(outcome=Outcome.SCORED, count=60),),
    mean=Estimate(value=0.5, low=0.5, high=0.5),
    histogram=(0, 0, 0, 0, 0, 60, 0, 0, 0, 0),
    mean_value=15.0,
)
combined = replace(
    words,
    criterion="",
    unit="share",
    scored_items=58,
    outcomes=(OutcomeCount(outcome=Outcome.SCORED, count=118), *criterion(60).outcomes[1:]),
    mean=Estimate(value=0.56, low=0.5, high=0.6),
    mean_value=None,
)

ended = Judgement(
    run_id=DONE,
    title="support, dev by problem-solving",
    state=RunState.PARTIAL,
    create_ns=1_000 * SECOND,
    end_ns=1_004 * SECOND,
    plan=Plan(
        items=60,
        criteria=("problem-solving", "words"),
        judges=("sim/judge",),
        verdicts=120,
        origin="data set support@3, dev",
        simulated=True,
    ),
    criteria=(criterion(60), words),
    combined=combined,
    verdicts=120,
    totals=Money(settled=SECOND // 50),
)
running = Judgement(
    run_id=RUNNING,
    title="The answers of the last run",
    create_ns=1_080 * SECOND,
    plan=Plan(items=1_000, criteria=("problem-solving",), judges=("sim/judge",), verdicts=1_000, simulated=True),
    criteria=(criterion(412, standing=Standing.CALIBRATED),),
    verdicts=412,
    totals=Money(settled=SECOND // 25, reserved=SECOND // 100),
)
under_way = Progress(
    verdicts=412,
    planned=1_000,
    in_flight=100,
    totals=running.totals,
    expected_left=SECOND // 20,
    time_left_ns=12 * SECOND,
    outcomes=(OutcomeCount(outcome=Outcome.SCORED, count=410), OutcomeCount(outcome=Outcome.REFUSED, count=2)),
)


def items(count: int) -> list[JudgedItem]:
    """Items with falling disagreement from the third on; one was not scored, one was rated by somebody else."""
    made = [judged(number, disagreement=max(0.0, 1 - number / count)) for number in range(1, count + 1)]
    made[0] = judged(1, disagreement=0.0, outcome=Outcome.UNPARSEABLE)
    rating = Rating(rubric="problem-solving", level=2, rater="anna", source=Source.CSV, note="too short")
    made[1] = replace(made[1], ratings=(rating,))
    return made


async def put_ended(desk: MemoryDesk, count: int = 60) -> None:
    desk.judging.rubrics[RUBRIC] = rubric
    plan = replace(ended.plan, items=count, verdicts=2 * count)
    await desk.judging.put(replace(ended, plan=plan, verdicts=2 * count), items(count))


async def put_running(desk: MemoryDesk) -> None:
    desk.judging.rubrics[RUBRIC] = rubric
    await desk.judging.put(running, items(60), under_way)


async def put_pairs(desk: MemoryDesk, mode: Mode = Mode.PAIRWISE) -> None:
    desk.judging.rubrics[RUBRIC] = rubric
    pair = ("Restart it.", "Read the log, then restart it.", "Wait.")[: 2 if mode is Mode.PAIRWISE else 3]
    made = [replace(each, item=replace(each.item, candidates=pair, writers=())) for each in items(5)]
    judgement = replace(ended, run_id=PAIRS, criteria=(criterion(5, mode=mode),), combined=None)
    await desk.judging.put(judgement, made)
