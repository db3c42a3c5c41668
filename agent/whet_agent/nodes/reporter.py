"""Tell the session what happens during a call."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from whet.v1 import event_pb2
from whet_agent.events import Happening, Notice, RunHeard

_COUNTED: Final = frozenset({"verdicts_reached", "trial_started", "cases_finished", "trial_finished"})
"""Thousands of these come: the session shows how many, by the run's progress, and the run keeps them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporter:
    """Passes on what one call does. `running` keeps the run that it began, for whoever must end it."""

    turn: int
    key: str
    hear: Callable[[Happening], None]
    running: dict[str, str]

    def run_named(self, run_id: str) -> None:
        self.running[self.key] = run_id

    def run_heard(self, run_id: str, event: event_pb2.Event) -> None:
        if event.WhichOneof("payload") in _COUNTED:
            return
        self.hear(RunHeard(turn=self.turn, key=self.key, run_id=run_id, event=event))

    def lost(self, text: str) -> None:
        self.hear(Notice(level="warning", text=text))
