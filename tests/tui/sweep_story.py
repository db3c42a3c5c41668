"""Sweeps for scenes and tests: one that has ended, one that is under way."""

from collections.abc import Iterator
from dataclasses import replace

from whet_tui.entries import Money
from whet_tui.judging_values import Estimate, Item, Outcome, OutcomeCount, RunState
from whet_tui.memory_desk import MemoryDesk
from whet_tui.sweep_values import (
    BestPoint,
    Budget,
    ChangedCase,
    Choice,
    Choices,
    ComparedCase,
    ComparedCell,
    Dimension,
    End,
    FollowUp,
    Found,
    Goal,
    HoldoutFigure,
    Importance,
    Objective,
    Parameter,
    Phase,
    Plan,
    Progress,
    Range,
    Result,
    Sweep,
    Trial,
    TrialCase,
    TrialState,
)

SECOND = 1_000_000_000
DONE = "swp_01DONE"
RUNNING = "swp_02RUNNING"
CASES = 60
MODELS = ("sim/small", "sim/large")

plan = Plan(
    target="pipeline",
    space=(
        Dimension(name="answer.model", choices=Choices(choices=tuple(Choice(label=name) for name in MODELS))),
        Dimension(name="answer.temperature", float_range=Range(low=0.0, high=1.0)),
        Dimension(name="answer.examples.count", int_range=Range(low=0, high=8)),
    ),
    trials=40,
    cases=CASES,
    objectives=(Objective(), Objective(kind=Goal.COST)),
    budget=Budget(money=2 * SECOND, trials=40, time_ns=600 * SECOND),
    concurrency=32,
    trials_at_once=4,
    seed=7,
    origin="data set support@3, dev",
    holdout_rows=80,
    simulated=True,
    expected_cost=900_000_000,
    worst_cost=2 * SECOND,
    calls=2_400,
    expected_duration_ns=90 * SECOND,
)


def trial(number: int) -> Trial:
    """One of forty: the seventh is the best, every third was stopped early, the last ones run."""
    temperature = (number * 37 % 100) / 100
    value = 0.9 if number == 7 else 0.55 + 0.3 * (1 - temperature)
    pruned = number % 3 == 2
    cases = 8 if pruned else CASES
    return Trial(
        number=number,
        state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
        parameters=(
            Parameter(name="answer.model", text=MODELS[number % 2]),
            Parameter(name="answer.temperature", number=temperature),
            Parameter(name="answer.examples.count", integer=number % 9),
        ),
        cases=cases,
        scored_cases=cases - 1,
        answers=cases,
        outcomes=(
            OutcomeCount(outcome=Outcome.SCORED, count=cases - 1),
            OutcomeCount(outcome=Outcome.TIMED_OUT, count=1),
        ),
        quality=Estimate(value=value, low=value - 0.05, high=value + 0.05),
        cost=0.0002 + 0.00001 * number,
        latency_ns=400_000_000 + 10_000_000 * number,
        lift=Estimate(value=value - 0.85, low=value - 0.9, high=value - 0.8),
        reason="after 8 cases it was worse than trial 1, beyond chance" if pruned else "",
        start_ns=(1_000 + number) * SECOND,
        end_ns=(1_001 + number) * SECOND,
        simulated=True,
        front=number in {0, 7},
    )


def running_trial(number: int) -> Trial:
    whole = trial(number)
    return Trial(number=number, parameters=whole.parameters, start_ns=whole.start_ns)


def trials(count: int) -> list[Trial]:
    return [trial(number) for number in range(count)]


result = Result(
    verdict=Found.BETTER,
    finding="Trial 7 answers 5 of 100 more cases rightly than the baseline.",
    end=End.TRIALS,
    best=7,
    lift=Estimate(value=0.05, low=0.01, high=0.09),
    p_value=0.012,
    comparisons=39,
    alpha=0.05,
    pairs=59,
    regressed=(
        ChangedCase(case_id="case-4", before=1.0, after=0.0),
        ChangedCase(case_id="case-9", before=1.0, after=0.5),
    ),
    improved=6,
    convergence="The last third of the trials brought nothing: more of this kind are unlikely to help.",
    converged=True,
    importance=(
        Importance(name="answer.temperature", share=0.71),
        Importance(name="answer.model", share=0.24),
        Importance(name="answer.examples.count", share=0.05),
    ),
    front=(0, 7),
    history=(
        BestPoint(number=0, ended=1, value=0.85),
        BestPoint(number=7, ended=8, value=0.9),
    ),
    holdout=HoldoutFigure(
        dataset="support@3",
        rows=80,
        baseline=Estimate(value=0.81, low=0.75, high=0.87),
        winner=Estimate(value=0.87, low=0.82, high=0.92),
        lift=Estimate(value=0.06, low=0.0, high=0.12),
        pairs=80,
    ),
    follow_ups=(FollowUp(step="narrow", reason="The best temperatures lie between 0.4 and 0.6.", trials=20),),
    simulated=True,
)
money = Money(settled=420_000_000, reserved=10_000_000)
under_way = Progress(
    phase=Phase.SEARCH,
    ended=12,
    pruned=4,
    running=4,
    answers=512,
    in_flight=32,
    best=7,
    best_value=0.9,
    totals=money,
    money_left=1_570_000_000,
    time_left_ns=150 * SECOND,
    expected_left=800_000_000,
)
running = Sweep(
    run_id=RUNNING,
    title="A better prompt for support",
    create_ns=1_000 * SECOND,
    plan=plan,
    progress=under_way,
    best=trial(7),
    baseline=trial(0),
    totals=money,
)
ended = Sweep(
    run_id=DONE,
    title="Cheaper settings for the summariser",
    state=RunState.SUCCEEDED,
    create_ns=1_000 * SECOND,
    end_ns=1_080 * SECOND,
    plan=plan,
    progress=Progress(ended=40, pruned=13, answers=1_700, best=7, best_value=0.9, totals=Money(settled=700_000_000)),
    best=trial(7),
    baseline=trial(0),
    result=result,
    totals=Money(settled=700_000_000),
)


def cases(numbers: range) -> Iterator[ComparedCase]:
    """Cases that trial 7 answers as the baseline does, but for every fourth."""
    for place in range(1, CASES + 1):
        yield ComparedCase(
            item=Item(
                item_id=f"case-{place}",
                input=f"My order {place} has not come. Which topic is that?",
                reference="delivery",
            ),
            cells=tuple(_cell(number, place) for number in numbers),
        )


def _cell(number: int, place: int) -> ComparedCell:
    right = number != 7 or place % 4 == 0
    answer = TrialCase(
        case_id=f"case-{place}",
        outcome=Outcome.SCORED,
        score=1.0 if right else 0.1 * (place % 4),
        output="delivery" if right else f"It is about refunds, says trial {number}.",
        cost=200_000,
        latency_ns=400_000_000,
        simulated=True,
    )
    return ComparedCell(number=number, answers=(answer,))


async def put_ended(desk: MemoryDesk) -> None:
    await desk.sweeping.put(ended, trials(40), list(cases(range(40))))


async def put_running(desk: MemoryDesk) -> None:
    told = [*trials(12), *map(running_trial, range(12, 16))]
    await desk.sweeping.put(running, told, list(cases(range(16))))


def more(ended_trials: int, **changes: object) -> Sweep:
    """The running sweep, further on."""
    return replace(running, progress=replace(under_way, ended=ended_trials, **changes))  # type: ignore[arg-type]  # fields by name
