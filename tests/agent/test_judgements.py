"""Judgements and audits in a conversation: what the mind is told, what is heard, what they may spend, how they end."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.agent.listening import listening
from tests.agent.real import CENT, counted, real_server, talking
from tests.agent.test_crashes import asks
from tests.server.rpc.conftest import HELD

from whet.v1 import (
    calibration_pb2,
    dataset_pb2,
    error_reason_pb2,
    event_pb2,
    judge_pb2,
    judging_pb2,
    scorer_pb2,
    value_pb2,
)
from whet_agent.account import Account
from whet_agent.calls import make
from whet_agent.catalogue import Method, method_named, request_from, tools
from whet_agent.client import CallError
from whet_agent.conversation import OpenCall
from whet_agent.events import RunHeard, ToolAnswered
from whet_agent.judgements import (
    AuditFold,
    JudgementFold,
    calibration_words,
    fetched_audit,
    fetched_judgement,
    gate_words,
)
from whet_agent.mcp.progress import Progress
from whet_agent.model.base import Thought
from whet_agent.model.messages import tool_schemas
from whet_agent.purse import Purse
from whet_agent.results import render
from whet_agent.runs import AUDIT, FANOUT, JUDGEMENT, kind_of
from whet_agent.sums import RunSums

Event, Outcome = event_pb2.Event, judging_pb2.Outcome
JUD = "jud_1a"
ITEMS = [{"item_id": name, "input": "What is 2 + 2?", "candidates": [said], "reference": "4"} for name, said in (
    ("right", "4"), ("wrong", "5"), ("wordy", "It is 4, I am sure of it."))]  # fmt: skip


def judging(*judges: str, tool: str = "judge", **spec: object) -> str:
    given = {"items": ITEMS, "judge": {"models": judges or ["sim/judge"]}, **spec}
    return f"{tool} {json.dumps({'spec': given})}"


def verdict(item: str, score: float | None, judge: str = "a/b") -> judging_pb2.Verdict:
    outcome = Outcome.OUTCOME_SCORED if score is not None else Outcome.OUTCOME_ABSTAINED
    cost = value_pb2.Totals(settled=value_pb2.Money(nanos=CENT))
    return judging_pb2.Verdict(item_id=item, criterion="tone", outcome=outcome, score=score, judge=judge, totals=cost)


def counts(**by_name: int) -> list[judging_pb2.OutcomeCount]:
    return [
        judging_pb2.OutcomeCount(outcome=Outcome.Value(f"OUTCOME_{name.upper()}"), count=count)
        for name, count in by_name.items()
    ]


SUMMARY = judging_pb2.CriterionSummary(
    criterion="tone",
    items=3,
    scored_items=2,
    outcomes=counts(scored=4, abstained=1, timed_out=1),
    mean=judging_pb2.Estimate(value=0.5, low=0.25, high=0.75, level=0.95),
    calibration=judging_pb2.CALIBRATION_STATE_STALE,
    degraded=True,
)
OPENED = event_pb2.RunOpened(
    run_id=JUD,
    kind=event_pb2.RUN_KIND_JUDGEMENT,
    judgement=event_pb2.JudgementPlan(
        items=3, judges=["a/b", "sim/c"], verdicts=6, origin="data set s@1", simulated=True
    ),
)
VERDICTS = [
    verdict("1", 0.2), verdict("1", 0.9, "sim/c"), verdict("2", 0.5), verdict("2", 0.6, "sim/c"), verdict("3", None)
]  # fmt: skip
STREAM = [
    Event(sequence=1, run_opened=OPENED),
    Event(sequence=2, verdicts_reached=event_pb2.VerdictsReached(verdicts=VERDICTS)),
    Event(
        judgement_progress=event_pb2.JudgementProgress(verdicts=5, planned=6, outcomes=counts(scored=4, abstained=1))
    ),
    Event(sequence=3, judgement_summed=event_pb2.JudgementSummed(criteria=[SUMMARY])),
    Event(
        sequence=4,
        run_finished=event_pb2.RunFinished(
            state=event_pb2.RUN_STATE_PARTIAL, totals=value_pb2.Totals(settled=value_pb2.Money(nanos=6 * CENT))
        ),
    ),
]


def watched() -> JudgementFold:
    fold = JudgementFold()
    for event in STREAM:
        fold.hear(event)
    return fold


def test_a_judgement_is_told_with_denominators_intervals_and_what_to_beware_of() -> None:
    told = watched().tell()
    assert told.startswith(f"Judgement {JUD} partial: 5 of 6 verdicts on 3 items of data set s@1, $0.06 settled.")
    assert "| tone | 0.50 (0.25 to 0.75) | 2 of 3 items | 4 scored, 1 abstained, 1 timed out |" in told
    assert "calibration stale, may not gate; degraded" in told
    assert "Judged by a/b, sim/c. Simulated." in told
    widest = told.partition("**Widest disagreement**")[2].strip().splitlines()
    assert widest == ["- item 1: tone: 0.20 to 0.90, 0.70 apart", "- item 2: tone: 0.50 to 0.60, 0.10 apart"]


def test_what_was_heard_before_counts_no_verdict_twice() -> None:
    fold = watched()
    assert not any(fold.hear(event) for event in STREAM if event.sequence)
    assert fold.verdicts == 5


def test_money_is_counted_while_verdicts_come_in() -> None:
    fold = JudgementFold(run_id=JUD)
    fold.hear(STREAM[1])
    assert (fold.totals.settled.nanos, fold.finished) == (5 * CENT, None)


def test_a_fetched_judgement_tells_its_items_with_what_was_said_of_them() -> None:
    answer = watched().message()
    answer.judgement.end_time.GetCurrentTime()
    item = answer.items.add(disagreement=0.7, verdicts=[verdict("1", 0.2)], item=scorer_pb2.Item(item_id="1"))
    item.verdicts[0].rationale = "too curt\nby far"
    item.ratings.add(level=2, rater="ann")
    fold = fetched_judgement(answer)
    assert "- item 1: no score; a/b 0.20 (too curt by far); ann rated 2, 0.70 apart" in fold.tell()
    assert (fold.ok, fold.simulated, fold.totals.settled.nanos) == (True, True, 6 * CENT)


def test_an_audit_is_told_axis_by_axis_with_its_finding() -> None:
    axis = judging_pb2.AxisResult(
        axis=judging_pb2.AUDIT_AXIS_SELF_PREFERENCE,
        verdict=judging_pb2.AUDIT_VERDICT_BIASED,
        pairs=40,
        scored_pairs=38,
        flip_rate=judging_pb2.Estimate(value=0.5, low=0.35, high=0.65, level=0.95),
        p_value=0.0012,
        finding="It likes its own.",
    )
    report = judging_pb2.AuditReport(axes=[axis], verdict=judging_pb2.AUDIT_VERDICT_BIASED)
    fold = AuditFold(run_id="aud_1")
    fold.hear(Event(sequence=1, audit_reported=event_pb2.AuditReported(report=report)))
    fold.hear(Event(sequence=2, run_finished=event_pb2.RunFinished(state=event_pb2.RUN_STATE_SUCCEEDED)))
    line = "- self-preference: biased. It likes its own. (38 of 40 pairs scored, flips 0.50 (0.35 to 0.65), p 0.0012)"
    assert line in fold.tell()
    assert "**The judge is biased**" in fold.tell()
    assert line in fetched_audit(fold.message()).tell()


def test_a_gate_says_what_it_decides_why_and_on_what() -> None:
    answer = judge_pb2.GateJudgementResponse(
        decision=judge_pb2.GATE_DECISION_REFUSED,
        reason="The rubric has changed.",
        error_reason=error_reason_pb2.ERROR_REASON_UNSPECIFIED,
        measured=SUMMARY,
        min_mean=0.7,
    )
    told = gate_words(answer)
    assert told.startswith("The gate refuses to decide: The rubric has changed.")
    assert "- measured: 0.50 (0.25 to 0.75), bar 0.7\n- scored: 2 of 3 items; 4 scored, 1 abstained" in told


def test_a_calibration_is_told_as_a_verdict_and_one_line_for_each_agreement() -> None:
    calibration = calibration_pb2.Calibration(
        calibration_id="cal_1",
        judge=judging_pb2.Judge(rubric="tone@2", models=["sim/judge"]),
        state=judging_pb2.CALIBRATION_STATE_TOO_WEAK,
        reason="Only 3 items.",
        raters=["ada"],
        outcomes=counts(scored=3, timed_out=1),
        simulated=True,
    )
    agreement = calibration.agreements.add(items=3, levels=[1, 2], matrix=[1, 0, 0, 2])
    agreement.weighted_kappa.CopyFrom(judging_pb2.Estimate(value=0.4, low=0.1, high=0.7, level=0.95))
    told = calibration_words(calibration_pb2.CalibrateResponse(calibration=calibration))
    assert told.startswith("cal_1: sim/judge by tone@2, calibration too weak, may not gate. Only 3 items.")
    assert "| the whole | 3 | 0.40 (0.10 to 0.70) | – | – | – | – |" in told
    assert told.endswith("- rated by ada\n- verdicts on rated items: 3 scored, 1 timed out\n- simulated")
    listed = calibration_words(calibration_pb2.ListCalibrationsResponse(calibrations=[calibration]))
    assert "| cal_1 | sim/judge (simulated) | tone@2 |" in listed
    checked = calibration_pb2.CheckJudgeResponse(
        state=judging_pb2.CALIBRATION_STATE_UNCALIBRATED, reason="Nobody has rated."
    )
    assert calibration_words(checked) == "Not calibrated, may not gate. Nobody has rated."


def test_estimates_and_outcomes_read_as_people_write_them_in_any_answer() -> None:
    verdict = judging_pb2.CriterionSummary(outcomes=counts(scored=3, timed_out=1))
    verdict.mean.CopyFrom(judging_pb2.Estimate(value=0.4, low=0.1, high=0.7, level=0.95))
    told = render(verdict)
    assert "0.40 (0.10 to 0.70)" in told
    assert "3 scored, 1 timed out" in told


@pytest.mark.parametrize(
    ("run_id", "kind"), [("fan_1", FANOUT), (JUD, JUDGEMENT), ("aud_1", AUDIT), ("whatever", FANOUT)]
)
def test_a_runs_id_says_how_it_is_followed(run_id: str, kind: object) -> None:
    assert kind_of(run_id) is kind


def test_a_spec_is_written_out_once_for_the_mind() -> None:
    schemas = {each["function"]["name"]: each["function"]["parameters"] for each in tool_schemas(tools().values())}
    assert "criteria" in schemas["judge"]["properties"]["spec"]["properties"]
    for name, told_by in (("start_judgement", "judge"), ("plan_audit", "audit_judge"), ("plan_fanout", "fanout")):
        assert told_by in schemas[name]["properties"]["spec"]["description"]


def test_every_run_of_a_step_gets_its_share_of_what_is_left() -> None:
    account = Account(Purse(RunSums()), max_cost_nanos=9 * CENT)
    parts = [judging().partition(" "), judging(tool="start_judgement", cap="$0.01").partition(" ")]
    audit = json.dumps({"spec": {"judge": {"models": ["sim/judge"]}, "dataset": {"name": "s"}}})
    named = [*((name, text) for name, _, text in parts), ("audit_judge", audit), ("list_judgements", "{}")]
    calls = [OpenCall(k=f"1/1.{n}", call_id="c", name=name, arguments=text) for n, (name, text) in enumerate(named)]
    caps = account.share(calls, tools())
    assert set(caps) == {"1/1.0", "1/1.1", "1/1.2"}
    assert caps["1/1.1"] == CENT
    assert sum(caps.values()) < 9 * CENT


async def test_a_judgement_is_followed_and_counted_without_its_thousand_verdicts(tmp_path: Path) -> None:
    async with (
        real_server(tmp_path) as served,
        talking(
            served, tmp_path, asks(judging(scorers=["exact"])), Thought(text="done"), max_cost_nanos=CENT
        ) as session,
        listening(session) as heard,
    ):
        assert (await heard.turn_ended(await session.send("judge"))).state == "done"
        answered = heard.all(ToolAnswered)[0]
        assert answered.ok, answered.text
        assert answered.run_id.startswith(JUDGEMENT.prefix)
        assert "| exact | 0.33 (" in answered.text
        kinds = [each.event.WhichOneof("payload") for each in heard.all(RunHeard) if each.event.sequence]
        assert kinds == ["run_opened", "judgement_summed", "run_finished"]


async def test_a_cancelled_turn_ends_its_judgement_and_says_so(tmp_path: Path) -> None:
    async with (
        real_server(tmp_path) as served,
        talking(served, tmp_path, asks(judging(HELD))) as session,
        listening(session) as heard,
    ):
        turn = await session.send("judge")
        opened = await heard.wait(RunHeard)
        assert await session.cancel()
        assert (await heard.turn_ended(turn)).state == "cancelled"
        get = judge_pb2.GetJudgementRequest(run_id=opened.run_id)
        person = served.person
        judgement = (await person.judge.GetJudgement(get, metadata=person.metadata)).judgement
        assert judgement.state == event_pb2.RUN_STATE_CANCELLED
        assert await counted(person) == 0


class Broken:
    """A server whose stream breaks in the middle once. It keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def call(self, method: Method, request: object, *, timeout: float | None = 60.0) -> object:
        raise AssertionError(method.name)

    async def stream(self, method: Method, request: object, *, timeout: float | None = None) -> AsyncIterator[object]:
        cursor = getattr(request, "cursor", "")
        self.asked.append((method.name, cursor))
        batch = event_pb2.EventBatch(events=STREAM[:3] if not cursor else STREAM[1:], next_cursor="c1")
        yield judge_pb2.RunJudgementResponse(run_id=JUD, batch=batch)
        if not cursor:
            raise CallError("gone", code="UNAVAILABLE", retry_after=0.001)

    async def close(self) -> None:
        """Nothing to give up."""


async def test_a_broken_stream_is_attached_again_and_progress_only_goes_ahead() -> None:
    backend, progress = Broken(), Progress()
    run = method_named("JudgeService", "RunJudgement")
    outcome = await make(backend, tools()["judge"], request_from(run, {"spec": {}}), progress)  # type: ignore[arg-type]
    progress.end()
    assert backend.asked == [("RunJudgement", ""), ("WatchJudgement", "c1")]
    assert progress.begun == outcome.run_id == JUD
    reports = [(report.done, report.total) async for report in progress.reports()]
    assert reports == [(0, 7), (5, 7), (7, 7)]


def test_a_list_of_data_sets_fits_a_table() -> None:
    dataset = dataset_pb2.Dataset(name="faq", version=2, rows=30, sealed=True, digest="ab" * 32, key="id")
    dataset.splits.add(split=dataset_pb2.SPLIT_TRAIN, rows=24)
    dataset.splits.add(split=dataset_pb2.SPLIT_HOLDOUT, rows=6)
    lines = render(dataset_pb2.ListDatasetsResponse(datasets=[dataset])).splitlines()
    assert lines[2] == "| name | version | rows | splits | sealed |"
    assert lines[4] == "| faq | 2 | 30 | 24 train, 6 holdout | yes |"
