"""What is reported of a sweep, in whatever form: sections of words, tables, plots and quoted texts.

Everything here stands in every report, whatever became of the sweep: what was estimated and what it came to, what
failed and how, that it is simulated. What others wrote (prompts, answers, labels, reasons) passes `visible`; the forms
escape it.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Final, TypeAlias

from whet_server.judging import Estimate, Item
from whet_server.sweep.export import day_of, digest_of, objective_of, unit_of
from whet_server.sweep.fold import SweepFold, TrialFold
from whet_server.sweep.measure import higher_is_better, mean_of
from whet_server.sweep.plots import Bars, Plot
from whet_server.sweep.report_plots import best_so_far_plot, front_plot, importance_bars, parameter_plots
from whet_server.sweep.resolved import stands_for
from whet_server.sweep.spec_file import spec_text
from whet_server.sweep.visible import visible
from whet_server.sweeping import (
    BASELINE,
    Setting,
    SweepAction,
    SweepEnd,
    SweepResult,
    SweepVerdict,
    Trial,
    TrialState,
)
from whet_server.values import NANOS_PER_USD, NANOSECONDS, Run, RunState, Totals, Value

_LEAST_CHANCE: Final = 0.0001
"""Below, a chance is said to be less than this."""
_LEADING: Final = 20
"""Rows of the leaderboard: who wants all has list_trials."""
_REGRESSED: Final = 10
_LISTED: Final = 30
"""Lines of a list of stops, failures and controls."""
_QUOTED: Final = 4000
"""Letters of a quoted answer; of a prompt everything is quoted."""

VERDICTS: Final = {
    SweepVerdict.BETTER: "Better than the baseline",
    SweepVerdict.NO_DIFFERENCE: "No difference",
    SweepVerdict.UNDECIDED: "Not decided",
}
_MEANINGS: Final = {
    SweepVerdict.BETTER: """The difference is beyond chance, corrected for all trials it was chosen from: a sweep
        without any true difference would name a winner with a chance of at most {alpha:.0%}.""",
    SweepVerdict.NO_DIFFERENCE: """Even the upper end of the difference's interval is not worth having. Keep the
        baseline, or take what is cheaper.""",
    SweepVerdict.UNDECIDED: """What was measured decides neither that something is better nor that nothing is. More
        cases would.""",
}
ENDS: Final = {
    SweepEnd.SPACE: "every combination was tried",
    SweepEnd.TRIALS: "the trials were used up",
    SweepEnd.MONEY: "the money was used up",
    SweepEnd.TOKENS: "the tokens were used up",
    SweepEnd.TIME: "the time was used up",
    SweepEnd.STOPPED: "somebody stopped it",
    SweepEnd.CANCELLED: "it was cancelled",
    SweepEnd.FAILED: "nothing could be scored",
}


class Words(Value):
    """A paragraph."""

    text: str
    strong: bool = False


class Table(Value):
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = ()


class Quote(Value):
    """A text as it is, with what it is."""

    label: str
    text: str


class Figure(Value):
    """A plot, and the same as a table."""

    plot: Plot | Bars
    table: Table


Block: TypeAlias = Words | Table | Quote | Figure


class Section(Value):
    title: str
    blocks: tuple[Block, ...]


class Report(Value):
    title: str
    run_id: str
    simulated: bool
    sections: tuple[Section, ...]


def report_of(run: Run, fold: SweepFold, best: int | None, items: Mapping[str, Item], *, now_ns: int) -> Report:
    """Return what is reported of a sweep as it stands. `best` is its best trial so far, `items` its cases."""
    teller = _Teller(run, fold, best, items, now_ns)
    sections = (Section(title=title, blocks=blocks) for title, blocks in teller.sections() if blocks)
    return Report(
        title=visible(run.title or run.run_id), run_id=run.run_id, simulated=teller.simulated, sections=tuple(sections)
    )


def still(fold: SweepFold) -> SweepFold:
    """Return the sweep as it stands now, for a thread to read while it goes on."""
    seen = copy(fold)
    seen.trials = {number: _still(trial) for number, trial in fold.trials.items()}
    return seen


def _still(trial: TrialFold) -> TrialFold:
    """Of an ended trial only its answers to the hold-out may still grow while there is no result."""
    answers = trial.answers if trial.end is not None else dict(trial.answers)
    return replace(trial, answers=answers, holdout=dict(trial.holdout))


class _Teller:
    """Tells one sweep, section by section."""

    def __init__(self, run: Run, fold: SweepFold, best: int | None, items: Mapping[str, Item], now_ns: int) -> None:
        self._run, self._fold, self._items, self._now_ns = run, fold, items, now_ns
        self._record, self._plan, self._result = fold.record, fold.record.plan, fold.result
        self._objective = objective_of(fold.record)
        self._best = fold.trials.get(best) if best is not None else None
        self._ended = [trial.end for _, trial in sorted(fold.trials.items()) if trial.end is not None]
        self._front = set(self._result.front) if self._result is not None else set()
        self.simulated = self._plan.simulated or any(end.simulated for end in self._ended)

    def sections(self) -> Iterator[tuple[str, tuple[Block, ...]]]:
        yield "What it found", tuple(self._found())
        yield "Baseline and best", tuple(self._compared())
        yield "On the sealed hold-out", tuple(self._holdout())
        yield "Estimate and actual", tuple(self._costs())
        yield "Leaderboard", tuple(self._leaderboard())
        yield "Cases that became worse", tuple(self._regressed())
        yield "Convergence", tuple(self._convergence())
        yield "What matters", tuple(self._importance())
        yield "Quality and cost", tuple(self._pareto())
        yield "Failures and stops", tuple(self._failures())
        yield "What could follow", tuple(self._follow_ups())
        yield "How to repeat it", tuple(self._again())

    def _found(self) -> Iterator[Block]:
        result = self._result
        if self.simulated:
            yield Words(
                text="Simulated: its answers come from models that only pretend. No figure here is about a real model.",
                strong=True,
            )
        if result is None:
            yield Words(
                text=f"Not concluded: the sweep is {self._state()}. What stands here is as far as it came.", strong=True
            )
        else:
            meaning = _MEANINGS[result.verdict].format(alpha=result.alpha)
            yield Words(text=f"{VERDICTS[result.verdict]}. {visible(result.finding)}", strong=True)
            yield Words(text=" ".join(meaning.split()))
            yield Table(headers=("", ""), rows=tuple(self._verdict(result)))
        failure = self._fold.finished.failure if self._fold.finished is not None else None
        if failure is not None:
            yield Words(text=f"{failure.reason}: {visible(failure.message)}")

    def _verdict(self, result: SweepResult) -> Iterator[tuple[str, str]]:
        name = f"Difference of the first objective ({self._objective.kind or 'quality'}, {unit_of(self._objective)})"
        yield name, estimate(result.lift)
        yield (
            "Chance of so much without a true difference, corrected",
            "–"
            if result.p_value is None
            else f"{result.p_value:.2g}"
            if result.p_value >= _LEAST_CHANCE
            else "< 0.0001",
        )
        yield "Trials compared with the baseline", str(result.comparisons)
        yield (
            "Cases that both have a score on",
            f"{result.pairs}: {result.improved} better, {len(result.regressed)} worse",
        )
        yield "It ended because", ENDS[result.end]

    def _state(self) -> str:
        return "under way" if self._run.state is RunState.RUNNING else self._run.state.value

    def _compared(self) -> Iterator[Block]:
        chosen = [self._fold.trials.get(BASELINE), self._best if self._best and self._best.number else None]
        shown = [trial for trial in chosen if trial is not None]
        if not shown:
            return
        headers = ("", *(trial_name(trial.number) for trial in shown))
        rows = [(name, *(_end_word(trial, read) for trial in shown)) for name, read in _FIGURES]
        rows += [(visible(name), *cells) for name, cells in self._settings(shown)]
        yield Table(headers=headers, rows=tuple(rows))
        for trial in shown:
            for name, setting in trial.configuration.items():
                choice = stands_for(name, setting, self._plan.space, trial.texts)
                if choice.text:
                    yield Quote(
                        label=f"{name} of {trial_name(trial.number).lower()}: {setting}", text=visible(choice.text)
                    )

    def _settings(self, shown: Sequence[TrialFold]) -> Iterator[tuple[str, tuple[str, ...]]]:
        for dimension in self._plan.space:
            cells = tuple(setting_word(trial.configuration.get(dimension.name)) for trial in shown)
            yield dimension.name, cells

    def _holdout(self) -> Iterator[Block]:
        figure = self._result.holdout if self._result is not None else None
        if figure is None:
            if self._plan.holdout_rows:
                yield Words(text=f"{self._plan.holdout_rows} rows are under seal and were not looked at.")
            return
        if figure.failure is not None:
            yield Words(text=f"There is no figure: {visible(figure.failure.message)}")
            return
        yield Words(
            text=f"{figure.rows} rows of {visible(figure.dataset)} that nothing was chosen by, opened once, for good."
        )
        rows = (
            ("Baseline", estimate(figure.baseline)),
            ("Best", estimate(figure.winner)),
            (f"Difference on {figure.pairs} rows", estimate(figure.lift)),
        )
        yield Table(headers=("Score", ""), rows=rows)

    def _costs(self) -> Iterator[Block]:
        plan, totals = self._plan, self.totals()
        spent = totals.settled + totals.unknown
        unsure = f", of which {dollars(totals.unknown)} at worst, outcome unknown" if totals.unknown else ""
        unpriced = f"; {totals.unpriced} attempts at models without a price" if totals.unpriced else ""
        duration = ((self._run.end_ns or self._now_ns) - self._run.create_ns) / NANOSECONDS
        tokens = totals.usage.input_tokens + totals.usage.output_tokens
        most = dollars(self._fold.budget.money) if self._fold.budget.money is not None else "no cap of its own"
        done = len(self._ended), sum(end.state is TrialState.PRUNED for end in self._ended)
        rows = (
            (
                "Cost",
                f"{dollars(plan.expected_cost)}, at worst {dollars(plan.worst_cost)}",
                dollars(spent) + unsure + unpriced,
            ),
            ("Calls", f"at most {plan.calls}", f"{totals.attempts} made, {totals.cache_hits} answered from the cache"),
            ("Duration", f"{plan.expected_duration_ns / NANOSECONDS:.1f} s", f"{duration:.1f} s" + self._so_far()),
            ("Trials", f"at most {self._fold.budget.trials}", f"{done[0]} ended, {done[1]} of them stopped early"),
            (
                "Tokens",
                str(self._fold.budget.tokens) if self._fold.budget.tokens else "–",
                str(tokens) + "~" * totals.usage.estimated,
            ),
            ("Budget", most, f"{spent / self._fold.budget.money:.0%} of it" if self._fold.budget.money else "–"),
        )
        yield Table(headers=("", "Estimate", "Actual"), rows=rows)

    def _so_far(self) -> str:
        return " so far" if self._run.end_ns is None else ""

    def totals(self) -> Totals:
        """Sums over the run; of one under way, over the answers that are in."""
        if self._run.end_ns is not None:
            return self._run.totals
        trials = self._fold.trials.values()
        ended = [trial.end.totals for trial in trials if trial.end is not None]
        going = [case.totals for trial in trials if trial.end is None for case in trial.answers.values()]
        aside = [case.totals for trial in trials for case in trial.holdout.values()]
        return sum((*ended, *going, *aside), Totals())

    def _leaderboard(self) -> Iterator[Block]:
        names = [dimension.name for dimension in self._plan.space]
        headers = (
            "Trial",
            "State",
            "Score",
            "Difference, uncorrected",
            "Cost a case",
            "Time a case",
            "Cases",
            *map(visible, names),
        )
        leading = self._ranked()[:_LEADING]
        if leading:
            yield Table(headers=headers, rows=tuple(self._row(end, names) for end in leading))
        running = len(self._fold.trials) - len(self._ended)
        more = [f"{len(self._ended) - _LEADING} more ended"] if len(self._ended) > _LEADING else []
        more += [f"{running} are under way"] if running and self._run.end_ns is None else []
        if more:
            yield Words(text=f"{' and '.join(more)}: see list_trials.")

    def _ranked(self) -> list[Trial]:
        """The best by the first objective first; those that were stopped early behind those that were not."""
        sign = -1 if higher_is_better(self._objective) else 1

        def rank(end: Trial) -> tuple[bool, bool, float, int]:
            value = mean_of(end, self._objective)
            return end.state is not TrialState.COMPLETE, value is None, sign * (value or 0.0), end.number

        return sorted(self._ended, key=rank)

    def _row(self, end: Trial, names: Sequence[str]) -> tuple[str, ...]:
        configuration = self._fold.trials[end.number].configuration
        marks = " baseline" * (end.number == BASELINE) + " best" * (
            self._best is not None and end.number == self._best.number
        )
        marks += " front" * (end.number in self._front)
        settings = (setting_word(configuration.get(name)) for name in names)
        lift = estimate(end.lift) if end.number != BASELINE else ""
        figures = (estimate(end.quality), lift, cost_word(end), latency_word(end), f"{end.scored_cases} of {end.cases}")
        return (f"{end.number}{marks}", end.state.value, *figures, *settings)

    def _regressed(self) -> Iterator[Block]:
        result, baseline = self._result, self._fold.trials.get(BASELINE)
        if result is None or self._best is None or baseline is None or not result.regressed:
            return
        yield Words(
            text=f"Cases that it answers worse than the baseline: {len(result.regressed)}; better: {result.improved}."
        )
        for case in result.regressed[:_REGRESSED]:
            item = self._items.get(case.case_id)
            if item is not None:
                wanted = f" (reference: {visible(item.reference)})" if item.reference else ""
                yield Quote(label=f"Case {case.case_id}{wanted}", text=_cut(item.input))
            yield Quote(label=f"Case {case.case_id}: baseline, {case.before:.2f}", text=_answer(baseline, case.case_id))
            yield Quote(label=f"Case {case.case_id}: best, {case.after:.2f}", text=_answer(self._best, case.case_id))
        left = result.regressed[_REGRESSED:]
        if left:
            yield Words(text=f"And: {', '.join(visible(case.case_id) for case in left)}.")

    def _convergence(self) -> Iterator[Block]:
        result = self._result
        if result is None or not result.history:
            return
        yield Words(text=visible(result.convergence))
        rows = tuple((str(at.ended), str(at.number), f"{at.value:.3g}") for at in result.history)
        plot = best_so_far_plot(result, self._ended, self._objective)
        yield Figure(plot=plot, table=Table(headers=("Trials ended", "Best trial", "Value"), rows=rows))

    def _importance(self) -> Iterator[Block]:
        result = self._result
        if result is None or not result.importance:
            return
        rows = tuple((visible(each.name), f"{each.share:.0%}") for each in result.importance)
        yield Figure(
            plot=importance_bars(result), table=Table(headers=("Dimension", "Share of the differences"), rows=rows)
        )
        for plot in parameter_plots(self._fold, result, self._objective):
            points = plot.x.labels and tuple(plot.x.labels)
            table = tuple(
                ((points[int(point.x)] if points else f"{point.x:.4g}"), f"{point.y:.4g}", point.words)
                for point in sorted(plot.points, key=lambda point: -point.y)[:_LEADING]
            )
            yield Figure(plot=plot, table=Table(headers=(plot.x.name, plot.y.name, "Trial"), rows=table))

    def _pareto(self) -> Iterator[Block]:
        plot = front_plot(self._ended, self._front)
        if plot is None:
            return
        yield Words(text="Trials on the front are beaten by no other in every objective.")
        on_front = [end for end in self._ended if end.number in self._front]
        rows = tuple(
            (trial_name(end.number), estimate(end.quality), cost_word(end), latency_word(end)) for end in on_front
        )
        yield Figure(plot=plot, table=Table(headers=("On the front", "Score", "Cost a case", "Time a case"), rows=rows))

    def _failures(self) -> Iterator[Block]:
        counts = Counter[str]()
        for end in self._ended:
            counts.update({count.outcome.value.replace("_", " "): count.count for count in end.outcomes})
        if counts:
            yield Words(text="Answers by how they ended. Only what is scored has a score; nothing else counts as 0.")
            yield Table(
                headers=("Outcome", "Answers"), rows=tuple((name, str(count)) for name, count in counts.most_common())
            )
        told = [end for end in self._ended if end.state is not TrialState.COMPLETE]
        if told:
            rows = tuple((str(end.number), end.state.value, str(end.cases), _why(end)) for end in told[:_LISTED])
            yield Table(headers=("Trial", "Ended", "After cases", "Why"), rows=rows)
        if len(told) > _LISTED:
            yield Words(text=f"And {len(told) - _LISTED} more.")
        controls = self._fold.controls
        if controls:
            rows = tuple(
                (each.action.value, each.role, _control_word(each.action, each.from_trial), visible(each.reason))
                for each in controls[-_LISTED:]
            )
            yield Table(headers=("Control", "By", "What", "Why"), rows=rows)

    def _follow_ups(self) -> Iterator[Block]:
        for each in self._result.follow_ups if self._result is not None else ():
            yield Words(text=f"{each.step.capitalize()}, {each.trials} trials: {visible(each.reason)}")

    def _again(self) -> Iterator[Block]:
        plan = self._plan
        sampler = plan.sampler.kind.value.replace("_", " ") if plan.sampler.kind is not None else ""
        method = plan.racing.method.value if plan.racing.method is not None else ""
        rows = (
            ("Run", self._run.run_id),
            ("Began", day_of(self._run.create_ns)),
            ("Cases", f"{plan.cases} from {visible(plan.origin)}"),
            ("Combinations", str(plan.size) if plan.size else "continuous" if plan.space else "–"),
            ("Sampler", sampler),
            ("Racing", f"{method}, level {plan.racing.alpha:g}, {plan.racing.replicates} replicates"),
            ("Seed", str(plan.seed)),
            ("Trials at once", str(plan.trials_at_once)),
            ("Follows", f"{plan.parent_run_id} ({plan.step})" if plan.parent_run_id else "–"),
            ("Digest of the record", digest_of(self._record)),
        )
        yield Table(headers=("", ""), rows=rows)
        yield Words(
            text="The same sweep again: save what follows as sweep.yaml and run: whet sweep start --spec sweep.yaml"
        )
        yield Quote(label="sweep.yaml", text=spec_text(self._record.spec))


def estimate(value: Estimate) -> str:
    """Return `0.84 (0.80 to 0.88)`."""
    if value.value is None:
        return "–"
    interval = "" if value.low is None or value.high is None else f" ({value.low:.3g} to {value.high:.3g})"
    return f"{value.value:.3g}{interval}"


def dollars(nanos: int) -> str:
    """Return an amount with as many digits as it needs: cents, or millionths where there are no whole ones."""
    amount = nanos / NANOS_PER_USD
    return f"${amount:,.2f}" if amount >= 1 or not nanos else f"${amount:.6f}"


def trial_name(number: int) -> str:
    return f"Trial {number}" + " (baseline)" * (number == BASELINE)


def setting_word(setting: Setting | None) -> str:
    """Return a setting as a cell; one that does not count in its configuration is a dash."""
    if setting is None:
        return "–"
    return f"{setting:.4g}" if isinstance(setting, float) else visible(str(setting))


def cost_word(end: Trial) -> str:
    return "–" if end.cost is None else f"${end.cost:.3g}"


def latency_word(end: Trial) -> str:
    return "–" if end.latency_ns is None else f"{end.latency_ns / NANOSECONDS:.3g} s"


_FIGURES: Final[tuple[tuple[str, Callable[[Trial], str]], ...]] = (
    ("Score", lambda end: estimate(end.quality)),
    ("Cost a case", cost_word),
    ("Time a case", latency_word),
    ("Cases with a score", lambda end: f"{end.scored_cases} of {end.cases}"),
    ("Answers, replicates included", lambda end: str(end.answers)),
)


def _end_word(trial: TrialFold, read: Callable[[Trial], str]) -> str:
    return read(trial.end) if trial.end is not None else "under way"


def _why(end: Trial) -> str:
    failure = f"{end.failure.reason}: {end.failure.message}" if end.failure is not None else ""
    return visible(". ".join(part.removesuffix(".") for part in (end.reason, failure) if part)) or "–"


def _control_word(action: SweepAction, from_trial: int) -> str:
    return f"from trial {from_trial} on" if action is SweepAction.RETUNE and from_trial else ""


def _answer(trial: TrialFold, case_id: str) -> str:
    """What a trial answered to a case, every answer of it."""
    answers = [
        answer for (case, _), answer in sorted(trial.answers.items(), key=lambda each: each[0][1]) if case == case_id
    ]
    texts = [answer.output or f"({answer.outcome.value.replace('_', ' ')})" for answer in answers]
    return _cut("\n---\n".join(texts))


def _cut(text: str) -> str:
    return visible(text if len(text) <= _QUOTED else f"{text[:_QUOTED]}… ({len(text) - _QUOTED} more letters)")
