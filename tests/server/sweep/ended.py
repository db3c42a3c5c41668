"""A sweep that has ended, told event by event, with texts in it that would like to be obeyed."""

from collections.abc import Iterator

import msgspec

from whet_server.dataset.spec import DatasetRef, Split
from whet_server.judging import Estimate, Item, Outcome
from whet_server.log.events import (
    AnyPayload,
    CasesFinished,
    RunOpened,
    SweepConcluded,
    SweepControlled,
    TrialFinished,
    TrialStarted,
)
from whet_server.sweep.fold import SweepFold, TrialFold, folded
from whet_server.sweep.measure import by_case, standing
from whet_server.sweep.spec import Chain, Pipeline, Stage, SweepRecord, SweepSpec
from whet_server.sweeping import (
    BestPoint,
    Budget,
    ChangedCase,
    Choice,
    Choices,
    Configuration,
    FloatRange,
    HoldoutFigure,
    Importance,
    Objective,
    ObjectiveKind,
    Racing,
    RacingMethod,
    Sampler,
    SamplerKind,
    SearchDimension,
    SweepAction,
    SweepEnd,
    SweepPlan,
    SweepResult,
    SweepVerdict,
    TrialCase,
    TrialState,
    written,
)
from whet_server.values import Failure, ModelName, Nanos, Role, Run, RunId, RunKind, RunState, Totals, Usage, Workspace

HOSTILE = (
    "</pre><script>alert('x')</script> & \x1b[31m \u202eevil `$(rm -rf /)` ${HOME} \\n \\\\ \"q\" 'q'\n"
    "second line {{ input }}"
)
SECOND = 1_000_000_000
CASES = 12
SPACE = (
    SearchDimension(
        name="classify.template",
        choices=Choices(choices=(Choice(label="short", text="Label: {{ input }}"), Choice(label="evil", text=HOSTILE))),
    ),
    SearchDimension(name="classify.temperature", float_range=FloatRange(low=0.0, high=1.0)),
    SearchDimension(
        name="classify.model",
        choices=Choices(choices=(Choice(label="sim/fast"), Choice(label="sim/slow"), Choice(label="sim/good"))),
    ),
)
STAGE = Stage(name="classify", template="Label: {{ input }}", model=ModelName("sim/fast"))
SPEC = SweepSpec(
    pipeline=Pipeline(stages=(STAGE,)),
    space=SPACE,
    dataset=DatasetRef(name="support", version=3, split=Split.DEV),
    scorers=("exact",),
    objectives=(Objective(kind=ObjectiveKind.QUALITY), Objective(kind=ObjectiveKind.COST)),
    sampler=Sampler(kind=SamplerKind.TPE),
    racing=Racing(method=RacingMethod.PAIRED, min_cases=4, alpha=0.05),
    budget=Budget(money=Nanos(2_000_000_000), trials=4),
    seed=7,
    concurrency=8,
    trials_at_once=2,
    cache_ttl=60.0,
    chain=Chain(depth=2, money=Nanos(5_000_000_000)),
)
PLAN = SweepPlan(
    target="pipeline",
    space=SPACE,
    trials=4,
    cases=CASES,
    sampler=SPEC.sampler,
    racing=SPEC.racing,
    objectives=SPEC.objectives,
    budget=SPEC.budget,
    concurrency=8,
    trials_at_once=2,
    seed=7,
    origin="data set support@3, dev",
    expected_cost=Nanos(40_000_000),
    worst_cost=Nanos(90_000_000),
    calls=48,
    expected_duration_ns=20 * SECOND,
    simulated=True,
)
RECORD = SweepRecord(spec=SPEC, plan=PLAN)
ITEMS = tuple(Item(item_id=f"c{n}", input=f"message {n} <b>", reference="billing") for n in range(CASES))
SETTINGS: tuple[Configuration, ...] = (
    {"classify.template": "short", "classify.temperature": 0.0, "classify.model": "sim/fast"},
    {"classify.template": "short", "classify.temperature": 0.5, "classify.model": "sim/slow"},
    {"classify.template": "evil", "classify.temperature": 0.98, "classify.model": "sim/good"},
    {"classify.template": "evil", "classify.temperature": 0.1, "classify.model": "sim/slow"},
)
RIGHT = (range(6), range(5), range(1, 12), range(4))
"""Which cases each trial answers rightly."""
STATES = (TrialState.COMPLETE, TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED)
RESULT = SweepResult(
    verdict=SweepVerdict.BETTER,
    finding="Trial 2 is better than the baseline by 0.42 (0.20 to 0.62).",
    end=SweepEnd.TRIALS,
    best=2,
    lift=Estimate(value=0.4167, low=0.2, high=0.62),
    p_value=0.012,
    comparisons=3,
    alpha=0.05,
    pairs=CASES,
    regressed=(ChangedCase(case_id="c0", before=1.0, after=0.0),),
    improved=6,
    convergence="The last third of the trials brought nothing.",
    converged=True,
    importance=(
        Importance(name="classify.model", share=0.8),
        Importance(name="classify.template", share=0.18),
        Importance(name="classify.temperature", share=0.02),
    ),
    front=(0, 2),
    history=(BestPoint(number=0, ended=1, value=0.5), BestPoint(number=2, ended=3, value=0.9167)),
    holdout=HoldoutFigure(
        dataset="support@3",
        rows=30,
        baseline=Estimate(value=0.5, low=0.33, high=0.67),
        winner=Estimate(value=0.8, low=0.65, high=0.93),
        lift=Estimate(value=0.3, low=0.1, high=0.5),
        pairs=30,
    ),
    simulated=True,
)
RUN = Run(
    run_id=RunId("swp_1"),
    workspace=Workspace("default"),
    kind=RunKind.SWEEP,
    title="Classify <support> | messages",
    state=RunState.SUCCEEDED,
    role=Role.PERSON,
    create_ns=1_700_000_000 * SECOND,
    end_ns=1_700_000_030 * SECOND,
    totals=Totals(
        settled=Nanos(31_000_000), usage=Usage(input_tokens=900, output_tokens=90), attempts=43, cache_hits=2
    ),
)
GOING = msgspec.structs.replace(RUN, state=RunState.RUNNING, end_ns=None, totals=Totals())


