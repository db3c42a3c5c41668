import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from tests.server.rpc.conftest import Client, Served, refused

from whet.v1 import event_pb2, scorer_pb2, sweep_pb2, sweeping_pb2, trial_pb2, value_pb2

CASES = 8
PATIENCE = 15.0


def spec(*, cases: int = CASES, trials: int = 4) -> sweep_pb2.SweepSpec:
    """A sweep of two dimensions, one of them with texts, whose trials a program runs."""
    choices = [sweeping_pb2.Choice(label="short", text="Be short."), sweeping_pb2.Choice(label="plain")]
    return sweep_pb2.SweepSpec(
        outside=sweep_pb2.Outside(description="a classifier of ours", lease=Duration(seconds=60)),
        space=[
            sweeping_pb2.SearchDimension(name="rate", float_range=sweeping_pb2.FloatRange(low=0, high=1)),
            sweeping_pb2.SearchDimension(name="prompt", choices=sweeping_pb2.Choices(choices=choices)),
        ],
        items=[scorer_pb2.Item(item_id=f"c{at}", input=f"question {at}", reference="yes") for at in range(cases)],
        racing=sweeping_pb2.Racing(method=sweeping_pb2.RACING_METHOD_NONE),
        budget=sweeping_pb2.Budget(trials=trials),
        trials_at_once=2,
        seed=1,
    )


class Program:
    """An outside program, and what a person looks at."""

    def __init__(self, client: Client, run_id: str = "") -> None:
        self.client = client
        self.run_id = run_id
        self._how: dict[str, Any] = {"metadata": client.metadata, "timeout": PATIENCE}

    async def start(self, wanted: sweep_pb2.SweepSpec) -> "Program":
        request = sweep_pb2.StartSweepRequest(spec=wanted)
        self.run_id = (await self.client.sweep.StartSweep(request, **self._how)).sweep.run_id
        return self

    async def ask(self, count: int = 0, request_id: str = "") -> trial_pb2.AskTrialsResponse:
        request = trial_pb2.AskTrialsRequest(
            run_id=self.run_id, count=count, request_id=request_id, worker=f"tests {request_id}"
        )
        return await self.client.trial.AskTrials(request, **self._how)

    async def tell(self, number: int, cases: Sequence[trial_pb2.ToldCase] = (), **more: object) -> sweeping_pb2.Trial:
        request = trial_pb2.TellTrialRequest(run_id=self.run_id, number=number, cases=cases, **more)  # type: ignore[arg-type]  # fields by name
        return (await self.client.trial.TellTrial(request, **self._how)).trial

    async def list(self, **how: object) -> trial_pb2.ListTrialsResponse:
        request = trial_pb2.ListTrialsRequest(run_id=self.run_id, **how)  # type: ignore[arg-type]  # fields by name
        return await self.client.trial.ListTrials(request, **self._how)

    async def cases(self, **how: object) -> trial_pb2.ListCasesResponse:
        request = trial_pb2.ListCasesRequest(run_id=self.run_id, **how)  # type: ignore[arg-type]  # fields by name
        return await self.client.trial.ListCases(request, **self._how)

    async def run(self) -> sweep_pb2.Sweep:
        """Run all trials: the higher the rate the more cases are right. Return the sweep at its end."""
        while not (asked := await self.ask(2)).ended:
            for trial in asked.trials:
                await self.tell(trial.number, answers(trial))
        request = sweep_pb2.WatchSweepRequest(run_id=self.run_id)
        async for _ in self.client.sweep.WatchSweep(request, **self._how):
            pass
        return (await self.client.sweep.GetSweep(sweep_pb2.GetSweepRequest(run_id=self.run_id), **self._how)).sweep


def answers(trial: trial_pb2.OutsideTrial) -> list[trial_pb2.ToldCase]:
    rate = next(each.number for each in trial.parameters if each.name == "rate")
    return [
        trial_pb2.ToldCase(
            case_id=item.item_id,
            output="yes" if at < rate * len(trial.cases) else "no",
            cost=value_pb2.Money(nanos=1000 * (at + 1)),
            latency=Duration(nanos=500_000_000),
        )
        for at, item in enumerate(trial.cases)
    ]


async def test_a_program_runs_a_sweep_from_the_first_trial_to_the_verdict(served: Served) -> None:
    program = await Program(served.person).start(spec(trials=6))
    sweep = await program.run()
    assert sweep.state == event_pb2.RUN_STATE_SUCCEEDED
    assert sweep.result.end == sweeping_pb2.SWEEP_END_TRIALS
    assert (await program.ask()).ended
    board = await program.list()
    assert [trial.state for trial in board.trials] == [sweeping_pb2.TRIAL_STATE_COMPLETE] * 6
    assert board.count == 6
    found = [trial.quality.value for trial in board.trials]
    assert found == sorted(found, reverse=True)
    assert board.trials[0].latency.nanos == 500_000_000
    assert board.trials[0].cost == pytest.approx(sum(range(1, CASES + 1)) * 1000 / CASES / 1e9)
    assert {trial.worker for trial in board.trials} == {"tests "}


