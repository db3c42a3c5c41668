"""One answer of many: the first, the most voted, or a draft that is revised while branches land.

A draft begins when enough branches are done and is revised when it ends and others have landed meanwhile. When the last
branch lands while a draft streams that has not seen it, that draft is cut off (and billed), so that the final begins at
once. The final has seen every finished branch; a draft that has seen them all is the final, with no further call. After
a draft that failed only the final is tried: a synthesiser that is down is not called for every branch that lands.
"""

import asyncio
from collections.abc import Iterator, Sequence

from whet_server.errors import Reason
from whet_server.fanout import vote
from whet_server.fanout.branches import CANCELLED_BY_CALLER, Branches, no_answer
from whet_server.fanout.evidence import Evidence, gather
from whet_server.fanout.fence import Fence, Unfenced
from whet_server.fanout.plan import MAX_DRAFTS, draft_call
from whet_server.fanout.prompts import draft_messages, fence_of
from whet_server.fanout.recorder import Recorder
from whet_server.fanout.spec import FanoutSpec, SynthesisMode
from whet_server.fanout.view import History
from whet_server.llm.base import Caller, CallResult
from whet_server.log.events import (
    AttemptFailed,
    BranchFinished,
    DraftDelta,
    DraftEnded,
    DraftStarted,
    LivePayload,
    SynthesisFinished,
    VoteCount,
)
from whet_server.log.lifecycle import BranchState
from whet_server.values import Attempt, BranchId, Failure, Value

OVERTAKEN = Failure(reason=Reason.CANCELLED, message="Cut off: further answers came in, which the next revision sees.")
_NO_FAULT = frozenset({Reason.CANCELLED, Reason.INTERRUPTED})
"""Reasons for which a draft ended that say nothing against the synthesiser."""


class Sheet:
    """One draft under way. Hears its call: every piece of text becomes a live event with its offset."""

    def __init__(self, revision: int, seen: Sequence[BranchId], fence: Fence, writer: Recorder) -> None:
        self.revision = revision
        self._fence = fence
        self.seen = tuple(seen)
        self.stop = asyncio.Event()
        self.cause: Failure | None = None
        self._writer = writer
        self._unfenced = Unfenced(fence)
        self._pieces: list[str] = []
        self._length = 0

    def text(self, piece: str) -> None:
        piece = self._unfenced.feed(piece)
        if not piece:
            return
        self._writer.emit(DraftDelta(revision=self.revision, offset=self._length, text=piece))
        self._pieces.append(piece)
        self._length += len(piece)

    def progress(
        self, state: BranchState, *, detail: str = "", fraction: float = 0.0, wait: float | None = None
    ) -> None:
        """A draft tells of itself by its text; its states between are not shown."""

    async def attempt_failed(self, attempt: Attempt) -> None:
        await self._writer.append(AttemptFailed(attempt=attempt))

    def cut(self, cause: Failure) -> None:
        if self.cause is None:
            self.cause = cause
            self.stop.set()

    def snapshot(self) -> Iterator[LivePayload]:
        if self._pieces:
            yield DraftDelta(revision=self.revision, offset=0, text="".join(self._pieces))

    def whole(self, result: CallResult) -> str:
        """Return the draft as it was shown, to the character; one from the cache comes whole and was not shown."""
        if not self._pieces:
            return self._fence.without(result.text)
        return "".join(self._pieces) + self._unfenced.rest()


class Draft(Value):
    """A draft that came to its end, and the branches it saw."""

    ended: DraftEnded
    seen: tuple[BranchId, ...]


