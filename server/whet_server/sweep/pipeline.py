"""A prompt pipeline as a target: stages, each one call to a model, filled in from a case and a configuration.

A stage sees `input`, `fields`, `params`, `examples` and what earlier stages answered, by their names; never the
reference. A stage that is switched off answers what it would have been asked about: the answer of the one before it.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from whet_server.errors import InvalidField, Reason, TemplateFailed, failure_of
from whet_server.judging import Item
from whet_server.llm.base import CallSpec, ModelInfo
from whet_server.llm.tab import Worst
from whet_server.llm.taxonomy import failure
from whet_server.log.lifecycle import BranchState
from whet_server.sweep import examples, places
from whet_server.sweep.dimensions import PARAMS, Dimensions
from whet_server.sweep.examples import Examples, shown
from whet_server.sweep.guess import LONGEST_TOKEN, Guess, dearest, guess, likely_text
from whet_server.sweep.means import Answered, Means, Tally
from whet_server.sweep.places import Place, PlaceKind
from whet_server.sweep.spec import FewShot, Pipeline, Stage
from whet_server.sweep.template import MOST_OUTPUT, Known, Template, check
from whet_server.sweeping import Configuration, SearchDimension, Setting, StageOutput
from whet_server.values import CallId, Failure, Message, ModelName, Nanos, Parameters, Speaker

_PLACES: Final[Mapping[str, Place]] = {
    "template": places.TEXT,
    "system": places.TEXT,
    "model": places.MODEL,
    "temperature": places.TEMPERATURE,
    "top_p": places.TOP_P,
    "max_tokens": places.TOKENS,
    "seed": places.SEED,
    "on": places.SWITCH,
    "examples.count": places.SHOTS,
    "examples.selection": Place(kind=PlaceKind.NAME, names=examples.SELECTIONS),
}
INPUT: Final = "input"
FIELDS: Final = "fields"
EXAMPLES: Final = "examples"
_TAKEN: Final = frozenset({INPUT, FIELDS, PARAMS, EXAMPLES, "loop", "range", "reference"})
"""Names that a stage cannot have, because they mean something else in templates."""
_MOST_COMBINED: Final = 64
"""Combinations of variables whose prompts are measured one by one, for the worst cost."""


class Asked(NamedTuple):
    """A stage under a configuration."""

    name: str
    template: str
    system: str
    model: ModelName
    parameters: Parameters
    shots: FewShot
    on: bool


def filled(pipeline: Pipeline, model: ModelName) -> Pipeline:
    """Return the pipeline with templates and models that it does not say: `model` is asked then."""
    stages: list[Stage] = []
    for stage in pipeline.stages:
        before = stages[-1].name if stages else INPUT
        template = stage.template or f"{{{{ {before} }}}}"
        stages.append(replace(stage, template=template, model=stage.model or model))
    return replace(pipeline, stages=tuple(stages))


class PipelineTarget:
    """A pipeline with nothing left open (`filled`). `fields` are the further fields that cases have."""

    def __init__(
        self,
        pipeline: Pipeline,
        dimensions: Sequence[SearchDimension],
        means: Means,
        shots: Examples,
        fields: frozenset[str],
    ) -> None:
        self.pipeline = pipeline
        self.means = means
        self.shots = shots
        self._fields = fields
        self._places = {f"{stage.name}.{name}": place for stage in pipeline.stages for name, place in _PLACES.items()}
        self._dimensions = Dimensions(dimensions, self._places)
        self._compiled: dict[str, Template] = {}

    def places(self) -> Mapping[str, Place]:
        return self._places

    async def check(self, path: str = "spec") -> dict[ModelName, ModelInfo]:
        """Check stages and dimensions; see `Target.check`."""
        wrong = list(self._wrong_stages(f"{path}.pipeline"))
        if wrong:
            raise InvalidField(*wrong)
        self._dimensions.check(f"{path}.space", "pipeline")
        self._dimensions.check_used(self._check_texts(path), f"{path}.space")
        models: dict[ModelName, ModelInfo] = {}
        for where, model in self._models(path):
            if model not in models:
                models[model] = await self.means.resolve(model, where)
        return models

    def baseline(self) -> Configuration:
        """Return what the stages say at the dimensions' places."""
        return self._dimensions.settings(
            {f"{stage.name}.{name}": self._said(stage, name) for stage in self.pipeline.stages for name in _PLACES}
        )

    def asked(self, configuration: Configuration, texts: Mapping[str, str]) -> tuple[Asked, ...]:
        """Return the stages under a configuration."""
        return tuple(self._asked(stage, configuration, texts) for stage in self.pipeline.stages)

    async def answer(
        self,
        configuration: Configuration,
        texts: Mapping[str, str],
        item: Item,
        ident: CallId,
        *,
        sample: int,
        stop: asyncio.Event,
    ) -> Answered:
        """Ask stage after stage; see `Target.answer`. The answer is the last stage's."""
        seen = self.seen(configuration, texts, item)
        tally = Tally()
        output = item.input
        asked = self.asked(configuration, texts)
        for stage in asked:
            if stage.on:
                try:
                    call = await self.call(stage, seen, item, CallId(f"{ident}/{stage.name}"), sample)
                except TemplateFailed as error:
                    return tally.answered("", _at(stage, asked, failure_of(error)))
                result = await self.means.ask(call, stop)
                tally.add(result)
                if result.state is not BranchState.DONE:
                    told = result.failure or failure(Reason.EMPTY_ANSWER, "The model gave no answer.")
                    return tally.answered(result.text, _at(stage, asked, told))
                output = result.text
                tally.stages.append(StageOutput(stage=stage.name, output=output))
            seen[stage.name] = output
        if tally.stages and asked[-1].on:
            tally.stages.pop()
        return tally.answered(output)

    async def guess(self, configuration: Configuration, item: Item) -> tuple[Guess, str]:
        """See `Target.guess`. Earlier answers are made up, as long as they are likely to be."""
        seen, output, found = self.seen(configuration, {}, item), item.input, Guess()
        for stage in self.asked(configuration, {}):
            if stage.on:
                try:
                    call = await self.call(stage, seen, item, CallId(f"{self.means.run_id}/{stage.name}"), 1)
                except TemplateFailed:  # nothing further is asked then
                    break
                estimate = await self.means.caller.estimate(call)
                found += guess(call, estimate)
                output = likely_text(call.parameters, estimate.info)
            seen[stage.name] = output
        return found, output

    async def worst(self, item: Item) -> tuple[str, Nanos]:
        """See `Target.worst`: for each stage its dearest model, its longest texts and its longest answer."""
        seen: dict[str, Any] = {INPUT: item.input, FIELDS: dict(item.fields)}
        output, money = item.input, 0
        for stage in self.pipeline.stages:
            infos = [await self.means.info(model) for model in self._models_of(stage)]
            most = self._dimensions.highest(f"{stage.name}.max_tokens", stage.parameters.max_tokens)
            money += dearest(infos, self._longest_prompt(stage, seen), most)
            longest = LONGEST_TOKEN * max(most or info.default_max_tokens for info in infos)
            output = max(output, "x" * min(longest, MOST_OUTPUT // 2), key=len)  # it may be off, and hand its input on
            seen[stage.name] = output
        return output, Nanos(money)

    def _longest_prompt(self, stage: Stage, seen: Mapping[str, Any]) -> int:
        """Return the most tokens that a prompt of the stage can have, a byte each: over every template with every
        system message and every value of the variables, or of many the longest values.
        """
        solved = self.shots.longest(self._most_shots(stage))
        asked = self._asked(stage, {}, {})
        longest = 0
        templates = dict.fromkeys(text for _, text in self.variants(stage, "template"))
        systems = dict.fromkeys(text for _, text in self.variants(stage, "system"))
        for template, system, params in product(templates, systems, self._every_params()):
            variant = asked._replace(template=template, system=system)
            try:
                messages = tuple(self.messages(variant, {**seen, PARAMS: params}, solved))
            except TemplateFailed:  # it will not be asked like this
                continue
            longest = max(longest, Worst(messages, Parameters()).input_tokens)
        return longest

    def _every_params(self) -> list[dict[str, Setting]]:
        """Return every combination of the variables' values, of ranges the ends; of many combinations the longest."""
        at, names = self._dimensions, self._dimensions.variables
        values = [[at.params({name: end}, {})[name] for end in at.ends(name)] for name in names]
        if prod(map(len, values)) > _MOST_COMBINED:
            values = [[max(each, key=lambda value: len(str(value)))] for each in values]
        return [dict(zip(names, combined, strict=True)) for combined in product(*values)]

    def _models_of(self, stage: Stage) -> list[ModelName]:
        dimension = self._dimensions.of(f"{stage.name}.model")
        if dimension is None or dimension.choices is None:
            return [stage.model]
        labels = [ModelName(choice.label) for choice in dimension.choices.choices]
        return [*labels, stage.model] if dimension.only_if else labels

    def seen(self, configuration: Configuration, texts: Mapping[str, str], item: Item) -> dict[str, Any]:
        """Return what the first stage's templates see of a case, without examples."""
        return {INPUT: item.input, FIELDS: dict(item.fields), PARAMS: self._dimensions.params(configuration, texts)}

    async def call(self, stage: Asked, seen: dict[str, Any], item: Item, call_id: CallId, sample: int) -> CallSpec:
        """Return the call of a stage. A seed counts up with the samples, so that they differ. Raises
        `TemplateFailed`.
        """
        solved = await self.shots.pick(stage.shots.count, stage.shots.selection, item)
        parameters = stage.parameters
        if parameters.seed is not None and sample > 1:
            parameters = replace(parameters, seed=parameters.seed + sample - 1)
        messages = tuple(self.messages(stage, seen, solved))
        return self.means.spec(call_id, stage.model, messages, parameters, sample=sample)

    def messages(self, stage: Asked, seen: Mapping[str, Any], solved: Sequence[Item]) -> Iterator[Message]:
        """Yield the conversation: the system message, solved cases as turns unless a template shows them, the task."""
        template, system = self.compiled(stage.template), self.compiled(stage.system)
        whole = {**seen, EXAMPLES: [shown(example) for example in solved]}
        if stage.system:
            yield Message(role=Speaker.SYSTEM, content=system.fill(**whole))
        if EXAMPLES not in template.variables | system.variables:
            for example in solved:
                told = {**seen, INPUT: example.input, FIELDS: dict(example.fields), EXAMPLES: []}
                yield Message(role=Speaker.USER, content=template.fill(**told))
                yield Message(role=Speaker.ASSISTANT, content=example.reference)
        yield Message(role=Speaker.USER, content=template.fill(**whole))

    def compiled(self, source: str) -> Template:
        """Return the template, compiled once. Raises `TemplateFailed`."""
        found = self._compiled.get(source)
        if found is None:
            found = self._compiled[source] = Template(source)
        return found

    def variants(self, stage: Stage, name: str) -> Iterator[tuple[str, str]]:
        """Yield every text that a place of a stage may have, each with the end of its path."""
        for where, text in self._dimensions.texts(f"{stage.name}.{name}"):
            yield f"space{where}", text
        at = self.pipeline.stages.index(stage)
        yield f"pipeline.stages[{at}].{name}", str(self._said(stage, name))

    def _asked(self, stage: Stage, configuration: Configuration, texts: Mapping[str, str]) -> Asked:
        at, named = self._dimensions, {name: f"{stage.name}.{name}" for name in _PLACES}
        written = {name: at.text(named[name], configuration, texts) for name in ("template", "system", "model")}
        count = at.integer(named["examples.count"], configuration)
        selection = at.text(named["examples.selection"], configuration, texts)
        return Asked(
            name=stage.name,
            template=stage.template if written["template"] is None else written["template"],
            system=stage.system if written["system"] is None else written["system"],
            model=ModelName(written["model"] or stage.model),
            parameters=at.parameters(configuration, f"{stage.name}.").over(stage.parameters),
            shots=FewShot(
                count=stage.examples.count if count is None else count,
                selection=selection or stage.examples.selection or examples.FIRST,
            ),
            on=configuration.get(named["on"]) != places.NO,
        )

    def _said(self, stage: Stage, name: str) -> Setting | None:
        """Return what a stage itself says at a place."""
        match name:
            case "template" | "system" | "model":
                return str(getattr(stage, name))
            case "on":
                return places.YES
            case "examples.count":
                return stage.examples.count
            case "examples.selection":
                return stage.examples.selection
            case "temperature" | "top_p" | "max_tokens" | "seed":
                said: float | int | None = getattr(stage.parameters, name)
                return said
            case _:
                return None

    def _wrong_stages(self, path: str) -> Iterator[tuple[str, str]]:
        if not self.pipeline.stages:
            yield f"{path}.stages", "a pipeline has one stage or more"
        names: set[str] = set()
        for at, stage in enumerate(self.pipeline.stages):
            if stage.name in _TAKEN:
                yield f"{path}.stages[{at}].name", f"{stage.name} means something else in templates"
            elif not stage.name.isidentifier():
                yield f"{path}.stages[{at}].name", "must be a name: letters, digits and underscores"
            elif stage.name in names:
                yield f"{path}.stages[{at}].name", f"another stage is called {stage.name} too"
            names.add(stage.name)
            for name, place in _PLACES.items():
                said = self._said(stage, name)
                if place.kind in {PlaceKind.NUMBER, PlaceKind.INTEGER} and said is not None:
                    yield from places.wrong_number(said, place, f"{path}.stages[{at}].{_field(name)}")

    def _check_texts(self, path: str) -> set[str]:
        """Check every template there may be; return what they ask for."""
        used: set[str] = set()
        earlier: list[str] = []
        for at, stage in enumerate(self.pipeline.stages):
            known: dict[str, Any] = {FIELDS: self._fields, PARAMS: self._dimensions.variables}
            known |= dict.fromkeys((INPUT, EXAMPLES, *earlier))
            systems = [check(text, f"{path}.{where}", known) for where, text in self.variants(stage, "system") if text]
            shows = any(EXAMPLES in system.variables for system in systems)
            for where, text in self.variants(stage, "template"):
                template = self._checked(text, f"{path}.{where}", known)
                used |= template.paths
                if self._most_shots(stage) and not shows and EXAMPLES not in template.variables:
                    self._check_turns(template, earlier, f"{path}.{where}")
            used |= {each for system in systems for each in system.paths}
            if self._most_shots(stage) and not self.shots.items:
                what = "there are no solved cases to show: name a data set with references, such as a train split"
                raise InvalidField((f"{path}.pipeline.stages[{at}].examples", what))
            earlier.append(stage.name)
        return used

    def fault(self, stage: str, template: str) -> str:
        """Say why a text cannot be the template of a stage; empty when it can."""
        names = [each.name for each in self.pipeline.stages]
        known: dict[str, Any] = {FIELDS: self._fields, PARAMS: self._dimensions.variables}
        earlier = names[: names.index(stage)]
        try:
            self._checked(template, stage, known | dict.fromkeys((INPUT, EXAMPLES, *earlier)))
        except InvalidField as error:
            return error.violations[0][1]
        return ""

    def _checked(self, text: str, path: str, known: Known) -> Template:
        if not text.strip():
            raise InvalidField((path, "must not be empty"))
        return check(text, path, known)

    def _check_turns(self, template: Template, earlier: Sequence[str], path: str) -> None:
        """Solved cases as turns are filled into the same template, where no earlier stage has answered them."""
        missing = sorted(template.variables & set(earlier))
        if missing:
            what = (
                f"uses {', '.join(missing)}, which solved cases do not have: show them with `examples` in the template"
            )
            raise InvalidField((path, what))

    def _most_shots(self, stage: Stage) -> int:
        return self._dimensions.highest(f"{stage.name}.examples.count", stage.examples.count) or 0

    def _models(self, path: str) -> Iterator[tuple[str, ModelName]]:
        for at, stage in enumerate(self.pipeline.stages):
            yield f"{path}.pipeline.stages[{at}].model", stage.model
            name = f"{stage.name}.model"
            for number, label in enumerate(self._dimensions.labels(name)):
                yield f"{path}.space{self._dimensions.where(name)}.choices.choices[{number}].label", ModelName(label)


def _field(name: str) -> str:
    return name if name.startswith(EXAMPLES) else f"parameters.{name}"


def _at(stage: Asked, stages: Sequence[Asked], told: Failure) -> Failure:
    """Name the stage where there are several."""
    if len(stages) == 1:
        return told
    return replace(told, message=f"{stage.name}: {told.message}", metadata=told.metadata | {"stage": stage.name})
