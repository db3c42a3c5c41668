"""A fan-out as the mind is told of it: its state, its own answer, what its branches said, and where they differ."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from whet.v1 import event_pb2, fanout_pb2, value_pb2
from whet_agent.folds import Fold, add
from whet_agent.results import money, shorten

BRANCH_CHARACTERS: Final = 2_000
"""Of one branch's text. The synthesis has read it whole; the mind needs the gist and knows how to get the rest."""

TOLD_BRANCHES: Final = 12
"""Branches told with their text. A fan-out to hundreds is told by its synthesis."""

_STATES: Final = event_pb2.BranchState.Name


@dataclass(slots=True, kw_only=True)
class FanoutFold(Fold):
    """A fan-out."""

    plan: list[event_pb2.BranchPlan] = field(default_factory=list)
    branches: dict[str, event_pb2.BranchFinished] = field(default_factory=dict)
    drafts: dict[int, event_pb2.DraftEnded] = field(default_factory=dict)
    synthesis: event_pb2.SynthesisFinished | None = None

    def _take(self, event: event_pb2.Event) -> None:
        match event.WhichOneof("payload"):
            case "run_opened":
                self.plan = list(event.run_opened.branches)
            case "branch_finished":
                self.branches[event.branch_finished.branch_id] = event.branch_finished
            case "draft_ended":
                self.drafts[event.draft_ended.revision] = event.draft_ended
            case "synthesis_finished":
                self.synthesis = event.synthesis_finished
            case _:
                pass  # live events and failed attempts are for the screen

    @property
    def ok(self) -> bool:
        """Whether there is an answer. Without a synthesis the branches are the answers, however many there are."""
        return self.ended_well and bool(self.answer or (self.synthesis is None and self.done))

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
        if self.finished is not None:
            return self.finished.totals
        sums = value_pb2.Totals()
        for totals in [b.totals for b in self.branches.values()] + [d.totals for d in self.drafts.values()]:
            add(sums, totals)
        return sums

    @property
    def more(self) -> str:
        return f"get_fanout {self.run_id}"

    def tell(self) -> str:
        parts = [_head(self)]
        if self.answer:
            parts += ["", "**Answer**", "", self.answer]
        elif self.synthesis is not None and self.synthesis.failure.message:
            parts += ["", f"No synthesis: {self.synthesis.failure.message}"]
        if len(self.branches) > 1 or not self.answer:
            parts += ["", *_branches(self)]
        if self.synthesis is not None:
            parts += _findings(self.synthesis)
        return "\n".join(parts)

    def message(self) -> fanout_pb2.GetFanoutResponse:
        fanout = fanout_pb2.Fanout(
            run_id=self.run_id,
            state=self.state,
            plan=self.plan,
            branches=self.branches.values(),
            drafts=self.drafts.values(),
            synthesis=self.synthesis,
            totals=self.totals,
        )
        if self.failure.ByteSize():
            fanout.failure.CopyFrom(self.failure)
        return fanout_pb2.GetFanoutResponse(fanout=fanout)


def fetched_fanout(fanout: fanout_pb2.Fanout) -> FanoutFold:
    """Return the fold of a fan-out that was fetched rather than watched."""
    fold = FanoutFold(run_id=fanout.run_id, plan=list(fanout.plan), state=fanout.state)
    fold.branches = {branch.branch_id: branch for branch in fanout.branches}
    fold.drafts = {draft.revision: draft for draft in fanout.drafts}
    if fanout.HasField("synthesis"):
        fold.synthesis = fanout.synthesis
    if fanout.HasField("end_time"):
        fold.end_as(fanout.state, fanout.totals, fanout.failure if fanout.HasField("failure") else None)
    return fold


def _head(fold: FanoutFold) -> str:
    planned = len(fold.plan) or len(fold.branches)
    head = (
        f"Run {fold.run_id} {fold.state_word}: {len(fold.done)} of {planned} branches answered, {money(fold.totals)}."
    )
    if fold.failure.message:
        head += f" {fold.failure.message}"
    return head + (" Simulated." if fold.simulated else "")


def _branches(fold: FanoutFold) -> Sequence[str]:
    names = {plan.branch_id: plan.model for plan in fold.plan}
    lines = ["**Branches**", ""]
    for branch in list(fold.branches.values())[:TOLD_BRANCHES]:
        state = _STATES(branch.state).removeprefix("BRANCH_STATE_").lower()
        model = branch.model or names.get(branch.branch_id, "")
        text = shorten(branch.text, BRANCH_CHARACTERS, fold.more)
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
