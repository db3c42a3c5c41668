"""Fold the events of a run into a `Fanout`.

Delivery is at least once and in order: after a cut the events since some cursor come again. Durable events are known by
their sequence. Live deltas are cut by their offset, live progress never leads back from text, so that hearing anything
twice changes nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from whet.v1 import event_pb2, value_pb2
from whet_tui.entries import (
    Dispute,
    Draft,
    Fanout,
    FanoutState,
    Lane,
    LaneState,
    Money,
    Sentence,
    SoleClaim,
    Source,
    Synthesis,
    Vote,
)

_LANE_STATES: Final[Mapping[int, LaneState]] = {
    event_pb2.BRANCH_STATE_WAITING: LaneState.WAITING,
    event_pb2.BRANCH_STATE_LOADING: LaneState.LOADING,
    event_pb2.BRANCH_STATE_ASKED: LaneState.ASKED,
    event_pb2.BRANCH_STATE_STREAMING: LaneState.STREAMING,
    event_pb2.BRANCH_STATE_DONE: LaneState.DONE,
    event_pb2.BRANCH_STATE_PARTIAL: LaneState.PARTIAL,
    event_pb2.BRANCH_STATE_FAILED: LaneState.FAILED,
    event_pb2.BRANCH_STATE_CANCELLED: LaneState.CANCELLED,
}

RUN_STATES: Final[Mapping[int, FanoutState]] = {
    event_pb2.RUN_STATE_SUCCEEDED: FanoutState.SUCCEEDED,
    event_pb2.RUN_STATE_PARTIAL: FanoutState.PARTIAL,
    event_pb2.RUN_STATE_FAILED: FanoutState.FAILED,
    event_pb2.RUN_STATE_CANCELLED: FanoutState.CANCELLED,
}


def grown(text: str, offset: int, piece: str) -> str:
    """Return the text after the piece at `offset` was heard. A piece that lies beyond the end (something was left out)
    waits for the durable event.
    """
    if offset > len(text) or offset + len(piece) <= len(text):
        return text
    return text + piece[len(text) - offset :]


def hear(fanout: Fanout, event: event_pb2.Event) -> None:
    """Fold one event into the fan-out. A payload that this version does not know is left out."""
    if event.sequence:
        if event.sequence <= fanout.heard:
            return
        fanout.heard = event.sequence
    kind = event.WhichOneof("payload")
    folded = _HEARD.get(kind or "")
    if kind is not None and folded is not None and not fanout.ended:
        folded(fanout, getattr(event, kind), event)


def nanos_of(duration: Duration) -> int:
    return duration.seconds * 1_000_000_000 + duration.nanos


def time_of(stamp: Timestamp) -> int:
    return stamp.seconds * 1_000_000_000 + stamp.nanos


def _why(failure: value_pb2.Failure) -> str:
    return failure.message


def money_of(totals: value_pb2.Totals) -> Money:
    """Return the amounts of some sums."""
    return Money(
        settled=totals.settled.nanos,
        unknown=totals.unknown.nanos,
        reserved=totals.reserved.nanos,
        unpriced=totals.unpriced,
    )


def _lane(fanout: Fanout, branch_id: str) -> Lane:
    """The branch's lane; one that was not announced gets a place at the end."""
    lane = fanout.lanes.get(branch_id)
    if lane is None:
        lane = fanout.lanes[branch_id] = Lane(branch_id=branch_id, number=len(fanout.lanes) + 1, model="")
    return lane


def _opened(fanout: Fanout, opened: event_pb2.RunOpened, event: event_pb2.Event) -> None:
    fanout.run_id, fanout.prompt, fanout.mode = opened.run_id, opened.prompt, opened.synthesis
    fanout.opened_ns = time_of(event.event_time)
    for plan in opened.branches:
        lane = _lane(fanout, plan.branch_id)
        lane.model, lane.persona, lane.sample, lane.simulated = plan.model, plan.persona, plan.sample, plan.simulated


def _progress(fanout: Fanout, progress: event_pb2.BranchProgress, _: event_pb2.Event) -> None:
    lane = _lane(fanout, progress.branch_id)
    if lane.state.ended or lane.text:
        return  # a repeated event: a branch that has text never goes back
    lane.state = _LANE_STATES.get(progress.state, lane.state)
    lane.detail, lane.fraction = progress.detail, progress.fraction


def _delta(fanout: Fanout, delta: event_pb2.BranchDelta, _: event_pb2.Event) -> None:
    lane = _lane(fanout, delta.branch_id)
    if lane.state.ended:
        return
    lane.text = grown(lane.text, delta.offset, delta.text)
    if lane.text:
        lane.state, lane.detail, lane.fraction = LaneState.STREAMING, "", 0.0


