"""Audits over the wire: plan, run, get, and what is refused."""

from collections.abc import Sequence

import pytest
from tests.server.audit.bench import items
from tests.server.rpc.conftest import Client, Served, refused

from whet.v1 import calibration_pb2, event_pb2, fanout_pb2, judge_pb2, judging_pb2, rubric_pb2, scorer_pb2
from whet_server.judging import AuditAxis

FAIR = "sim/judge?first_ms=0&rate=1000000"
OBEYS = f"{FAIR}&bias=injection&strength=0.6"


def spec(
    model: str = FAIR, *, count: int = 20, candidates: int = 1, axes: Sequence[AuditAxis] = (), mode: str = "POINTWISE"
) -> calibration_pb2.AuditSpec:
    return calibration_pb2.AuditSpec(
        judge=judging_pb2.Judge(
            rubric="answer-quality", models=[model], mode=judging_pb2.JudgeMode.Value(f"JUDGE_MODE_{mode}")
        ),
        items=[
            scorer_pb2.Item(item_id=item.item_id, input=item.input, candidates=item.candidates)
            for item in items(count, candidates=candidates)
        ],
        axes=[judging_pb2.AuditAxis.Value(f"AUDIT_AXIS_{axis.name}") for axis in axes],
    )


async def audited(
    client: Client, asked: calibration_pb2.AuditSpec, **more: str
) -> tuple[calibration_pb2.GetAuditResponse, list[event_pb2.Event]]:
    """Audit to the end; return what GetAudit says of it, and its durable events."""
    run_id, events = "", []
    request = calibration_pb2.RunAuditRequest(spec=asked, **more)
    async for response in client.calibration.RunAudit(request, metadata=client.metadata, timeout=60):
        run_id = response.run_id
        events += [event for event in response.batch.events if event.sequence]
    found = await client.calibration.GetAudit(calibration_pb2.GetAuditRequest(run_id=run_id), metadata=client.metadata)
    return found, events


async def test_an_audit_streams_its_verdicts_and_its_report_before_the_end(served: Served) -> None:
    found, events = await audited(served.person, spec(OBEYS, axes=[AuditAxis.INJECTION, AuditAxis.LENGTH]))
    assert [event.WhichOneof("payload") for event in events][-3:] == [
        "judgement_summed",
        "audit_reported",
        "run_finished",
    ]
    assert events[-2].audit_reported.report == found.report
    injection, length = found.report.axes
    assert (injection.axis, length.axis) == (judging_pb2.AUDIT_AXIS_INJECTION, judging_pb2.AUDIT_AXIS_LENGTH)
    assert (injection.verdict, length.verdict) == (judging_pb2.AUDIT_VERDICT_BIASED, judging_pb2.AUDIT_VERDICT_FAIR)
    assert "Orders inside the answer" in injection.finding
    assert injection.examples[0].item_id.startswith("row-")
    assert found.report.simulated
    assert found.state == event_pb2.RUN_STATE_SUCCEEDED
    assert found.verdicts == found.planned == 20 * 7
    assert found.judge.rubric == "answer-quality@1"


async def test_a_fair_judge_is_fair_on_all_six_axes_of_which_one_shows_it_pairs(served: Served) -> None:
    found, _ = await audited(served.person, spec())
    assert [result.verdict for result in found.report.axes] == [judging_pb2.AUDIT_VERDICT_FAIR] * 6
    assert found.planned == 20 * 16


@pytest.mark.parametrize("mode", ["PAIRWISE", "LISTWISE"])
async def test_judges_of_pairs_and_lists_are_audited_as_they_judge(served: Served, mode: str) -> None:
    model = f"{FAIR}&bias=position&strength=0.6"
    axes = [AuditAxis.POSITION, AuditAxis.SYCOPHANCY]
    found, _ = await audited(served.person, spec(model, candidates=3, axes=axes, mode=mode))
    assert [result.verdict for result in found.report.axes] == [
        judging_pb2.AUDIT_VERDICT_BIASED,
        judging_pb2.AUDIT_VERDICT_FAIR,
    ]


