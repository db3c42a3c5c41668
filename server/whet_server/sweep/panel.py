"""A fan-out as a target: for each case the whole of it, branches and synthesis, inside the sweep's run and its money.

The fan-out's own machinery does the work (`fanout/run.py`), without a run of its own: its calls carry the sweep's run
and caps, and their ids begin with the case's. The answer is the synthesis; without one, the first branch that
answered.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Final

from msgspec.structs import replace

from whet_server.errors import InvalidField, TemplateFailed, WhetError, failure_of
from whet_server.fanout.branches import no_answer
from whet_server.fanout.check import check as check_fanout
from whet_server.fanout.plan import Planned, branch_calls, estimate, look_up
from whet_server.fanout.plan import filled as filled_fanout
from whet_server.fanout.prompts import draft_budget
from whet_server.fanout.run import FanoutRun
from whet_server.fanout.spec import BranchSpec, FanoutSpec, SynthesisMode
from whet_server.fanout.view import History
from whet_server.judging import Item
from whet_server.llm.base import CallResult, CallSpec, Estimate, Listener, ModelInfo
from whet_server.log.events import (
    BranchFinished,
    DraftEnded,
    DurablePayload,
    LivePayload,
    RunFinished,
    RunOpened,
    SynthesisFinished,
)
from whet_server.log.lifecycle import BranchState
from whet_server.sweep import places
from whet_server.sweep.dimensions import PARAMS, Dimensions
from whet_server.sweep.guess import LONGEST_TOKEN, Guess, guess, likely_text, likely_tokens, seconds
from whet_server.sweep.means import Answered, Means, field_names, paid, took, whole
from whet_server.sweep.pipeline import FIELDS, INPUT
from whet_server.sweep.places import Place, PlaceKind
from whet_server.sweep.template import MOST_OUTPUT, Template, check
from whet_server.sweeping import Choice, Configuration, SearchDimension, Setting, StageOutput
from whet_server.values import (
    CallId,
    Message,
    ModelName,
    Nanos,
    Role,
    Run,
    RunId,
    RunKind,
    RunState,
    Speaker,
    Totals,
    Workspace,
)

_MODES: Final = tuple(mode.value for mode in SynthesisMode if mode.value)
_PLACES: Final[Mapping[str, Place]] = {
    "panel": places.MODELS,
    "template": places.TEXT,
    "persona": places.TEXT,
    "synthesis.mode": Place(kind=PlaceKind.NAME, names=_MODES),
    "synthesis.model": places.MODEL,
    "synthesis.start_after": Place(kind=PlaceKind.INTEGER, low=1, high=10_000),
    "enough": Place(kind=PlaceKind.INTEGER, high=10_000),
    "samples": Place(kind=PlaceKind.INTEGER, low=1, high=100),
    "temperature": places.TEMPERATURE,
    "top_p": places.TOP_P,
    "max_tokens": places.TOKENS,
}
_DRAFTS: Final = 2
"""Drafts that a synthesis is likely to take, one after the other."""
_MOST_COMBINED: Final = 64
"""Combinations whose worst cost is bounded one by one."""


def filled(spec: FanoutSpec, panel: Sequence[BranchSpec], synthesiser: ModelName | None) -> FanoutSpec:
    """Return the fan-out with the panel and the synthesiser that it does not say."""
    synthesis = replace(spec.synthesis, model=spec.synthesis.model or synthesiser)
    return replace(spec, branches=spec.branches or tuple(panel), synthesis=synthesis)


class PanelTarget:
    """A fan-out with its panel filled in (`filled`). `items` are the cases."""

    def __init__(
        self, fanout: FanoutSpec, dimensions: Sequence[SearchDimension], means: Means, items: Sequence[Item]
    ) -> None:
        self.fanout = fanout
        self.means = means
        self._fields = field_names(items)
        self._longest = max(items, key=_size, default=Item())
        self._dimensions = Dimensions(dimensions, _PLACES)
        self._compiled: dict[str, Template] = {}
        self._bound: tuple[str, Nanos] | None = None

    def places(self) -> Mapping[str, Place]:
        return _PLACES

    async def check(self, path: str = "spec") -> dict[ModelName, ModelInfo]:
        """Check the fan-out and its dimensions; see `Target.check`."""
        self._dimensions.check(f"{path}.space", "fan-out")
        used = self._check_templates(path)
        self._dimensions.check_used(used, f"{path}.space")
        if self.fanout.cap is not None:
            raise InvalidField((f"{path}.fanout.cap", "the sweep's budget holds for all its fan-outs: leave it out"))
        for panel in self._panels():
            spec = self._set({}, {}, self.fanout.messages, panel)
            try:
                check_fanout(spec, ())
            except InvalidField as error:
                raise InvalidField(*((_inside(where, path), what) for where, what in error.violations)) from error
        models: dict[ModelName, ModelInfo] = {}
        for where, model in self._models(path):
            if model not in models:
                models[model] = await self.means.resolve(model, where)
        return models

    def baseline(self) -> Configuration:
        """Return what the fan-out says at the dimensions' places."""
        said: dict[str, Setting | None] = {
            "template": self._template(),
            "synthesis.mode": self.fanout.synthesis.mode.value or None,
            "synthesis.model": self.fanout.synthesis.model,
            "synthesis.start_after": self.fanout.synthesis.start_after or None,
            "enough": self.fanout.enough,
            "temperature": self.fanout.parameters.temperature,
            "top_p": self.fanout.parameters.top_p,
            "max_tokens": self.fanout.parameters.max_tokens,
        }
        own = tuple(branch.model for branch in self.fanout.branches)
        panel = self._dimensions.of("panel")
        if panel is not None and panel.choices is not None:
            said["panel"] = next((each.label for each in panel.choices.choices if _models_of(each) == own), None)
        if len({branch.samples for branch in self.fanout.branches}) == 1:
            said["samples"] = self.fanout.branches[0].samples
        if len({branch.persona for branch in self.fanout.branches}) == 1:
            said["persona"] = self.fanout.branches[0].persona or None
        return self._dimensions.settings(said)

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
        """Ask everybody on the panel and make one answer of theirs; see `Target.answer`."""
        try:
            planned = await self._planned(configuration, texts, item)
        except WhetError as error:
            return Answered(failure=failure_of(error))
        caller = _Inside(self.means, sample, max(branch.samples for branch in planned.spec.branches))
        record = Record(self.means.workspace, RunId(ident), planned.spec.title)
        opened = RunOpened(
            run_id=RunId(ident), kind=RunKind.FANOUT, title="", role=Role.PERSON, branches=planned.branches
        )
        budget = draft_budget(planned.spec.synthesis.model)
        run = FanoutRun(
            record, caller, planned.spec, History(opened), budget=budget, clock=time.time_ns, with_evidence=False
        )
        stopping = asyncio.create_task(_cancel(run, stop), name="stop-watcher")
        try:
            await run.drive()
        finally:
            stopping.cancel()
        return _answered(planned, record, caller)

    async def guess(self, configuration: Configuration, item: Item) -> tuple[Guess, str]:
        """See `Target.guess`. Branches are asked at once, so that the slowest counts, then drafts are written."""
        try:
            planned = await self._planned(configuration, {}, item)
        except WhetError:
            return Guess(), item.input
        calls = branch_calls(self.means.workspace, self.means.run_id, planned.spec, planned.branches)
        found = [guess(call, await self.means.caller.estimate(call)) for call in calls]
        branches = sum(found, Guess())
        budget = draft_budget(planned.spec.synthesis.model)
        whole = await estimate(self.means.caller, self.means.workspace, planned, budget)
        drafter = planned.spec.synthesis.model
        drafts = whole.calls - len(calls) if drafter else 0
        writer = planned.models[drafter or planned.spec.branches[0].model]
        tokens = likely_tokens(planned.spec.synthesis.parameters if drafter else calls[0].parameters, writer)
        longest = max(each.seconds for each in found)
        return replace(
            branches + Guess(calls=drafts, asked=((writer.name, drafts),) if drafts else ()),
            expected=int(whole.expected),
            seconds=longest + min(drafts, _DRAFTS) * seconds(writer.name, tokens),
        ), likely_text(calls[0].parameters, writer)

    async def worst(self, item: Item) -> tuple[str, Nanos]:
        """See `Target.worst`: of the longest case, over every panel, prompt, variable and synthesiser, or of many
        combinations over the first ones, with the most samples and tokens.
        """
        del item  # the longest one stands for all
        if self._bound is None:
            self._bound = await self._worst()
        return self._bound

    async def _worst(self) -> tuple[str, Nanos]:
        most: Configuration = {
            name: value for name in ("samples", "max_tokens") if (value := self._dimensions.highest(name)) is not None
        }
        if "draft" in self._dimensions.labels("synthesis.mode"):
            most["synthesis.mode"] = "draft"
        names = ("panel", "template", "persona", "synthesis.model", *self._dimensions.variables)
        values = [(name, self._dimensions.ends(name)) for name in names if self._dimensions.of(name) is not None]
        money, tokens = 0, 1
        for number, combined in enumerate(product(*(each for _, each in values))):
            if number >= _MOST_COMBINED:
                break
            await asyncio.sleep(0)  # others get their turn
            configuration = most | dict(zip((name for name, _ in values), combined, strict=True))
            try:
                planned = await self._planned(configuration, {}, self._longest)
            except TemplateFailed:  # it will not be asked like this
                continue
            budget = draft_budget(planned.spec.synthesis.model)
            money = max(money, (await estimate(self.means.caller, self.means.workspace, planned, budget)).worst)
            tokens = max(tokens, *(_limit(planned, call) for call in self._calls(planned)))
        return "x" * min(LONGEST_TOKEN * tokens, MOST_OUTPUT // 2), Nanos(money)

    def _calls(self, planned: Planned) -> list[CallSpec]:
        return branch_calls(self.means.workspace, self.means.run_id, planned.spec, planned.branches)

    async def _planned(self, configuration: Configuration, texts: Mapping[str, str], item: Item) -> Planned:
        """Return the fan-out for a case. Raises `TemplateFailed`, `EndpointNotFound`, `ModelNotFound`."""
        seen: dict[str, Any] = {
            INPUT: item.input,
            FIELDS: dict(item.fields),
            PARAMS: self._dimensions.params(configuration, texts),
        }
        template = self._dimensions.text("template", configuration, texts)
        messages = tuple(
            replace(message, content=self._filled(source, seen)) if message.role is not Speaker.ASSISTANT else message
            for message, source in self._sources(self._template() if template is None else template)
        )
        choice = self._dimensions.choice("panel", configuration)
        panel = _panel(choice) if choice is not None else self.fanout.branches
        spec = self._set(configuration, texts, messages, panel)
        return await look_up(self.means.caller, self.means.workspace, filled_fanout(spec, (), None))

    def _set(
        self,
        configuration: Configuration,
        texts: Mapping[str, str],
        messages: tuple[Message, ...],
        panel: Sequence[BranchSpec],
    ) -> FanoutSpec:
        """Return the fan-out under a configuration, asking this panel these messages."""
        at = self._dimensions
        own = at.parameters(configuration)
        samples, persona = at.integer("samples", configuration), at.text("persona", configuration, texts)
        branches = tuple(
            replace(
                branch,
                parameters=own.over(branch.parameters),
                samples=samples or branch.samples,
                persona=branch.persona if persona is None else persona,
            )
            for branch in panel
        )
        synthesis = self.fanout.synthesis
        mode, model = (configuration.get(f"synthesis.{name}") for name in ("mode", "model"))
        return replace(
            self.fanout,
            messages=messages,
            branches=branches,
            enough=self.fanout.enough if "enough" not in configuration else at.integer("enough", configuration) or 0,
            synthesis=replace(
                synthesis,
                mode=synthesis.mode if mode is None else SynthesisMode(str(mode)),
                model=synthesis.model if model is None else ModelName(str(model)),
                start_after=at.integer("synthesis.start_after", configuration) or synthesis.start_after,
            ),
            cache_bypass=self.means.cache_bypass or self.fanout.cache_bypass,
            cache_ttl=self.fanout.cache_ttl if self.means.cache_ttl is None else self.means.cache_ttl,
        )

    def _sources(self, template: str) -> Iterator[tuple[Message, str]]:
        """Yield the messages with their templates; the last one's is the place `template`."""
        for message in self.fanout.messages[:-1]:
            yield message, message.content
        yield self.fanout.messages[-1], template

    def _template(self) -> str:
        return self.fanout.messages[-1].content if self.fanout.messages else ""

    def _filled(self, source: str, seen: Mapping[str, Any]) -> str:
        template = self._compiled.get(source)
        if template is None:
            template = self._compiled[source] = Template(source)
        return template.fill(**seen)

    def _check_templates(self, path: str) -> set[str]:
        """Check every template; return what they ask for."""
        if not self.fanout.messages:
            raise InvalidField((f"{path}.fanout.prompt", "ask something: give a prompt as a template"))
        known = {INPUT: None, FIELDS: self._fields, PARAMS: self._dimensions.names}
        last = len(self.fanout.messages) - 1
        found = [
            check(message.content, f"{path}.fanout.messages[{at}].content" if last else f"{path}.fanout.prompt", known)
            for at, message in enumerate(self.fanout.messages)
            if message.role is not Speaker.ASSISTANT
        ]
        found += [check(text, f"{path}.space{where}", known) for where, text in self._dimensions.texts("template")]
        return {name for template in found for name in template.paths}

    def _panels(self) -> Iterator[Sequence[BranchSpec]]:
        yield self.fanout.branches
        panel = self._dimensions.of("panel")
        if panel is not None and panel.choices is not None:
            for choice in panel.choices.choices:
                yield _panel(choice)

    def _models(self, path: str) -> Iterator[tuple[str, ModelName]]:
        """Yield every model that may be asked, with its field."""
        for at, branch in enumerate(self.fanout.branches):
            for model in (branch.model, *branch.failover):
                yield f"{path}.fanout.branches[{at}].model", model
        if self.fanout.synthesis.model:
            yield f"{path}.fanout.synthesis.model", self.fanout.synthesis.model
        for name in ("panel", "synthesis.model"):
            dimension = self._dimensions.of(name)
            for at, choice in enumerate(dimension.choices.choices if dimension and dimension.choices else ()):
                for model in _models_of(choice):
                    yield f"{path}.space{self._dimensions.where(name)}.choices.choices[{at}]", model


class Record:
    """Keeps what happens in a fan-out that has no log: its branches, its drafts, its synthesis and its end."""

    def __init__(self, workspace: Workspace, run_id: RunId, title: str) -> None:
        self.run = Run(
            run_id=run_id,
            workspace=workspace,
            kind=RunKind.FANOUT,
            title=title,
            state=RunState.RUNNING,
            role=Role.PERSON,
            create_ns=time.time_ns(),
        )
        self.snapshot: Callable[[], Sequence[LivePayload]] = tuple
        self.branches: list[BranchFinished] = []
        self.drafts: list[DraftEnded] = []
        self.synthesis: SynthesisFinished | None = None
        self.end: RunFinished | None = None

    def emit(self, payload: LivePayload) -> None:
        """Nobody watches it."""

    async def append(self, *payloads: DurablePayload) -> None:
        for payload in payloads:
            match payload:
                case BranchFinished():
                    self.branches.append(payload)
                case DraftEnded():
                    self.drafts.append(payload)
                case SynthesisFinished():
                    self.synthesis = payload
                case _:
                    pass

    def post(self, *payloads: DurablePayload) -> "asyncio.Task[None]":
        return asyncio.create_task(self.append(*payloads))

    async def finish(self, finished: RunFinished) -> None:
        self.end = finished

    async def idle(self) -> None:
        """Nothing is on its way to a disk."""


class _Inside:
    """Calls models for a fan-out inside a sweep: under its run, within its caps, each sample of a case anew."""

    def __init__(self, means: Means, sample: int, samples: int) -> None:
        self._means = means
        self._passed = (sample - 1) * samples
        self.results: list[CallResult] = []
        self._branches: list[int | None] = []
        self._drafts: list[int | None] = []
        self._first_ns = 0
        self._last_ns = 0

    async def call(self, spec: CallSpec, listener: Listener, stop: asyncio.Event) -> CallResult:
        budget = self._means.budget
        call = replace(
            spec,
            run_id=self._means.run_id,
            sample=spec.sample + self._passed,
            run_cap=budget.money,
            run_token_cap=budget.tokens,
        )
        result = await self._means.ask(call, stop, listener)
        self.results.append(result)
        self._last_ns = time.monotonic_ns()
        self._first_ns = min(self._first_ns or self._last_ns, self._last_ns - result.latency_ns)
        if spec.call_id.rpartition("/")[2].startswith("b"):
            self._branches.append(took(result))
        else:
            self._drafts.append(took(result))
        return result

    @property
    def latency_ns(self) -> int | None:
        """The slowest branch, then drafts, each without what it waited for its turn; no more than from the first call
        to the last token, for a draft may begin before all branches are in. Of what the cache had, as it was.
        """
        known = [each for each in (*self._branches, *self._drafts) if each is not None]
        if len(known) < len(self.results):
            return None
        made = max((each for each in self._branches if each), default=0) + sum(each for each in self._drafts if each)
        if any(result.cached for result in self.results):
            return made
        return min(made, self._last_ns - self._first_ns)

    @property
    def cost(self) -> Nanos | None:
        """What making all answers cost; None where some price is unknown."""
        money = whole(map(paid, self.results))
        return None if money is None else Nanos(money)

    async def resolve(self, workspace: Workspace, model: ModelName) -> ModelInfo:
        return await self._means.caller.resolve(workspace, model)

    async def estimate(self, spec: CallSpec) -> Estimate:
        return await self._means.caller.estimate(spec)


async def _cancel(run: FanoutRun, stop: asyncio.Event) -> None:
    await stop.wait()
    run.cancel()


def _answered(planned: Planned, record: Record, caller: _Inside) -> Answered:
    """Return what a fan-out came to."""
    order = {plan.branch_id: place for place, plan in enumerate(planned.branches)}
    branches = sorted(record.branches, key=lambda branch: order[branch.branch_id])
    done = [branch for branch in branches if branch.state is BranchState.DONE]
    synthesis, totals = record.synthesis, record.end.totals if record.end else Totals()
    text, told = (synthesis.text, synthesis.failure) if synthesis else (done[0].text if done else "", None)
    if not done or (synthesis is not None and synthesis.state is not BranchState.DONE):
        told = told or no_answer(branches)
    writers = [record.drafts[-1].model] if synthesis and record.drafts else [branch.model for branch in done[:1]]
    return Answered(
        output=text,
        stages=tuple(StageOutput(stage=branch.branch_id, output=branch.text) for branch in done) if synthesis else (),
        models=tuple(writers),
        totals=totals,
        cost=caller.cost,
        latency_ns=caller.latency_ns,
        cached=bool(caller.results) and all(result.cached for result in caller.results),
        simulated=any(result.simulated for result in caller.results),
        failure=told,
    )


def _panel(choice: Choice) -> tuple[BranchSpec, ...]:
    return tuple(BranchSpec(model=model) for model in _models_of(choice))


def _models_of(choice: Choice) -> tuple[ModelName, ...]:
    return choice.models or (ModelName(choice.label),)


def _limit(planned: Planned, call: CallSpec) -> int:
    return call.parameters.max_tokens or planned.models[call.models[0]].default_max_tokens


def _inside(where: str, path: str) -> str:
    return where.replace("spec.", f"{path}.fanout.", 1)


def _size(item: Item) -> int:
    return len(item.input) + sum(map(len, item.fields.values()))
