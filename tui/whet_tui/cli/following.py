"""Print a run's events as they come: what is the same for every kind of run, and how each kind is told."""

import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final, cast

import click
from google.protobuf.message import Message

from whet.v1 import event_pb2, fanout_pb2, sweeping_pb2
from whet_agent.catalogue import to_plain
from whet_agent.folds import Fold
from whet_agent.runs import FANOUT, SWEEP, RunKind, kind_of
from whet_agent.sweeps import SweepFold
from whet_tui.cli.exits import TRY_AGAIN, Stopped
from whet_tui.cli.show import shown
from whet_tui.cli.show_sweeps import opening_line, progress_line
from whet_tui.entries import Fanout, FanoutState, Judging
from whet_tui.json_lines import json_line
from whet_tui.judged import hear_judging, opening_words, progress_words
from whet_tui.lanes import RUN_STATES, hear
from whet_tui.plain import FanoutPrinter, answer_lines
from whet_tui.safe import safe_line

_ENDED_WELL: Final = frozenset({FanoutState.SUCCEEDED, FanoutState.PARTIAL})
_ANEW: Final = "\r\x1b[K"
"""Back to the line's beginning, and nothing on it."""


class Telling(ABC):
    """Tells one run."""

    @abstractmethod
    def take(self, event: event_pb2.Event) -> None:
        """Fold one event in."""

    @abstractmethod
    def told(self) -> None:
        """Print what is new after a batch."""

    @abstractmethod
    def finish(self) -> Iterator[str]:
        """Yield what is printed last."""

    @property
    @abstractmethod
    def state(self) -> FanoutState: ...


class _FanoutTelling(Telling):
    """Branch after branch, then the answer."""

    def __init__(self, run_id: str) -> None:
        self._fanout = Fanout(run_id=run_id)
        self._printer = FanoutPrinter()

    def take(self, event: event_pb2.Event) -> None:
        hear(self._fanout, event)

    def told(self) -> None:
        for line in self._printer.lines(self._fanout):
            click.echo(line)

    def finish(self) -> Iterator[str]:
        yield ""
        yield from answer_lines(self._fanout)

    @property
    def state(self) -> FanoutState:
        return self._fanout.state


class _JudgingTelling(Telling):
    """One line that moves where there is a terminal, then the sums."""

    def __init__(self, run_id: str, kind: RunKind) -> None:
        self._judging = Judging(run_id=run_id)
        self._fold: Fold = kind.fold(run_id=run_id)
        self._opened = False
        self._moves = sys.stderr.isatty()

    def take(self, event: event_pb2.Event) -> None:
        self._fold.hear(event)
        hear_judging(self._judging, event)

    def told(self) -> None:
        if self._judging.planned and not self._opened:
            self._opened = True
            click.echo(safe_line(opening_words(self._judging)), err=True)
        if self._moves:
            width = shutil.get_terminal_size().columns
            line = "" if self._judging.ended else safe_line(progress_words(self._judging), max(1, width - 1))
            click.echo(f"{_ANEW}{line}", err=True, nl=False)

    def finish(self) -> Iterator[str]:
        yield from shown(self._fold.message())

    @property
    def state(self) -> FanoutState:
        return self._judging.state


class _SweepTelling(Telling):
    """One line that moves where there is a terminal, else one for each new best; then what was found."""

    def __init__(self, run_id: str) -> None:
        self._fold = SweepFold(run_id=run_id)
        self._opened = False
        self._best: int | None = None
        self._moves = sys.stderr.isatty()

    def take(self, event: event_pb2.Event) -> None:
        self._fold.hear(event)

    def told(self) -> None:
        fold = self._fold
        if fold.plan.trials and not self._opened:
            self._opened = True
            click.echo(safe_line(opening_line(fold.run_id, fold.plan)), err=True)
        if self._moves:
            width = shutil.get_terminal_size().columns
            line = "" if fold.finished is not None else safe_line(progress_line(fold.plan, fold.progress), width - 1)
            click.echo(f"{_ANEW}{line}", err=True, nl=False)
        elif fold.finished is None and fold.progress.HasField("best") and fold.progress.best != self._best:
            self._best = fold.progress.best
            click.echo(safe_line(progress_line(fold.plan, fold.progress)), err=True)

    def finish(self) -> Iterator[str]:
        """Progress is told now and then: the last word on the trials is theirs."""
        answer, fold = self._fold.message(), self._fold
        answer.sweep.progress.ended, answer.sweep.progress.pruned = fold.ended, fold.pruned
        answer.sweep.progress.running = 0
        answer.sweep.progress.totals.CopyFrom(fold.totals)
        best = fold.result.best if fold.result is not None and fold.result.HasField("best") else None
        for point in fold.result.history if fold.result is not None else ():
            if point.number == best:
                answer.sweep.progress.best, answer.sweep.progress.best_value = best, point.value
        yield from shown(answer)

    @property
    def state(self) -> FanoutState:
        return RUN_STATES.get(self._fold.state, FanoutState.RUNNING)

    @property
    def verdict(self) -> sweeping_pb2.SweepVerdict.ValueType:
        result = self._fold.result
        return result.verdict if result is not None else sweeping_pb2.SWEEP_VERDICT_UNSPECIFIED


