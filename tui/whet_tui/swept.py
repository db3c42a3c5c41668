"""Fold the events of a sweep into how far it is, and put that in words.

Trials and answers to cases are not folded: progress counts them while the sweep is under way, and what it found is in
its conclusion.
"""

from collections.abc import Mapping
from typing import Final

from whet.v1 import event_pb2, sweeping_pb2
from whet_agent.sweep_words import PHASES, VERDICTS
from whet_tui.entries import FanoutState, Sweeping, dollars, money_line
from whet_tui.lanes import RUN_STATES, money_of, nanos_of

_USED_UP: Final = frozenset({sweeping_pb2.SWEEP_END_SPACE, sweeping_pb2.SWEEP_END_TRIALS})
_OBJECTIVES: Final[Mapping[int, str]] = {
    sweeping_pb2.OBJECTIVE_KIND_COST: "cost",
    sweeping_pb2.OBJECTIVE_KIND_LATENCY: "time",
}
_NANOS: Final = 1_000_000_000
_MINUTE: Final = 60
_HOUR: Final = 3600
_PAYLOADS: Final = frozenset(
    {"sweep_progress", "sweep_concluded", "sweep_controlled", "trial_started", "trial_finished"}
)


def is_sweep(event: event_pb2.Event) -> bool:
    """Whether the event opens a sweep, or can only come from one."""
    if event.HasField("run_opened"):
        return event.run_opened.HasField("sweep")
    return event.WhichOneof("payload") in _PAYLOADS


def hear_sweep(sweep: Sweeping, event: event_pb2.Event) -> None:
    """Fold one event in. What was heard before changes nothing."""
    if event.sequence:
        if event.sequence <= sweep.heard:
            return
        sweep.heard = event.sequence
    if sweep.ended:
        return
    match event.WhichOneof("payload"):
        case "run_opened":
            _opened(sweep, event.run_opened)
        case "sweep_progress":
            _progressed(sweep, event.sweep_progress)
        case "sweep_controlled":
            _controlled(sweep, event.sweep_controlled)
        case "sweep_concluded":
            _concluded(sweep, event.sweep_concluded.result)
        case "run_finished":
            _finished(sweep, event.run_finished)
        case _:
            pass


def _opened(sweep: Sweeping, opened: event_pb2.RunOpened) -> None:
    plan = opened.sweep
    sweep.run_id, sweep.planned, sweep.cases, sweep.origin = opened.run_id, plan.trials, plan.cases, plan.origin
    free = [each.kind for each in plan.objectives if not each.HasField("margin")]
    sweep.objective = _OBJECTIVES.get(free[0], "quality") if free else "quality"
    sweep.space, sweep.simulated = tuple(each.name for each in plan.space), plan.simulated
    sweep.cap_nanos = plan.budget.money.nanos


def _progressed(sweep: Sweeping, progress: event_pb2.SweepProgress) -> None:
    if progress.ended < sweep.trials or progress.answers < sweep.answers:
        return  # a connection that came back tells of earlier
    sweep.trials, sweep.pruned, sweep.running = progress.ended, progress.pruned, progress.running
    sweep.answers, sweep.phase = progress.answers, PHASES.get(progress.phase, "")
    if progress.HasField("best"):
        sweep.best, sweep.best_value = progress.best, progress.best_value
    sweep.money = money_of(progress.totals)
    sweep.left_nanos = progress.money_left.nanos if progress.HasField("money_left") else None
    sweep.left_ns = nanos_of(progress.time_left)


def _controlled(sweep: Sweeping, controlled: event_pb2.SweepControlled) -> None:
    action = event_pb2.SweepAction.Name(controlled.action).removeprefix("SWEEP_ACTION_").lower()
    why = f": {controlled.reason}" if controlled.reason else ""
    sweep.controlled = f"{action} by the {controlled.role}{why}"
    sweep.planned = controlled.budget.trials or sweep.planned
    sweep.cap_nanos = controlled.budget.money.nanos or sweep.cap_nanos


def _concluded(sweep: Sweeping, result: sweeping_pb2.SweepResult) -> None:
    sweep.verdict, sweep.finding = VERDICTS.get(result.verdict, "").lower(), result.finding
    sweep.simulated |= result.simulated
    if result.end in _USED_UP:
        sweep.trials = max(sweep.trials, result.comparisons + 1)  # the last of them need not have been told live
    if result.HasField("best"):
        of_best = (point.value for point in result.history if point.number == result.best)
        sweep.best, sweep.best_value = result.best, next(of_best, None)


def _finished(sweep: Sweeping, finished: event_pb2.RunFinished) -> None:
    sweep.state = RUN_STATES.get(finished.state, FanoutState.FAILED)
    sweep.failure, sweep.money = finished.failure.message, money_of(finished.totals)
    sweep.latency_ns, sweep.left_ns, sweep.running = nanos_of(finished.latency), 0, 0
    sweep.phase = ""


def progress_words(sweep: Sweeping) -> str:
    """How far it is, what it cost and what is left, in one line."""
    parts = [f"{sweep.trials:,} of {sweep.planned:,} trials" if sweep.planned else "starting"]
    parts = [sweep.state.value, *parts] if sweep.ended else parts
    parts += ["not followed to its end"] if sweep.left else []
    parts += [sweep.phase] if sweep.phase else []
    parts += [f"{sweep.pruned} stopped early"] if sweep.pruned else []
    parts += [money_line(sweep.money)] if sweep.answers or sweep.ended else []
    if not sweep.ended:
        parts += [f"{dollars(sweep.left_nanos)} left"] if sweep.left_nanos is not None else []
        parts += [f"{time_words(sweep.left_ns)} to go"] if sweep.left_ns else []
    parts += [time_words(sweep.latency_ns)] if sweep.latency_ns else []
    return " · ".join(parts)


def opening_words(sweep: Sweeping) -> str:
    """What it is to do, in one line."""
    words = f"{sweep.run_id}: up to {sweep.planned} trials of {sweep.cases} cases"
    words += f", {sweep.origin}" if sweep.origin else ""
    words += f", over {', '.join(sweep.space)}" if sweep.space else ""
    words += f", at most {dollars(sweep.cap_nanos)}" if sweep.cap_nanos else ""
    return words + (" (simulated)" if sweep.simulated else "")


def best_words(sweep: Sweeping) -> str:
    """Which trial is the best so far; empty while there is none."""
    if sweep.best is None:
        return ""
    name = "the baseline" if sweep.best == 0 else f"trial {sweep.best}"
    value = f", {sweep.objective} {_shown(sweep.objective, sweep.best_value)}" if sweep.best_value is not None else ""
    return f"{'best' if sweep.ended else 'best so far'}: {name}{value}"


def _shown(objective: str, value: float) -> str:
    match objective:
        case "cost":
            return f"{dollars(round(value * _NANOS))} a case"
        case "time":
            return f"{value:.2f} s a case"
        case _:
            return f"{value:.3f}"


def verdict_words(sweep: Sweeping) -> str:
    """What it found, in a line; empty before it has concluded."""
    return sweep.finding or sweep.verdict


def share(sweep: Sweeping) -> float:
    """How much of it is done, 0 to 1, by its trials."""
    return min(1.0, sweep.trials / sweep.planned) if sweep.planned else 0.0


def time_words(nanos: int) -> str:
    seconds = nanos / _NANOS
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    minutes = int(seconds) // _MINUTE
    return f"{minutes}m{int(seconds) % _MINUTE:02d}s" if seconds < _HOUR else f"{minutes // 60}h{minutes % 60:02d}m"
