"""A gate decides only by judges that were checked against people, and only by enough scores."""

import pytest
from msgspec.structs import replace
from tests.server.fanout.panel import HOME, ME, Answer
from tests.server.judge.bench import TEXT
from tests.server.judge.court import GARBAGE, JUDGE, Court, by_number, court, items, judge

from whet_server.calibration.ratings import Origin
from whet_server.calibration.sheet import Given
from whet_server.errors import InvalidField, Reason, RunNotFound
from whet_server.judge.spec import Criterion, GateAnswer, GateDecision, GateRequest, JudgementSpec
from whet_server.judging import CalibrationState, Rating
from whet_server.score.spec import ExactScorer
from whet_server.values import RunId, RunKind

ITEMS = items(40)
SPEC = JudgementSpec(items=ITEMS, judge=judge())


async def checked(room: Court, run_id: RunId, level_of: "dict[str, int] | None" = None) -> None:
    """Let a person rate every item as the judge does, or by `level_of`, and calibrate the judge."""
    given = []
    for at, item in enumerate(ITEMS):
        level = (level_of or {}).get(item.item_id, 1 + at % 5)
        given.append(
            Given(
                path=f"ratings[{at}]",
                rating=Rating(subject="", item_id=item.item_id, rubric="two", rater="ada", level=level),
            )
        )
    await room.ratings.put(ME, given, Origin(items={item.item_id: item for item in ITEMS}, run_id=run_id))
    found = await room.judgements.judged(HOME, run_id)
    await room.calibrations.calibrate(
        ME,
        found.judge,
        found.identity,
        run_id=run_id,
        criterion=found.criterion,
        levels=found.levels,
        dimensions=found.dimensions,
        verdicts=found.verdicts,
    )


async def judged(room: Court, spec: JudgementSpec = SPEC) -> RunId:
    run_id = await room.start(spec)
    await room.events(run_id)
    return run_id


async def test_a_judge_that_nobody_checked_decides_nothing() -> None:
    async with court({JUDGE: by_number()}) as room:
        answer = await room.judgements.gate(HOME, await judged(room), GateRequest(min_mean=0.1))
    assert (answer.decision, answer.error_reason) == (GateDecision.REFUSED, Reason.JUDGE_UNCALIBRATED)
    assert answer.measured.mean.value == pytest.approx(0.5)


async def test_a_checked_judge_passes_and_fails_by_the_mean_or_its_lower_end() -> None:
    async with court({JUDGE: by_number()}) as room:
        run_id = await judged(room)
        await checked(room, run_id)

        async def gate(bar: float, *, low: bool = False) -> GateAnswer:
            return await room.judgements.gate(HOME, run_id, GateRequest(min_mean=bar, by_lower_end=low))

        answers = [await gate(0.5), await gate(0.51), await gate(0.5, low=True), await gate(0.3, low=True)]
    assert [answer.decision.value for answer in answers] == ["passed", "failed", "failed", "passed"]
    assert "40 of 40 items" in answers[0].reason
    assert all(answer.error_reason is None for answer in answers)


async def test_one_changed_word_of_the_rubric_makes_the_judge_stale() -> None:
    async with court({JUDGE: by_number()}) as room:
        run_id = await judged(room)
        await checked(room, run_id)
        await room.rubrics.put(HOME, "two", TEXT.replace("Is it short?", "Is it brief?"), also=lambda _rubric, _new: ())
        later = await judged(room)
        stale = await room.judgements.gate(HOME, later, GateRequest())
        summary = (await room.judgements.get(HOME, later)).sums.criteria[0]
    assert (stale.decision, stale.error_reason) == (GateDecision.REFUSED, Reason.JUDGE_STALE)
    assert "rubric" in stale.reason
    assert summary.calibration is CalibrationState.STALE


