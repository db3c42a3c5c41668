"""Sweeps in a conversation: what the mind is told, what is heard, and how a wish becomes a sweep on a real server."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from tests.agent.listening import listening
from tests.agent.real import CENT, connection_to, real_server
from tests.server.rpc.conftest import HELD, Served

from whet.v1 import dataset_pb2, event_pb2, judging_pb2, sweep_pb2, sweeping_pb2, trial_pb2, value_pb2
from whet_agent.account import Account, capped
from whet_agent.catalogue import request_from, tools
from whet_agent.conversation import NO_LONGER_FOLLOWED, OpenCall, ToolRequest, calls_of, from_mind, from_tool, planned
from whet_agent.events import AssistantSaid, RunHeard, ToolAnswered, ToolAsked
from whet_agent.mcp.progress import Progress
from whet_agent.model.messages import tool_schemas
from whet_agent.nodes.reporter import Reporter
from whet_agent.planner.plan import START
from whet_agent.purse import Purse
from whet_agent.runs import SWEEP, cancelling, kind_of, watching
from whet_agent.session import AgentSession, SessionSettings
from whet_agent.sums import RunSums
from whet_agent.sweep_words import about, result_lines, told
from whet_agent.sweeps import KEPT_TRIALS, SweepFold, fetched_sweep
from whet_server.fanout.spec import BranchSpec
from whet_server.values import ModelName

Event = event_pb2.Event
SWP = "swp_1a"
QUALITY = sweeping_pb2.Objective(kind=sweeping_pb2.OBJECTIVE_KIND_QUALITY)
PLAN = sweeping_pb2.SweepPlan(
    trials=30, cases=60, origin="data set support@1, dev", objectives=[QUALITY], simulated=True, size=45
)
OPENED = Event(sequence=1, run_opened=event_pb2.RunOpened(run_id=SWP, kind=event_pb2.RUN_KIND_SWEEP, sweep=PLAN))
SPENT = value_pb2.Totals(settled=value_pb2.Money(nanos=12 * CENT))
PROGRESS = event_pb2.SweepProgress(
    ended=12,
    pruned=4,
    running=3,
    best=7,
    best_value=0.9,
    totals=SPENT,
    money_left=value_pb2.Money(nanos=88 * CENT),
    time_left=Duration(seconds=200),
)
RESULT = sweeping_pb2.SweepResult(
    verdict=sweeping_pb2.SWEEP_VERDICT_BETTER,
    finding="Better: trial 7 answers 9 points more of the cases than the baseline.",
    end=sweeping_pb2.SWEEP_END_TRIALS,
    best=7,
    lift=judging_pb2.Estimate(value=0.09, low=0.03, high=0.15, level=0.95),
    p_value=0.004,
    comparisons=29,
    pairs=60,
    regressed=[sweeping_pb2.ChangedCase(case_id="r4", before=1, after=0)],
    improved=6,
    importance=[sweeping_pb2.Importance(name="answer.template", share=0.7)],
    holdout=sweeping_pb2.HoldoutFigure(
        dataset="support@1",
        pairs=40,
        baseline=judging_pb2.Estimate(value=0.7),
        winner=judging_pb2.Estimate(value=0.8),
        lift=judging_pb2.Estimate(value=0.1, low=0.01, high=0.2),
    ),
    follow_ups=[sweeping_pb2.FollowUp(step="narrow", reason="the five best have the same template")],
)


def trial(number: int, quality: float, state: str = "COMPLETE") -> sweeping_pb2.Trial:
    return sweeping_pb2.Trial(
        number=number,
        state=sweeping_pb2.TrialState.Value(f"TRIAL_STATE_{state}"),
        parameters=[sweeping_pb2.ParameterValue(name="answer.temperature", number=number / 8)],
        cases=60,
        quality=judging_pb2.Estimate(value=quality),
    )


def finished(sequence: int, one: sweeping_pb2.Trial) -> Event:
    return Event(sequence=sequence, trial_finished=event_pb2.TrialFinished(trial=one))


def heard(*events: Event) -> SweepFold:
    fold = SweepFold(run_id=SWP)
    for event in events:
        fold.hear(event)
    return fold


def test_a_sweep_under_way_is_told_by_its_best_and_by_what_is_left() -> None:
    fold = heard(OPENED, finished(2, trial(0, 0.8)), finished(3, trial(7, 0.9)), Event(sweep_progress=PROGRESS))
    words = fold.tell()
    assert "running: 12 of 30 trials ended, 4 of them stopped early, 3 under way" in words
    assert "best so far: trial 7: quality 0.90, 60 cases – answer.temperature = 0.875" in words
    assert "trial 0 (the baseline): quality 0.80" in words
    assert "left: $0.88 in the budget, about 3 min" in words


def test_a_conclusion_is_told_with_its_interval_its_losses_the_hold_out_and_what_could_follow() -> None:
    concluded = Event(sequence=4, sweep_concluded=event_pb2.SweepConcluded(result=RESULT))
    end = Event(sequence=5, run_finished=event_pb2.RunFinished(state=event_pb2.RUN_STATE_SUCCEEDED, totals=SPENT))
    fold = heard(OPENED, finished(2, trial(0, 0.8)), finished(3, trial(7, 0.9)), concluded, end)
    words = fold.tell()
    assert fold.ok
    assert RESULT.finding in words
    assert "+0.09 (0.03 to 0.15) at 95%, 60 cases paired, p 0.004 corrected for 29 comparisons" in words
    assert "worse on 1 cases: r4 (1.00 to 0.00)" in words
    assert "hold-out: 0.70 before, 0.80 after, difference +0.1 (0.01 to 0.2) on 40 rows of support@1" in words
    assert "could follow, narrow: the five best have the same template" in words
    answer = fold.message()
    assert fetched_sweep(answer.sweep).tell() == words.replace("2 of 30 trials", "0 of 30 trials")


def test_a_best_that_is_the_baseline_or_unknown_is_told_in_words() -> None:
    baseline = sweeping_pb2.SweepResult(best=0, lift=judging_pb2.Estimate(level=0.95))
    assert "none, as no trial was better" in "".join(result_lines(baseline, {}))
    assert "not known" in "".join(result_lines(sweeping_pb2.SweepResult(), {}))


def test_of_ten_thousand_trials_the_best_are_kept_and_no_case() -> None:
    def course() -> Iterator[Event]:
        yield OPENED
        for number in range(10_000):
            case = sweeping_pb2.TrialCase(case_id="c", output="x" * 1000)
            yield Event(cases_finished=event_pb2.CasesFinished(number=number, cases=[case]))
            state = "PRUNED" if number % 3 == 0 and number else "COMPLETE"
            yield finished(number + 2, trial(number, (number * 7919 % 10_000) / 10_000, state))

    fold = heard(*course())
    assert (fold.ended, fold.pruned) == (10_000, 3_333)
    assert len(fold.trials) == KEPT_TRIALS + 1
    kept = sorted(one.quality.value for one in fold.trials.values() if one.number)
    assert kept[0] > 0.997
    assert 0 in fold.trials


def test_a_cheaper_trial_is_the_better_one_where_cost_is_brought_down() -> None:
    held = sweeping_pb2.Objective(kind=sweeping_pb2.OBJECTIVE_KIND_QUALITY, margin=0.02)
    cost = sweeping_pb2.Objective(kind=sweeping_pb2.OBJECTIVE_KIND_COST)
    fold = heard(Event(sequence=1, run_opened=event_pb2.RunOpened(sweep={"objectives": [held, cost]})))  # type: ignore[arg-type]
    for number in range(40):
        one = trial(number, 0.5)
        one.cost = 1 + number
        fold.hear(finished(number + 2, one))
    assert sorted(fold.trials) == list(range(KEPT_TRIALS + 1))


def test_a_plan_is_told_with_its_worst_cost_and_every_warning() -> None:
    answer = sweep_pb2.PlanSweepResponse(
        plan=PLAN,
        calls=1800,
        low_cost=value_pb2.Money(nanos=CENT),
        expected_cost=value_pb2.Money(nanos=3 * CENT),
        worst_cost=value_pb2.Money(nanos=83_860_014),
        expected_duration=Duration(seconds=90),
        warnings=["The space has 45 combinations and the budget 30 trials."],
        needs_approval=True,
        detectable=0.083,
    )
    words = told(answer)
    assert "up to 30 trials" in words
    assert "$0.0839 at most; $0.03 expected" in words
    assert "8.3 points" in words
    assert "mind: The space has 45 combinations" in words
    assert "a person must approve it" in words


@pytest.mark.parametrize(
    ("nanos", "words"), [(0, "$0.00"), (1_234_567, "$0.00124"), (5 * CENT, "$0.05"), (999_900_000, "$1.00")]
)
def test_an_amount_in_a_sentence_is_never_less_than_it_is(nanos: int, words: str) -> None:
    assert about(nanos) == words


def test_trials_cases_and_files_are_told_as_what_they_are() -> None:
    board = trial_pb2.ListTrialsResponse(trials=[trial(0, 0.8), trial(7, 0.9)], count=12)
    assert "| 0 (baseline) | complete | 0.80 | – |" in told(board)
    assert "and 10 more" in told(board)
    cell = trial_pb2.ComparedCell(
        number=7, answers=[sweeping_pb2.TrialCase(output="billing", score=1.0, outcome=judging_pb2.OUTCOME_SCORED)]
    )
    compared = trial_pb2.ComparedCase(item={"item_id": "r4", "input": "My bill?", "reference": "billing"}, cells=[cell])  # type: ignore[arg-type]
    words = told(trial_pb2.ListCasesResponse(cases=[compared], trials=[trial(7, 0.9)]))
    assert "**r4**: My bill?; right is: billing" in words
    assert "- trial 7: 1.00 (billing)" in words
    fenced = told(sweep_pb2.ExportSweepResponse(content="a: ```", file_name="best.yaml"))
    assert fenced == "best.yaml:\n\n````yaml\na: ```\n````"
    assert told(sweep_pb2.ReportSweepResponse(content="# Report", file_name="r.md")) == "# Report"


def test_a_sweep_is_followed_without_its_cases_and_ended_by_a_control() -> None:
    assert kind_of(SWP) is SWEEP
    watch, control = watching(SWP, "5")[1], cancelling(SWP)[1]
    assert watch == sweep_pb2.WatchSweepRequest(run_id=SWP, cursor="5", without_cases=True)
    assert control == sweep_pb2.ControlSweepRequest(run_id=SWP, action=event_pb2.SWEEP_ACTION_CANCEL)


def test_a_sweep_gets_its_share_of_what_is_left_as_its_budget() -> None:
    account = Account(Purse(RunSums()), max_cost_nanos=9 * CENT)
    whole, modest = '{"spec": {}}', '{"spec": {"budget": {"money": "$0.02"}}}'
    calls = [
        OpenCall(k=f"1/1.{n}", call_id="c", name="sweep", arguments=text) for n, text in enumerate((whole, modest))
    ]
    caps = account.share(calls, tools())
    assert caps["1/1.1"] == 2 * CENT
    assert caps["1/1.0"] + caps["1/1.1"] < 9 * CENT
    request = request_from(tools()["sweep"].method, json.loads(modest))
    capped(request, CENT)
    assert request.spec.budget.money.nanos == CENT  # type: ignore[attr-defined]


def test_single_trials_are_not_told_to_the_session_nor_to_other_agents() -> None:
    told_of: list[object] = []
    reporter, progress = Reporter(turn=1, key="k", hear=told_of.append, running={}), Progress()
    for event in (OPENED, finished(2, trial(0, 0.8)), Event(sweep_progress=PROGRESS)):
        reporter.run_heard(SWP, event)
        progress.run_heard(SWP, event)
    assert [each.event.WhichOneof("payload") for each in told_of if isinstance(each, RunHeard)] == [
        "run_opened",
        "sweep_progress",
    ]
    progress.end()


def test_the_parts_of_a_sweep_that_other_tools_have_told_are_pointed_at() -> None:
    schemas = {each["function"]["name"]: each["function"]["parameters"] for each in tool_schemas(tools().values())}
    spec = schemas["sweep"]["properties"]["spec"]["properties"]
    assert spec["fanout"]["description"] == "The same fields as the spec of `fanout`."
    assert spec["criteria"]["description"].endswith("As `criteria` in the spec of `judge`.")
    assert "space" in spec
    assert schemas["plan_sweep"]["properties"]["spec"]["description"] == "The same fields as the spec of `sweep`."


ROWS = "".join(
    json.dumps({"input": f"Case {n}: {text}", "reference": label}) + "\n"
    for n in range(10)
    for text, label in (("my bill is wrong", "billing"), ("it crashes", "technical"))
).encode()


async def support(served: Served) -> None:
    header = dataset_pb2.PutDatasetHeader(name="support", source="s.jsonl", policy={"train": 1, "dev": 1})  # type: ignore[arg-type]
    parts = (dataset_pb2.PutDatasetRequest(header=header), dataset_pb2.PutDatasetRequest(chunk=ROWS))
    await served.person.dataset.PutDataset(iter(parts), metadata=served.person.metadata)


def panel(*models: str) -> tuple[BranchSpec, ...]:
    return tuple(BranchSpec(model=ModelName(model)) for model in models)


async def test_a_wish_becomes_a_plan_a_sweep_and_a_verdict(tmp_path: Path) -> None:
    async with real_server(tmp_path, panel=panel("sim/fast")) as served:
        await support(served)
        session = await AgentSession.open(connection_to(served), SessionSettings(folder=tmp_path / "agent"))
        async with listening(session) as listener:
            turn = await session.send("find a better prompt for support")
            await listener.turn_ended(turn)
            turn = await session.send("with a grid and 3 trials")
            assert (await listener.turn_ended(turn)).state == "done"
            assert {asked.tool for asked in listener.all(ToolAsked)} == {"plan_sweep"}
            turn = await session.send("yes")
            assert (await listener.turn_ended(turn)).state == "done"
            assert [asked.tool for asked in listener.all(ToolAsked)] == [
                "plan_sweep",
                "plan_sweep",
                "sweep",
                "watch_sweep",
            ]
            said = [each.text for each in listener.all(AssistantSaid)]
            assert "its 2 labels (billing, technical)" in said[0]
            assert "up to 3 trials by grid out of 45 combinations" in said[3]
            assert all(words.endswith(START) for words in (said[1], said[3]))
            assert "3 of 3 trials ended" in said[-1]
            assert "No difference" in said[-1]
            specs = [json.loads(asked.arguments_json).get("spec") for asked in listener.all(ToolAsked)]
            assert specs[0] != specs[1] == specs[2]
            assert all(answer.ok for answer in listener.all(ToolAnswered))
        await session.close()


async def test_a_followed_sweep_lets_the_person_speak_and_is_followed_again(tmp_path: Path) -> None:
    async with real_server(tmp_path) as served:
        await support(served)
        session = await AgentSession.open(connection_to(served), SessionSettings(folder=tmp_path / "agent"))
        async with listening(session) as listener:
            turn = await session.send(f"sweep the temperature with {HELD} over the data set support")
            await listener.turn_ended(turn)
            await session.send("start it")
            run = (await listener.wait(RunHeard)).run_id
            await session.steer("pause it")
            left = await listener.wait(ToolAnswered, lambda answer: answer.tool == "watch_sweep")
            assert (left.text, left.run_id) == (NO_LONGER_FOLLOWED, run)
            assert (await listener.wait(ToolAnswered, lambda answer: answer.tool == "control_sweep")).ok
            await listener.wait(ToolAsked, lambda asked: asked.tool == "watch_sweep", count=2)
            turn = await session.send("cancel it")
            await listener.turn_ended(turn)
            cancelled = await listener.wait(ToolAsked, lambda asked: asked.tool == "control_sweep", count=2)
            assert json.loads(cancelled.arguments_json) == {"run_id": run, "action": "cancel"}
            assert "cancelled" in listener.all(AssistantSaid)[-1].text
        await session.close()


def test_a_start_is_held_to_the_plan_of_the_same_work_and_to_no_other() -> None:
    work = '{"spec": {"dataset": {"name": "support"}}}'
    asked = from_mind(1, 1, "", (ToolRequest(call_id="c", name="plan_sweep", arguments=work),), author="mind")
    answered = from_tool(calls_of(asked)[0], "a plan", ok=True)
    answered["plan"] = "abc"
    start = OpenCall(k="1/2.1", call_id="c", name="sweep", arguments=work.replace(" ", ""))
    assert planned(start, [asked, answered]) == "abc"
    assert planned(replace(start, arguments='{"spec": {}}'), [asked, answered]) == ""
