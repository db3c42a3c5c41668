"""Judgements, audits, ratings, calibrations, rubrics, scorers and data sets as people read them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from google.protobuf.message import Message

from whet.v1 import calibration_pb2, dataset_pb2, event_pb2, judge_pb2, judging_pb2, rubric_pb2, scorer_pb2
from whet_agent.judgements import (
    CALIBRATION,
    audit_verdict,
    fetched_audit,
    fetched_judgement,
    gate_words,
    plan_words,
    remarks,
    standings,
    verdict_word,
)
from whet_agent.results import counts_of, estimate
from whet_tui.cli.tables import Row, details, enum_word, more, table, time_word, totals_word
from whet_tui.safe import safe, safe_line

_LINE: Final = 300
"""Characters of a sentence beside a table."""
_DIGEST: Final = 12
"""Letters of a digest: enough to tell two apart."""


def _judgements(answer: judge_pb2.ListJudgementsResponse) -> Iterator[str]:
    rows = [
        (
            each.run_id,
            enum_word(each, "state"),
            time_word(each.create_time),
            f"{each.verdicts} of {each.plan.verdicts}",
            totals_word(each.totals),
        )
        for each in answer.judgements
    ]
    lines = table(("RUN", "STATE", "STARTED (UTC)", "VERDICTS", "COST"), rows, "No judgements.")
    yield next(lines)
    for each, line in zip(answer.judgements, lines, strict=True):
        yield line
        yield f"  {safe_line(f'{each.title}{_by(each.plan)}', _LINE)}"
    yield from more(answer)


def _by(plan: event_pb2.JudgementPlan) -> str:
    """Who judges, below the run: a panel's names would push the other columns out of the terminal."""
    simulated = " (simulated)" if plan.simulated else ""
    return f", by {', '.join(plan.judges)}{simulated}" if plan.judges else ""


def _judgement(answer: judge_pb2.GetJudgementResponse) -> Iterator[str]:
    judgement = answer.judgement
    yield safe_line(fetched_judgement(answer).head("Judgement"), 2 * _LINE)
    if judgement.failure.message:
        yield safe_line(judgement.failure.message, 2 * _LINE)
    yield from _criteria(judgement)
    dimensions = [
        (each.criterion, one.dimension, estimate(one.mean), str(one.scored), " ".join(map(str, one.levels)))
        for each in judgement.criteria
        for one in each.dimensions
        if one.scored
    ]
    if dimensions:
        yield ""
        yield from table(("CRITERION", "DIMENSION", "LEVEL", "SCORED", "HOW OFTEN EACH LEVEL"), dimensions, "")
    if answer.items:
        yield ""
        yield from table(
            ("ITEM", "SCORE", "APART", "RATINGS", "VERDICTS", "WHY"), [_item(each) for each in answer.items], ""
        )
    yield from more(answer)


def _criteria(judgement: judge_pb2.Judgement) -> Iterator[str]:
    """The means with their denominators, and below them what must be known before they are believed."""
    if not judgement.criteria:
        return
    rows = [_criterion(each.criterion, each) for each in judgement.criteria]
    if judgement.HasField("combined") and len(judgement.criteria) > 1:
        rows.append(_criterion("all together", judgement.combined))
    yield ""
    yield from table(("CRITERION", "MEAN", "SCORED", "OUTCOMES"), rows, "")
    for each in judgement.criteria:
        if said := remarks(each):
            yield safe_line(f"{each.criterion}: {'; '.join(said)}", _LINE)
        yield from (safe_line(f"{each.criterion}: {said}", _LINE) for said in standings(each))


def _criterion(name: str, each: judging_pb2.CriterionSummary) -> Row:
    return (name, estimate(each.mean), f"{each.scored_items} of {each.items} items", counts_of(each.outcomes))


def _item(judged: judge_pb2.JudgedItem) -> Row:
    score = f"{judged.score:.2f}" if judged.HasField("score") else "–"
    apart = f"{judged.disagreement:.2f}" if judged.disagreement else ""
    ratings = " ".join(str(each.level) for each in judged.ratings if not each.dimension)
    why = next((words for each in judged.verdicts if (words := each.rationale or each.failure.message)), "")
    return (judged.item.item_id, score, apart, ratings, " ".join(map(verdict_word, judged.verdicts)), why)


