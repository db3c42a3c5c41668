"""Events and batches: the hot path, through which a run of a thousand branches sends twenty thousand deltas."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from whet.v1 import event_pb2, sweeping_pb2
from whet_server.log import events
from whet_server.log.events import Event
from whet_server.log.log import Batch
from whet_server.rpc.convert.enums import BRANCH_STATE, RUN_KIND, RUN_STATE
from whet_server.rpc.convert.mirror import fill, message_of
from whet_server.rpc.convert.values import (
    SECOND,
    attempt_message,
    duration,
    duration_or_none,
    failure_or_none,
    totals_message,
    usage_message,
)

SKIPPABLE: Final = frozenset(
    {
        events.BranchProgress,
        events.BranchDelta,
        events.DraftDelta,
        events.JudgementProgress,
        events.SweepProgress,
        events.AttemptFailed,
    }
)
"""What a client may go on without: a durable event repeats what live ones told, and a failed attempt stands in its
branch's end too."""


def batch_message(batch: Batch) -> event_pb2.EventBatch:
    message = event_pb2.EventBatch(next_cursor=batch.next_cursor, caught_up=batch.caught_up)
    fill_events(message.events.add, batch.events)
    return message


def fill_events(add: Callable[[], event_pb2.Event], happened: Iterable[Event]) -> None:
    """Write events into a repeated field by its `add`: filling in place is half the cost of building and copying."""
    for event in happened:
        message = add()
        payload = event.payload
        kind = type(payload)
        if event.sequence:
            message.sequence = event.sequence
            message.hash = event.hash
        moment = message.event_time
        moment.seconds, moment.nanos = divmod(event.time_ns, SECOND)
        if kind in SKIPPABLE:
            message.skippable = True
        _FILL[kind](payload, message)


def branch_delta(payload: events.BranchDelta, message: event_pb2.Event) -> None:
    delta = message.branch_delta
    delta.branch_id = payload.branch_id
    delta.offset = payload.offset
    delta.text = payload.text


def draft_delta(payload: events.DraftDelta, message: event_pb2.Event) -> None:
    delta = message.draft_delta
    delta.revision = payload.revision
    delta.offset = payload.offset
    delta.text = payload.text


def branch_progress(payload: events.BranchProgress, message: event_pb2.Event) -> None:
    message.branch_progress.CopyFrom(
        event_pb2.BranchProgress(
            branch_id=payload.branch_id,
            state=BRANCH_STATE.wire[payload.state],
            detail=payload.detail,
            fraction=payload.fraction,
            wait=duration_or_none(payload.wait_ns),
        )
    )


def branch_plan_message(plan: events.BranchPlan) -> event_pb2.BranchPlan:
    return event_pb2.BranchPlan(
        branch_id=plan.branch_id,
        model=plan.model,
        persona=plan.persona,
        sample=plan.sample,
        simulated=plan.simulated,
    )


def run_opened(payload: events.RunOpened, message: event_pb2.Event) -> None:
    message.run_opened.CopyFrom(
        event_pb2.RunOpened(
            run_id=payload.run_id,
            kind=RUN_KIND.wire[payload.kind],
            title=payload.title,
            role=payload.role,
            request_id=payload.request_id,
            branches=[branch_plan_message(plan) for plan in payload.branches],
            prompt=payload.prompt,
            synthesis=payload.synthesis,
            judgement=None if payload.judgement is None else message_of(payload.judgement, event_pb2.JudgementPlan),
            sweep=None if payload.sweep is None else message_of(payload.sweep, sweeping_pb2.SweepPlan),
        )
    )


def attempt_failed(payload: events.AttemptFailed, message: event_pb2.Event) -> None:
    message.attempt_failed.CopyFrom(
        event_pb2.AttemptFailed(branch_id=payload.branch_id or "", attempt=attempt_message(payload.attempt))
    )


def branch_finished_message(payload: events.BranchFinished) -> event_pb2.BranchFinished:
    return event_pb2.BranchFinished(
        branch_id=payload.branch_id,
        state=BRANCH_STATE.wire[payload.state],
        text=payload.text,
        model=payload.model,
        failure=failure_or_none(payload.failure),
        attempts=[attempt_message(attempt) for attempt in payload.attempts],
        usage=usage_message(payload.usage),
        totals=totals_message(payload.totals),
        latency=duration(payload.latency_ns),
        first_token_latency=duration_or_none(payload.first_token_ns),
        cached=payload.cached,
        simulated=payload.simulated,
        finish_reason=payload.finish_reason,
    )


def branch_finished(payload: events.BranchFinished, message: event_pb2.Event) -> None:
    message.branch_finished.CopyFrom(branch_finished_message(payload))


def draft_started(payload: events.DraftStarted, message: event_pb2.Event) -> None:
    message.draft_started.CopyFrom(
        event_pb2.DraftStarted(
            revision=payload.revision,
            reset=payload.reset,
            branch_ids=payload.branch_ids,
            model=payload.model,
            final=payload.final,
        )
    )


