"""Fold a run's stream into what the mind is told of it.

The same fold serves a run that is watched and one that is fetched: `tell` writes the run's state, its own answer,
what its branches said, and where they differ, shortened to a budget.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from whet.v1 import event_pb2, fanout_pb2, value_pb2
from whet_agent.results import money, shorten

BRANCH_CHARACTERS: Final = 2_000
"""Of one branch's text. The synthesis has read it whole; the mind needs the gist and knows how to get the rest."""

TOLD_BRANCHES: Final = 12
"""Branches told with their text. A fan-out to hundreds is told by its synthesis."""

_STATES: Final = event_pb2.BranchState.Name
_RUN_STATES: Final = event_pb2.RunState.Name


@dataclass(slots=True)
class RunFold:
    """A run as its events so far tell it."""

    run_id: str = ""
    plan: list[event_pb2.BranchPlan] = field(default_factory=list)
    branches: dict[str, event_pb2.BranchFinished] = field(default_factory=dict)
    drafts: dict[int, event_pb2.DraftEnded] = field(default_factory=dict)
    synthesis: event_pb2.SynthesisFinished | None = None
    finished: event_pb2.RunFinished | None = None
    state: event_pb2.RunState.ValueType = event_pb2.RUN_STATE_RUNNING
    sequence: int = 0

    def hear(self, event: event_pb2.Event) -> bool:
        """Take an event; return False for a durable one that was heard before."""
        if event.sequence and event.sequence <= self.sequence:
            return False
        self.sequence = max(self.sequence, event.sequence)
        match event.WhichOneof("payload"):
            case "run_opened":
                self.run_id, self.plan = event.run_opened.run_id, list(event.run_opened.branches)
            case "branch_finished":
                self.branches[event.branch_finished.branch_id] = event.branch_finished
            case "draft_ended":
                self.drafts[event.draft_ended.revision] = event.draft_ended
            case "synthesis_finished":
                self.synthesis = event.synthesis_finished
            case "run_finished":
                self.finished, self.state = event.run_finished, event.run_finished.state
            case _:
                pass  # live events and failed attempts are for the screen
        return True

    @property
    def ok(self) -> bool:
        """Whether there is an answer. Without a synthesis the branches are the answers, however many there are."""
        ended_well = self.state in {event_pb2.RUN_STATE_SUCCEEDED, event_pb2.RUN_STATE_PARTIAL}
        return ended_well and bool(self.answer or (self.synthesis is None and self.done))

    @property
    def answer(self) -> str:
        """The run's own answer: the synthesis, or the only branch that answered."""
        if self.synthesis is not None and self.synthesis.state == event_pb2.BRANCH_STATE_DONE:
            return self.synthesis.text
        done = self.done
        return done[0].text if len(done) == 1 else ""

    @property
    def simulated(self) -> bool:
        """Whether the answer, or any branch it may stand on, is simulated."""
        if self.synthesis is not None and self.synthesis.simulated:
            return True
        return any(branch.simulated for branch in self.branches.values())

    @property
    def done(self) -> list[event_pb2.BranchFinished]:
        return [branch for branch in self.branches.values() if branch.state == event_pb2.BRANCH_STATE_DONE]

    @property
    def totals(self) -> value_pb2.Totals:
        """The run's sums; while it runs, those of what has ended."""
        if self.finished is not None:
            return self.finished.totals
        sums = value_pb2.Totals()
        ended = [b.totals for b in self.branches.values()] + [d.totals for d in self.drafts.values()]
        for totals in ended:
            sums.settled.nanos += totals.settled.nanos
            sums.unknown.nanos += totals.unknown.nanos
            sums.usage.input_tokens += totals.usage.input_tokens
            sums.usage.output_tokens += totals.usage.output_tokens
        return sums


