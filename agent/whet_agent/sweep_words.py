"""Sweeps in words: a plan, a trial, what was found with its interval, what could follow."""

from collections.abc import Iterable, Mapping
from typing import Final

from google.protobuf.message import Message

from whet.v1 import event_pb2, judging_pb2, sweep_pb2, sweeping_pb2, trial_pb2
from whet_agent.plain import short_enum_name
from whet_agent.results import dollars, estimate, money, shorten

TOLD_CASES: Final = 8
"""Cases that the winner answers worse, told by name; `list_cases` shows them all."""

VALUE_CHARACTERS: Final = 60
"""Of one parameter's value: a label names a text, and the text is in the sweep."""

CASE_CHARACTERS: Final = 240
"""Of what was asked and answered in one case."""

_MINUTES_FROM: Final = 120
"""Seconds that are said in minutes from here on."""
_HOURS_FROM: Final = 120
"""Minutes that are said in hours from here on."""
_PERCENT: Final = 100
_DIGITS: Final = 3
"""Of an amount in a sentence."""

VERDICTS: Final = {
    sweeping_pb2.SWEEP_VERDICT_BETTER: "Better",
    sweeping_pb2.SWEEP_VERDICT_NO_DIFFERENCE: "No difference",
    sweeping_pb2.SWEEP_VERDICT_UNDECIDED: "Undecided",
}
ENDS: Final = {
    sweeping_pb2.SWEEP_END_SPACE: "every combination was tried",
    sweeping_pb2.SWEEP_END_TRIALS: "the trials are used up",
    sweeping_pb2.SWEEP_END_MONEY: "the money is used up",
    sweeping_pb2.SWEEP_END_TOKENS: "the tokens are used up",
    sweeping_pb2.SWEEP_END_TIME: "the time is up",
    sweeping_pb2.SWEEP_END_STOPPED: "it was stopped",
    sweeping_pb2.SWEEP_END_CANCELLED: "it was cancelled",
    sweeping_pb2.SWEEP_END_FAILED: "nothing could be scored",
}
PHASES: Final = {
    event_pb2.SWEEP_PHASE_REPLICATE: "asking again where it decides",
    event_pb2.SWEEP_PHASE_HOLDOUT: "answering the hold-out",
    event_pb2.SWEEP_PHASE_PAUSED: "paused",
    event_pb2.SWEEP_PHASE_WAITING: "waiting for an outside program",
}