async def test_a_plan_says_what_it_costs_and_holds_a_run_to_it(served: Served) -> None:
    client, asked = served.person, spec(f"{FAIR}&price_in=1000000000", axes=[AuditAxis.LENGTH])
    plan = await client.calibration.PlanAudit(calibration_pb2.PlanAuditRequest(spec=asked), metadata=client.metadata)
    assert plan.calls == 20 * 3
    assert 0 < plan.expected_cost.nanos < plan.worst_cost.nanos
    other = calibration_pb2.AuditSpec()
    other.CopyFrom(asked)
    other.items_per_axis = 19
    async with refused() as said:
        await audited(client, other, plan_hash=plan.plan_hash)
    assert said[0].reason == "PLAN_CHANGED"
    found, _ = await audited(client, asked, plan_hash=plan.plan_hash)
    assert 0 < found.totals.settled.nanos <= plan.worst_cost.nanos


async def test_the_same_request_id_attaches_to_the_same_audit(served: Served) -> None:
    asked = spec(count=3, axes=[AuditAxis.LENGTH])
    (one, first), (two, second) = [await audited(served.person, asked, request_id="audit-1") for _ in range(2)]
    assert one.run_id == two.run_id
    assert first == second
    assert one.report.verdict == judging_pb2.AUDIT_VERDICT_UNDECIDED


async def test_what_cannot_be_audited_is_refused_with_its_field(served: Served) -> None:
    wrong_axis = spec(count=2)
    wrong_axis.axes.append(judging_pb2.AUDIT_AXIS_UNSPECIFIED)
    no_items = spec(count=0)
    single = spec(count=2, mode="PAIRWISE")
    for asked, field in ((wrong_axis, "spec.axes[0]"), (no_items, "spec.items"), (single, "spec.items")):
        async with refused() as said:
            await audited(served.person, asked)
        assert field in said[0].violations, said
    nobody = spec(count=2)
    nobody.judge.rubric = "nobody"
    async with refused() as said:
        await audited(served.person, nobody)
    assert said[0].reason == "RUBRIC_NOT_FOUND"


async def test_an_audit_is_found_in_its_own_workspace_and_only_as_an_audit(served: Served) -> None:
    found, _ = await audited(served.person, spec(count=2, axes=[AuditAxis.LENGTH]))
    run_id, _ = await served.person.ran(fanout_pb2.RunFanoutRequest(spec=fanout_pb2.FanoutSpec(prompt="Why?")))
    for client, name in ((served.stranger, found.run_id), (served.person, run_id), (served.person, "aud_none")):
        async with refused() as said:
            await client.calibration.GetAudit(calibration_pb2.GetAuditRequest(run_id=name), metadata=client.metadata)
        assert said[0].reason == "RUN_NOT_FOUND"
    async with refused() as said:
        await served.person.judge.GateJudgement(
            judge_pb2.GateJudgementRequest(run_id=found.run_id), metadata=served.person.metadata
        )
    assert said[0].reason == "RUN_NOT_FOUND"


async def test_a_changed_rubric_is_a_new_version_and_another_judge(served: Served) -> None:
    client = served.person

    async def put(text: str, request_id: str = "") -> rubric_pb2.PutRubricResponse:
        request = rubric_pb2.PutRubricRequest(name="answer-quality", text=text, request_id=request_id)
        return await client.rubric.PutRubric(request, metadata=client.metadata)

    got = await client.rubric.GetRubric(rubric_pb2.GetRubricRequest(name="answer-quality"), metadata=client.metadata)
    assert got.rubric.built_in
    text = got.rubric.text
    changed = text.replace("The main statement is wrong.", "The main statement is false.")
    first, again = [await put(changed, "put-1") for _ in range(2)]
    assert (first.rubric.version, first.created, first) == (2, True, again)
    assert not (await put(changed)).created
    listed = await client.rubric.ListRubrics(rubric_pb2.ListRubricsRequest(), metadata=client.metadata)
    assert {(each.name, each.version, each.text) for each in listed.rubrics} == {
        ("answer-quality", 2, ""),
        ("faithfulness", 1, ""),
        ("problem-solving", 1, ""),
    }
    versions = await client.rubric.ListRubrics(
        rubric_pb2.ListRubricsRequest(name="answer-quality"), metadata=client.metadata
    )
    assert [each.version for each in versions.rubrics] == [2, 1]
    async with refused() as said:
        await put("description = 7")
    assert "text" in said[0].violations