async def test_the_same_request_id_gives_the_same_trials(served: Served) -> None:
    program = await Program(served.person).start(spec())
    first, again = await program.ask(5, "a1"), await program.ask(5, "a1")
    assert [trial.number for trial in first.trials] == [0, 1]
    assert again == first
    nothing = await program.ask(5, "a2")
    assert (list(nothing.trials), nothing.retry_after.seconds) == ([], 1)
    for trial in first.trials:
        await program.tell(trial.number, answers(trial))
    assert [trial.number for trial in (await program.ask(1, "a2")).trials] == [2], "nothing was no answer to keep"
    once_more = await program.ask(5, "a1")
    assert [trial.number for trial in once_more.trials] == [0, 1]
    assert list(once_more.trials[0].told_case_ids) == [item.item_id for item in once_more.trials[0].cases]
    async with refused() as said:
        await program.ask(3, "a1")
    assert said[0].reason == "REQUEST_ID_REUSED"


async def test_a_trial_carries_the_texts_of_its_labels(served: Served) -> None:
    program = await Program(served.person).start(spec(trials=20))
    texts = {}
    while not (asked := await program.ask(2)).ended:
        for trial in asked.trials:
            label = next(each.text for each in trial.parameters if each.name == "prompt")
            texts[label] = [(choice.label, choice.text) for choice in trial.texts]
            await program.tell(trial.number, answers(trial))
    assert texts == {"short": [("short", "Be short.")], "plain": []}


async def test_the_leaderboard_is_filtered_ordered_and_paged(served: Served) -> None:
    program = await Program(served.person).start(spec(trials=10))
    await program.run()
    everything = (await program.list(order=trial_pb2.TRIAL_ORDER_NUMBER)).trials
    rates = {
        trial.number: next(each.number for each in trial.parameters if each.name == "rate") for trial in everything
    }
    assert list(rates) == list(range(10))
    high = await program.list(where=["rate>0.5", "prompt=short"], page=value_pb2.Page(size=1))
    assert high.count == sum(
        rates[trial.number] > 0.5 and any(each.text == "short" for each in trial.parameters) for trial in everything
    )
    numbers, token = [], ""
    while True:
        page = await program.list(page=value_pb2.Page(size=3, token=token))
        numbers += [trial.number for trial in page.trials]
        if not (token := page.next_page_token):
            break
    assert numbers == [trial.number for trial in (await program.list()).trials]
    front = await program.list(front=True)
    assert [trial.front for trial in front.trials] == [True] * front.count
    async with refused() as said:
        await program.list(where=["heat>1", "prompt=long", "prompt<x", "rate=warm", "rate"])
    assert said[0].violations == {
        "where[0]": "there is no 'heat'; there are: rate, prompt, quality, cost, latency, cases",
        "where[1]": "prompt is never 'long'; there are: short, plain",
        "where[2]": "prompt is one of several: compare it with =. There are: short, plain",
        "where[3]": "rate is a number, and 'warm' is none",
        "where[4]": "write name=value, name<value or name>value",
    }


async def test_cases_stand_side_by_side_and_those_that_differ_first(served: Served) -> None:
    program = await Program(served.person).start(spec())
    trials = (await program.ask(2)).trials
    right = [trial_pb2.ToldCase(case_id=item.item_id, output="yes") for item in trials[0].cases]
    mixed = [
        trial_pb2.ToldCase(case_id=item.item_id, output="no" if at in {2, 5} else "yes")
        for at, item in enumerate(trials[0].cases)
    ]
    await asyncio.gather(program.tell(0, right), program.tell(1, mixed[:6]))
    both = await program.cases(trials=[0, 1])
    order = [item.item_id for item in trials[0].cases]
    assert [case.item.item_id for case in both.cases] == order
    assert both.cases[0].item.input.startswith("question ")
    assert [len(case.cells[1].answers) for case in both.cases] == [1] * 6 + [0] * 2
    assert [trial.number for trial in both.trials] == [0, 1]
    apart = await program.cases(trials=[0, 1], differing=True, page=value_pb2.Page(size=1))
    rest = await program.cases(trials=[0, 1], differing=True, page=value_pb2.Page(size=1, token=apart.next_page_token))
    assert [case.item.item_id for page in (apart, rest) for case in page.cases] == [order[2], order[5]]
    assert [cell.answers[0].score for cell in apart.cases[0].cells] == [1.0, 0.0]
    async with refused() as said:
        await program.cases(trials=[0, 7])
    assert (said[0].reason, said[0].metadata["number"]) == ("TRIAL_NOT_FOUND", "7")


async def test_what_is_told_wrongly_is_named_and_nothing_of_it_is_taken(served: Served) -> None:
    program = await Program(served.person).start(spec())
    trial = (await program.ask()).trials[0]
    async with refused() as said:
        await program.tell(0, [*answers(trial)[:2], trial_pb2.ToldCase(case_id="nowhere", score=1)])
    assert said[0].violations == {"cases[2].case_id": "the sweep has no case 'nowhere'"}
    for score in (1.5, float("nan")):
        async with refused() as said:
            await program.tell(0, [trial_pb2.ToldCase(case_id="c0", score=score)])
        assert "cases[0].score" in said[0].violations
    assert (await program.list()).trials[0].cases == 0


async def test_another_workspace_finds_no_trial(served: Served) -> None:
    program = await Program(served.person).start(spec())
    await program.ask()
    stranger = Program(served.stranger, program.run_id)
    for call in (stranger.ask(), stranger.tell(0, finished=True), stranger.list(), stranger.cases()):
        async with refused() as said:
            await call
        assert said[0].reason == "RUN_NOT_FOUND"
