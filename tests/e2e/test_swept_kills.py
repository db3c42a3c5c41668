"""A sweep on a real server that is killed five times ends as the one that was left alone."""

import random
from collections import Counter

import pytest
from tests.e2e.bill import entries
from tests.e2e.serving import PATIENCE, House, Wire

from whet.v1 import (
    event_pb2,
    fanout_pb2,
    judging_pb2,
    scorer_pb2,
    sweep_pb2,
    sweep_pb2_grpc,
    sweeping_pb2,
    trace_pb2,
    value_pb2,
)

MODEL = (
    "sim/classify?labels=yes,no&skill=0.55&cue=way+2&lift=0.35&cool=0.8&heat=0.1&first_ms=40&rate=2000"
    "&price_in=100000000&price_out=500000000"
)
LABELS = ("yes", "no")
CASES = 24
TRIALS = 12
KILLS = 5
SEED = 11


QUALITY, COST = (
    sweeping_pb2.Objective(kind=kind)
    for kind in (sweeping_pb2.OBJECTIVE_KIND_QUALITY, sweeping_pb2.OBJECTIVE_KIND_COST)
)
TPE = sweeping_pb2.Sampler(kind=sweeping_pb2.SAMPLER_KIND_TPE, startup_trials=4)
NSGA = sweeping_pb2.Sampler(kind=sweeping_pb2.SAMPLER_KIND_NSGA_II)
GAUSSIAN = sweeping_pb2.Sampler(kind=sweeping_pb2.SAMPLER_KIND_GAUSSIAN_PROCESS, startup_trials=4)
CMA = sweeping_pb2.Sampler(kind=sweeping_pb2.SAMPLER_KIND_CMA_ES, startup_trials=4)
MEDIAN, HALVING = sweeping_pb2.RACING_METHOD_MEDIAN, sweeping_pb2.RACING_METHOD_HALVING


def request(
    request_id: str,
    sampler: sweeping_pb2.Sampler,
    racing: "sweeping_pb2.RacingMethod.ValueType",
    objectives: tuple[sweeping_pb2.Objective, ...],
) -> sweep_pb2.StartSweepRequest:
    """A sweep over four prompts and the temperature, of a priced model that is right as its prompt and the temperature
    say; it answers the same to the same question. Who is in question at the end is asked again.
    """
    prompts = [sweeping_pb2.Choice(label=f"p{at}", text=f"In way {at}: {{{{ input }}}}") for at in range(4)]
    spec = sweep_pb2.SweepSpec(
        pipeline=sweep_pb2.Pipeline(stages=[sweep_pb2.Stage(name="s", template="{{ input }}", model=MODEL)]),
        space=[
            sweeping_pb2.SearchDimension(name="s.template", choices=sweeping_pb2.Choices(choices=prompts)),
            sweeping_pb2.SearchDimension(name="s.temperature", float_range=sweeping_pb2.FloatRange(low=0, high=1)),
        ],
        items=[
            scorer_pb2.Item(item_id=f"c{at}", input=f"Question {at}? [{LABELS[at % 2]}]", reference=LABELS[at % 2])
            for at in range(CASES)
        ],
        scorers=["exact"],
        racing=sweeping_pb2.Racing(method=racing, min_cases=6, replicates=2),
        sampler=sampler,
        objectives=objectives,
        budget=sweeping_pb2.Budget(trials=TRIALS),
        concurrency=8,
        seed=SEED,
        cache=fanout_pb2.CacheUse(bypass=True),
    )
    return sweep_pb2.StartSweepRequest(request_id=request_id, spec=spec)


def sweeps(wire: Wire) -> sweep_pb2_grpc.SweepServiceStub:
    return sweep_pb2_grpc.SweepServiceStub(wire.channel)


async def watched(wire: Wire, run_id: str, cases: int = 0) -> list[event_pb2.Event]:
    """Follow a sweep to its end, or until so many cases are in."""
    found: list[event_pb2.Event] = []
    watch = sweep_pb2.WatchSweepRequest(run_id=run_id)
    async for response in sweeps(wire).WatchSweep(watch, timeout=PATIENCE, metadata=wire.metadata):
        found += [event for event in response.batch.events if event.sequence]
        if cases and sum(len(event.cases_finished.cases) for event in found) >= cases:
            break
    return found