@pytest.mark.parametrize("by_version", [False, True])
async def test_an_old_run_may_gate_after_a_changed_word_only_if_it_named_the_version(*, by_version: bool) -> None:
    async with court({JUDGE: by_number()}) as room:
        asked = replace(judge(), rubric="two@1") if by_version else judge()
        run_id = await judged(room, JudgementSpec(items=ITEMS, judge=asked))
        await checked(room, run_id)
        then = (await room.rubrics.get(HOME, "two")).digest
        await room.rubrics.put(HOME, "two", TEXT.replace("Is it short?", "Is it brief?"), also=lambda _rubric, _new: ())
        now = (await room.rubrics.get(HOME, "two")).digest
        answer = await room.judgements.gate(HOME, run_id, GateRequest())
        summary = (await room.judgements.get(HOME, run_id)).sums.criteria[0]
    if by_version:
        assert (answer.decision, summary.calibration) == (GateDecision.PASSED, CalibrationState.CALIBRATED)
    else:
        assert (answer.error_reason, summary.calibration) == (Reason.JUDGE_STALE, CalibrationState.STALE)
        assert f"{then[:8]} to {now[:8]}" in answer.reason
        assert "two@1" in answer.reason


async def test_a_judge_that_agrees_too_little_with_people_decides_nothing() -> None:
    async with court({JUDGE: by_number()}) as room:
        run_id = await judged(room)
        await checked(room, run_id, {item.item_id: 1 + (at * 3 + 1) % 5 for at, item in enumerate(ITEMS)})
        answer = await room.judgements.gate(HOME, run_id, GateRequest())
    assert (answer.decision, answer.error_reason) == (GateDecision.REFUSED, Reason.JUDGE_TOO_WEAK)


async def test_an_audit_gates_nothing() -> None:
    async with court({JUDGE: by_number()}) as room:
        run = await room.judgements.start(ME, SPEC, request_id="", kind=RunKind.AUDIT, purpose="{}")
        await room.events(run.run_id)
        with pytest.raises(RunNotFound, match="an audit gates nothing"):
            await room.judgements.gate(HOME, run.run_id, GateRequest())


async def test_too_few_scores_decide_nothing() -> None:
    garbage = {number: Answer(text=GARBAGE) for number in range(5)}
    async with court({JUDGE: by_number(garbage)}) as room:
        run_id = await judged(room)
        await checked(room, run_id)
        answer = await room.judgements.gate(HOME, run_id, GateRequest())
        lower = await room.judgements.gate(HOME, run_id, GateRequest(min_scored=0.8))
    assert (answer.decision, answer.error_reason) == (GateDecision.REFUSED, Reason.TOO_FEW_SCORES)
    assert "35 of 40 items" in answer.reason
    assert "5 unparseable" in answer.reason
    assert lower.decision is GateDecision.PASSED


async def test_a_run_that_is_under_way_or_cancelled_decides_nothing() -> None:
    held = {number: Answer(text=GARBAGE, gate="never") for number in range(40)}
    async with court({JUDGE: by_number(held)}) as room:
        run_id = await room.start(SPEC)
        under_way = await room.judgements.gate(HOME, run_id, GateRequest())
        await room.judgements.cancel(HOME, run_id)
        cancelled = await room.judgements.gate(HOME, run_id, GateRequest())
    assert under_way.error_reason == cancelled.error_reason == Reason.WRONG_STATE


async def test_scorers_need_no_calibration_and_the_weighted_score_needs_all_of_its_judges() -> None:
    spec = JudgementSpec(items=ITEMS, criteria=(Criterion(judge=judge()), Criterion(name="same", scorer=ExactScorer())))
    async with court({JUDGE: by_number()}) as room:
        run_id = await judged(room, spec)
        same = await room.judgements.gate(HOME, run_id, GateRequest(criterion="same", min_mean=1.0))
        both = await room.judgements.gate(HOME, run_id, GateRequest(min_mean=0.1))
        with pytest.raises(InvalidField, match="two, same"):
            await room.judgements.gate(HOME, run_id, GateRequest(criterion="other"))
    assert same.decision is GateDecision.PASSED
    assert both.error_reason == Reason.JUDGE_UNCALIBRATED
    assert both.measured.criterion == "combined"


async def test_a_decision_by_a_simulated_judge_says_so() -> None:
    async with court({JUDGE: lambda call: Answer(text=by_number()(call).text, simulated=True)}) as room:
        run_id = await judged(room)
        await checked(room, run_id)
        answer = await room.judgements.gate(HOME, run_id, GateRequest(min_mean=0.4))
    assert answer.decision is GateDecision.PASSED
    assert "simulated" in answer.reason
