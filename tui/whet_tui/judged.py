"""Fold the events of a judgement or an audit into how far it is, and put that in words.

Verdicts come by the thousand and are not folded: progress counts them while the run is under way, and its sums count
them again when all are in, so that who hears only what is durable knows them too.
"""

from collections import Counter
from typing import Final

from whet.v1 import event_pb2, judging_pb2
from whet_tui.entries import FanoutState, Judging, dollars, money_line
from whet_tui.lanes import RUN_STATES, money_of, nanos_of

_NANOS_PER_SECOND: Final = 1_000_000_000


def is_judging(event: event_pb2.Event) -> bool:
    """Whether the event opens a judgement or an audit, or can only come from one."""
    if event.HasField("run_opened"):
        return event.run_opened.HasField("judgement")
    return event.WhichOneof("payload") in {"judgement_progress", "judgement_summed", "audit_reported"}


def hear_judging(judging: Judging, event: event_pb2.Event) -> None:
    """Fold one event in. What was heard before changes nothing."""
    if event.sequence:
        if event.sequence <= judging.heard:
            return
        judging.heard = event.sequence
    if judging.ended:
        return
    match event.WhichOneof("payload"):
        case "run_opened":
            _opened(judging, event.run_opened)
        case "judgement_progress":
            _progressed(judging, event.judgement_progress)
        case "judgement_summed":
            _summed(judging, event.judgement_summed)
        case "run_finished":
            _finished(judging, event.run_finished)
        case _:
            pass


def _opened(judging: Judging, opened: event_pb2.RunOpened) -> None:
    plan = opened.judgement
    judging.run_id, judging.items, judging.planned = opened.run_id, plan.items, plan.verdicts
    judging.judges, judging.origin, judging.simulated = tuple(plan.judges), plan.origin, plan.simulated


def _progressed(judging: Judging, progress: event_pb2.JudgementProgress) -> None:
    if progress.verdicts < judging.verdicts:
        return  # a connection that came back tells of earlier
    judging.verdicts, judging.planned = progress.verdicts, progress.planned
    judging.outcomes = {outcome_word(each.outcome): each.count for each in progress.outcomes}
    judging.money, judging.left_nanos = money_of(progress.totals), progress.expected_left.nanos
    judging.left_ns = nanos_of(progress.time_left)


def _summed(judging: Judging, summed: event_pb2.JudgementSummed) -> None:
    counts: Counter[str] = Counter()
    for criterion in summed.criteria:
        for each in criterion.outcomes:
            counts[outcome_word(each.outcome)] += each.count
    judging.outcomes, judging.verdicts = dict(counts), counts.total()
    judging.simulated |= any(each.simulated for each in summed.criteria)


def _finished(judging: Judging, finished: event_pb2.RunFinished) -> None:
    judging.state = RUN_STATES.get(finished.state, FanoutState.FAILED)
    judging.failure, judging.money = finished.failure.message, money_of(finished.totals)
    judging.latency_ns, judging.left_ns, judging.left_nanos = nanos_of(finished.latency), 0, 0
    if judging.state is FanoutState.SUCCEEDED:
        judging.verdicts = judging.planned


def outcome_word(outcome: judging_pb2.Outcome.ValueType) -> str:
    """Return an outcome in the word that is shown: `timed out`."""
    return judging_pb2.Outcome.Name(outcome).removeprefix("OUTCOME_").lower().replace("_", " ")


def progress_words(judging: Judging) -> str:
    """How far it is, how its verdicts ended, what it cost and what is to come, in one line."""
    parts = [f"{judging.verdicts} of {judging.planned} verdicts" if judging.planned else "starting"]
    if judging.ended:
        parts.insert(0, judging.state.value)
    if judging.left:
        parts.append("not followed to its end")
    parts += [", ".join(f"{count} {word}" for word, count in judging.outcomes.items())] if judging.outcomes else []
    if judging.verdicts or judging.ended:
        parts.append(money_line(judging.money))
    if judging.left_nanos:
        parts.append(f"about {dollars(judging.left_nanos)} to come")
    if judging.left_ns:
        parts.append(f"{_seconds(judging.left_ns)} left")
    if judging.latency_ns:
        parts.append(_seconds(judging.latency_ns))
    return " · ".join(parts)


def opening_words(judging: Judging) -> str:
    """What it is to do, in one line."""
    words = f"{judging.run_id}: {judging.planned} verdicts"
    words += f" on {judging.items} item{'s' * (judging.items != 1)}" if judging.items else ""
    words += f" of {judging.origin}" if judging.origin else ""
    words += f" by {', '.join(judging.judges)}" if judging.judges else ""
    return words + (" (simulated)" if judging.simulated else "")


def _seconds(nanos: int) -> str:
    seconds = nanos / _NANOS_PER_SECOND
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60}m{int(seconds) % 60:02d}s"
