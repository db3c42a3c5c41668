"""The events of a run, as values. The wire's `Event` documents each field; names here are the same.

Durable events are hashed and kept; live events (`LIVE`) go to whoever watches and are gone. The record of a durable
event is canonical JSON, so that a proof needs no library of ours (docs/trace-format.md).
"""

from typing import TypeAlias

from whet_server.judging import AuditReport, CriterionSummary, JudgementPlan, OutcomeCount, Verdict
from whet_server.log.lifecycle import BranchState
from whet_server.sweeping import (
    Budget,
    Choice,
    ParameterValue,
    SearchDimension,
    SweepAction,
    SweepPhase,
    SweepPlan,
    SweepResult,
    Trial,
    TrialCase,
)
from whet_server.values import (
    Attempt,
    BranchId,
    Failure,
    ModelName,
    Nanos,
    Role,
    RunId,
    RunKind,
    RunState,
    Totals,
    Usage,
    Value,
)


class Payload(Value, tag_field="type"):
    """Base of all events: the record names the type."""


class BranchPlan(Value):
    branch_id: BranchId
    model: ModelName
    persona: str = ""
    sample: int = 1
    simulated: bool = False


class RunOpened(Payload, tag="run_opened"):
    """The run was accepted. `spec` is the capability's own request as JSON, from which a crashed run is taken up
    again.
    """

    run_id: RunId
    kind: RunKind
    title: str
    role: Role
    request_id: str = ""
    branches: tuple[BranchPlan, ...] = ()
    prompt: str = ""
    synthesis: str = ""
    spec: str = ""
    judgement: JudgementPlan | None = None
    sweep: SweepPlan | None = None


class BranchProgress(Payload, tag="branch_progress"):
    branch_id: BranchId
    state: BranchState
    detail: str = ""
    fraction: float = 0.0
    wait_ns: int | None = None


class BranchDelta(Payload, tag="branch_delta"):
    """`offset` counts Unicode code points."""

    branch_id: BranchId
    offset: int
    text: str


class AttemptFailed(Payload, tag="attempt_failed"):
    """`branch_id` is empty for the synthesis."""

    attempt: Attempt
    branch_id: BranchId | None = None


class BranchFinished(Payload, tag="branch_finished"):
    branch_id: BranchId
    state: BranchState
    model: ModelName
    text: str = ""
    failure: Failure | None = None
    attempts: tuple[Attempt, ...] = ()
    totals: Totals = Totals()
    latency_ns: int = 0
    first_token_ns: int | None = None
    cached: bool = False
    simulated: bool = False
    finish_reason: str = ""

    @property
    def usage(self) -> Usage:
        return self.totals.usage


class DraftStarted(Payload, tag="draft_started"):
    revision: int
    model: ModelName
    reset: bool = False
    branch_ids: tuple[BranchId, ...] = ()
    final: bool = False


class DraftDelta(Payload, tag="draft_delta"):
    revision: int
    offset: int
    text: str


class DraftEnded(Payload, tag="draft_ended"):
    revision: int
    state: BranchState
    model: ModelName
    text: str = ""
    failure: Failure | None = None
    attempts: tuple[Attempt, ...] = ()
    totals: Totals = Totals()
    latency_ns: int = 0
    simulated: bool = False


class Span(Value):
    """A stretch of a branch's text, in Unicode code points, and how well it supports a sentence (0 to 1)."""

    branch_id: BranchId
    start: int
    end: int
    score: float = 1.0


class SupportedSentence(Value):
    start: int
    end: int
    support: tuple[Span, ...] = ()


class SoleClaim(Value):
    span: Span
    text: str
    in_final: bool = False


class Contradiction(Value):
    left: Span
    right: Span
    left_text: str
    right_text: str
    kind: str


class VoteCount(Value):
    answer: str
    votes: int
    branch_ids: tuple[BranchId, ...]


class SynthesisFinished(Payload, tag="synthesis_finished"):
    state: BranchState
    text: str = ""
    revision: int = 0
    branch_ids: tuple[BranchId, ...] = ()
    sentences: tuple[SupportedSentence, ...] = ()
    sole_claims: tuple[SoleClaim, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()
    votes: tuple[VoteCount, ...] = ()
    failure: Failure | None = None
    simulated: bool = False


class VerdictsReached(Payload, tag="verdicts_reached"):
    """All scorers' verdicts of one item, or one call's to a judge."""

    verdicts: tuple[Verdict, ...]


class JudgementProgress(Payload, tag="judgement_progress"):
    verdicts: int
    planned: int
    in_flight: int = 0
    totals: Totals = Totals()
    expected_left: Nanos = Nanos(0)
    time_left_ns: int | None = None
    outcomes: tuple[OutcomeCount, ...] = ()


class JudgementSummed(Payload, tag="judgement_summed"):
    criteria: tuple[CriterionSummary, ...]
    combined: CriterionSummary | None = None


class AuditReported(Payload, tag="audit_reported"):
    report: AuditReport


class DatasetStored(Payload, tag="dataset_stored"):
    name: str
    version: int
    digest: str
    rows: int
    source: str = ""


class SealOpened(Payload, tag="seal_opened"):
    """`digest` is over the rows that were shown."""

    name: str
    version: int
    reason: str
    rows: int
    digest: str


class TrialStarted(Payload, tag="trial_started"):
    number: int
    parameters: tuple[ParameterValue, ...] = ()
    texts: tuple[Choice, ...] = ()
    worker: str = ""


class CasesFinished(Payload, tag="cases_finished"):
    """`holdout`: answers to rows of the hold-out, which are part of the final figure and not of the trial."""

    number: int
    cases: tuple[TrialCase, ...]
    holdout: bool = False


class TrialFinished(Payload, tag="trial_finished"):
    """A trial came to its end, or has another standing after replicates."""

    trial: Trial


class SweepControlled(Payload, tag="sweep_controlled"):
    """`role` is whose token steered it, or `server`."""

    action: SweepAction
    role: str = ""
    budget: Budget | None = None
    concurrency: int = 0
    space: tuple[SearchDimension, ...] = ()
    from_trial: int = 0
    reason: str = ""


class SweepProgress(Payload, tag="sweep_progress"):
    phase: SweepPhase
    ended: int = 0
    pruned: int = 0
    running: int = 0
    answers: int = 0
    in_flight: int = 0
    best: int | None = None
    best_value: float | None = None
    totals: Totals = Totals()
    money_left: Nanos | None = None
    time_left_ns: int | None = None
    expected_left: Nanos = Nanos(0)


class SweepConcluded(Payload, tag="sweep_concluded"):
    result: SweepResult


class RunFinished(Payload, tag="run_finished"):
    """Always the last event of a run."""

    state: RunState
    failure: Failure | None = None
    totals: Totals = Totals()
    latency_ns: int = 0


DurablePayload: TypeAlias = (
    RunOpened
    | AttemptFailed
    | BranchFinished
    | DraftStarted
    | DraftEnded
    | SynthesisFinished
    | VerdictsReached
    | JudgementSummed
    | AuditReported
    | DatasetStored
    | SealOpened
    | TrialStarted
    | CasesFinished
    | TrialFinished
    | SweepControlled
    | SweepConcluded
    | RunFinished
)
LivePayload: TypeAlias = BranchProgress | BranchDelta | DraftDelta | JudgementProgress | SweepProgress
AnyPayload: TypeAlias = DurablePayload | LivePayload


class Event(Value):
    """An event as watchers see it: `sequence` 0 and an empty hash mark a live one."""

    sequence: int
    time_ns: int
    payload: AnyPayload
    hash: bytes = b""
