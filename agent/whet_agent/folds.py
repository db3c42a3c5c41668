"""A run as its events so far tell it: what is the same for every kind of run.

A fold is fed the events of a stream in their order, again and again where a connection was cut, or made from what was
fetched. It says what the mind is told of the run, shortened by whoever hands it on.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from whet.v1 import event_pb2, value_pb2

_ENDED_WELL: Final = frozenset({event_pb2.RUN_STATE_SUCCEEDED, event_pb2.RUN_STATE_PARTIAL})


@dataclass(slots=True, kw_only=True)
class Fold(ABC):
    """One run."""

    run_id: str = ""
    finished: event_pb2.RunFinished | None = None
    state: event_pb2.RunState.ValueType = event_pb2.RUN_STATE_RUNNING
    sequence: int = 0

    def hear(self, event: event_pb2.Event) -> bool:
        """Take an event; return False for a durable one that was heard before."""
        if event.sequence and event.sequence <= self.sequence:
            return False
        self.sequence = max(self.sequence, event.sequence)
        if event.HasField("run_finished"):
            self.finished, self.state = event.run_finished, event.run_finished.state
            return True
        if event.HasField("run_opened"):
            self.run_id = event.run_opened.run_id
        self._take(event)
        return True

    @abstractmethod
    def _take(self, event: event_pb2.Event) -> None:
        """Take an event that is not the last one. Payloads that are for the screen alone change nothing."""

    @property
    def ended_well(self) -> bool:
        return self.state in _ENDED_WELL

    @property
    def ok(self) -> bool:
        """Whether the run came to what it was for."""
        return self.ended_well

    @property
    def answer(self) -> str:
        """The run's own answer, word for word; empty for runs that answer nothing."""
        return ""

    @property
    @abstractmethod
    def simulated(self) -> bool:
        """Whether the result is simulated or stands on what is."""

    @property
    @abstractmethod
    def totals(self) -> value_pb2.Totals:
        """The run's sums; while it runs, those of what has ended."""

    @property
    @abstractmethod
    def more(self) -> str:
        """The call that tells the rest."""

    @abstractmethod
    def tell(self) -> str:
        """Return the run as Markdown."""

    @abstractmethod
    def message(self) -> Message:
        """Return the run as it is answered to whoever fetches it; its times stay at the server."""

    @property
    def state_word(self) -> str:
        return event_pb2.RunState.Name(self.state).removeprefix("RUN_STATE_").lower()

    @property
    def failure(self) -> value_pb2.Failure:
        """Why it did not succeed; empty when it did, or runs."""
        return self.finished.failure if self.finished is not None else value_pb2.Failure()

    def end_as(
        self, state: event_pb2.RunState.ValueType, totals: value_pb2.Totals, failure: value_pb2.Failure | None
    ) -> None:
        """Take the end of a run that was fetched rather than watched."""
        self.state = state
        self.finished = event_pb2.RunFinished(state=state, totals=totals, failure=failure)


def add(sums: value_pb2.Totals, totals: value_pb2.Totals) -> None:
    """Add money and tokens to some sums."""
    sums.settled.nanos += totals.settled.nanos
    sums.unknown.nanos += totals.unknown.nanos
    sums.usage.input_tokens += totals.usage.input_tokens
    sums.usage.output_tokens += totals.usage.output_tokens
