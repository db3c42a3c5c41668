"""What the engine asks of a target: its own settings, what answers cost, and who answers. `Models` are the targets
whose answers come from models; `Targets` is what the engine sees of them.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec.structs import replace

from whet_server.dataset.datasets import Datasets
from whet_server.dataset.spec import DatasetRef, Split
from whet_server.errors import InvalidField
from whet_server.fanout.fanouts import FanoutDefaults
from whet_server.judging import Item
from whet_server.llm.base import Caller, ModelInfo
from whet_server.log.lifecycle import BranchState
from whet_server.score.scorers import Scorers
from whet_server.sweep.crew import Question
from whet_server.sweep.evaluate import HOLDOUT, Evaluator
from whet_server.sweep.forecast import Costs, costs
from whet_server.sweep.means import PLANNED, Answered, Means
from whet_server.sweep.panel import filled as filled_panel
from whet_server.sweep.pipeline import PipelineTarget, filled
from whet_server.sweep.places import Place, wrong_setting
from whet_server.sweep.plan import Planned
from whet_server.sweep.spec import SweepRecord, SweepSpec
from whet_server.sweep.target import Target, open_target
from whet_server.sweeping import Budget, Configuration, SamplerKind, TrialCase, configuration_of
from whet_server.values import CallId, Failure, Message, ModelName, Parameters, RunId, Value, Workspace


class Prepared(Value):
    """A spec with the target's defaults filled in, what the target says at the dimensions' places, and the models that
    may answer.
    """

    spec: SweepSpec
    baseline: Configuration
    models: dict[ModelName, ModelInfo]


class Answers(Protocol):
    """Answers and scores the cases of one sweep. Never raises for what models, scorers or judges do."""

    async def case(
        self, question: Question, configuration: Configuration, texts: Mapping[str, str], stop: asyncio.Event
    ) -> TrialCase:
        """Answer a question; what a cap refuses is UNAFFORDABLE, and its failure's metadata name the `cap`."""
        ...

    async def scored(self, question: Question, answered: Answered, stop: asyncio.Event) -> TrialCase:
        """Score an answer that an outside program gave to a question."""
        ...

    async def reflected(
        self, call: str, messages: tuple[Message, ...], stop: asyncio.Event
    ) -> tuple[str, Failure | None]:
        """Ask the model that reflects; return its answer, or none and why. `call` ends the id of the call."""
        ...

    def fault(self, stage: str, template: str) -> str:
        """Say why a rewritten template cannot be used; empty when it can."""
        ...

    def afford(self, budget: Budget) -> None:
        """Keep to this budget from now on."""

    def open(self, rows: Sequence[Item]) -> None:
        """Answer these rows of the hold-out too."""


class Targets(Protocol):
    """Opens what a sweep optimises."""

    async def prepared(self, workspace: Workspace, spec: SweepSpec, items: Sequence[Item]) -> Prepared:
        """Check a target and its dimensions. Raises `InvalidField`, and what looking models and examples up raises."""
        ...

    async def costs(self, workspace: Workspace, planned: Planned) -> Costs:
        """Say what the planned sweep would cost."""
        ...

    async def answers(self, workspace: Workspace, run_id: RunId, record: SweepRecord, items: Sequence[Item]) -> Answers:
        """Return what answers the cases of a sweep, which are `items` in its order. Raises what looking examples up
        raises.
        """
        ...


def check_baseline(spec: SweepSpec, there: Mapping[str, Place]) -> None:
    """Raise `InvalidField` with every parameter of the baseline that does not fit its place. It may lie outside of what
    is searched: what there is now need not be in the space.
    """
    labels = {each.name: {choice.label for choice in each.choices.choices} for each in spec.space if each.choices}
    wrong = [
        fault
        for at, (name, setting) in enumerate(configuration_of(spec.baseline).items())
        if name in there and setting not in labels.get(name, ())
        for fault in wrong_setting(setting, there[name], f"spec.baseline[{at}]")
    ]
    if wrong:
        raise InvalidField(*wrong)