def _cancelled(answer: judge_pb2.CancelJudgementResponse) -> Iterator[str]:
    yield from _judgement(judge_pb2.GetJudgementResponse(judgement=answer.judgement))


def _started(answer: judge_pb2.StartJudgementResponse) -> Iterator[str]:
    run_id = answer.judgement.run_id
    yield f"{'Started' if answer.started else 'Already there:'} {run_id}. Follow it with: whet judge watch {run_id}"


def _plan(answer: Any) -> Iterator[str]:
    yield from map(safe, plan_words(answer).splitlines())
    yield f"Hold a run to this plan: --plan-hash {answer.plan_hash}"


def _gate(answer: judge_pb2.GateJudgementResponse) -> Iterator[str]:
    yield from (safe(line.removeprefix("- ")) for line in gate_words(answer).splitlines() if line)


def _audit(answer: calibration_pb2.GetAuditResponse) -> Iterator[str]:
    yield safe_line(fetched_audit(answer).head("Audit"), 2 * _LINE)
    if not answer.HasField("report"):
        if answer.state == event_pb2.RUN_STATE_RUNNING:
            yield f"Follow it with: whet judge watch {answer.run_id}"
        return
    yield f"The judge is {audit_verdict(answer.report.verdict)}."
    yield ""
    headers = ("AXIS", "VERDICT", "TURNED", "BY CHANCE", "SHIFT OF THE SCORE", "P", "SCORED PAIRS")
    yield from table(headers, [_axis(each) for each in answer.report.axes], "No axes.")
    for each in answer.report.axes:
        if each.finding and each.verdict != judging_pb2.AUDIT_VERDICT_FAIR:
            yield safe_line(f"{_axis_word(each)}: {each.finding}", _LINE)


def _axis(axis: judging_pb2.AxisResult) -> Row:
    rates = (_percent(axis.flip_rate), _percent(axis.noise_rate), estimate(axis.shift))
    p_value = f"{axis.p_value:.2g}" if axis.HasField("p_value") else "–"
    return (_axis_word(axis), enum_word(axis, "verdict"), *rates, p_value, f"{axis.scored_pairs} of {axis.pairs}")


def _percent(rate: judging_pb2.Estimate) -> str:
    """A rate as a table has room for: `64% (53 to 73)`."""
    if not rate.HasField("value"):
        return "–"
    interval = f" ({rate.low * 100:.0f} to {rate.high * 100:.0f})" if rate.HasField("low") else ""
    return f"{rate.value:.0%}{interval}"


def _axis_word(axis: judging_pb2.AxisResult) -> str:
    return enum_word(axis, "axis").replace("_", "-")


def _ratings(answer: calibration_pb2.ListRatingsResponse) -> Iterator[str]:
    rows = [
        (
            each.item_id or each.subject[:_DIGEST],
            each.rubric,
            each.dimension,
            _preferred(each.preferred) if each.HasField("preferred") else str(each.level),
            each.rater,
            enum_word(each, "source"),
            time_word(each.rate_time),
            each.note,
        )
        for each in answer.ratings
    ]
    headers = ("ITEM", "RUBRIC", "DIMENSION", "LEVEL", "BY", "FROM", "RATED (UTC)", "NOTE")
    yield from table(headers, rows, "No ratings.")
    yield from more(answer)


def _preferred(candidate: int) -> str:
    return "tie" if candidate < 0 else f"candidate {candidate + 1}"


def _calibrations(answer: calibration_pb2.ListCalibrationsResponse) -> Iterator[str]:
    rows = [
        (
            each.calibration_id,
            ", ".join(each.judge.models) + (" (simulated)" if each.simulated else ""),
            each.judge.rubric,
            enum_word(each, "state").replace("_", " "),
            estimate(each.agreements[0].weighted_kappa) if each.agreements else "–",
            str(each.agreements[0].items) if each.agreements else "0",
            time_word(each.create_time),
        )
        for each in answer.calibrations
    ]
    headers = ("CALIBRATION", "JUDGE", "RUBRIC", "STATE", "WEIGHTED KAPPA", "ITEMS", "MADE (UTC)")
    yield from table(headers, rows, "No calibrations.")
    yield from more(answer)


def _calibrated(answer: calibration_pb2.CalibrateResponse) -> Iterator[str]:
    yield from _calibration(answer.calibration)


def _checked(answer: calibration_pb2.CheckJudgeResponse) -> Iterator[str]:
    yield safe(f"{_standing(answer.state).capitalize()}. {answer.reason}".strip())
    if answer.HasField("calibration"):
        yield from _calibration(answer.calibration)


