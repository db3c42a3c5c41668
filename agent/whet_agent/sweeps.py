"""A sweep as its events tell it.

Answers to cases come by the hundred thousand and are not kept: they are left out of the stream, and of the trials only
the baseline and the few best are held.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from whet.v1 import event_pb2, sweep_pb2, sweeping_pb2, value_pb2
from whet_agent.folds import Fold
from whet_agent.results import money
from whet_agent.sweep_words import PHASES, controlled_words, left_words, result_lines, trial_words

KEPT_TRIALS: Final = 16
"""Of ten thousand the best so many are held whole. Which one is the best of all the server says, by its number."""

_LOWER_IS_BETTER: Final = frozenset({sweeping_pb2.OBJECTIVE_KIND_COST, sweeping_pb2.OBJECTIVE_KIND_LATENCY})


@dataclass(slots=True, kw_only=True)
class SweepFold(Fold):
    """A sweep."""

    plan: sweeping_pb2.SweepPlan = field(default_factory=sweeping_pb2.SweepPlan)
    progress: event_pb2.SweepProgress = field(default_factory=event_pb2.SweepProgress)
    result: sweeping_pb2.SweepResult | None = None
    controlled: event_pb2.SweepControlled | None = None
    """What was done to it last."""
    children: Sequence[str] = ()
    _states: dict[int, sweeping_pb2.TrialState.ValueType] = field(default_factory=dict)
    """How each trial ended, by its number: a trial may be told again after replicates."""
    trials: dict[int, sweeping_pb2.Trial] = field(default_factory=dict)
    """The baseline and the best."""
    _ranks: dict[int, tuple[bool, float, int]] = field(default_factory=dict)
    """How good each of them is, but for the baseline, which is always kept."""

    def _take(self, event: event_pb2.Event) -> None:
        match event.WhichOneof("payload"):
            case "run_opened":
                self.plan = event.run_opened.sweep
            case "trial_finished":
                self._finish(event.trial_finished.trial)
            case "sweep_controlled":
                self.controlled = event.sweep_controlled
                self._retune(event.sweep_controlled)
            case "sweep_progress":
                self.progress = event.sweep_progress
            case "sweep_concluded":
                self.result = event.sweep_concluded.result
            case _:
                pass  # beginnings of trials and answers to cases are for the screen

    def _retune(self, controlled: event_pb2.SweepControlled) -> None:
        if controlled.HasField("budget"):
            self.plan.budget.MergeFrom(controlled.budget)
            self.plan.trials = controlled.budget.trials or self.plan.trials

    def keep(self, trials: Iterable[sweeping_pb2.Trial]) -> None:
        """Take trials that were fetched."""
        self.trials.update((trial.number, trial) for trial in trials)

    def _finish(self, trial: sweeping_pb2.Trial) -> None:
        self._states[trial.number] = trial.state
        self.trials[trial.number] = trial
        if trial.number:
            self._ranks[trial.number] = self._rank(trial)
        if len(self._ranks) > KEPT_TRIALS:
            worst = min(self._ranks, key=self._ranks.__getitem__)
            del self.trials[worst], self._ranks[worst]

    def _rank(self, trial: sweeping_pb2.Trial) -> tuple[bool, float, int]:
        """How good a trial is by the first objective; the greatest is the best."""
        complete = trial.state == sweeping_pb2.TRIAL_STATE_COMPLETE
        value = _value(trial, self.objective)
        if value is None:
            return False, 0.0, -trial.number
        return complete, -value if self.objective in _LOWER_IS_BETTER else value, -trial.number

    @property
    def objective(self) -> sweeping_pb2.ObjectiveKind.ValueType:
        """The first objective, above all others; quality where nobody says otherwise."""
        free = [each.kind for each in self.plan.objectives if not each.HasField("margin")]
        return free[0] if free else sweeping_pb2.OBJECTIVE_KIND_QUALITY

    @property
    def best(self) -> int | None:
        """The number of the best trial, as the server says it."""
        for said in (self.result, self.progress):
            if said is not None and said.HasField("best"):
                return said.best
        return None

    @property
    def ended(self) -> int:
        """How many trials have ended."""
        return max(len(self._states), self.progress.ended)

    @property
    def pruned(self) -> int:
        """How many of them racing stopped."""
        told = sum(state == sweeping_pb2.TRIAL_STATE_PRUNED for state in self._states.values())
        return max(told, self.progress.pruned)

    @property
    def simulated(self) -> bool:
        return self.plan.simulated or (self.result is not None and self.result.simulated)

    @property
    def totals(self) -> value_pb2.Totals:
        return self.finished.totals if self.finished is not None else self.progress.totals

    @property
    def more(self) -> str:
        return f"get_sweep {self.run_id}"

    def tell(self) -> str:
        lines = [self._head()]
        if self.result is None:
            lines += self._so_far()
        else:
            lines += ["", *result_lines(self.result, self.trials)]
        lines += [f"- followed by: {', '.join(self.children)}"] if self.children else []
        return "\n".join(lines)

    def _head(self) -> str:
        planned = f" of {self.plan.trials}" if self.plan.trials else ""
        phase = f" ({PHASES[self.progress.phase]})" if self.finished is None and self.progress.phase in PHASES else ""
        words = f"Sweep {self.run_id} {self.state_word}{phase}: {self.ended}{planned} trials ended"
        words += f", {self.pruned} of them stopped early" if self.pruned else ""
        words += f", {self.progress.running} under way" if self.progress.running and self.finished is None else ""
        words += f", on {self.plan.origin}" if self.plan.origin else ""
        words += f", {money(self.totals)}."
        if self.failure.message:
            words += f" {self.failure.message.removesuffix('.')}."
        return words + (" Simulated." if self.simulated else "")

    def _so_far(self) -> list[str]:
        lines = []
        if self.best is not None:
            lines.append(f"- best so far: {self._named(self.best)}")
        if self.best != 0 and 0 in self.trials:
            lines.append(f"- {trial_words(self.trials[0])}")
        if left := left_words(self.progress):
            lines.append(f"- left: {left}")
        if self.controlled is not None:
            lines.append(f"- last: {controlled_words(self.controlled)}")
        return lines

    def _named(self, number: int) -> str:
        trial = self.trials.get(number)
        return trial_words(trial) if trial is not None else f"trial {number}"

    def message(self) -> sweep_pb2.GetSweepResponse:
        sweep = sweep_pb2.Sweep(
            run_id=self.run_id,
            state=self.state,
            plan=self.plan,
            progress=self.progress,
            result=self.result,
            totals=self.totals,
            controls=[self.controlled] if self.controlled is not None else [],
            best=self.trials.get(self.best) if self.best is not None else None,
            baseline=self.trials.get(0),
            child_run_ids=self.children,
        )
        if self.failure.ByteSize():
            sweep.failure.CopyFrom(self.failure)
        return sweep_pb2.GetSweepResponse(sweep=sweep)


def fetched_sweep(sweep: sweep_pb2.Sweep) -> SweepFold:
    """Return the fold of a sweep that was fetched rather than watched."""
    fold = SweepFold(
        run_id=sweep.run_id, state=sweep.state, plan=sweep.plan, progress=sweep.progress, children=sweep.child_run_ids
    )
    fold.result = sweep.result if sweep.HasField("result") else None
    fold.controlled = sweep.controls[-1] if sweep.controls else None
    fold.keep(trial for trial in (sweep.baseline, sweep.best) if trial.state)
    if sweep.state != event_pb2.RUN_STATE_RUNNING:
        fold.end_as(sweep.state, sweep.totals, sweep.failure if sweep.HasField("failure") else None)
    return fold


def _value(trial: sweeping_pb2.Trial, objective: sweeping_pb2.ObjectiveKind.ValueType) -> float | None:
    """Return a trial's value of an objective; None where it has none."""
    match objective:
        case sweeping_pb2.OBJECTIVE_KIND_COST:
            return trial.cost if trial.HasField("cost") else None
        case sweeping_pb2.OBJECTIVE_KIND_LATENCY:
            return trial.latency.ToTimedelta().total_seconds() if trial.HasField("latency") else None
        case _:
            return trial.quality.value if trial.quality.HasField("value") else None
