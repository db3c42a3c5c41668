"""Tell the session what happens during a call."""

from collections.abc import Callable
from dataclasses import dataclass

from whet.v1 import event_pb2
from whet_agent.events import Happening, Notice, RunHeard


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
        if event.HasField("verdicts_reached"):
            return  # thousands come, the session shows how many, and the run keeps them
        self.hear(RunHeard(turn=self.turn, key=self.key, run_id=run_id, event=event))

    def lost(self, text: str) -> None:
        self.hear(Notice(level="warning", text=text))