class Synthesis:
    """The synthesis of one run. `drafts` are those that ended."""

    def __init__(
        self,
        writer: Recorder,
        caller: Caller,
        spec: FanoutSpec,
        branches: Branches,
        *,
        budget: int,
        with_evidence: bool = True,
    ) -> None:
        self.drafts: list[DraftEnded] = []
        self._writer = writer
        self._caller = caller
        self._spec = spec
        self._branches = branches
        self._budget = budget
        self._with_evidence = with_evidence
        self._revision = 0
        self._whole: Draft | None = None
        self._failed: Draft | None = None
        self._sheet: Sheet | None = None
        self._cancelled = False

    def resume(self, history: History) -> None:
        """Go on from a run's record: what ended is kept, the numbering goes on."""
        self._revision = max(history.started, default=0)
        for revision, ended in history.ended.items():
            self._keep(Draft(ended=ended, seen=history.started[revision].branch_ids))

    def landed(self) -> None:
        """Told that a branch has ended: a draft that has not seen the last answer makes way for the final."""
        if self._sheet and self._branches.ended and self._branches.done > len(self._sheet.seen):
            self._sheet.cut(OVERTAKEN)

    def cancel(self) -> None:
        """Cut off what is being written; nothing further is begun."""
        self._cancelled = True
        if self._sheet:
            self._sheet.cut(CANCELLED_BY_CALLER)
        self._branches.wake()

    def snapshot(self) -> Iterator[LivePayload]:
        """Yield what a new watcher has missed."""
        if self._sheet:
            yield from self._sheet.snapshot()

    async def make(self) -> SynthesisFinished | None:
        """Make the synthesis and return how it ended; None when none was asked for."""
        if self._spec.synthesis.mode is SynthesisMode.NONE:
            return None
        if self._spec.synthesis.mode is SynthesisMode.DRAFT:
            return await self._drafted()
        await self._branches.until(lambda: self._branches.ended or self._cancelled)
        answers = self._branches.answers()
        if self._cancelled or not answers:
            return self._unfinished()
        if self._spec.synthesis.mode is SynthesisMode.VOTE:
            votes = vote.count(answers)
            winner = next(answer for answer in answers if answer.branch_id == votes[0].branch_ids[0])
            return await self._finished(winner.text, answers, votes=votes)
        first = next(answer for answer in self._branches.finished.values() if answer.state is BranchState.DONE)
        return await self._finished(first.text, answers)

    async def _drafted(self) -> SynthesisFinished:
        while True:
            await self._branches.until(self._due)
            answers = self._branches.answers()
            if self._cancelled or not answers:
                return self._unfinished()
            if self._branches.ended:
                if self._whole and len(self._whole.seen) == len(answers):
                    return await self._finished(self._whole.ended.text, answers, draft=self._whole.ended)
                if self._failed and len(self._failed.seen) == len(answers):
                    return self._unfinished(self._failed)
            await self._write(answers)

    def _due(self) -> bool:
        """Whether there is something to do: the end, or a draft to begin."""
        if self._cancelled or self._branches.ended:
            return True
        seen = len(self._whole.seen) if self._whole else 0
        return (
            self._branches.done >= max(self._spec.synthesis.start_after, seen + 1)
            and self._failed is None
            and self._revision < MAX_DRAFTS - 1
        )

    async def _write(self, answers: Sequence[BranchFinished]) -> None:
        """Write one draft from these answers."""
        self._revision += 1
        run = self._writer.run
        previous = self._whole.ended.text if self._whole else ""
        asked = draft_messages(self._spec.messages, answers, previous=previous, budget=self._budget)
        call = draft_call(run.workspace, run.run_id, self._spec, self._revision, asked)
        sheet = self._sheet = Sheet(
            self._revision, [answer.branch_id for answer in answers], fence_of(answers, previous), self._writer
        )
        await self._writer.append(
            DraftStarted(
                revision=sheet.revision,
                model=call.models[0],
                reset=sheet.revision > 1,
                branch_ids=sheet.seen,
                final=self._branches.ended,
            )
        )
        self.landed()  # while the start became durable, the last branch may have come in
        result = await self._caller.call(call, sheet, sheet.stop)
        self._sheet = None
        ended = _ended(sheet, result)
        await self._writer.append(ended)
        self._keep(Draft(ended=ended, seen=sheet.seen))

    def _keep(self, draft: Draft) -> None:
        """Remember a draft by what it means for the next one; one that was cut off or interrupted means nothing."""
        self.drafts.append(draft.ended)
        failure = draft.ended.failure
        if draft.ended.state is BranchState.DONE:
            self._whole = draft
        elif failure is None or failure.reason not in _NO_FAULT:
            self._failed = draft

    async def _finished(
        self,
        text: str,
        answers: Sequence[BranchFinished],
        *,
        draft: DraftEnded | None = None,
        votes: tuple[VoteCount, ...] = (),
    ) -> SynthesisFinished:
        texts = {answer.branch_id: answer.text for answer in answers} if self._with_evidence else {}
        evidence = await gather(text, texts) if texts else Evidence()
        return SynthesisFinished(
            state=BranchState.DONE,
            text=text,
            revision=draft.revision if draft else 0,
            branch_ids=tuple(answer.branch_id for answer in answers),
            sentences=evidence.sentences,
            sole_claims=evidence.sole_claims,
            contradictions=evidence.contradictions,
            votes=votes,
            simulated=bool(draft and draft.simulated) or any(answer.simulated for answer in answers),
        )

    def _unfinished(self, draft: Draft | None = None) -> SynthesisFinished:
        """Return the end of a synthesis that was cancelled, failed with its last draft or had nothing to go on."""
        answers = self._branches.answers()
        if self._cancelled:
            state, failure = BranchState.CANCELLED, CANCELLED_BY_CALLER
        elif draft:
            state, failure = draft.ended.state, draft.ended.failure or no_answer(())
        else:
            state, failure = BranchState.FAILED, no_answer(self._branches.finished.values())
        return SynthesisFinished(
            state=state,
            text=draft.ended.text if draft else "",
            revision=draft.ended.revision if draft else 0,
            branch_ids=tuple(answer.branch_id for answer in answers),
            failure=failure,
            simulated=bool(draft and draft.ended.simulated) or any(answer.simulated for answer in answers),
        )


def _ended(sheet: Sheet, result: CallResult) -> DraftEnded:
    cut = sheet.cause is not None and result.state in {BranchState.CANCELLED, BranchState.PARTIAL}
    return DraftEnded(
        revision=sheet.revision,
        state=result.state,
        model=result.model,
        text=sheet.whole(result),
        failure=sheet.cause if cut else result.failure,
        attempts=result.attempts,
        totals=result.totals,
        latency_ns=result.latency_ns,
        simulated=result.simulated,
    )
