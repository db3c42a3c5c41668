"""A sweep in words: how far it is, what it may still use, what it found and how sure that is."""

from dataclasses import replace
from typing import Final

from rich.text import Text

from whet_tui.entries import dollars, money_line
from whet_tui.judging_values import Estimate
from whet_tui.safe import safe_line
from whet_tui.spans import ago, roughly
from whet_tui.sweep_values import End, Found, Goal, HoldoutFigure, Objective, Phase, Progress, Result, Sweep
from whet_tui.widgets import estimates, states
from whet_tui.widgets.ink import Ink
from whet_tui.widgets.sheet import Cell, Column, InkName, cost

_BAR: Final = 24
"""Cells of the bar of trials, at most."""
_SHORTEST: Final = 8
"""Cells below which a bar tells nothing."""
_NANOS: Final = 1_000_000_000
VERDICTS: Final[dict[Found, tuple[str, InkName]]] = {
    Found.BETTER: ("✓ better", "good"),
    Found.NO_DIFFERENCE: ("= no difference", "accent"),
    Found.UNDECIDED: ("? undecided", "warning"),
}
_PHASES: Final[dict[Phase, tuple[str, InkName]]] = {
    Phase.SEARCH: ("searching", "accent"),
    Phase.REPLICATE: ("asking cases again where that decides something", "accent"),
    Phase.HOLDOUT: ("the best and the baseline answer the hold-out", "accent"),
    Phase.PAUSED: ("paused: nothing new is begun; P goes on", "warning"),
    Phase.WAITING: ("waiting for an outside program to ask for trials or tell results", "warning"),
}
_ENDS: Final[dict[End, str]] = {
    End.SPACE: "every combination was tried",
    End.TRIALS: "the trials are used up",
    End.MONEY: "the money is used up",
    End.TOKENS: "the tokens are used up",
    End.TIME: "the time is used up",
    End.STOPPED: "somebody stopped it",
    End.CANCELLED: "somebody cancelled it",
    End.FAILED: "nothing could be scored",
}
_WORST: Final = 12
"""Regressed cases that are named; the cases beside each other show all."""
COLUMNS: Final = (
    Column(title="state", most=11),
    Column(title="sweep", grows=True),
    Column(title="found", most=16),
    Column(title="best", right=True, most=18, rank=3),
    Column(title="trials", right=True, most=15, rank=1),
    Column(title="cost", right=True, most=24, rank=2),
    Column(title="time", right=True, most=12, rank=5),
    Column(title="begun", right=True, most=14, rank=4),
    Column(title="", most=9, rank=6),
)


def sweep_row(sweep: Sweep, now_ns: int) -> list[Cell]:
    """A sweep as lists show it."""
    glyph, ink = states.RUNS[sweep.state]
    found, colour = VERDICTS[sweep.result.verdict] if sweep.result else _under_way(sweep)
    return [
        Cell(f"{glyph} {sweep.state}", ink),
        Cell(safe_line(sweep.title or sweep.run_id, 200)),
        Cell(found, colour),
        Cell(_best(sweep), "muted"),
        Cell(_counted(sweep), "muted"),
        Cell(cost(sweep.totals), "muted"),
        Cell(roughly((sweep.end_ns or now_ns) - sweep.create_ns), "muted"),
        Cell(ago(sweep.create_ns, now_ns), "muted"),
        Cell("simulated" if sweep.plan.simulated else "", "simulated"),
    ]


def _under_way(sweep: Sweep) -> tuple[str, InkName]:
    if sweep.ended:
        return "", "muted"
    return {
        Phase.PAUSED: ("paused", "warning"),
        Phase.WAITING: ("waiting", "warning"),
        Phase.HOLDOUT: ("hold-out", "accent"),
        Phase.REPLICATE: ("replicates", "accent"),
    }.get(sweep.progress.phase, ("", "muted"))  # type: ignore[return-value]  # the inks are names


def _best(sweep: Sweep) -> str:
    """The best trial and its value: a list has of an ended sweep only its result."""
    goal, progress, result = sweep.plan.goals[0].kind, sweep.progress, sweep.result
    if progress.best is not None:
        return f"#{progress.best:,} {value_words(progress.best_value, goal)}"
    if result is None or result.best is None or not result.history:
        return ""
    return f"#{result.best:,} {value_words(result.history[-1].value, goal)}"


def _counted(sweep: Sweep) -> str:
    """Trials that ended, of those that were planned; of an ended sweep that a list has only the latter."""
    planned, ended = f"{sweep.planned:,}", sweep.progress.ended
    return planned if sweep.ended and not ended else f"{ended:,}/{planned}"