class Follower:
    """Prints a run's events as they come."""

    def __init__(self, *, as_json: bool, run_id: str) -> None:
        self.run_id = run_id
        self.silent = True
        """Nothing was heard and the server did not say that it is about to stop."""
        self._as_json = as_json
        self._telling: Telling | None = None
        self._cursor = ""

    def take(self, message: Message) -> None:
        """Fold a message of the stream in and print what is new."""
        self.run_id = getattr(message, "run_id", "") or self.run_id
        batch = cast("fanout_pb2.RunFanoutResponse", message).batch
        telling = self._telling = self._telling or _telling(self.run_id)
        for event in batch.events:
            telling.take(event)
        self._cursor = batch.next_cursor or self._cursor
        self.silent = self.silent and not batch.events and not batch.HasField("drain")
        if self._as_json:
            for line in self._json(batch):
                click.echo(line)
        else:
            telling.told()

    @property
    def ended(self) -> bool:
        return self._telling is not None and self._telling.state is not FanoutState.RUNNING

    @property
    def ended_well(self) -> bool:
        return self._telling is not None and self._telling.state in _ENDED_WELL

    @property
    def verdict(self) -> sweeping_pb2.SweepVerdict.ValueType:
        """What a sweep found; unspecified for any other run."""
        telling = self._telling
        return telling.verdict if isinstance(telling, _SweepTelling) else sweeping_pb2.SWEEP_VERDICT_UNSPECIFIED

    def _json(self, batch: event_pb2.EventBatch) -> Iterator[str]:
        last = len(batch.events) - 1
        for index, event in enumerate(batch.events):
            cursor = {"next_cursor": batch.next_cursor} if index == last else {}
            yield json_line({"run_id": self.run_id} | to_plain(event) | cursor)

    def finish(self) -> None:
        """Print what a run came to."""
        if self._telling is not None and not self._as_json:
            for line in self._telling.finish():
                click.echo(line)

    def cut(self, what: str) -> Stopped:
        """Return how a stream ends that was cut, with the command that goes on. Sums of a judgement are told of all its
        events, so that only JSON goes on in their middle.
        """
        from_here = f" --cursor {self._cursor}" if self._as_json or kind_of(self.run_id) is FANOUT else ""
        return Stopped(
            f"{what} The run goes on at the server, at once or when it starts again.",
            advice=f"Follow it with: {self._command('watch')}{from_here}",
            code=TRY_AGAIN,
        )

    def leave(self) -> None:
        """Say how to come back when Ctrl-C leaves a run before its end."""
        if self.run_id and not self.ended:
            click.echo(
                f"\n{self.run_id} goes on. Follow it with: {self._command('watch')} -- or end it with: {self._ending}",
                err=True,
            )

    @property
    def _ending(self) -> str:
        steered = f"whet sweep control --action stop --run-id {self.run_id}"
        return steered if kind_of(self.run_id) is SWEEP else self._command("cancel")

    def _command(self, verb: str) -> str:
        return f"whet {_NOUNS.get(kind_of(self.run_id).prefix, 'judge')} {verb} {self.run_id}"


_NOUNS: Final = {FANOUT.prefix: "fanout", SWEEP.prefix: "sweep"}


def _telling(run_id: str) -> Telling:
    kind = kind_of(run_id)
    if kind is SWEEP:
        return _SweepTelling(run_id)
    return _FanoutTelling(run_id) if kind is FANOUT else _JudgingTelling(run_id, kind)
