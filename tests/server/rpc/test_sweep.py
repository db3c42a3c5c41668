"""SweepService over the wire: plan, start, follow, steer, and what an agent may not do alone."""

import json

from tests.server.rpc.conftest import Client, Served, refused
from tests.server.rpc.test_approval_gate import decide

from whet.v1 import dataset_pb2, event_pb2, scorer_pb2, sweep_pb2, sweeping_pb2, value_pb2

MODEL = "sim/classify?labels=yes,no&skill=0.6&cue=carefully&lift=0.3&first_ms=1&rate=2000"
SLOW = "sim/classify?first_ms=600000"
"""Its answer nobody lives to see."""
DEAR = f"{MODEL}&price_out=900000000000000"
"""Above every threshold."""


SHORT = value_pb2.Parameters(max_tokens=20)


def spec(model: str = MODEL, **changed: object) -> sweep_pb2.SweepSpec:
    """A small sweep over two prompts and a temperature of a simulated classifier."""
    choices = [
        sweeping_pb2.Choice(label="plain", text="Yes or no? {{ input }}"),
        sweeping_pb2.Choice(label="careful", text="Read carefully. Yes or no? {{ input }}"),
    ]
    whole: dict[str, object] = {
        "pipeline": sweep_pb2.Pipeline(
            stages=[sweep_pb2.Stage(name="s", template="Yes or no? {{ input }}", model=model, parameters=SHORT)]
        ),
        "space": [
            sweeping_pb2.SearchDimension(name="s.template", choices=sweeping_pb2.Choices(choices=choices)),
            sweeping_pb2.SearchDimension(name="s.temperature", float_range=sweeping_pb2.FloatRange(low=0, high=1)),
        ],
        "items": [
            scorer_pb2.Item(item_id=f"c{at}", input=f"Is {at} small? [{word}]", reference=word)
            for at, word in enumerate(["yes", "no"] * 6)
        ],
        "budget": sweeping_pb2.Budget(trials=5),
        "seed": 3,
    }
    return sweep_pb2.SweepSpec(**(whole | changed))


async def start(client: Client, request: sweep_pb2.StartSweepRequest) -> sweep_pb2.StartSweepResponse:
    return await client.sweep.StartSweep(request, metadata=client.metadata, timeout=30)


async def plan(client: Client, wanted: sweep_pb2.SweepSpec) -> sweep_pb2.PlanSweepResponse:
    request = sweep_pb2.PlanSweepRequest(spec=wanted)
    return await client.sweep.PlanSweep(request, metadata=client.metadata, timeout=30)


async def watched(client: Client, run_id: str, *, without_cases: bool = False) -> list[event_pb2.Event]:
    request = sweep_pb2.WatchSweepRequest(run_id=run_id, without_cases=without_cases)
    return [
        event
        async for response in client.sweep.WatchSweep(request, metadata=client.metadata, timeout=30)
        for event in response.batch.events
        if event.sequence
    ]


async def steer(client: Client, run_id: str, action: int, **more: object) -> sweep_pb2.Sweep:
    request = sweep_pb2.ControlSweepRequest(run_id=run_id, action=action, **more)  # type: ignore[arg-type] -- by name
    return (await client.sweep.ControlSweep(request, metadata=client.metadata, timeout=30)).sweep


async def test_a_sweep_is_planned_run_and_shown(served: Served) -> None:
    planned = await plan(served.person, spec())
    assert planned.plan_hash
    assert planned.plan.trials == 5
    assert planned.plan.simulated
    assert planned.calls >= 5 * 12
    begun = await start(served.person, sweep_pb2.StartSweepRequest(spec=spec(), plan_hash=planned.plan_hash))
    events = await watched(served.person, begun.sweep.run_id)
    kinds = [event.WhichOneof("payload") for event in events]
    assert kinds[0] == "run_opened"
    assert kinds[-2:] == ["sweep_concluded", "run_finished"]
    assert kinds.count("trial_started") == 5
    assert sum(len(event.cases_finished.cases) for event in events) >= 24
    got = await served.person.sweep.GetSweep(
        sweep_pb2.GetSweepRequest(run_id=begun.sweep.run_id), metadata=served.person.metadata
    )
    assert got.sweep.state == event_pb2.RUN_STATE_SUCCEEDED
    assert got.sweep.result.end == sweeping_pb2.SWEEP_END_TRIALS
    assert got.sweep.result.simulated
    assert got.sweep.progress.ended == 5
    assert got.sweep.baseline.scored_cases == 12
    listed = await served.person.sweep.ListSweeps(sweep_pb2.ListSweepsRequest(), metadata=served.person.metadata)
    assert [each.run_id for each in listed.sweeps] == [begun.sweep.run_id]
    short = await watched(served.person, begun.sweep.run_id, without_cases=True)
    assert "cases_finished" not in {event.WhichOneof("payload") for event in short}


async def test_the_same_request_id_starts_one_sweep_and_steers_once(served: Served) -> None:
    request = sweep_pb2.StartSweepRequest(request_id="s1", spec=spec(model=SLOW))
    first, second = await start(served.person, request), await start(served.person, request)
    assert (first.started, second.started) == (True, False)
    run_id = first.sweep.run_id
    for _ in range(2):
        sweep = await steer(served.person, run_id, event_pb2.SWEEP_ACTION_PAUSE, request_id="p1")
        assert len(sweep.controls) == 1
        assert sweep.progress.phase == event_pb2.SWEEP_PHASE_PAUSED
    ended = await steer(served.person, run_id, event_pb2.SWEEP_ACTION_CANCEL)
    assert ended.state == event_pb2.RUN_STATE_CANCELLED
    async with refused() as said:
        await steer(served.person, run_id, event_pb2.SWEEP_ACTION_RESUME)
    assert said[0].reason == "WRONG_STATE"