def _standing(state: judging_pb2.CalibrationState.ValueType) -> str:
    return CALIBRATION.get(state, "not known")


def _calibration(calibration: calibration_pb2.Calibration) -> Iterator[str]:
    judge, simulated = calibration.judge, " Simulated." if calibration.simulated else ""
    yield safe_line(
        f"{calibration.calibration_id}: {', '.join(judge.models)} by {judge.rubric}, "
        f"{_standing(calibration.state)}. {calibration.reason}{simulated}",
        2 * _LINE,
    )
    yield ""
    headers = ("AGREEMENT ON", "ITEMS", "WEIGHTED KAPPA", "EXACT", "BIAS")
    rows = [_agreement(each) for each in calibration.agreements]
    yield from table(headers, rows, "Nothing that was judged has been rated.")
    for each in calibration.agreements[:1]:
        figures = (each.kappa, each.alpha, each.spearman, each.error, each.people_alpha)
        names = ("kappa", "alpha", "spearman", "error", "people's own alpha")
        said = (f"{name} {estimate(figure)}" for name, figure in zip(names, figures, strict=True))
        yield f"On {each.dimension or 'the whole'} also: {', '.join(said)}"
    yield f"Verdicts on rated items: {counts_of(calibration.outcomes) or 'none'}"
    among = [each.people_alpha for each in calibration.agreements if not each.dimension]
    if among and among[0].HasField("value"):
        yield f"Among people, on the whole: alpha {estimate(among[0])}. No judge can be asked to agree better."


def _agreement(each: calibration_pb2.Agreement) -> Row:
    figures = (each.weighted_kappa, each.exact, each.bias)
    return (each.dimension or "the whole", str(each.items), *(estimate(figure) for figure in figures))


def _rubrics(answer: rubric_pb2.ListRubricsResponse) -> Iterator[str]:
    rows = [
        (
            f"{each.name}@{each.version}",
            f"{each.lowest} to {each.highest}",
            str(len(each.dimensions)),
            "built in" if each.built_in else time_word(each.create_time),
            each.digest[:_DIGEST],
            each.description,
        )
        for each in answer.rubrics
    ]
    yield from table(("RUBRIC", "LEVELS", "DIMENSIONS", "STORED (UTC)", "DIGEST", "ABOUT"), rows, "No rubrics.")
    yield from more(answer)


def _rubric(answer: rubric_pb2.GetRubricResponse) -> Iterator[str]:
    yield safe(answer.rubric.text.rstrip())


def _put_rubric(answer: rubric_pb2.PutRubricResponse) -> Iterator[str]:
    """What was understood of it; who stores a rubric has the text."""
    rubric = answer.rubric
    stored = "Stored" if answer.created else "Already there, with the same text:"
    yield safe_line(f"{stored} {rubric.name}@{rubric.version}, levels {rubric.lowest} to {rubric.highest}")
    yield f"digest: {rubric.digest}"
    rows = [(each.name, f"{each.weight:.3g}", str(len(each.anchors)), each.description) for each in rubric.dimensions]
    yield from table(("DIMENSION", "WEIGHT", "ANCHORS", "ASKS"), rows, "No dimensions.")


def _scorers(answer: scorer_pb2.ListScorersResponse) -> Iterator[str]:
    rows = [
        (
            each.name,
            each.unit,
            f"{enum_word(each, 'direction')} is better",
            "a reference" if each.needs_reference else "",
            each.description,
        )
        for each in answer.scorers
    ]
    yield from table(("SCORER", "UNIT", "", "NEEDS", "MEASURES"), rows, "No scorers.")


def _scored(answer: scorer_pb2.ScoreItemsResponse) -> Iterator[str]:
    rows = [
        (
            each.item_id,
            each.criterion,
            f"{each.score:.3f}" if each.HasField("score") else enum_word(each, "outcome").replace("_", " "),
            f"{each.value:g}" if each.HasField("value") else "",
            each.rationale or each.failure.message,
        )
        for each in answer.verdicts
    ]
    yield from table(("ITEM", "SCORER", "SCORE", "VALUE", "FOUND"), rows, "Nothing was scored.")


