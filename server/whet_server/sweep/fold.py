"""A sweep folded from its events: its trials with their cases, what was done to it, and what it found.

A pure fold, for the engine that takes a sweep up, for reports, leaderboards and statistics alike. What a trial
measures is computed from its answers by `measured` and the functions of `measure.py`, never kept beside them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import msgspec

from whet_server.log.events import (
    AnyPayload,
    CasesFinished,
    RunFinished,
    RunOpened,
    SweepConcluded,
    SweepControlled,
    TrialFinished,
    TrialStarted,
)
from whet_server.sweep.spec import SweepRecord
from whet_server.sweeping import (
    Budget,
    Choice,
    Configuration,
    ParameterValue,
    SearchDimension,
    SweepAction,
    SweepResult,
    Trial,
    TrialCase,
    TrialState,
    configuration_of,
)

_PAUSES: Final[Mapping[SweepAction, bool]] = MappingProxyType({SweepAction.PAUSE: True, SweepAction.RESUME: False})


@dataclass(slots=True)
class TrialFold:
    """One trial: its configuration and its answers by case and sample."""

    number: int
    parameters: tuple[ParameterValue, ...] = ()
    texts: tuple[Choice, ...] = ()
    worker: str = ""
    start_ns: int = 0
    answers: dict[tuple[str, int], TrialCase] = field(default_factory=dict)
    holdout: dict[tuple[str, int], TrialCase] = field(default_factory=dict)
    """Answers to rows of the hold-out, which are no part of the trial."""
    end: Trial | None = None
    """How it stands on the record; None while it is under way."""

    @property
    def configuration(self) -> Configuration:
        return configuration_of(self.parameters)

    @property
    def state(self) -> TrialState:
        return self.end.state if self.end else TrialState.RUNNING

    @property
    def came_to_its_end(self) -> bool:
        """Whether it ended by itself: it was not cut off."""
        return self.end is not None and self.end.state is not TrialState.CANCELLED


class SweepFold:
    """A sweep as far as its events tell."""

    def __init__(self, opened: RunOpened) -> None:
        """Raises `msgspec.DecodeError` for a record that is none of a sweep."""
        self.record = msgspec.json.decode(opened.spec, type=SweepRecord)
        self.trials: dict[int, TrialFold] = {}
        self.controls: list[SweepControlled] = []
        self.result: SweepResult | None = None
        self.finished: RunFinished | None = None
        self.paused = False

    @property
    def budget(self) -> Budget:
        """The budget after all that was retuned."""
        budget = self.record.plan.budget
        for by in (control.budget for control in self.controls):
            if by is not None:
                budget = Budget(
                    money=budget.money if by.money is None else by.money,
                    tokens=by.tokens or budget.tokens,
                    trials=by.trials or budget.trials,
                    time_ns=budget.time_ns if by.time_ns is None else by.time_ns,
                )
        return budget

    @property
    def concurrency(self) -> int:
        """Cases under way at once, after all that was retuned."""
        return next(
            (each.concurrency for each in reversed(self.controls) if each.concurrency), self.record.plan.concurrency
        )

    @property
    def space(self) -> tuple[SearchDimension, ...]:
        """The space of the next trial, after all that was retuned."""
        return next((each.space for each in reversed(self.controls) if each.space), self.record.plan.space)

    def take(self, payload: AnyPayload, time_ns: int) -> None:
        """Go on by one durable event."""
        match payload:
            case TrialStarted():
                self.trials[payload.number] = TrialFold(
                    payload.number, payload.parameters, payload.texts, payload.worker, time_ns
                )
            case CasesFinished():
                trial = self.trials[payload.number]
                into = trial.holdout if payload.holdout else trial.answers
                into.update({(case.case_id, case.sample): case for case in payload.cases})
            case TrialFinished():
                self.trials[payload.trial.number].end = payload.trial
            case SweepControlled():
                self.controls.append(payload)
                self.paused = _PAUSES.get(payload.action, self.paused)
            case SweepConcluded():
                self.result = payload.result
            case RunFinished():
                self.finished = payload
            case _:
                pass


def folded(payloads: Iterable[tuple[AnyPayload, int]]) -> SweepFold:
    """Fold a sweep's durable events, the first of which is its `RunOpened`, each with its time in Unix nanoseconds."""
    events = iter(payloads)
    opened, _ = next(events)
    if not isinstance(opened, RunOpened):
        raise TypeError(f"a run begins with its opening, not with {type(opened).__name__}")
    fold = SweepFold(opened)
    for payload, time_ns in events:
        fold.take(payload, time_ns)
    return fold
