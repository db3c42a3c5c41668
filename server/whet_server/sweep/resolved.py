"""A sweep's target with a configuration put in: what runs, with every label replaced by what it stands for.

The target stays a target of the same kind, so that a follow-up can begin from it and an export can be used without
Whet. Variables of templates (`params.<name>`) have no place in it and stay beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from whet_server.fanout.spec import BranchSpec, FanoutSpec, SynthesisMode
from whet_server.sweep.places import text_of
from whet_server.sweep.spec import Stage, SweepSpec
from whet_server.sweeping import Choice, Configuration, SearchDimension, Setting
from whet_server.values import ModelName

PANEL: Final = "panel"
TEMPLATE: Final = "template"
SYSTEM: Final = "system"
MODEL: Final = "model"
DECODING: Final = frozenset({"temperature", "top_p", "max_tokens", "seed"})
"""Places of a stage, or of all branches of a fan-out, that are sampling parameters under the same name."""
EXAMPLES: Final = frozenset({"examples.count", "examples.selection"})


def stands_for(name: str, label: Setting, space: Sequence[SearchDimension], texts: Sequence[Choice] = ()) -> Choice:
    """Return what a label stands for: a text that the sweep made, a choice of the dimension, else the label itself."""
    said = (each for dimension in space if dimension.name == name for each in _choices(dimension))
    found = (choice for choice in (*texts, *said) if choice.label == label)
    return next(found, Choice(label=str(label)))


def has_place(spec: SweepSpec, name: str) -> bool:
    """Whether the target itself has a field of this name."""
    if spec.fanout is not None:
        return name in {PANEL, TEMPLATE, "enough"} | _OF_BRANCHES | _SYNTHESIS.keys()
    stage, _, place = name.partition(".")
    stages = spec.pipeline.stages if spec.pipeline is not None else ()
    return place in {TEMPLATE, SYSTEM, MODEL, *DECODING, *EXAMPLES} and any(stage == each.name for each in stages)


def resolved(spec: SweepSpec, configuration: Configuration, texts: Sequence[Choice] = ()) -> SweepSpec:
    """Return the sweep with its target as the configuration has it; an outside program stays as it is."""
    if spec.pipeline is not None:
        stages = tuple(_stage(stage, spec, configuration, texts) for stage in spec.pipeline.stages)
        return replace(spec, pipeline=replace(spec.pipeline, stages=stages))
    if spec.fanout is not None:
        return replace(spec, fanout=_fanout(spec.fanout, spec, configuration, texts))
    return spec


def _number(place: str, setting: Setting) -> float:
    """A sampling parameter, which may have been chosen by its label."""
    return float(setting) if place in {"temperature", "top_p"} else int(setting)


def _choices(dimension: SearchDimension) -> tuple[Choice, ...]:
    return dimension.choices.choices if dimension.choices is not None else ()


def _stage(stage: Stage, spec: SweepSpec, configuration: Configuration, texts: Sequence[Choice]) -> Stage:
    for name, setting in configuration.items():
        owner, _, place = name.partition(".")
        if owner != stage.name or not has_place(spec, name):
            continue
        text = text_of(stands_for(name, setting, spec.space, texts))
        if place in DECODING:
            stage = replace(stage, parameters=replace(stage.parameters, **{place: _number(place, setting)}))
        elif place in EXAMPLES:
            field = place.removeprefix("examples.")
            said = int(setting) if field == "count" else setting
            stage = replace(stage, examples=replace(stage.examples, **{field: said}))
        else:
            stage = replace(stage, **{place: text})
    return stage


def _fanout(fanout: FanoutSpec, spec: SweepSpec, configuration: Configuration, texts: Sequence[Choice]) -> FanoutSpec:
    """The panel first: all others are about whoever sits on it."""
    for name in sorted(configuration, key=lambda name: name != PANEL):
        setting, choice = configuration[name], stands_for(name, configuration[name], spec.space, texts)
        if name == PANEL:
            models = choice.models or (ModelName(choice.label),)
            fanout = replace(fanout, branches=tuple(BranchSpec(model=model) for model in models))
        elif name in _OF_BRANCHES:
            branches = tuple(_branch(branch, name, setting, text_of(choice)) for branch in fanout.branches)
            fanout = replace(fanout, branches=branches)
        elif name == TEMPLATE:
            asked = replace(fanout.messages[-1], content=text_of(choice))
            fanout = replace(fanout, messages=(*fanout.messages[:-1], asked))
        elif name == "enough":
            fanout = replace(fanout, enough=int(setting))
        elif name in _SYNTHESIS:
            field = name.removeprefix("synthesis.")
            fanout = replace(fanout, synthesis=replace(fanout.synthesis, **{field: _SYNTHESIS[name](setting)}))
    return fanout


def _branch(branch: BranchSpec, name: str, setting: Setting, text: str) -> BranchSpec:
    match name:
        case "persona":
            return replace(branch, persona=text)
        case "samples":
            return replace(branch, samples=int(setting))
        case _:
            return replace(branch, parameters=replace(branch.parameters, **{name: _number(name, setting)}))


_OF_BRANCHES: Final = frozenset({"persona", "samples", *DECODING} - {"seed"})
_SYNTHESIS: Final[Mapping[str, Callable[[Setting], object]]] = {
    "synthesis.mode": lambda setting: SynthesisMode(str(setting)),
    "synthesis.model": lambda setting: ModelName(str(setting)),
    "synthesis.start_after": int,
}