class Models:
    """Targets whose answers come from models. `defaults` say who answers, and who rewrites, when nobody does."""

    def __init__(self, caller: Caller, scorers: Scorers, datasets: Datasets, defaults: FanoutDefaults) -> None:
        self._caller = caller
        self._scorers = scorers
        self._datasets = datasets
        self._defaults = defaults
        self._model = defaults.panel[0].model
        self._reflects = defaults.synthesiser or self._model

    async def prepared(self, workspace: Workspace, spec: SweepSpec, items: Sequence[Item]) -> Prepared:
        """See `Targets`."""
        if spec.outside is not None:
            return Prepared(spec=spec, baseline={}, models={})
        if spec.pipeline is not None:
            pipeline = filled(spec.pipeline, self._model)
            spec = replace(spec, pipeline=replace(pipeline, examples=await self._pinned(workspace, spec)))
        elif spec.fanout is not None:
            spec = replace(spec, fanout=filled_panel(spec.fanout, self._defaults.panel, self._defaults.synthesiser))
        means = Means(self._caller, workspace, PLANNED, spec)
        target = await self._target(workspace, spec, means, items)
        models = await target.check()
        check_baseline(spec, target.places())
        if spec.sampler.kind is SamplerKind.REFLECTION:
            spec = replace(
                spec,
                sampler=replace(spec.sampler, reflection_model=spec.sampler.reflection_model or self._reflects),
            )
            asked = spec.sampler.reflection_model
            models[asked] = await means.resolve(asked, "spec.sampler.reflection_model")
        return Prepared(spec=spec, baseline=target.baseline(), models=models)

    async def costs(self, workspace: Workspace, planned: Planned) -> Costs:
        """See `Targets`."""
        spec = planned.record.spec
        means = Means(self._caller, workspace, PLANNED, spec)
        target = None if spec.outside else await self._target(workspace, spec, means, planned.items)
        return await costs(target, means, self._scorers, planned.record, planned.items, planned.models)

    async def answers(
        self, workspace: Workspace, run_id: RunId, record: SweepRecord, items: Sequence[Item]
    ) -> "ModelAnswers":
        """See `Targets`."""
        means = Means(self._caller, workspace, run_id, record.spec)
        means.budget = record.plan.budget
        target = None if record.spec.outside else await self._target(workspace, record.spec, means, items)
        return ModelAnswers(means, target, self._scorers, record, items)

    async def _target(self, workspace: Workspace, spec: SweepSpec, means: Means, items: Sequence[Item]) -> Target:
        ref = spec.pipeline.examples if spec.pipeline is not None else None
        examples = (await self._datasets.items(workspace, ref, answered=False)).items if ref is not None else ()
        return open_target(spec, means, items, examples)

    async def _pinned(self, workspace: Workspace, spec: SweepSpec) -> DatasetRef | None:
        """Return the rows that solved cases are taken from, with their version, where any are shown: those that the
        spec names, else the training rows of the cases' data set.
        """
        pipeline = spec.pipeline
        shown = pipeline is not None and (
            any(stage.examples.count for stage in pipeline.stages)
            or any(dimension.name.endswith(".examples.count") for dimension in spec.space)
        )
        if pipeline is None or not shown:
            return None
        if pipeline.examples is not None:
            ref = replace(pipeline.examples, split=pipeline.examples.split or Split.TRAIN)
        elif spec.dataset is not None:
            ref = replace(spec.dataset, split=Split.TRAIN, limit=0)
        else:
            return None
        try:
            return replace(ref, version=(await self._datasets.get(workspace, ref.name, ref.version)).version)
        except InvalidField as error:
            raise InvalidField(
                *((f"spec.pipeline.examples.{path}", what) for path, what in error.violations)
            ) from error


class ModelAnswers:
    """The answers of models to the cases of one sweep."""

    def __init__(
        self, means: Means, target: Target | None, scorers: Scorers, record: SweepRecord, items: Sequence[Item]
    ) -> None:
        self._means = means
        self._target = target
        self._scorers = scorers
        self._criteria = record.criteria
        self._reflects = record.plan.sampler.reflection_model
        self.evaluator = Evaluator(means, target, scorers, record.criteria, items)
        self._holdout: Evaluator | None = None

    async def case(
        self, question: Question, configuration: Configuration, texts: Mapping[str, str], stop: asyncio.Event
    ) -> TrialCase:
        """See `Answers`."""
        evaluator = self._holdout if question.holdout and self._holdout is not None else self.evaluator
        return await evaluator.case(question.number, configuration, texts, question.item, question.sample, stop)

    async def scored(self, question: Question, answered: Answered, stop: asyncio.Event) -> TrialCase:
        """See `Answers`."""
        return await self.evaluator.scored(question.number, question.item, answered, question.sample, stop)

    async def reflected(
        self, call: str, messages: tuple[Message, ...], stop: asyncio.Event
    ) -> tuple[str, Failure | None]:
        """See `Answers`. The cache is used in any case: a sweep that is taken up hears again what it heard."""
        call_id = CallId(f"{self._means.run_id}/{call}")
        asked = replace(
            self._means.spec(call_id, self._reflects, messages, Parameters()), cache_bypass=False, cache_ttl=None
        )
        result = await self._means.ask(asked, stop)
        done = result.state is BranchState.DONE
        return (result.text, None) if done else ("", result.failure)

    def fault(self, stage: str, template: str) -> str:
        """See `Answers`."""
        return self._target.fault(stage, template) if isinstance(self._target, PipelineTarget) else ""

    def afford(self, budget: Budget) -> None:
        """See `Answers`."""
        self._means.budget = budget

    def open(self, rows: Sequence[Item]) -> None:
        """See `Answers`."""
        self._holdout = Evaluator(self._means, self._target, self._scorers, self._criteria, rows, mark=HOLDOUT)
