"""What a judgement will do: defaults filled in, every field checked, rubrics, scorers, models and items looked up."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from whet_server.errors import InvalidField, NotFound, RubricNotFound
from whet_server.judge import asking
from whet_server.judge.items import Items
from whet_server.judge.rubric import Rubric
from whet_server.judge.rubrics import Rubrics
from whet_server.judge.spec import Asked, Criterion, JudgementRecord, JudgementSpec
from whet_server.judge.sums import Folded
from whet_server.judging import Item, Judge, JudgeIdentity, JudgementPlan
from whet_server.llm.base import Caller, CallSpec, ModelInfo
from whet_server.score import names
from whet_server.score.scorers import Scorers
from whet_server.score.spec import name_of
from whet_server.values import CallId, ModelName, RunId, Value, Workspace

MAX_VERDICTS: Final = 200_000
"""Verdicts of one run: what is kept of them in memory while it is under way stays below a few hundred megabytes."""
MAX_CONCURRENCY: Final = 2_000
MAX_SAMPLES: Final = 20
_TITLE_CHARACTERS: Final = 80


class Planned(Value):
    """A judgement with nothing left open."""

    record: JudgementRecord
    items: tuple[Item, ...]
    models: dict[ModelName, ModelInfo]
    sealed_rows: int = 0


class Planner:
    """Makes plans. `models` judge when nobody says who."""

    def __init__(
        self, caller: Caller, items: Items, rubrics: Rubrics, scorers: Scorers, models: tuple[ModelName, ...]
    ) -> None:
        self._caller = caller
        self._items = items
        self._rubrics = rubrics
        self._scorers = scorers
        self._models = models

    async def plan(self, workspace: Workspace, spec: JudgementSpec, purpose: str = "") -> Planned:
        """Return what the spec comes to. Raises `InvalidField` with paths from `spec.` on, `RubricNotFound`,
        `ScorerNotFound`, `EndpointNotFound`, `ModelNotFound`, and what `Items.gather` raises.
        """
        asked, models = await self.criteria(workspace, spec)
        gathered = await self._items.gather(workspace, spec, [each.judge.mode for each in asked if each.judge])
        kept = replace(spec, items=gathered.items if spec.items else (), dataset=gathered.dataset)
        if not purpose:  # an audit has items for single answers and items for pairs, each asked by the judge that fits
            _check_candidates(kept, asked, gathered.items)
        plan = JudgementPlan(
            items=len(gathered.items),
            criteria=tuple(each.name for each in asked),
            judges=tuple(dict.fromkeys(model for each in asked if each.judge for model in each.judge.models)),
            verdicts=sum(expected(each, gathered.items) for each in asked),
            origin=gathered.origin,
            simulated=any(info.simulated for info in models.values()),
        )
        if plan.verdicts > MAX_VERDICTS:
            raise InvalidField(("spec", f"{plan.verdicts} verdicts; ask for at most {MAX_VERDICTS} at once"))
        # The criteria stand in the record with everything that was looked up, so the spec need not say them again.
        kept = replace(kept, judge=None, scorers=(), criteria=(), title=spec.title or _title(plan))
        record = JudgementRecord(
            spec=kept,
            criteria=tuple(asked),
            plan=plan,
            row_ids=tuple(item.item_id for item in gathered.items) if gathered.sealed_rows else (),
            purpose=purpose,
        )
        return Planned(record=record, items=gathered.items, models=models, sealed_rows=gathered.sealed_rows)

    async def criteria(
        self, workspace: Workspace, spec: JudgementSpec
    ) -> tuple[list[Asked], dict[ModelName, ModelInfo]]:
        """Return the criteria of a spec with everything looked up, and the models that judge. Raises what `plan` does,
        except for items.
        """
        criteria = _criteria(spec)
        _check(spec, criteria)
        asked = [await self._asked(workspace, path, criterion) for path, criterion in criteria]
        _check_names([path for path, _ in criteria], asked)
        return asked, await self._known(workspace, criteria, asked)

    async def again(self, workspace: Workspace, record: JudgementRecord) -> tuple[Item, ...]:
        """Return the items of a run from its record. Raises what `Items.gather` raises."""
        modes = [asked.judge.mode for asked in record.criteria if asked.judge]
        items = (await self._items.gather(workspace, record.spec, modes)).items
        if not record.row_ids:
            return items
        wanted = set(record.row_ids)
        return tuple(item for item in items if item.item_id in wanted)

    async def judge(self, workspace: Workspace, judge: Judge, path: str = "judge") -> tuple[Judge, Rubric]:
        """Return a judge with nothing left open, and its rubric. Raises `RubricNotFound`, `InvalidField`."""
        try:
            rubric = await self._rubrics.get(workspace, judge.rubric)
        except RubricNotFound as error:
            raise RubricNotFound(f"{path}.rubric: {error}", metadata=error.metadata | {"field": path}) from error
        models = judge.models or self._models
        if not models:
            raise InvalidField((f"{path}.models", "name a model: this server has none of its own to judge by"))
        if len(set(models)) < len(models):
            raise InvalidField((f"{path}.models", "name each model once; samples ask one several times"))
        return replace(judge, rubric=f"{rubric.name}@{rubric.version}", models=tuple(models)), rubric

    async def identity(self, workspace: Workspace, judge: Judge, path: str = "judge") -> JudgeIdentity:
        """Return what a calibration of this judge is bound to, with defaults filled in as in a judgement."""
        return asking.identity(*(await self.judge(workspace, judge, path)))

    async def _asked(self, workspace: Workspace, path: str, criterion: Criterion) -> Asked:
        if (criterion.scorer is None) is (criterion.judge is None):
            raise InvalidField((path, "say either a scorer or a judge"))
        weight = criterion.weight or 1.0
        if criterion.scorer is not None:
            self._scorers.check(workspace, criterion.scorer, path)
            info = self._scorers.info(workspace, criterion.scorer)
            return Asked(
                name=criterion.name or name_of(criterion.scorer),
                weight=weight,
                aside=criterion.aside,
                unit=info.unit,
                direction=info.direction,
                scorer=criterion.scorer,
            )
        given = criterion.judge or Judge()
        judge, rubric = await self.judge(workspace, given, path)
        return Asked(
            name=criterion.name or rubric.name,
            weight=weight,
            aside=criterion.aside,
            unit="level",
            judge=judge,
            rubric=rubric,
            identity=asking.identity(judge, rubric),
            follows="@" not in given.rubric,
        )

    async def _known(
        self, workspace: Workspace, criteria: Sequence[tuple[str, Criterion]], asked: Sequence[Asked]
    ) -> dict[ModelName, ModelInfo]:
        """Look every judging model up."""
        models: dict[ModelName, ModelInfo] = {}
        for (path, criterion), each in zip(criteria, asked, strict=True):
            for at, model in enumerate(each.judge.models if each.judge else ()):
                field = f"{path}.models[{at}]" if criterion.judge and criterion.judge.models else f"{path}.models"
                if model not in models:
                    models[model] = await self._resolved(workspace, model, field)
        return models

    async def _resolved(self, workspace: Workspace, model: ModelName, field: str) -> ModelInfo:
        try:
            return await self._caller.resolve(workspace, model)
        except NotFound as error:
            raise type(error)(f"{field}: {error}", metadata=error.metadata | {"field": field}) from error
        except InvalidField as error:
            raise InvalidField(*((field, what) for _, what in error.violations)) from error


def questions(record: JudgementRecord, items: Sequence[Item]) -> Iterator[asking.Question]:
    """Yield every question to a judge, always in the same order: its place is in the id of its call."""
    judges = [asked for asked in record.criteria if asked.judge is not None]
    for item in items:
        for asked in judges:
            if asked.judge is not None and asked.rubric is not None:
                yield from asking.questions(item, asked.name, asked.judge, asked.rubric)


def call_of(
    record: JudgementRecord, question: asking.Question, workspace: Workspace, run_id: RunId, number: int
) -> CallSpec:
    """Return the call of the question with this number; the run's cap covers it."""
    spec = record.spec
    return asking.call_of(
        question,
        workspace,
        run_id,
        call_id=CallId(f"{run_id}/v-{number}"),
        limits=spec.limits,
        cache_bypass=spec.cache_bypass,
        cache_ttl=spec.cache_ttl,
        run_cap=spec.cap,
    )


