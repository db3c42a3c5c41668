"""Text optimisation by reflection: a model reads what went wrong and rewrites a template. The only module that knows
gepa (Agrawal et al. 2025, GEPA: reflective prompt evolution can outperform reinforcement learning).

gepa keeps the texts that are best on some case, takes one of them, has it rewritten from a few cases, tries the new
text on these, and on all cases where it is better there. It runs in a thread and asks the event loop for everything
that costs money. It keeps nothing: taking a sweep up runs it again from the start, with the same seed, and what stands
on the record is answered from it. Rewrites have numbers, those that led to no trial too, so that it takes the same way.

gepa wants a number for each case. A case without a score gets the mean of those beside it, which is marked and never
leaves this module; where an old and a new text are compared, a case counts only if both have a score.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from math import fsum
from typing import Any, Final, Protocol, TypeVar

from whet_server.judging import Item
from whet_server.sweep import rewriting
from whet_server.sweep.spec import Pipeline
from whet_server.sweeping import TrialCase
from whet_server.values import Message

FIRST: Final = 0
"""The number of the pipeline's own texts. Rewrites are counted from 1."""
_ROUNDS_WITHOUT: Final = 3
"""After so many rounds through all cases without a new text, no more is to be expected."""
_FEWEST: Final = 12
"""Iterations without a new text that are allowed in any case: models repeat themselves now and then."""
_CASE: Final = "case"
_T = TypeVar("_T")

Texts = Mapping[str, str]
"""A template for each stage, by its name."""


class Evaluate(Protocol):
    """Has cases answered with texts, or looks up what stands on the record, and returns the answers in the order of the
    cases. `number` is the rewrite that made the texts: the same number, the same texts and the same trial.
    """

    def __call__(
        self, number: int, texts: Texts, case_ids: Sequence[str]
    ) -> Coroutine[Any, Any, Sequence[TrialCase]]: ...


class AskModel(Protocol):
    """Asks the reflecting model. `call` names the call within the sweep, alike when the sweep is taken up."""

    def __call__(self, call: str, messages: tuple[Message, ...], /) -> Coroutine[Any, Any, str]: ...


async def reflect(
    pipeline: Pipeline,
    cases: Sequence[Item],
    *,
    seed: int,
    minibatch: int,
    evaluate: Evaluate,
    ask_model: AskModel,
    fault: Callable[[str, str], str],
    known: Mapping[int, Texts],
    stop: asyncio.Event,
) -> None:
    """Rewrite templates until `stop` is set, or nothing new comes any more.

    `fault(stage, template)` says why a template cannot be used, empty when it can: the model is told, and may try once
    more. `known`: the texts of the rewrites on the record, by their numbers. Once `stop` is set nothing more is begun;
    whoever evaluates ends what is under way. What `evaluate` or `ask_model` raise ends it and is raised.
    """
    bridge = _Bridge(asyncio.get_running_loop(), stop)
    adapter = _Adapter(pipeline, cases, bridge, evaluate, ask_model, fault, known)
    thread = asyncio.create_task(asyncio.to_thread(_optimised, adapter, cases, seed, minibatch))
    try:
        await asyncio.shield(thread)
    except asyncio.CancelledError:
        bridge.cancel()
        await asyncio.wait([thread])
        raise
    if bridge.error is not None:
        raise bridge.error