def _datasets(answer: dataset_pb2.ListDatasetsResponse) -> Iterator[str]:
    rows = [
        (
            f"{each.name}@{each.version}",
            str(each.rows),
            _splits(each.splits),
            "sealed" if each.sealed else "open" if each.open_run_id else "",
            ", ".join(each.tags),
            time_word(each.create_time),
            each.description or each.source,
        )
        for each in answer.datasets
    ]
    headers = ("DATA SET", "ROWS", "SPLITS", "HOLD-OUT", "TAGS", "STORED (UTC)", "ABOUT")
    yield from table(headers, rows, "No data sets.")
    yield from more(answer)


def _splits(splits: Iterable[dataset_pb2.SplitCount]) -> str:
    return ", ".join(f"{each.rows} {enum_word(each, 'split')}" for each in splits)


def _rows(answer: dataset_pb2.ListRowsResponse) -> Iterator[str]:
    rows = [(each.row_id, str(each.number), enum_word(each, "split"), each.json) for each in answer.rows]
    yield from table(("ROW", "LINE", "SPLIT", "VALUES"), rows, "No rows.")
    if answer.sealed_rows:
        yield f"{answer.sealed_rows} rows are under seal and left out."
    yield from more(answer)


def _dataset(answer: Any) -> Iterator[str]:
    """A version: what it is, its splits and its columns in a line each."""
    bare = dataset_pb2.Dataset()
    bare.CopyFrom(answer.dataset)
    for name in ("columns", "splits", "policy"):
        bare.ClearField(name)
    yield from details(bare, "")
    yield safe_line(f"splits: {_splits(answer.dataset.splits)}; {_policy(answer.dataset.policy)}", _LINE)
    columns = (f"{each.name} {each.type}{' (optional)' * each.optional}" for each in answer.dataset.columns)
    yield safe_line(f"columns: {', '.join(columns)}", 2 * _LINE)


def _policy(policy: dataset_pb2.SplitPolicy) -> str:
    """How rows are placed; what does not decide is left out."""
    if policy.column:
        return f"the column {policy.column} says which"
    shares = f"{policy.train:g} / {policy.dev:g} / {policy.holdout:g}"
    together = f", equal {policy.group} together" if policy.group else ""
    return f"by shares of {shares}{together}, salt {policy.salt}"


def _opened(answer: dataset_pb2.OpenSealResponse) -> Iterator[str]:
    dataset = answer.dataset
    yield safe_line(
        f"The hold-out of {dataset.name}@{dataset.version} is open, for good. On record: {dataset.open_run_id}"
    )
    yield from _dataset(answer)


def _stored(answer: dataset_pb2.PutDatasetResponse) -> Iterator[str]:
    stored = "Stored" if answer.created else "Already there, with the same content:"
    yield safe_line(f"{stored} {answer.dataset.name}@{answer.dataset.version}")
    yield from _dataset(answer)


SHOWN: Final[Mapping[type[Message], Callable[[Any], Iterator[str]]]] = {
    judge_pb2.PlanJudgementResponse: _plan,
    judge_pb2.StartJudgementResponse: _started,
    judge_pb2.GetJudgementResponse: _judgement,
    judge_pb2.CancelJudgementResponse: _cancelled,
    judge_pb2.ListJudgementsResponse: _judgements,
    judge_pb2.GateJudgementResponse: _gate,
    calibration_pb2.PlanAuditResponse: _plan,
    calibration_pb2.GetAuditResponse: _audit,
    calibration_pb2.ListRatingsResponse: _ratings,
    calibration_pb2.CalibrateResponse: _calibrated,
    calibration_pb2.CheckJudgeResponse: _checked,
    calibration_pb2.ListCalibrationsResponse: _calibrations,
    rubric_pb2.GetRubricResponse: _rubric,
    rubric_pb2.PutRubricResponse: _put_rubric,
    rubric_pb2.ListRubricsResponse: _rubrics,
    scorer_pb2.ListScorersResponse: _scorers,
    scorer_pb2.ScoreItemsResponse: _scored,
    dataset_pb2.ListDatasetsResponse: _datasets,
    dataset_pb2.ListRowsResponse: _rows,
    dataset_pb2.PutDatasetResponse: _stored,
    dataset_pb2.GetDatasetResponse: _dataset,
    dataset_pb2.SplitDatasetResponse: _dataset,
    dataset_pb2.TagDatasetResponse: _dataset,
    dataset_pb2.OpenSealResponse: _opened,
}
"""Answers with a form of their own."""