def plan_hash(workspace: Workspace, planned: Planned) -> str:
    """Return a SHA-256 over everything that would run: the spec after defaults, rubrics and prompts by their digests,
    the items' texts, and what is known of the models with their prices.
    """
    models = sorted(planned.models.values(), key=lambda info: info.name)
    whole = (workspace, planned.record, planned.items, models)
    return hashlib.sha256(msgspec.json.encode(whole, order="deterministic")).hexdigest()


def _criteria(spec: JudgementSpec) -> list[tuple[str, Criterion]]:
    """Return all criteria with the paths of their fields: the judge, the scorers, then those with settings."""
    found: list[tuple[str, Criterion]] = []
    judge = spec.judge
    if judge is None and not spec.scorers and not spec.criteria:
        judge = Judge()
    if judge is not None:
        found.append(("spec.judge", Criterion(judge=judge)))
    for at, text in enumerate(spec.scorers):
        try:
            found.append((f"spec.scorers[{at}]", Criterion(scorer=names.named(text))))
        except ValueError as error:
            raise InvalidField((f"spec.scorers[{at}]", str(error))) from error
    for at, criterion in enumerate(spec.criteria):
        kind = "judge" if criterion.judge is not None else "scorer"
        found.append((f"spec.criteria[{at}].{kind}", criterion))
    return found