def _optimised(adapter: Any, cases: Sequence[Item], seed: int, minibatch: int) -> None:
    """Run gepa to its end, in a thread, with an `_Adapter`. What stops it is kept by the bridge."""
    from gepa.api import optimize

    patience = max(_FEWEST, _ROUNDS_WITHOUT * -(-len(cases) // minibatch))
    try:
        optimize(
            seed_candidate=dict(adapter.first),
            trainset=[case.item_id for case in cases],
            adapter=adapter,
            reflection_minibatch_size=minibatch,
            stop_callbacks=lambda state: adapter.ends(state.i, patience),
            acceptance_criterion=_BetterOnPairs(),
            logger=_Silence(),
            track_best_outputs=False,
            seed=seed % 2**32,
        )
    except _Stopped:
        return


class _Stopped(Exception):
    """Nothing more is to be begun."""


class _Bridge:
    """From gepa's thread to the event loop and back."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
        self._loop = loop
        self._stop = stop
        self._lock = threading.Lock()
        self._cancelled = False
        self._waiting: Future[Any] | None = None
        self.error: BaseException | None = None

    @property
    def stopped(self) -> bool:
        return self._cancelled or self._stop.is_set() or self.error is not None

    def wait(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Have it done by the event loop, and wait. Raises `_Stopped` instead of beginning it when all is to stop."""
        with self._lock:
            if self.stopped:
                raise _Stopped
            self._waiting = future = asyncio.run_coroutine_threadsafe(work(), self._loop)
        try:
            return future.result()
        except CancelledError:
            raise _Stopped from None
        except Exception as error:
            self.error = error
            raise _Stopped from error

    def cancel(self) -> None:
        """Give up what is waited for, and begin nothing more."""
        with self._lock:
            self._cancelled = True
            if self._waiting is not None:
                self._waiting.cancel()


class _Filled(float):
    """The number of a case without a score: the mean of those beside it."""


@dataclass(slots=True)
class _Batch:
    """What gepa reads of an evaluation."""

    outputs: list[TrialCase]
    scores: list[float]
    trajectories: list[TrialCase]
    objective_scores: None = None
    num_metric_calls: int | None = None


class _Adapter:
    """The pipeline as gepa sees it: texts by stage, cases by their ids."""

    def __init__(
        self,
        pipeline: Pipeline,
        cases: Sequence[Item],
        bridge: _Bridge,
        evaluate: Evaluate,
        ask_model: AskModel,
        fault: Callable[[str, str], str],
        known: Mapping[int, Texts],
    ) -> None:
        self.first = {stage.name: stage.template for stage in pipeline.stages}
        self._cases = {case.item_id: case for case in cases}
        self._bridge = bridge
        self._evaluate = evaluate
        self._ask = ask_model
        self._fault = fault
        self._known = dict(known)
        self._numbers = {_key(self.first): FIRST}
        self._rewrites = FIRST
        self._fresh_at = 0
        self._iteration = 0

    def ends(self, iteration: int, patience: int) -> bool:
        """Whether to stop before this iteration."""
        self._iteration = iteration
        return self._bridge.stopped or iteration - self._fresh_at > patience

    def evaluate(self, batch: list[str], candidate: dict[str, str], capture_traces: bool = False) -> _Batch:  # noqa: FBT001, FBT002 -- gepa's signature
        del capture_traces
        number = self._numbers[_key(candidate)]
        ids = list(dict.fromkeys(batch))
        answers = dict(zip(ids, self._bridge.wait(lambda: self._evaluate(number, candidate, ids)), strict=True))
        cases = [answers[case_id] for case_id in batch]
        scores = [case.score for case in answers.values() if case.score is not None]
        if not scores and number == FIRST and len(ids) == len(self._cases):
            raise _Stopped  # nothing can be scored, and nothing can be learnt
        filled = _Filled(fsum(scores) / len(scores) if scores else 0.0)
        return _Batch(cases, [filled if case.score is None else case.score for case in cases], cases)

    def make_reflective_dataset(
        self, candidate: dict[str, str], eval_batch: _Batch, components_to_update: list[str]
    ) -> dict[str, list[dict[str, TrialCase]]]:
        """Return the cases as they were answered: each stage is rewritten from the same ones."""
        del candidate
        examples = [{_CASE: case} for case in eval_batch.trajectories]
        return dict.fromkeys(components_to_update, examples)

    def propose_new_texts(
        self,
        candidate: dict[str, str],
        reflective_dataset: Mapping[str, Sequence[Mapping[str, TrialCase]]],
        components_to_update: list[str],
    ) -> dict[str, str]:
        """Return rewritten texts, or the old ones. gepa would go on after an error, so it is kept."""
        try:
            return self._proposed(candidate, reflective_dataset, components_to_update)
        except _Stopped:
            raise
        except Exception as error:
            self._bridge.error = error
            raise

    def _proposed(
        self,
        candidate: Mapping[str, str],
        answered: Mapping[str, Sequence[Mapping[str, TrialCase]]],
        stages: Sequence[str],
    ) -> dict[str, str]:
        self._rewrites += 1
        number = self._rewrites
        if number in self._known:
            texts = dict(self._known[number])
        elif number < max(self._known, default=FIRST):
            texts = dict(candidate)  # it led to no trial then
        else:
            texts = {**candidate, **self._rewritten(number, candidate, answered, stages)}
        if _key(texts) in self._numbers:
            texts = dict(candidate)  # a text that was there before is no rewrite: it would be tried once more
        else:
            self._numbers[_key(texts)] = number
            self._fresh_at = self._iteration
        return {stage: texts[stage] for stage in stages}

    def _rewritten(
        self,
        number: int,
        candidate: Mapping[str, str],
        answered: Mapping[str, Sequence[Mapping[str, TrialCase]]],
        stages: Sequence[str],
    ) -> dict[str, str]:
        rewritten = {}
        for stage in stages:
            examples = [(self._cases[each[_CASE].case_id], each[_CASE]) for each in answered[stage]]
            call = f"rewrite-{number}-{stage}"
            asked = rewriting.messages(stage, candidate[stage], examples)
            answer = self._asked(call, asked)
            if wrong := self._wrong(stage, answer):
                answer = self._asked(f"{call}-again", rewriting.repair(asked, answer, wrong))
            if not self._wrong(stage, answer):
                rewritten[stage] = rewriting.taken(answer)
        return rewritten

    def _asked(self, call: str, messages: tuple[Message, ...]) -> str:
        return self._bridge.wait(lambda: self._ask(call, messages))

    def _wrong(self, stage: str, answer: str) -> str:
        template = rewriting.taken(answer)
        return self._fault(stage, template) if template else "there is no text between <template> and </template>"


class _BetterOnPairs:
    """Takes a new text that is better on the cases on which both the old and the new one have a score."""

    def should_accept(self, proposal: Any, state: Any) -> bool:
        del state
        pairs = zip(proposal.subsample_scores_before or (), proposal.subsample_scores_after or (), strict=True)
        known = [pair for pair in pairs if not any(isinstance(score, _Filled) for score in pair)]
        return fsum(after for _, after in known) > fsum(before for before, _ in known)


class _Silence:
    """gepa's log, which the event log makes superfluous."""

    def log(self, message: str) -> None:
        pass


def _key(texts: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(texts.items()))
