"""A sweep on a real server that is killed five times ends as the one that was left alone."""

import random

import pytest
from tests.e2e.serving import PATIENCE, House, Wire

from whet.v1 import event_pb2, fanout_pb2, judging_pb2, scorer_pb2, sweep_pb2, sweep_pb2_grpc, sweeping_pb2, trace_pb2

MODEL = "stub/answer?first_ms=40"
CASES = 24
TRIALS = 12
KILLS = 5


def request(request_id: str) -> sweep_pb2.StartSweepRequest:
    """A sweep over four prompts and the temperature, with racing; the answers are the stub's, the same for the same
    question."""
    prompts = [sweeping_pb2.Choice(label=f"p{at}", text=f"In way {at}: {{{{ input }}}}") for at in range(4)]
    spec = sweep_pb2.SweepSpec(
        pipeline=sweep_pb2.Pipeline(stages=[sweep_pb2.Stage(name="s", template="{{ input }}", model=MODEL)]),
        space=[
            sweeping_pb2.SearchDimension(name="s.template", choices=sweeping_pb2.Choices(choices=prompts)),
            sweeping_pb2.SearchDimension(name="s.temperature", float_range=sweeping_pb2.FloatRange(low=0, high=1)),
        ],
        items=[scorer_pb2.Item(item_id=f"c{at}", input=f"Question {at}?", reference="x") for at in range(CASES)],
        scorers=["length:1-400"],
        racing=sweeping_pb2.Racing(method=sweeping_pb2.RACING_METHOD_MEDIAN, min_cases=6),
        sampler=sweeping_pb2.Sampler(kind=sweeping_pb2.SAMPLER_KIND_TPE, startup_trials=4),
        budget=sweeping_pb2.Budget(trials=TRIALS),
        concurrency=8,
        seed=11,
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


@pytest.mark.slow
async def test_a_sweep_that_is_killed_five_times_ends_as_the_one_that_was_not(house: House, stub: str) -> None:
    draw = random.Random(5)
    wire = await house.start()
    twin = (await sweeps(wire).StartSweep(request("twin"), metadata=wire.metadata)).sweep.run_id
    wanted = await watched(wire, twin)
    run_id = (await sweeps(wire).StartSweep(request("killed"), metadata=wire.metadata)).sweep.run_id
    for life in range(KILLS):
        await watched(wire, run_id, 10 + 25 * life + draw.randint(0, 15))
        await house.kill()
        wire = await house.start()
    found = await watched(wire, run_id)
    assert course(found) == course(wanted)
    assert found[-2].sweep_concluded.result.best == wanted[-2].sweep_concluded.result.best
    assert found[-1].run_finished.state == wanted[-1].run_finished.state
    cases = [(e.cases_finished.number, c.case_id, c.sample) for e in found for c in e.cases_finished.cases]
    assert len(cases) == len(set(cases))
    assert {c.outcome for e in found for c in e.cases_finished.cases} == {judging_pb2.OUTCOME_SCORED}
    proved = await wire.ask(wire.traces.VerifyTrace, trace_pb2.VerifyTraceRequest(run_id=run_id))
    assert proved.valid
    assert stub