def _check(spec: JudgementSpec, criteria: Sequence[tuple[str, Criterion]]) -> None:
    wrong = []
    if not 1 <= spec.concurrency <= MAX_CONCURRENCY:
        wrong.append(("spec.concurrency", f"must lie between 1 and {MAX_CONCURRENCY}"))
    if spec.cap is not None and spec.cap < 0:
        wrong.append(("spec.cap", "must not be negative"))
    for path, criterion in criteria:
        if criterion.judge is not None:
            wrong += _wrong_judge(path, criterion.judge)
        if criterion.weight < 0:
            wrong.append((f"{path.rpartition('.')[0]}.weight", "must not be negative"))
    if wrong:
        raise InvalidField(*wrong)


def _wrong_judge(path: str, judge: Judge) -> Iterator[tuple[str, str]]:
    for at, model in enumerate(judge.models):
        endpoint, slash, name = model.partition("/")
        if not (endpoint and slash and name):
            yield f"{path}.models[{at}]", f"{model[:100]!r} is no endpoint/model, such as local/smollm2"
    if not 1 <= judge.samples <= MAX_SAMPLES:
        yield f"{path}.samples", f"must lie between 1 and {MAX_SAMPLES}"
    if judge.parameters.json_schema:
        yield f"{path}.parameters.json_schema", "the verdict's schema is the rubric's; it cannot be another one"


def _check_names(paths: Sequence[str], asked: Sequence[Asked]) -> None:
    seen: set[str] = set()
    twice = []
    for path, each in zip(paths, asked, strict=True):
        if each.name in seen:
            twice.append((path, f"another criterion is called {each.name!r} too; give one of them a name"))
        seen.add(each.name)
    if twice:
        raise InvalidField(*twice)


def _check_candidates(spec: JudgementSpec, asked: Sequence[Asked], items: Sequence[Item]) -> None:
    """Raise `InvalidField` for items that do not have as many candidates as their judges look at."""
    wrong: dict[str, list[int]] = {}
    for at, item in enumerate(items):
        count = len(item.candidates)
        if not count:
            wrong.setdefault("no answer to judge", []).append(at)
        for each in asked:
            least, most = asking.CANDIDATES[each.judge.mode] if each.judge else (0, 100)
            if count and not least <= count <= most:
                wanted = str(least) if least == most else f"{least} or more"
                mode = each.judge.mode if each.judge else ""
                has = "1 answer" if count == 1 else f"{count} answers"
                wrong.setdefault(f"{has}; a {mode} judge looks at {wanted}", []).append(at)
    if wrong:
        raise InvalidField(*((_path(spec, at[0]), _having(items, at, what)) for what, at in wrong.items()))


def _path(spec: JudgementSpec, at: int) -> str:
    """Return the field that the answers of an item come from."""
    if spec.fanout_run_id:
        return "spec.fanout_run_id"
    return f"spec.items[{at}].candidates" if spec.items else "spec.dataset.candidates"


def _having(items: Sequence[Item], at: Sequence[int], what: str) -> str:
    """Return what is wrong with one item or, once for all, with many."""
    first = items[at[0]].item_id
    return f"item {first} has {what}" if len(at) == 1 else f"{len(at)} items, the first {first}, have {what}"


def expected(asked: Asked, items: Sequence[Item]) -> int:
    """Return how many verdicts a criterion asks for."""
    if asked.judge is None or asked.rubric is None:
        return len(items)
    counts: dict[int, int] = {}
    for item in items:
        size = len(item.candidates)
        if size not in counts:
            counts[size] = len(asking.questions(item, asked.name, asked.judge, asked.rubric))
    return sum(counts[len(item.candidates)] for item in items)


def left_out(folded: Folded) -> dict[str, int]:
    """Count the verdicts of an ended run that were never asked for, by criterion: it was cancelled before."""
    there = Counter(verdict.criterion for verdict in folded.verdicts)
    return {asked.name: expected(asked, folded.items) - there[asked.name] for asked in folded.criteria}


def _title(plan: JudgementPlan) -> str:
    origin = plan.origin or (f"{plan.items} items" if plan.items > 1 else "1 item")
    line = f"{origin}: {', '.join(plan.criteria)}"
    return line if len(line) <= _TITLE_CHARACTERS else line[: _TITLE_CHARACTERS - 1].rstrip() + "…"
