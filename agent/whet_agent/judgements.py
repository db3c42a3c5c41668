"""Judgements and audits as the mind is told of them: counts with their denominators, means with their intervals."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from whet.v1 import calibration_pb2, event_pb2, judge_pb2, judging_pb2, value_pb2
from whet_agent.folds import Fold, add
from whet_agent.results import counts_of, dollars, estimate, money, shorten

TOLD_ITEMS: Final = 12
"""Items told one by one; of thousands the rest is a page away."""

TOLD_DIMENSIONS: Final = 24
"""Dimensions told for all criteria together."""

RATIONALE_CHARACTERS: Final = 240
"""Of what a judge says of one item."""

_MINUTES_FROM: Final = 120
"""Seconds that are said in minutes from here on."""
CALIBRATION: Final = {
    judging_pb2.CALIBRATION_STATE_CALIBRATED: "calibrated",
    judging_pb2.CALIBRATION_STATE_UNCALIBRATED: "not calibrated, may not gate",
    judging_pb2.CALIBRATION_STATE_STALE: "calibration stale, may not gate",
    judging_pb2.CALIBRATION_STATE_TOO_WEAK: "calibration too weak, may not gate",
}


@dataclass(slots=True, kw_only=True)
class JudgedFold(Fold):
    """What judgements and audits have in common: a plan, verdicts that come in, money."""

    plan: event_pb2.JudgementPlan = field(default_factory=event_pb2.JudgementPlan)
    verdicts: int = 0
    so_far: value_pb2.Totals = field(default_factory=value_pb2.Totals)

    def _take(self, event: event_pb2.Event) -> None:
        match event.WhichOneof("payload"):
            case "run_opened":
                self.plan = event.run_opened.judgement
            case "verdicts_reached":
                self.verdicts += len(event.verdicts_reached.verdicts)
                for verdict in event.verdicts_reached.verdicts:
                    add(self.so_far, verdict.totals)
            case _:
                pass  # progress is for the screen
        self._take_result(event)

    @abstractmethod
    def _take_result(self, event: event_pb2.Event) -> None:
        """Take what only one of the two tells."""

    @property
    def totals(self) -> value_pb2.Totals:
        return self.finished.totals if self.finished is not None else self.so_far

    def head(self, what: str) -> str:
        """Return the first line: which run, how far, for how much, and what is wrong with it."""
        # Whoever came in with a cursor does not know the plan.
        planned = f" of {self.plan.verdicts}" if self.plan.verdicts else ""
        words = f"{what} {self.run_id} {self.state_word}: {self.verdicts}{planned} verdicts"
        if self.plan.items:
            words += f" on {self.plan.items} item{'s' * (self.plan.items != 1)}"
        words += f" of {self.plan.origin}" if self.plan.origin else ""
        words += f", {money(self.totals)}."
        if self.plan.judges:
            words += f" Judged by {', '.join(self.plan.judges)}."
        if self.failure.message:
            words += f" {self.failure.message.removesuffix('.')}."
        return words + (" Simulated." if self.simulated else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """One item, as far as it is told."""

    item_id: str
    disagreement: float
    words: str = ""


@dataclass(slots=True, kw_only=True)
class JudgementFold(JudgedFold):
    """A judgement."""

    criteria: Sequence[judging_pb2.CriterionSummary] = ()
    combined: judging_pb2.CriterionSummary | None = None
    paged: Sequence[judge_pb2.JudgedItem] | None = None
    """A page of items, when it was fetched."""
    _ranges: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    """The lowest and the highest score of an item by a criterion."""

    def _take_result(self, event: event_pb2.Event) -> None:
        match event.WhichOneof("payload"):
            case "verdicts_reached":
                for verdict in event.verdicts_reached.verdicts:
                    self._widen(verdict)
            case "judgement_summed":
                self.criteria = event.judgement_summed.criteria
                self.combined = event.judgement_summed.combined if event.judgement_summed.HasField("combined") else None
            case _:
                pass

    def _widen(self, verdict: judging_pb2.Verdict) -> None:
        if verdict.HasField("score"):
            key = (verdict.item_id, verdict.criterion)
            low, high = self._ranges.get(key, (verdict.score, verdict.score))
            self._ranges[key] = (min(low, verdict.score), max(high, verdict.score))

    @property
    def simulated(self) -> bool:
        return self.plan.simulated or any(each.simulated for each in self.criteria)

    @property
    def more(self) -> str:
        return f"get_judgement {self.run_id}"

    def tell(self) -> str:
        lines = [self.head("Judgement")]
        if self.criteria:
            combined = [self.combined] if self.combined is not None and len(self.criteria) > 1 else []
            lines += ["", *criteria_table(self.criteria, combined)]
            lines += _dimensions(self.criteria)
        if self.paged is not None:
            told = [_told(each) for each in self.paged]
            lines += (
                _items("Items", told, f"{self.more} with a page token") if told else ["", "No items are like that."]
            )
        else:
            lines += _items("Widest disagreement", self._widest(), f"{self.more} in the order disagreement")
        return "\n".join(lines)

    def _widest(self) -> list[_Told]:
        apart = [
            _Told(item_id=item, disagreement=high - low, words=f"{criterion}: {low:.2f} to {high:.2f}")
            for (item, criterion), (low, high) in self._ranges.items()
            if high > low
        ]
        return sorted(apart, key=lambda each: -each.disagreement)

    def message(self) -> judge_pb2.GetJudgementResponse:
        judgement = judge_pb2.Judgement(
            run_id=self.run_id,
            state=self.state,
            plan=self.plan,
            criteria=self.criteria,
            combined=self.combined,
            verdicts=self.verdicts,
            totals=self.totals,
        )
        if self.failure.ByteSize():
            judgement.failure.CopyFrom(self.failure)
        return judge_pb2.GetJudgementResponse(judgement=judgement, items=self.paged)


def fetched_judgement(answer: judge_pb2.GetJudgementResponse) -> JudgementFold:
    """Return the fold of a judgement that was fetched, with its page of items."""
    judgement = answer.judgement
    fold = JudgementFold(
        run_id=judgement.run_id,
        state=judgement.state,
        plan=judgement.plan,
        verdicts=judgement.verdicts,
        so_far=judgement.totals,
        criteria=judgement.criteria,
        combined=judgement.combined if judgement.HasField("combined") else None,
        paged=answer.items,
    )
    if judgement.state != event_pb2.RUN_STATE_RUNNING:
        fold.end_as(judgement.state, judgement.totals, judgement.failure if judgement.HasField("failure") else None)
    return fold


@dataclass(slots=True, kw_only=True)
class AuditFold(JudgedFold):
    """The audit of a judge."""

    report: judging_pb2.AuditReport | None = None

    def _take_result(self, event: event_pb2.Event) -> None:
        if event.HasField("audit_reported"):
            self.report = event.audit_reported.report

    @property
    def simulated(self) -> bool:
        return self.plan.simulated or (self.report is not None and self.report.simulated)

    @property
    def more(self) -> str:
        return f"get_audit {self.run_id}"

    def tell(self) -> str:
        lines = [self.head("Audit")]
        if self.report is not None:
            lines += ["", f"**The judge is {audit_verdict(self.report.verdict)}**", ""]
            lines += [f"- {axis_line(each)}" for each in self.report.axes]
        return "\n".join(lines)

    def message(self) -> calibration_pb2.GetAuditResponse:
        answer = calibration_pb2.GetAuditResponse(
            run_id=self.run_id,
            state=self.state,
            judge=judging_pb2.Judge(models=self.plan.judges),
            report=self.report,
            verdicts=self.verdicts,
            planned=self.plan.verdicts,
            totals=self.totals,
        )
        if self.failure.ByteSize():
            answer.failure.CopyFrom(self.failure)
        return answer


def fetched_audit(answer: calibration_pb2.GetAuditResponse) -> AuditFold:
    """Return the fold of an audit that was fetched."""
    plan = event_pb2.JudgementPlan(verdicts=answer.planned, judges=answer.judge.models)
    fold = AuditFold(run_id=answer.run_id, state=answer.state, plan=plan, verdicts=answer.verdicts)
    fold.so_far = answer.totals
    fold.report = answer.report if answer.HasField("report") else None
    if answer.state != event_pb2.RUN_STATE_RUNNING:
        fold.end_as(answer.state, answer.totals, answer.failure if answer.HasField("failure") else None)
    return fold


def criteria_table(
    criteria: Iterable[judging_pb2.CriterionSummary], combined: Iterable[judging_pb2.CriterionSummary]
) -> list[str]:
    """Return a row for each criterion: its mean with the interval, over how many items, and how the rest ended."""
    lines = ["| criterion | mean | scored | outcomes | |", "| --- | --- | --- | --- | --- |"]
    lines += [_row(each.criterion, each) for each in criteria]
    return lines + [_row("all together", each) for each in combined]


def _row(name: str, each: judging_pb2.CriterionSummary) -> str:
    cells = (name, estimate(each.mean), f"{each.scored_items} of {each.items} items", counts_of(each.outcomes))
    return f"| {' | '.join(cells)} | {'; '.join(remarks(each) + standings(each))} |"


def remarks(each: judging_pb2.CriterionSummary) -> list[str]:
    """Return what must be known before a mean is believed."""
    said = [CALIBRATION[each.calibration]] if each.calibration in CALIBRATION else []
    if each.corrected_mean.HasField("value"):
        by = f"by {each.corrected_on} rated items, if they are a random part of all"
        said.append(f"corrected {estimate(each.corrected_mean)} {by}")
    if each.panel_alpha.HasField("value"):
        said.append(f"panel's alpha {estimate(each.panel_alpha)}")
    if each.order_pairs:
        said.append(f"{each.order_flips} of {each.order_pairs} pairs turned with the order")
    said += ["simulated"] if each.simulated else []
    return said + (["degraded"] if each.degraded else [])


def standings(each: judging_pb2.CriterionSummary) -> list[str]:
    """Return how each candidate fared against the others."""
    return [
        f"candidate {one.candidate + 1}: {one.wins} won, {one.ties} tied, {one.losses} lost" for one in each.standings
    ]


def _dimensions(criteria: Iterable[judging_pb2.CriterionSummary]) -> list[str]:
    lines = [
        f"- {each.criterion}, {one.dimension}: level {estimate(one.mean)} over {one.scored} verdicts"
        for each in criteria
        for one in each.dimensions
    ]
    return ["", "**Dimensions**", "", *lines[:TOLD_DIMENSIONS]] if lines else []


def _told(judged: judge_pb2.JudgedItem) -> _Told:
    score = f"{judged.score:.2f}" if judged.HasField("score") else "no score"
    said = [shorten(verdict_line(each), RATIONALE_CHARACTERS, "in the run") for each in judged.verdicts[:4]]
    said += [f"{each.rater or 'a person'} rated {each.level}" for each in judged.ratings[:4] if not each.dimension]
    return _Told(item_id=judged.item.item_id, disagreement=judged.disagreement, words="; ".join([score, *said]))


def verdict_line(verdict: judging_pb2.Verdict) -> str:
    """Return one verdict in a line: who, how it ended, why."""
    who, how = verdict.judge or verdict.criterion, verdict_word(verdict)
    why = " ".join((verdict.rationale or verdict.failure.message).split())
    return f"{who} {how}{f' ({why})' if why else ''}"


def verdict_word(verdict: judging_pb2.Verdict) -> str:
    """Return the score, or how it ended instead."""
    outcome = judging_pb2.Outcome.Name(verdict.outcome).removeprefix("OUTCOME_").lower().replace("_", " ")
    return f"{verdict.score:.2f}" if verdict.HasField("score") else outcome


def _items(title: str, items: Sequence[_Told], rest: str) -> list[str]:
    lines = [
        f"- item {each.item_id}: {each.words}" + (f", {each.disagreement:.2f} apart" if each.disagreement else "")
        for each in items[:TOLD_ITEMS]
    ]
    left = len(items) - TOLD_ITEMS
    lines += [f"- and {left} more: {rest}"] if left > 0 else []
    return ["", f"**{title}**", "", *lines] if lines else []


def audit_verdict(verdict: judging_pb2.AuditVerdict.ValueType) -> str:
    return judging_pb2.AuditVerdict.Name(verdict).removeprefix("AUDIT_VERDICT_").lower()


def axis_line(axis: judging_pb2.AxisResult) -> str:
    """Return one axis of an audit in a line: the verdict, the finding unless there is nothing to see, and the figures
    with their denominator.
    """
    name = judging_pb2.AuditAxis.Name(axis.axis).removeprefix("AUDIT_AXIS_").lower().replace("_", "-")
    figures = [f"{axis.scored_pairs} of {axis.pairs} pairs scored"]
    for word, value in (("flips", axis.flip_rate), ("noise", axis.noise_rate), ("shift", axis.shift)):
        if value.HasField("value"):
            figures.append(f"{word} {estimate(value)}")
    if axis.HasField("p_value"):
        figures.append(f"p {axis.p_value:.3g}")
    told = axis.finding and axis.verdict != judging_pb2.AUDIT_VERDICT_FAIR
    finding = f" {axis.finding}" if told else ""
    return f"{name}: {audit_verdict(axis.verdict)}.{finding} ({', '.join(figures)})"


def gate_words(answer: judge_pb2.GateJudgementResponse) -> str:
    """Return what a gate decides, why, and what it stands on."""
    decision = judge_pb2.GateDecision.Name(answer.decision).removeprefix("GATE_DECISION_").lower()
    lines = [f"The gate {'refuses to decide' if decision == 'refused' else decision}: {answer.reason}"]
    if answer.HasField("measured"):
        measured = answer.measured
        lines += ["", f"- measured: {estimate(measured.mean)}, bar {answer.min_mean:g}"]
        lines.append(f"- scored: {measured.scored_items} of {measured.items} items; {counts_of(measured.outcomes)}")
        lines += [f"- {said}" for said in remarks(measured) + standings(measured)]
    return "\n".join(lines)


Calibrated: TypeAlias = (
    calibration_pb2.CalibrateResponse | calibration_pb2.CheckJudgeResponse | calibration_pb2.ListCalibrationsResponse
)
"""Whatever tells of calibrations."""


def calibration_words(answer: Calibrated) -> str:
    """Return where a judge stands, why, and how far it and people agree; of several, each in a row."""
    if isinstance(answer, calibration_pb2.ListCalibrationsResponse):
        return _calibrations(answer)
    one = answer.calibration
    if isinstance(answer, calibration_pb2.CalibrateResponse):
        judge = f"{', '.join(one.judge.models)} by {one.judge.rubric}"
        lines = [f"{one.calibration_id}: {judge}, {_standing(one.state)}. {one.reason}".rstrip()]
    else:
        lines = [f"{_standing(answer.state).capitalize()}. {answer.reason}".rstrip()]
    if not answer.HasField("calibration"):
        return lines[0]
    titles = ("agreement on", "items", "weighted kappa", "exact", "alpha", "spearman", "bias in levels")
    lines += ["", f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    for each in one.agreements:
        plain = [_value(figure) for figure in (each.exact, each.alpha, each.spearman)]
        cells = (each.dimension or "the whole", str(each.items), estimate(each.weighted_kappa), *plain)
        lines.append(f"| {' | '.join(cells)} | {estimate(each.bias)} |")
    lines += ["", f"- rated by {', '.join(one.raters) or 'nobody'}"]
    lines.append(f"- verdicts on rated items: {counts_of(one.outcomes) or 'none'}")
    return "\n".join(lines + ["- simulated"] * one.simulated)


def _value(figure: judging_pb2.Estimate) -> str:
    """Return an estimate without its interval, for which a table has no room."""
    return f"{figure.value:.2f}" if figure.HasField("value") else "–"


def _calibrations(answer: calibration_pb2.ListCalibrationsResponse) -> str:
    if not answer.calibrations:
        return "No judge was compared with people yet."
    titles = ("calibration", "judge", "rubric", "stands", "weighted kappa", "items")
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    for one in answer.calibrations:
        whole = one.agreements[0] if one.agreements else calibration_pb2.Agreement()
        judge = ", ".join(one.judge.models) + " (simulated)" * one.simulated
        kappa, stands = estimate(whole.weighted_kappa), _standing(one.state)
        lines.append(f"| {one.calibration_id} | {judge} | {one.judge.rubric} | {stands} | {kappa} | {whole.items} |")
    lines += ["", f"- next page token: {answer.next_page_token}"] if answer.next_page_token else []
    return "\n".join(lines)


def _standing(state: judging_pb2.CalibrationState.ValueType) -> str:
    return CALIBRATION.get(state, "not known")


def plan_words(answer: "judge_pb2.PlanJudgementResponse | calibration_pb2.PlanAuditResponse") -> str:
    """Return what a judgement or an audit would do and cost."""
    lines = []
    if isinstance(answer, judge_pb2.PlanJudgementResponse):
        plan = answer.plan
        by = f" by {', '.join(plan.judges)}" if plan.judges else ""
        lines.append(f"{plan.verdicts} verdicts on {plan.items} items ({', '.join(plan.criteria)}){by}.")
        if answer.sealed_rows:
            lines.append(f"{answer.sealed_rows} rows are under seal and are not judged.")
    lines.append(f"Calls: {answer.calls}, of which the cache would answer {answer.cache_hits}.")
    lines.append(f"Cost: {dollars(answer.expected_cost.nanos)} expected, {dollars(answer.worst_cost.nanos)} at worst.")
    if isinstance(answer, judge_pb2.PlanJudgementResponse) and (seconds := answer.expected_duration.seconds):
        lines.append(f"Time: about {seconds} s." if seconds < _MINUTES_FROM else f"Time: about {seconds // 60} min.")
    if answer.unpriced_models:
        lines.append(f"Cost unknown, because these have no price: {', '.join(answer.unpriced_models)}")
    if answer.needs_approval:
        lines.append("A person must approve it.")
    return "\n".join(lines)