def _attempt_failed(fanout: Fanout, failed: event_pb2.AttemptFailed, _: event_pb2.Event) -> None:
    if failed.branch_id and not (lane := _lane(fanout, failed.branch_id)).state.ended:
        lane.retries += 1
        lane.state, lane.detail = LaneState.WAITING, _why(failed.attempt.failure)


def _finished(fanout: Fanout, finished: event_pb2.BranchFinished, _: event_pb2.Event) -> None:
    lane = _lane(fanout, finished.branch_id)
    lane.state = _LANE_STATES.get(finished.state, LaneState.FAILED)
    lane.text, lane.model = finished.text, finished.model or lane.model
    lane.failure, lane.detail, lane.fraction = _why(finished.failure), "", 0.0
    usage = finished.usage
    lane.input_tokens, lane.output_tokens, lane.estimated = usage.input_tokens, usage.output_tokens, usage.estimated
    lane.money = money_of(finished.totals)
    lane.latency_ns, lane.first_token_ns = nanos_of(finished.latency), nanos_of(finished.first_token_latency)
    lane.cached, lane.simulated = finished.cached, finished.simulated or lane.simulated


def _draft_started(fanout: Fanout, started: event_pb2.DraftStarted, _: event_pb2.Event) -> None:
    draft = _draft(fanout, started.revision)
    if draft is not None:
        draft.model, draft.branch_ids, draft.final = started.model, tuple(started.branch_ids), started.final
        draft.simulated = any(_lane(fanout, branch_id).simulated for branch_id in started.branch_ids)


def _draft(fanout: Fanout, revision: int) -> Draft | None:
    """The draft of this revision, begun if it is new; None for one that another has replaced. What the one before said
    is kept as `earlier`.
    """
    before = fanout.draft
    if before is None or revision > before.revision:
        earlier = (before.text or before.earlier) if before is not None else ""
        fanout.draft = Draft(revision=revision, earlier=earlier)
        return fanout.draft
    return before if revision == before.revision else None


def _draft_delta(fanout: Fanout, delta: event_pb2.DraftDelta, _: event_pb2.Event) -> None:
    draft = _draft(fanout, delta.revision)
    if draft is not None and not draft.state.ended:
        draft.text = grown(draft.text, delta.offset, delta.text)
        draft.state = LaneState.STREAMING


def _draft_ended(fanout: Fanout, ended: event_pb2.DraftEnded, _: event_pb2.Event) -> None:
    draft = _draft(fanout, ended.revision)
    if draft is not None:
        draft.state = _LANE_STATES.get(ended.state, LaneState.FAILED)
        draft.text, draft.model = ended.text, ended.model or draft.model
        draft.failure, draft.simulated = _why(ended.failure), ended.simulated or draft.simulated


def _source(span: event_pb2.Span) -> Source:
    return Source(branch_id=span.branch_id, start=span.start, end=span.end, score=span.score)


def _synthesised(fanout: Fanout, finished: event_pb2.SynthesisFinished, _: event_pb2.Event) -> None:
    fanout.synthesis = Synthesis(
        state=_LANE_STATES.get(finished.state, LaneState.FAILED),
        text=finished.text,
        revision=finished.revision,
        sentences=tuple(
            Sentence(start=each.start, end=each.end, sources=tuple(_source(span) for span in each.support))
            for each in finished.sentences
        ),
        sole_claims=tuple(
            SoleClaim(branch_id=each.span.branch_id, text=each.text, in_final=each.in_final)
            for each in finished.sole_claims
        ),
        disputes=tuple(
            Dispute(
                left_id=each.left.branch_id,
                left_text=each.left_text,
                right_id=each.right.branch_id,
                right_text=each.right_text,
                kind=each.kind,
            )
            for each in finished.contradictions
        ),
        votes=tuple(
            Vote(answer=each.answer, votes=each.votes, branch_ids=tuple(each.branch_ids)) for each in finished.votes
        ),
        failure=_why(finished.failure),
        simulated=finished.simulated,
    )


def _run_finished(fanout: Fanout, finished: event_pb2.RunFinished, _: event_pb2.Event) -> None:
    fanout.state = RUN_STATES.get(finished.state, FanoutState.FAILED)
    fanout.failure, fanout.money = _why(finished.failure), money_of(finished.totals)
    usage = finished.totals.usage
    fanout.input_tokens, fanout.output_tokens = usage.input_tokens, usage.output_tokens
    fanout.attempts, fanout.cache_hits = finished.totals.attempts, finished.totals.cache_hits
    fanout.latency_ns = nanos_of(finished.latency)


_HEARD: Final[Mapping[str, Callable[[Fanout, Any, event_pb2.Event], None]]] = {
    "run_opened": _opened,
    "branch_progress": _progress,
    "branch_delta": _delta,
    "attempt_failed": _attempt_failed,
    "branch_finished": _finished,
    "draft_started": _draft_started,
    "draft_delta": _draft_delta,
    "draft_ended": _draft_ended,
    "synthesis_finished": _synthesised,
    "run_finished": _run_finished,
}