async def test_a_plan_that_no_longer_holds_is_refused(served: Served) -> None:
    planned = await plan(served.person, spec())
    async with refused() as said:
        await start(served.person, sweep_pb2.StartSweepRequest(spec=spec(seed=4), plan_hash=planned.plan_hash))
    assert said[0].reason == "PLAN_CHANGED"


async def test_everything_that_is_wrong_with_a_space_is_named(served: Served) -> None:
    wrong = [
        sweeping_pb2.SearchDimension(name="s.temperature", float_range=sweeping_pb2.FloatRange(low=1, high=0)),
        sweeping_pb2.SearchDimension(name="s.temperature", float_range=sweeping_pb2.FloatRange(low=0, high=1)),
    ]
    async with refused() as said:
        await plan(served.person, spec(space=wrong))
    assert said[0].reason == "INVALID_FIELD"
    assert any(path.startswith("spec.space[0]") for path in said[0].violations)


async def test_an_agent_steers_its_own_sweep_but_neither_retunes_nor_touches_a_persons(served: Served) -> None:
    slow = spec(model=SLOW)
    own = (await start(served.agent, sweep_pb2.StartSweepRequest(spec=slow))).sweep.run_id
    assert (await steer(served.agent, own, event_pb2.SWEEP_ACTION_PAUSE)).controls[0].role == "agent"
    retune = sweep_pb2.Retune(concurrency=3)
    async with refused() as said:
        await steer(served.agent, own, event_pb2.SWEEP_ACTION_RETUNE, retune=retune, request_id="r1")
    assert said[0].reason == "APPROVAL_REQUIRED"
    await decide(served.person, said[0], grant=True)
    retuned = await steer(served.agent, own, event_pb2.SWEEP_ACTION_RETUNE, retune=retune, request_id="r1")
    assert retuned.controls[-1].concurrency == 3
    theirs = (await start(served.person, sweep_pb2.StartSweepRequest(spec=slow))).sweep.run_id
    for action in (event_pb2.SWEEP_ACTION_PAUSE, event_pb2.SWEEP_ACTION_CANCEL):
        async with refused() as said:
            await steer(served.agent, theirs, action)
        assert said[0].reason == "APPROVAL_REQUIRED"


async def test_an_agent_needs_a_yes_for_what_is_dear_and_always_for_a_holdout(served: Served) -> None:
    dear = spec(model=DEAR)
    assert (await plan(served.agent, dear)).needs_approval
    async with refused() as said:
        await start(served.agent, sweep_pb2.StartSweepRequest(spec=dear))
    assert said[0].reason == "APPROVAL_REQUIRED"
    assert not (await plan(served.agent, spec())).needs_approval
    await put(served.person)
    ref = dataset_pb2.DatasetRef(name="cases", input="input", reference="reference")
    sealed = spec(items=[], dataset=ref, holdout=True)
    assert (await plan(served.agent, sealed)).needs_approval
    async with refused() as said:
        await start(served.agent, sweep_pb2.StartSweepRequest(spec=sealed))
    assert said[0].reason == "APPROVAL_REQUIRED"


async def put(client: Client) -> None:
    rows = [
        {
            "id": f"r{at}",
            "input": f"Is {at} small? [yes]",
            "reference": "yes",
            "where": ("dev", "train", "holdout")[at % 3],
        }
        for at in range(30)
    ]
    header = dataset_pb2.PutDatasetHeader(name="cases", key="id", policy=dataset_pb2.SplitPolicy(column="where"))
    chunk = "\n".join(map(json.dumps, rows)).encode()
    await client.dataset.PutDataset(
        iter([dataset_pb2.PutDatasetRequest(header=header), dataset_pb2.PutDatasetRequest(chunk=chunk)]),
        metadata=client.metadata,
    )


async def test_a_budget_of_tokens_ends_a_sweep_and_is_kept(served: Served) -> None:
    wanted = spec(budget=sweeping_pb2.Budget(trials=5, tokens=300))
    begun = await start(served.person, sweep_pb2.StartSweepRequest(spec=wanted))
    events = await watched(served.person, begun.sweep.run_id)
    assert events[-1].run_finished.state == event_pb2.RUN_STATE_PARTIAL
    assert events[-2].sweep_concluded.result.end == sweeping_pb2.SWEEP_END_TOKENS
    usage = events[-1].run_finished.totals.usage
    assert 0 < usage.input_tokens + usage.output_tokens <= 300


async def test_a_stranger_finds_no_sweep(served: Served) -> None:
    begun = await start(served.person, sweep_pb2.StartSweepRequest(spec=spec()))
    async with refused() as said:
        await served.stranger.sweep.GetSweep(
            sweep_pb2.GetSweepRequest(run_id=begun.sweep.run_id), metadata=served.stranger.metadata
        )
    assert said[0].reason == "RUN_NOT_FOUND"
    assert value_pb2.Money(nanos=0) == begun.sweep.plan.worst_cost