def course(events: list[event_pb2.Event]) -> list[tuple[object, ...]]:
    """Return the trials with their parameters, and how and where each ended."""
    started = {e.trial_started.number: e for e in events if e.WhichOneof("payload") == "trial_started"}
    ended = {e.trial_finished.trial.number: e for e in events if e.WhichOneof("payload") == "trial_finished"}
    return [
        (
            number,
            tuple(each.SerializeToString() for each in started[number].trial_started.parameters),
            ended[number].trial_finished.trial.state,
            ended[number].trial_finished.trial.reason,
            ended[number].trial_finished.trial.answers,
            ended[number].trial_finished.trial.quality.value,
        )
        for number in sorted(started)
    ]


def verdict(events: list[event_pb2.Event]) -> sweeping_pb2.SweepResult:
    """Return what a sweep concluded, without what time and the run's own id are in."""
    result = sweeping_pb2.SweepResult()
    result.CopyFrom(next(e.sweep_concluded.result for e in events if e.WhichOneof("payload") == "sweep_concluded"))
    del result.follow_ups[:]
    return result


def _case(call: str) -> tuple[int, str, int]:
    """Return the trial, the case and the sample of a call's id, as in `t3-7-1/s`."""
    trial, place, sample = call.partition("/")[0].removeprefix("t").split("-")
    order = [f"c{at}" for at in range(CASES)]
    random.Random(f"{SEED}/cases").shuffle(order)  # as the server draws it
    return int(trial), order[int(place) - 1], int(sample)


async def settled(wire: Wire, run_id: str) -> Counter[str]:
    """Return how often each call of a run was paid, by its id without the run's."""
    found = await entries(wire, run_id=run_id)
    return Counter(
        entry.reservation_id.partition(".")[2].removeprefix(f"{run_id}/")
        for entry in found
        if entry.billing == value_pb2.BILLING_SETTLED and entry.settled.nanos
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "racing", "objectives"),
    [(TPE, MEDIAN, ()), (NSGA, MEDIAN, (QUALITY, COST)), (GAUSSIAN, HALVING, ()), (CMA, HALVING, ())],
    ids=["tpe", "nsga_ii", "gaussian_process", "cma_es"],
)
async def test_a_sweep_that_is_killed_five_times_ends_as_the_one_that_was_not(
    house: House,
    stub: str,
    sampler: sweeping_pb2.Sampler,
    racing: "sweeping_pb2.RacingMethod.ValueType",
    objectives: tuple[sweeping_pb2.Objective, ...],
) -> None:
    draw = random.Random(5)
    wire = await house.start()
    twin = (
        await sweeps(wire).StartSweep(request("twin", sampler, racing, objectives), metadata=wire.metadata)
    ).sweep.run_id
    wanted = await watched(wire, twin)
    run_id = (
        await sweeps(wire).StartSweep(request("killed", sampler, racing, objectives), metadata=wire.metadata)
    ).sweep.run_id
    before: dict[str, int] = {}
    for life in range(KILLS):
        seen = await watched(wire, run_id, 10 + 25 * life + draw.randint(0, 15))
        done = {(e.cases_finished.number, c.case_id, c.sample) for e in seen for c in e.cases_finished.cases}
        before |= {key: paid for key, paid in (await settled(wire, run_id)).items() if _case(key) in done}
        await house.kill()
        wire = await house.start()
    found = await watched(wire, run_id)
    assert course(found) == course(wanted)
    assert verdict(found) == verdict(wanted)
    assert len({trial[-1] for trial in course(wanted)}) > 3
    states = {trial[2] for trial in course(wanted)}
    assert objectives or sweeping_pb2.TRIAL_STATE_PRUNED in states
    assert objectives or {c.sample for e in wanted for c in e.cases_finished.cases} >= {1, 2}
    assert found[-1].run_finished.state == wanted[-1].run_finished.state
    cases = [(e.cases_finished.number, c.case_id, c.sample) for e in found for c in e.cases_finished.cases]
    assert len(cases) == len(set(cases))
    assert {c.outcome for e in found for c in e.cases_finished.cases} == {judging_pb2.OUTCOME_SCORED}
    proved = await wire.ask(wire.traces.VerifyTrace, trace_pb2.VerifyTraceRequest(run_id=run_id))
    assert proved.valid
    after = await settled(wire, run_id)
    assert before
    assert {key: after[key] for key in before} == before
    assert after.keys() == (await settled(wire, twin)).keys()
    assert stub