def about(nanos: int) -> str:
    """Return an amount in three digits, never less than it is: it may be the most that something costs."""
    unit = 10 ** max(0, len(str(nanos)) - _DIGITS)
    return dollars(-(-nanos // unit) * unit)


def told(message: Message) -> str:
    """Return an answer about sweeps in words; empty for any other."""
    match message:
        case sweep_pb2.PlanSweepResponse():
            return plan_words(message)
        case sweep_pb2.ListSweepsResponse():
            return list_words(message)
        case sweep_pb2.ExportSweepResponse() | sweep_pb2.ReportSweepResponse():
            return file_words(message)
        case trial_pb2.ListTrialsResponse():
            return trials_words(message)
        case trial_pb2.ListCasesResponse():
            return cases_words(message)
        case _:
            return ""


def trial_words(trial: sweeping_pb2.Trial) -> str:
    """Return a trial in a line: what it set, and what came of it."""
    name = "trial 0 (the baseline)" if trial.number == 0 else f"trial {trial.number}"
    figures = [f"quality {estimate(trial.quality)}"] if trial.quality.HasField("value") else []
    figures += [f"{about(round(trial.cost * 1e9))} a case"] if trial.HasField("cost") else []
    figures += [f"{trial.latency.ToTimedelta().total_seconds():.2f} s a case"] if trial.HasField("latency") else []
    figures += [f"{trial.cases} cases"] if trial.cases else []
    figures += [trial.reason] if trial.reason else []
    figures += [trial.failure.message] if trial.failure.message else []
    settings = ", ".join(f"{each.name} = {value_words(each)}" for each in trial.parameters)
    return f"{name}: {', '.join(figures) or 'nothing yet'}" + (f" – {settings}" if settings else "")


def value_words(value: sweeping_pb2.ParameterValue) -> str:
    """Return what a parameter is set to."""
    match value.WhichOneof("value"):
        case "number":
            return f"{value.number:.4g}"
        case "integer":
            return str(value.integer)
        case _:
            return shorten(" ".join(value.text.split()), VALUE_CHARACTERS, "in the sweep")


def left_words(progress: event_pb2.SweepProgress) -> str:
    """Return the money and the time that are left, as far as they are known."""
    words = [f"{dollars(progress.money_left.nanos)} in the budget"] if progress.HasField("money_left") else []
    words += [f"about {dollars(progress.expected_left.nanos)} to come"] if progress.expected_left.nanos else []
    words += [f"about {time_words(progress.time_left.seconds)}"] if progress.time_left.seconds else []
    return ", ".join(words)


def time_words(seconds: int) -> str:
    """Return a time as people say it."""
    if seconds < _MINUTES_FROM:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < _HOURS_FROM else f"{minutes / 60:.1f} h"


def controlled_words(controlled: event_pb2.SweepControlled) -> str:
    """Return what somebody did to a sweep."""
    words = f"{short_enum_name(event_pb2.SweepAction.DESCRIPTOR, controlled.action)} by the {controlled.role}"
    changes = [f"{dollars(controlled.budget.money.nanos)}"] if controlled.budget.HasField("money") else []
    changes += [f"{controlled.budget.trials} trials"] if controlled.budget.trials else []
    changes += [f"{controlled.concurrency} cases at once"] if controlled.concurrency else []
    changes += [f"{len(controlled.space)} dimensions narrowed"] if controlled.space else []
    words += f" to {', '.join(changes)}" if changes else ""
    return words + (f": {controlled.reason}" if controlled.reason else "")


def result_lines(result: sweeping_pb2.SweepResult, trials: Mapping[int, sweeping_pb2.Trial]) -> list[str]:
    """Return what a sweep found: the verdict first, then what it stands on, then what could follow."""
    lines = [result.finding or VERDICTS.get(result.verdict, "No verdict"), ""]
    if result.HasField("best"):
        best = trials.get(result.best)
        lines.append(f"- best: {trial_words(best) if best is not None else f'trial {result.best}'}")
    if result.HasField("lift"):
        chance = (
            f", p {result.p_value:.3g} corrected for {result.comparisons} comparison{'s' * (result.comparisons != 1)}"
        )
        sure = f" at {result.lift.level:.0%}" if result.lift.level else ""
        paired = f", {result.pairs} cases paired{chance if result.HasField('p_value') else ''}"
        lines.append(f"- difference to the baseline: {_signed(result.lift)}{sure}{paired}")
    if result.regressed:
        worse = ", ".join(
            f"{each.case_id} ({each.before:.2f} to {each.after:.2f})" for each in result.regressed[:TOLD_CASES]
        )
        left = len(result.regressed) - TOLD_CASES
        lines.append(f"- worse on {len(result.regressed)} cases: {worse}{f' and {left} more' if left > 0 else ''}")
    lines += [f"- better on {result.improved} cases"] if result.improved else []
    lines += [f"- on the sealed hold-out: {holdout_words(result.holdout)}"] if result.HasField("holdout") else []
    lines += [f"- what matters: {importance_words(result.importance)}"] if result.importance else []
    lines += [f"- on the Pareto front: trials {', '.join(map(str, result.front))}"] if len(result.front) > 1 else []
    lines.append(f"- ended because {ENDS.get(result.end, 'it had to')}. {result.convergence}".rstrip())
    return lines + [f"- could follow, {each.step}: {each.reason}" for each in result.follow_ups]


def holdout_words(figure: sweeping_pb2.HoldoutFigure) -> str:
    """Return the final figure, or why there is none."""
    if figure.failure.message:
        return figure.failure.message
    both = f"{estimate(figure.baseline)} before, {estimate(figure.winner)} after"
    return f"{both}, difference {_signed(figure.lift)} on {figure.pairs} rows of {figure.dataset}"


def importance_words(importance: Iterable[sweeping_pb2.Importance]) -> str:
    """Return the shares of the dimensions, the greatest first."""
    return ", ".join(f"{each.name} {each.share:.0%}" for each in importance)


def plan_words(answer: sweep_pb2.PlanSweepResponse) -> str:
    """Return what a sweep would do and cost, and what a person should know before."""
    plan = answer.plan
    size = f"{plan.size:,} combinations" if plan.size else "a continuous space"
    kind = short_enum_name(sweeping_pb2.SamplerKind.DESCRIPTOR, plan.sampler.kind).replace("_", "-")
    on = f" of {plan.origin}" if plan.origin else ""
    lines = [f"- size: up to {plan.trials} trials by {kind} out of {size}, {plan.cases} cases each{on}"]
    lines.append(f"- calls: {answer.calls:,} at most, of which the cache would answer {answer.cache_hits:,} now")
    low, expected, worst = (about(each.nanos) for each in (answer.low_cost, answer.expected_cost, answer.worst_cost))
    if answer.worst_cost.nanos or answer.unpriced_models:
        lines.append(f"- cost: {worst} at most; {expected} expected, {low} if racing stops most trials early")
    else:
        lines.append("- cost: nothing, as its models are free")
    if answer.expected_duration.seconds:
        lines.append(f"- time: about {time_words(answer.expected_duration.seconds)}")
    if answer.HasField("detectable"):
        points = f"{answer.detectable * _PERCENT:.1f} points"
        lines.append(f"- a true difference of {points} of the score would be seen four times in five")
    if plan.holdout_rows:
        lines.append(f"- at the end the sealed hold-out is opened, once and for good: {plan.holdout_rows} rows")
    if answer.unpriced_models:
        lines.append(f"- cost unknown, because these have no price: {', '.join(answer.unpriced_models)}")
    lines += [f"- mind: {warning}" for warning in answer.warnings]
    lines += ["- a person must approve it"] if answer.needs_approval else []
    return "\n".join(lines + ["- simulated"] * plan.simulated)


def list_words(answer: sweep_pb2.ListSweepsResponse) -> str:
    """Return sweeps in a table."""
    if not answer.sweeps:
        return "There are no sweeps."
    lines = ["| sweep | title | state | trials | best | verdict | money |", f"|{' --- |' * 7}"]
    for each in answer.sweeps:
        state = short_enum_name(event_pb2.RunState.DESCRIPTOR, each.state)
        best = f"{each.progress.best}" if each.progress.HasField("best") else "–"
        verdict = VERDICTS.get(each.result.verdict, "–").lower()
        trials = f"{each.progress.ended} of {each.plan.trials}"
        lines.append(
            f"| {each.run_id} | {each.title} | {state} | {trials} | {best} | {verdict} | {money(each.totals)} |"
        )
    return "\n".join(lines + ([f"next page token: {answer.next_page_token}"] if answer.next_page_token else []))


def trials_words(answer: trial_pb2.ListTrialsResponse) -> str:
    """Return a leaderboard."""
    if not answer.trials:
        return "No trials are like that."
    lines = ["| trial | state | quality | to the baseline | $ a case | s a case | settings |", f"|{' --- |' * 7}"]
    lines += [_trial_row(each) for each in answer.trials]
    left = answer.count - len(answer.trials)
    lines += [f"and {left} more"] if left > 0 else []
    return "\n".join(lines + ([f"next page token: {answer.next_page_token}"] if answer.next_page_token else []))


def cases_words(answer: trial_pb2.ListCasesResponse) -> str:
    """Return cases with what each trial answered."""
    if not answer.cases:
        return "No cases are like that."
    lines = [f"- {trial_words(each)}" for each in answer.trials]
    for case in answer.cases:
        asked = f"; right is: {_short(case.item.reference)}" if case.item.reference else ""
        lines += ["", f"**{case.item.item_id}**: {_short(case.item.input)}{asked}"]
        lines += [f"- trial {cell.number}: {_answers(cell)}" for cell in case.cells]
    return "\n".join(lines + (["", f"next page token: {answer.next_page_token}"] if answer.next_page_token else []))


def _answers(cell: trial_pb2.ComparedCell) -> str:
    said = []
    for each in cell.answers:
        outcome = short_enum_name(judging_pb2.Outcome.DESCRIPTOR, each.outcome).replace("_", " ")
        score = f"{each.score:.2f}" if each.HasField("score") else outcome
        said.append(f"{score} ({_short(each.output or each.failure.message)})")
    return "; ".join(said) or "no answer"


def _short(text: str) -> str:
    return shorten(" ".join(text.split()), CASE_CHARACTERS, "in the sweep")


def file_words(answer: sweep_pb2.ExportSweepResponse | sweep_pb2.ReportSweepResponse) -> str:
    """Return a file's content: a report in Markdown as it is, anything else between fences."""
    kind = answer.file_name.rpartition(".")[2]
    if kind == "md":
        return answer.content
    fence = "```"
    while fence in answer.content:
        fence += "`"
    return f"{answer.file_name}:\n\n{fence}{kind}\n{answer.content.rstrip()}\n{fence}"


def _trial_row(trial: sweeping_pb2.Trial) -> str:
    state = short_enum_name(sweeping_pb2.TrialState.DESCRIPTOR, trial.state)
    cost = about(round(trial.cost * 1e9)) if trial.HasField("cost") else "–"
    time = f"{trial.latency.ToTimedelta().total_seconds():.2f}" if trial.HasField("latency") else "–"
    settings = ", ".join(f"{each.name} = {value_words(each)}" for each in trial.parameters).replace("|", "\\|")
    number = f"{trial.number}{' (baseline)' if not trial.number else ''}"
    lift = _signed(trial.lift) if trial.number else "–"
    return f"| {number} | {state} | {estimate(trial.quality)} | {lift} | {cost} | {time} | {settings} |"


def _signed(value: judging_pb2.Estimate) -> str:
    """Return a difference with its interval, in as many digits as money needs: `+0.061 (0.012 to 0.11)`."""
    if not value.HasField("value"):
        return "–"
    interval = f" ({value.low:.2g} to {value.high:.2g})" if value.HasField("low") and value.HasField("high") else ""
    return f"{value.value:+.2g}{interval}"