def fold_of(fanout: fanout_pb2.Fanout) -> RunFold:
    """Return the fold of a fan-out that was fetched rather than watched."""
    fold = RunFold(run_id=fanout.run_id, plan=list(fanout.plan), state=fanout.state)
    fold.branches = {branch.branch_id: branch for branch in fanout.branches}
    fold.drafts = {draft.revision: draft for draft in fanout.drafts}
    if fanout.HasField("synthesis"):
        fold.synthesis = fanout.synthesis
    if fanout.HasField("end_time"):
        fold.finished = event_pb2.RunFinished(state=fanout.state, totals=fanout.totals)
        if fanout.HasField("failure"):
            fold.finished.failure.CopyFrom(fanout.failure)
    return fold


def fanout_of(fold: RunFold) -> fanout_pb2.Fanout:
    """Return a fan-out that was watched as one that is fetched; its times stay at the server."""
    fanout = fanout_pb2.Fanout(
        run_id=fold.run_id,
        state=fold.state,
        plan=fold.plan,
        branches=fold.branches.values(),
        drafts=fold.drafts.values(),
        synthesis=fold.synthesis,
        totals=fold.totals,
    )
    if fold.finished is not None and fold.finished.HasField("failure"):
        fanout.failure.CopyFrom(fold.finished.failure)
    return fanout


def tell(fold: RunFold) -> str:
    """Return the run as Markdown."""
    parts = [_head(fold)]
    if fold.answer:
        parts += ["", "**Answer**", "", fold.answer]
    elif fold.synthesis is not None and fold.synthesis.failure.message:
        parts += ["", f"No synthesis: {fold.synthesis.failure.message}"]
    if len(fold.branches) > 1 or not fold.answer:
        parts += ["", *_branches(fold)]
    if fold.synthesis is not None:
        parts += _findings(fold.synthesis)
    return "\n".join(parts)


def _head(fold: RunFold) -> str:
    state = _RUN_STATES(fold.state).removeprefix("RUN_STATE_").lower()
    planned = len(fold.plan) or len(fold.branches)
    head = f"Run {fold.run_id} {state}: {len(fold.done)} of {planned} branches answered, {money(fold.totals)}."
    if fold.finished is not None and fold.finished.failure.message:
        head += f" {fold.finished.failure.message}"
    return head + (" Simulated." if fold.simulated else "")


def _branches(fold: RunFold) -> Sequence[str]:
    names = {plan.branch_id: plan.model for plan in fold.plan}
    lines = ["**Branches**", ""]
    for branch in list(fold.branches.values())[:TOLD_BRANCHES]:
        state = _STATES(branch.state).removeprefix("BRANCH_STATE_").lower()
        model = branch.model or names.get(branch.branch_id, "")
        text = shorten(branch.text, BRANCH_CHARACTERS, f"get_fanout {fold.run_id}")
        told = text or branch.failure.message or "nothing"
        marks = ", ".join([state, *(["simulated"] if branch.simulated else []), *(["cached"] if branch.cached else [])])
        lines.append(f"- {branch.branch_id} {model} ({marks}): {told}")
    left = len(fold.branches) - TOLD_BRANCHES
    return [*lines, f"- and {left} more: get_fanout {fold.run_id} shows them"] if left > 0 else lines


def _findings(synthesis: event_pb2.SynthesisFinished) -> Sequence[str]:
    lines: list[str] = []
    if synthesis.votes:
        lines += ["", "**Votes**", "", *(f"- {vote.votes} x {vote.answer}" for vote in synthesis.votes)]
    if synthesis.sole_claims:
        lines += ["", "**Said by one branch only**", ""]
        lines += [f"- {claim.span.branch_id}: {claim.text}" for claim in synthesis.sole_claims[:TOLD_BRANCHES]]
    if synthesis.contradictions:
        lines += ["", "**Contradictions**", ""]
        lines += [
            f"- {c.left.branch_id}: {c.left_text} / {c.right.branch_id}: {c.right_text} ({c.kind})"
            for c in synthesis.contradictions[:TOLD_BRANCHES]
        ]
    return lines