def fold(record: SweepRecord = RECORD, result: SweepResult | None = RESULT) -> SweepFold:
    """The sweep, as far as its result, if it has one."""
    return folded((payload, RUN.create_ns + n) for n, payload in enumerate(_events(record, result)))


def _events(record: SweepRecord, result: SweepResult | None) -> Iterator[AnyPayload]:
    yield RunOpened(
        run_id=RUN.run_id,
        kind=RunKind.SWEEP,
        title=RUN.title,
        role=RUN.role,
        spec=msgspec.json.encode(record).decode(),
        sweep=record.plan,
    )
    baseline: dict[str, float] = {}
    for number, settings in enumerate(SETTINGS):
        parameters = written(settings)
        yield TrialStarted(number=number, parameters=parameters)
        cases = tuple(_case(number, n) for n in range(5 if STATES[number] is TrialState.PRUNED else CASES))
        yield CasesFinished(number=number, cases=cases)
        trial = TrialFold(number, parameters, answers={(case.case_id, case.sample): case for case in cases})
        if number == 0:
            baseline = by_case(cases, SPEC.objectives[0])
        reason = "worse than trial 0 <b>on 5 cases</b>" if STATES[number] is TrialState.PRUNED else ""
        end = standing(
            trial, STATES[number], SPEC.objectives[0], baseline, reason=reason, end_ns=RUN.create_ns + SECOND
        )
        yield TrialFinished(trial=end)
    yield SweepControlled(action=SweepAction.PAUSE, role="person")
    yield SweepControlled(action=SweepAction.RESUME, role="person", reason="<i>lunch</i>")
    if result is not None:
        yield SweepConcluded(result=result)


def _case(number: int, n: int) -> TrialCase:
    if number == 1 and n == 11:
        failure = Failure(reason="TOTAL_TIMEOUT", message="No answer <in> time.")
        return TrialCase(case_id="c11", outcome=Outcome.TIMED_OUT, failure=failure, simulated=True)
    right = n in RIGHT[number]
    return TrialCase(
        case_id=f"c{n}",
        outcome=Outcome.SCORED,
        score=float(right),
        output="billing" if right else HOSTILE,
        cost=Nanos(100_000 * (number + 1)),
        latency_ns=SECOND // 10,
        totals=Totals(settled=Nanos(100_000 * (number + 1)), attempts=1),
        simulated=True,
    )
