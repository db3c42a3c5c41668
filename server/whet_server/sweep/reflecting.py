"""A sweep by reflection under way: a model rewrites templates, and each new set of texts is a trial.

What is tried next depends on the answers alone, one trial after the other. A text that is no better on the first few
cases is given up there, which is what stops trials early here; racing is not needed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from whet_server.log.events import TrialStarted
from whet_server.sweep.crew import OWN_CAPS, WORKSPACE_CAPS, Question
from whet_server.sweep.fold import TrialFold
from whet_server.sweep.reflection import FIRST, Texts, reflect
from whet_server.sweep.run import ENDS, SweepRun
from whet_server.sweep.spec import Pipeline
from whet_server.sweeping import (
    Choice,
    Configuration,
    SweepEnd,
    TrialCase,
    TrialState,
    configuration_of,
    written,
)
from whet_server.values import Message

_GIVEN_UP: Final = "no better than the text that it was made from"


class _Through(Exception):
    """The search has come to its end."""


class ReflectingRun(SweepRun):
    """A sweep whose trials are rewritten texts."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._pipeline = self.record.spec.pipeline or Pipeline()
        self._enough = asyncio.Event()
        self._of: dict[int, int] = {}
        """The trial of each rewrite."""
        for trial in self.fold.trials.values():
            self._of[_rewrite_of(trial)] = trial.number

    async def _restore(self) -> None:
        """Nothing: gepa is led through what stands on the record."""

    def _launch(self, trial: TrialFold) -> None:
        self._running.add(trial.number)

    def _stop_search(self, end: SweepEnd) -> None:
        super()._stop_search(end)
        self._enough.set()

    async def _try_all(self) -> bool:
        if self._end is not None:
            self._enough.set()
        through = False
        try:
            await reflect(
                self._pipeline,
                self.items,
                seed=self.plan.seed,
                minibatch=self.plan.sampler.minibatch,
                evaluate=self._evaluate,
                ask_model=self._rewrite,
                fault=self._tools.answers.fault,
                known=self._known_texts(),
                stop=self._enough,
            )
        except _Through:
            through = True
        await self._give_up(keep=None)
        return not through and self._end is None

    async def _evaluate(self, number: int, texts: Texts, case_ids: Sequence[str]) -> Sequence[TrialCase]:
        """Have cases answered with texts, or look them up. Raises `_Through` when there is no room for a trial."""
        trial = self.fold.trials[self._of[number]] if number in self._of else await self._begin_trial(number, texts)
        missing = [self._place_of[case_id] for case_id in case_ids if (case_id, 1) not in trial.answers]
        await self._ask_all([Question(trial.number, place, self.items[place]) for place in missing])
        if any((case_id, 1) not in trial.answers for case_id in case_ids):
            raise _Through
        if trial.end is None and all((case_id, 1) in trial.answers for case_id in self._order):
            await self._end_trial(trial, TrialState.COMPLETE, "")
        return [trial.answers[case_id, 1] for case_id in case_ids]

    async def _begin_trial(self, number: int, texts: Texts) -> TrialFold:
        await self._until(lambda: self._end is not None or not self.fold.paused)
        await self._give_up(keep=number)
        if self._end is not None or len(self.fold.trials) >= self.budget.trials:
            raise _Through
        configuration: Configuration = configuration_of(self.plan.baseline)
        choices: tuple[Choice, ...] = ()
        if number != FIRST:
            choices = tuple(Choice(label=_label(stage, number), text=text) for stage, text in texts.items())
            configuration |= {f"{stage}.template": _label(stage, number) for stage in texts}
        at = len(self.fold.trials)
        self._post(TrialStarted(number=at, parameters=written(configuration), texts=choices))
        self._of[number] = at
        self._launch(self.fold.trials[at])
        return self.fold.trials[at]

    async def _give_up(self, keep: int | None) -> None:
        """End the trials that are under way, but for that of the rewrite `keep`."""
        kept = self._of.get(keep) if keep is not None else None
        for number in sorted(self._running - {kept}):
            trial = self.fold.trials[number]
            state = TrialState.PRUNED if self._end is None and trial.answers else TrialState.CANCELLED
            await self._end_trial(trial, state, _GIVEN_UP if state is TrialState.PRUNED else "")

    async def _rewrite(self, call: str, messages: tuple[Message, ...]) -> str:
        """Ask the model that reflects; nothing when it fails, which reflection takes for an answer without a text."""
        while True:
            await self._until(lambda: self._end is not None or not self.fold.paused)
            if self._end is not None:
                raise _Through
            text, failure = await self._tools.answers.reflected(call, messages, self._enough)
            cap = failure.metadata.get("cap", "") if failure is not None else ""
            if failure is not None and cap in WORKSPACE_CAPS and self._crew is not None:
                self._crew.pause()
                self._pause_for_cap(failure)
            elif cap in OWN_CAPS:
                self._stop_search(ENDS[cap])
            else:
                return text

    def _known_texts(self) -> Mapping[int, Texts]:
        stages = [stage.name for stage in self._pipeline.stages]
        found: dict[int, Texts] = {}
        for number, at in self._of.items():
            texts = {choice.label: choice.text for choice in self.fold.trials[at].texts}
            if number != FIRST:
                found[number] = {stage: texts[_label(stage, number)] for stage in stages}
        return found


def _label(stage: str, number: int) -> str:
    return f"{stage} rewrite {number}"


def _rewrite_of(trial: TrialFold) -> int:
    return int(trial.texts[0].label.rpartition(" ")[2]) if trial.texts else FIRST
