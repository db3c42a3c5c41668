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
PARAMS: Final = "params"
EXAMPLES: Final = "examples"
_TAKEN: Final = frozenset({INPUT, FIELDS, PARAMS, EXAMPLES, "loop", "range", "reference"})
"""Names that a stage cannot have, because they mean something else in templates."""
_SELF: Final = "."
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
        self._dimensions = tuple(dimensions)
        self._fields = fields
        self._texts = {
            each.name: {choice.label: places.text_of(choice) for choice in each.choices.choices}
            for each in dimensions
            if each.choices is not None
        }
        self._places = {f"{stage.name}.{name}": place for stage in pipeline.stages for name, place in _PLACES.items()}
        self._compiled: dict[str, Template] = {}

    def places(self) -> Mapping[str, Place]:
        return self._places

    @property
    def variables(self) -> tuple[str, ...]:
        """The dimensions that are no places: templates see them as `params.<name>`."""
        return tuple(each.name for each in self._dimensions if each.name not in self._places)

    async def check(self, path: str = "spec") -> dict[ModelName, ModelInfo]:
        """Check stages and dimensions; see `Target.check`."""
        wrong = [*self._wrong_stages(f"{path}.pipeline"), *self._wrong_dimensions(f"{path}.space")]
        if wrong:
            raise InvalidField(*wrong)
        used = self._check_texts(path)
        unused = [name for name in self.variables if not {PARAMS, f"{PARAMS}.{name}"} & used]
        if unused:
            raise InvalidField(*(self._unused(name, path) for name in unused))
        models: dict[ModelName, ModelInfo] = {}
        for where, model in self._models(path):
            if model not in models:
                models[model] = await self.means.resolve(model, where)
        return models

    def baseline(self) -> Configuration:
        """Return what the stages say at the dimensions' places."""
        found: Configuration = {}
        for dimension in self._dimensions:
            stage, _, name = dimension.name.partition(_SELF)
            said = next((self._said(each, name) for each in self.pipeline.stages if each.name == stage), None)
            if dimension.name in self._places and said is not None:
                setting = _setting(dimension, said)
                if setting is not None:
                    found[dimension.name] = setting
        return found

    def asked(self, configuration: Configuration, texts: Mapping[str, str]) -> tuple[Asked, ...]:
        """Return the stages under a configuration."""
        return tuple(self._asked(stage, configuration, texts) for stage in self.pipeline.stages)

    def params(self, configuration: Configuration, texts: Mapping[str, str]) -> dict[str, Setting]:
        """Return the variables of templates under a configuration."""
        return {
            name: self._text(name, setting, texts) if isinstance(setting, str) else setting
            for name, setting in configuration.items()
            if name not in self._places
        }

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
            most = self._most(f"{stage.name}.max_tokens", stage.parameters.max_tokens)
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
        dimensions = [each for each in self._dimensions if each.name not in self._places]
        values = [_ends(each) for each in dimensions]
        if prod(map(len, values)) > _MOST_COMBINED:
            values = [[max(each, key=lambda value: len(str(value)))] for each in values]
        names = [each.name for each in dimensions]
        return [dict(zip(names, combined, strict=True)) for combined in product(*values)]

    def _most(self, name: str, own: int | None) -> int | None:
        """Return the highest number that a place can have: what the stage says holds where its dimension does not."""
        dimension = self.dimension(name)
        if dimension is None:
            return own
        there = [places.number_of(value) or 0 for value in _ends(dimension)]
        return int(max([*there, own or 0] if dimension.only_if else there))

    def _models_of(self, stage: Stage) -> list[ModelName]:
        dimension = self.dimension(f"{stage.name}.model")
        if dimension is None or dimension.choices is None:
            return [stage.model]
        labels = [ModelName(choice.label) for choice in dimension.choices.choices]
        return [*labels, stage.model] if dimension.only_if else labels

    def seen(self, configuration: Configuration, texts: Mapping[str, str], item: Item) -> dict[str, Any]:
        """Return what the first stage's templates see of a case, without examples."""
        return {INPUT: item.input, FIELDS: dict(item.fields), PARAMS: self.params(configuration, texts)}

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
        place = f"{stage.name}.{name}"
        if place in self._texts:
            at = next(at for at, each in enumerate(self._dimensions) if each.name == place)
            for number, text in enumerate(self._texts[place].values()):
                yield f"space[{at}].choices.choices[{number}].text", text
        at = self.pipeline.stages.index(stage)
        yield f"pipeline.stages[{at}].{name}", str(self._said(stage, name))

    def dimension(self, name: str) -> SearchDimension | None:
        return next((each for each in self._dimensions if each.name == name), None)

    def _asked(self, stage: Stage, configuration: Configuration, texts: Mapping[str, str]) -> Asked:
        own = {name: configuration[place] for name in _PLACES if (place := f"{stage.name}.{name}") in configuration}
        written = {
            name: self._text(f"{stage.name}.{name}", str(setting), texts)
            for name, setting in own.items()
            if name in {"template", "system"}
        }
        numbers = {name: places.number_of(own[name]) for name in ("temperature", "top_p") if name in own}
        whole = {name: int(places.number_of(own[name]) or 0) for name in ("max_tokens", "seed") if name in own}
        shots = stage.examples
        return Asked(
            name=stage.name,
            template=written.get("template", stage.template),
            system=written.get("system", stage.system),
            model=ModelName(str(own.get("model", stage.model))),
            parameters=replace(stage.parameters, **numbers, **whole),
            shots=FewShot(
                count=int(places.number_of(own.get("examples.count", shots.count)) or 0),
                selection=str(own.get("examples.selection", shots.selection)) or examples.FIRST,
            ),
            on=own.get("on") != places.NO,
        )

    def _text(self, name: str, label: str, texts: Mapping[str, str]) -> str:
        return texts.get(label) or self._texts.get(name, {}).get(label, label)

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

    def _wrong_dimensions(self, path: str) -> Iterator[tuple[str, str]]:
        for at, dimension in enumerate(self._dimensions):
            place = self._places.get(dimension.name)
            if place is not None:
                yield from places.wrong(dimension, place, f"{path}[{at}]")
            elif not dimension.name.isidentifier():
                there = ", ".join(_PLACES)
                what = f"{dimension.name} is no place of the pipeline; a stage has {there}, after its name and a dot"
                yield f"{path}[{at}].name", what
            elif dimension.choices is not None:
                yield from places.wrong(dimension, places.TEXT, f"{path}[{at}]")

    def _check_texts(self, path: str) -> set[str]:
        """Check every template there may be; return what they ask for."""
        used: set[str] = set()
        earlier: list[str] = []
        for at, stage in enumerate(self.pipeline.stages):
            known: dict[str, Any] = {INPUT: None, FIELDS: self._fields, PARAMS: self.variables, EXAMPLES: None}
            known |= dict.fromkeys(earlier)
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
        known: dict[str, Any] = {INPUT: None, FIELDS: self._fields, PARAMS: self.variables, EXAMPLES: None}
        try:
            self._checked(template, stage, known | dict.fromkeys(names[: names.index(stage)]))
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
        return self._most(f"{stage.name}.examples.count", stage.examples.count) or 0

    def _models(self, path: str) -> Iterator[tuple[str, ModelName]]:
        for at, stage in enumerate(self.pipeline.stages):
            yield f"{path}.pipeline.stages[{at}].model", stage.model
        for at, dimension in enumerate(self._dimensions):
            if self._places.get(dimension.name) is places.MODEL and dimension.choices is not None:
                for number, choice in enumerate(dimension.choices.choices):
                    yield f"{path}.space[{at}].choices.choices[{number}].label", ModelName(choice.label)

    def _unused(self, name: str, path: str) -> tuple[str, str]:
        at = next(at for at, each in enumerate(self._dimensions) if each.name == name)
        what = f"nothing uses it: no template says {PARAMS}.{name}, and it is no place of the pipeline"
        return f"{path}.space[{at}].name", what


def _setting(dimension: SearchDimension, said: Setting) -> Setting | None:
    """Return a value as the dimension says it: a label, a whole number or a number."""
    if dimension.choices is not None:
        labels = (each.label for each in dimension.choices.choices if said in {each.text, each.label})
        return next(labels, None) or next(
            (each.label for each in dimension.choices.choices if places.same(each.label, said)), None
        )
    if isinstance(said, str):
        return None
    return int(said) if dimension.int_range is not None else float(said)


def _ends(dimension: SearchDimension) -> list[Setting]:
    """Return the values of a dimension, of a range its ends."""
    if dimension.choices is not None:
        return [places.text_of(choice) for choice in dimension.choices.choices]
    ends = dimension.float_range or dimension.int_range
    return [ends.low, ends.high] if ends is not None else []


def _field(name: str) -> str:
    return name if name.startswith(EXAMPLES) else f"parameters.{name}"


def _at(stage: Asked, stages: Sequence[Asked], told: Failure) -> Failure:
    """Name the stage where there are several."""
    if len(stages) == 1:
        return told
    return replace(told, message=f"{stage.name}: {told.message}", metadata=told.metadata | {"stage": stage.name})