def draft_ended_message(payload: events.DraftEnded) -> event_pb2.DraftEnded:
    return event_pb2.DraftEnded(
        revision=payload.revision,
        state=BRANCH_STATE.wire[payload.state],
        text=payload.text,
        failure=failure_or_none(payload.failure),
        attempts=[attempt_message(attempt) for attempt in payload.attempts],
        totals=totals_message(payload.totals),
        latency=duration(payload.latency_ns),
        model=payload.model,
        simulated=payload.simulated,
    )


def draft_ended(payload: events.DraftEnded, message: event_pb2.Event) -> None:
    message.draft_ended.CopyFrom(draft_ended_message(payload))


def span_message(span: events.Span) -> event_pb2.Span:
    return event_pb2.Span(branch_id=span.branch_id, start=span.start, end=span.end, score=span.score)


def sentence_message(sentence: events.SupportedSentence) -> event_pb2.SupportedSentence:
    return event_pb2.SupportedSentence(
        start=sentence.start, end=sentence.end, support=[span_message(span) for span in sentence.support]
    )


def sole_claim_message(claim: events.SoleClaim) -> event_pb2.SoleClaim:
    return event_pb2.SoleClaim(span=span_message(claim.span), text=claim.text, in_final=claim.in_final)


def contradiction_message(contradiction: events.Contradiction) -> event_pb2.Contradiction:
    return event_pb2.Contradiction(
        left=span_message(contradiction.left),
        right=span_message(contradiction.right),
        left_text=contradiction.left_text,
        right_text=contradiction.right_text,
        kind=contradiction.kind,
    )


def vote_message(vote: events.VoteCount) -> event_pb2.VoteCount:
    return event_pb2.VoteCount(answer=vote.answer, votes=vote.votes, branch_ids=vote.branch_ids)


def synthesis_finished_message(payload: events.SynthesisFinished) -> event_pb2.SynthesisFinished:
    return event_pb2.SynthesisFinished(
        state=BRANCH_STATE.wire[payload.state],
        text=payload.text,
        revision=payload.revision,
        branch_ids=payload.branch_ids,
        sentences=[sentence_message(sentence) for sentence in payload.sentences],
        sole_claims=[sole_claim_message(claim) for claim in payload.sole_claims],
        contradictions=[contradiction_message(each) for each in payload.contradictions],
        votes=[vote_message(vote) for vote in payload.votes],
        failure=failure_or_none(payload.failure),
        simulated=payload.simulated,
    )


def synthesis_finished(payload: events.SynthesisFinished, message: event_pb2.Event) -> None:
    message.synthesis_finished.CopyFrom(synthesis_finished_message(payload))


def run_finished(payload: events.RunFinished, message: event_pb2.Event) -> None:
    message.run_finished.CopyFrom(
        event_pb2.RunFinished(
            state=RUN_STATE.wire[payload.state],
            failure=failure_or_none(payload.failure),
            totals=totals_message(payload.totals),
            latency=duration(payload.latency_ns),
        )
    )


_FILL: Final[Mapping[type[events.Payload], Callable[[Any, event_pb2.Event], None]]] = MappingProxyType(
    {
        events.RunOpened: run_opened,
        events.BranchProgress: branch_progress,
        events.BranchDelta: branch_delta,
        events.AttemptFailed: attempt_failed,
        events.BranchFinished: branch_finished,
        events.DraftStarted: draft_started,
        events.DraftDelta: draft_delta,
        events.DraftEnded: draft_ended,
        events.SynthesisFinished: synthesis_finished,
        events.VerdictsReached: lambda payload, message: fill(payload, message.verdicts_reached),
        events.JudgementProgress: lambda payload, message: fill(payload, message.judgement_progress),
        events.JudgementSummed: lambda payload, message: fill(payload, message.judgement_summed),
        events.AuditReported: lambda payload, message: fill(payload, message.audit_reported),
        events.DatasetStored: lambda payload, message: fill(payload, message.dataset_stored),
        events.SealOpened: lambda payload, message: fill(payload, message.seal_opened),
        events.TrialStarted: lambda payload, message: fill(payload, message.trial_started),
        events.CasesFinished: lambda payload, message: fill(payload, message.cases_finished),
        events.TrialFinished: lambda payload, message: fill(payload, message.trial_finished),
        events.SweepControlled: lambda payload, message: fill(payload, message.sweep_controlled),
        events.SweepProgress: lambda payload, message: fill(payload, message.sweep_progress),
        events.SweepConcluded: lambda payload, message: fill(payload, message.sweep_concluded),
        events.RunFinished: run_finished,
    }
)
"""Each payload's writer. A test holds the keys equal to the payloads there are and to the wire's oneof."""