def value_words(value: float | None, goal: Goal, *, signed: bool = False) -> str:
    """A value of a goal with its unit."""
    if value is None or goal is Goal.QUALITY:
        return estimates.figure(value, signed=signed)
    sign = "+" * (signed and value > 0) + "-" * (value < 0)
    return sign + (dollars(round(abs(value) * _NANOS)) if goal is Goal.COST else f"{abs(value):.3g} s")


def _estimate(estimate: Estimate, goal: Goal, *, signed: bool = False) -> str:
    told = value_words(estimate.value, goal, signed=signed)
    if estimate.low is None or estimate.high is None:
        return told
    between = [value_words(each, goal, signed=signed) for each in (estimate.low, estimate.high)]
    return f"{told} ({' to '.join(between)})"


def goal_words(objective: Objective) -> str:
    words = safe_line(objective.criterion, 60) or objective.kind
    return words if objective.margin is None else f"{words} no worse than the baseline by {objective.margin:g}"


def headline(sweep: Sweep, progress: Progress, ink: Ink) -> Text:
    """Two lines: title, state, what is optimised; how far it is or what it found."""
    glyph, colour = states.RUNS[sweep.state]
    text = Text(f"{glyph} {sweep.state}", getattr(ink, colour), no_wrap=True, overflow="ellipsis")
    text.append(f"  {safe_line(sweep.title or sweep.run_id, 60)}", ink.you)
    told = [" and ".join(goal_words(each) for each in sweep.plan.objectives) or "quality"]
    told += [safe_line(sweep.plan.origin, 60)] if sweep.plan.origin else []
    text.append(" · " + " · ".join(told), ink.muted).append(" · simulated" * sweep.plan.simulated, ink.simulated)
    text.append("\n")
    if sweep.result is not None:
        words, verdict = VERDICTS[sweep.result.verdict]
        text.append(words, getattr(ink, verdict)).append(f" · {safe_line(sweep.result.finding, 300)}")
    elif sweep.failure:
        text.append(safe_line(sweep.failure, 300), ink.bad)
    else:
        words, phase = _PHASES[progress.phase]
        text.append(words, getattr(ink, phase))
        if progress.best is not None:
            value = value_words(progress.best_value, sweep.plan.goals[0].kind)
            text.append(f" · best so far trial {progress.best:,}: {value}")
    return text


