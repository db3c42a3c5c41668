"""What a call tells while it is under way, as the protocol's progress: what is in, and the end."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from whet.v1 import event_pb2
from whet_agent.results import counts_of
from whet_agent.sweep_words import left_words

_ASIDE: Final = 0.001
"""The protocol wants every report to be ahead of the one before, and a lost connection is no step ahead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report. `total` is 0 while nobody knows it."""

    done: float
    total: int
    text: str


class Progress:
    """Listens to one call. `begun` is the run that it began, if it has: what a cancel must end."""

    def __init__(self) -> None:
        self.begun = ""
        self._reports: asyncio.Queue[Report | None] = asyncio.Queue()
        self._parts = self._ended = self._asides = 0

    def run_named(self, run_id: str) -> None:
        self.begun = run_id

    def run_heard(self, run_id: str, event: event_pb2.Event) -> None:
        match event.WhichOneof("payload"):
            case "run_opened":
                self._open(run_id, event.run_opened)
            case "branch_finished":
                self._ended += 1
                state = event_pb2.BranchState.Name(event.branch_finished.state).removeprefix("BRANCH_STATE_").lower()
                self._tell(f"{event.branch_finished.branch_id} {state}: {self._ended} of {self._parts} branches")
            case "judgement_progress":
                self._judged(event.judgement_progress)
            case "sweep_progress":
                self._swept(event.sweep_progress)
            case "draft_ended":
                self._aside(f"draft {event.draft_ended.revision} is written")
            case "run_finished":
                self._ended = self._parts + 1  # the answer counts as one
                state = event_pb2.RunState.Name(event.run_finished.state).removeprefix("RUN_STATE_").lower()
                self._tell(f"{run_id} {state}")
            case _:
                pass  # tokens and attempts are for a screen

    def _open(self, run_id: str, opened: event_pb2.RunOpened) -> None:
        what, self._parts = "branches", len(opened.branches)
        if opened.HasField("judgement"):
            what, self._parts = "verdicts", opened.judgement.verdicts
        elif opened.HasField("sweep"):
            what, self._parts = "trials", opened.sweep.trials
        self._tell(f"{run_id} is under way: {self._parts} {what}")

    def _judged(self, progress: event_pb2.JudgementProgress) -> None:
        """Tell how far a judgement is; what a connection that came back tells of earlier is no step ahead."""
        if progress.verdicts > self._ended:
            self._ended, self._parts = progress.verdicts, progress.planned
            self._tell(f"{progress.verdicts} of {progress.planned} verdicts: {counts_of(progress.outcomes)}")

    def _swept(self, progress: event_pb2.SweepProgress) -> None:
        """Tell of each trial that has ended, and of what is left."""
        if progress.ended > self._ended:
            self._ended = progress.ended
            best = f", best trial {progress.best} with {progress.best_value:.3g}" if progress.HasField("best") else ""
            left = left_words(progress)
            self._tell(f"{progress.ended} trials ended{best}{f'; left: {left}' if left else ''}")

    def lost(self, text: str) -> None:
        self._aside(text)

    def end(self) -> None:
        """Nothing more will be told."""
        self._reports.put_nowait(None)

    async def reports(self) -> AsyncIterator[Report]:
        """Yield what is told until the end."""
        while (report := await self._reports.get()) is not None:
            yield report

    def _aside(self, text: str) -> None:
        self._asides += 1
        self._tell(text)

    def _tell(self, text: str) -> None:
        done = self._ended + self._asides * _ASIDE
        total = self._parts + 1 if self._parts else 0
        self._reports.put_nowait(Report(done=min(done, total) if total else done, total=total, text=text))