def progress_text(sweep: Sweep, progress: Progress, ink: Ink, now_ns: int, width: int) -> Text:
    """Two lines: trials and answers, with a bar where there is room; money and time, spent and left."""
    told = [f"{progress.ended:,} of {sweep.planned:,} trials", f"{progress.pruned:,} pruned"]
    told += [f"{progress.running:,} running"] if progress.running else []
    told += [f"{progress.answers:,} answers"] if progress.answers else []
    told += [f"{progress.in_flight:,} in flight"] if progress.in_flight else []
    words = " · ".join(told)
    text, cells = Text(), min(_BAR, width - len(words) - len("[] "))
    if cells >= _SHORTEST:
        done = min(cells, cells * progress.ended // max(1, sweep.planned))
        text.append("[").append("█" * done, ink.accent).append("·" * (cells - done) + "] ", ink.muted)
    return text.append(f"{words}\n").append(" · ".join(_used(sweep, progress, now_ns)), ink.muted)


def _used(sweep: Sweep, progress: Progress, now_ns: int) -> list[str]:
    """Money and time, spent and left; `~` before what is only likely."""
    totals, spent = progress.totals, (sweep.end_ns or now_ns) - sweep.create_ns
    money = f"{money_line(replace(totals, reserved=0)) or '$0'} spent"
    if sweep.ended:
        return [money, f"{roughly(spent)} long"]
    left = [f"{dollars(progress.money_left)} left"] if progress.money_left is not None else []
    left += [f"~{dollars(progress.expected_left)} to go"] if progress.expected_left else []
    later = [f"~{roughly(progress.time_left_ns)} to go"] if progress.time_left_ns else []
    if sweep.plan.budget.time_ns:
        later.append(f"max {roughly(sweep.plan.budget.time_ns - spent)}")
    return [each for each in (money, ", ".join(left), f"{roughly(spent)} in", ", ".join(later)) if each]


def verdict_text(sweep: Sweep, ink: Ink) -> Text:
    """Everything that the sweep found."""
    result = sweep.result
    if result is None:
        return Text("No verdict yet: it comes when the sweep has ended. S stops it and concludes from what there is.")
    goal = sweep.plan.goals[0]
    words, colour = VERDICTS[result.verdict]
    text = Text(words, getattr(ink, colour)).append(f"\n{safe_line(result.finding, 1_000)}")
    text.append("\nIt stands on something simulated." * result.simulated, ink.simulated)
    for title, lines in (
        ("how sure it is", _sureness(result, goal)),
        ("changed cases", _changed(result)),
        ("convergence", [safe_line(result.convergence, 600), f"It ended because {_ENDS[result.end]}."]),
        ("hold-out", _holdout(result.holdout, goal.kind, sweep.plan.holdout_rows)),
        ("estimate and actual", _actual(sweep)),
        ("what was done", _controls(sweep)),
    ):
        if lines:
            text.append(f"\n\n── {title}\n", ink.muted).append("\n".join(line for line in lines if line))
    if result.follow_ups:
        text.append("\n\n── what could follow\n", ink.muted).append_text(_follow_ups(sweep, ink))
    return text.append("\n")


def _sureness(result: Result, goal: Objective) -> list[str]:
    if result.best is None:
        return ["No trial has a score."]
    if result.best == 0:
        return ["No trial was better than the baseline, so there is no difference to tell."]
    if not result.pairs:
        return ["The difference to the baseline is not known: no case has a score of both."]
    lift = _estimate(result.lift, goal.kind, signed=True)
    better = "above" if goal.kind is Goal.QUALITY else "below"
    pairs = f"paired over {result.pairs:,} cases; {better} 0 is better"
    level = f"{100 * result.lift.level:.3g}% interval by bootstrap"
    if result.p_value is not None:
        level += f" · p = {result.p_value:.3g}, corrected for {result.comparisons:,} comparisons"
    words = f"trial {result.best:,} against the baseline: {lift} of {goal_words(goal)}, {pairs}"
    return [words, level + (f" · the verdict keeps {result.alpha:g}" if result.alpha else "")]


def _changed(result: Result) -> list[str]:
    if result.best is None or not (result.regressed or result.improved):
        return []
    lines = [f"{result.improved:,} answered better, {len(result.regressed):,} worse (c shows them side by side)"]
    lines += [
        f"  ↓ {safe_line(each.case_id, 80)}  {each.before:.2f} → {each.after:.2f}" for each in result.regressed[:_WORST]
    ]
    more = len(result.regressed) - _WORST
    return [*lines, f"  and {more:,} more"] if more > 0 else lines


def _holdout(figure: HoldoutFigure | None, goal: Goal, rows: int) -> list[str]:
    if figure is None:
        return ["It was not opened."] if rows else []
    if figure.failure:
        return [safe_line(figure.failure, 400)]
    return [
        f"{figure.rows:,} rows of {safe_line(figure.dataset, 100)} that nothing was chosen by",
        f"best {_estimate(figure.winner, goal)} · baseline {_estimate(figure.baseline, goal)}",
        f"difference {_estimate(figure.lift, goal, signed=True)} over {figure.pairs:,} pairs",
    ]


def _actual(sweep: Sweep) -> list[str]:
    plan, lines = sweep.plan, []
    if plan.expected_cost is not None:
        worst = f", at most {dollars(plan.worst_cost)}" if plan.worst_cost is not None else ""
        lines.append(f"money  estimated {dollars(plan.expected_cost)}{worst} · was {money_line(sweep.totals) or '$0'}")
    if plan.expected_duration_ns:
        took = roughly(sweep.end_ns - sweep.create_ns) if sweep.end_ns else "not over yet"
        lines.append(f"time   estimated {roughly(plan.expected_duration_ns)} · was {took}")
    lines.append(f"trials planned {plan.trials:,} · were {sweep.progress.ended:,}, {sweep.progress.pruned:,} pruned")
    return lines


def _controls(sweep: Sweep) -> list[str]:
    return [
        f"{each.action} by {safe_line(each.role, 20) or 'somebody'}, from trial {each.from_trial:,} on"
        + (f": {safe_line(each.reason, 200)}" if each.reason else "")
        for each in sweep.controls
    ]


def _follow_ups(sweep: Sweep, ink: Ink) -> Text:
    text = Text()
    for each in sweep.result.follow_ups if sweep.result else ():
        text.append("\n" * bool(text)).append(safe_line(each.step, 20), ink.accent)
        text.append(f"  {safe_line(each.reason, 600)}")
        text.append(f" · {each.trials:,} trials" if each.trials else "", ink.muted)
    command = f"whet sweep start --chain-parent-run-id {safe_line(sweep.run_id, 60)} --chain-step STEP"
    return text.append(f"\nTo begin one, ask for it in the chat (Alt+1) or: {command}", ink.muted)
