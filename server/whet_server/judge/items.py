"""Where the items of a judgement come from: the request, a data set, or a fan-out."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from whet_server.dataset.datasets import Datasets
from whet_server.dataset.spec import DatasetRef, Selection
from whet_server.errors import InvalidField
from whet_server.fanout.fanouts import Fanouts
from whet_server.judge.spec import JudgementSpec
from whet_server.judging import Item, JudgeMode
from whet_server.log.lifecycle import BranchState
from whet_server.values import RunId, RunState, Value, Workspace

MAX_ITEMS: Final = 20_000
"""As the contract says of items in a request; a data set may have as many rows judged at once."""


class Gathered(Value):
    """Items with their ids, where they come from in words, and the data set with its version."""

    items: tuple[Item, ...]
    origin: str = ""
    dataset: DatasetRef | None = None
    sealed_rows: int = 0


class Items:
    """Finds the items that a spec names."""

    def __init__(self, fanouts: Fanouts, datasets: Datasets) -> None:
        self._fanouts = fanouts
        self._datasets = datasets

    async def gather(
        self, workspace: Workspace, spec: JudgementSpec, modes: Sequence[JudgeMode], *, answered: bool = True
    ) -> Gathered:
        """Return the items. `answered`: rows of a data set hold answers. Raises `InvalidField`, `DatasetNotFound`,
        `HoldoutSealed`, `RunNotFound`.
        """
        given = [bool(spec.items), spec.dataset is not None, spec.fanout_run_id is not None]
        if sum(given) != 1:
            raise InvalidField(("spec.items", "give either items, or a data set, or a fan-out"))
        if spec.dataset is not None:
            return await self._rows(workspace, spec.dataset, answered=answered)
        if spec.fanout_run_id is not None:
            return await self._answers(workspace, spec.fanout_run_id, together=_together(modes))
        return Gathered(items=named(spec.items))

    async def _rows(self, workspace: Workspace, ref: DatasetRef, *, answered: bool) -> Gathered:
        try:
            rows = await self._datasets.items(workspace, ref, answered=answered)
        except InvalidField as error:
            raise InvalidField(*((f"spec.{path}", what) for path, what in error.violations)) from error
        if len(rows.items) > MAX_ITEMS:
            raise InvalidField(("spec.dataset.limit", f"{len(rows.items)} rows; judge at most {MAX_ITEMS} at once"))
        if not rows.items:
            raise InvalidField(("spec.dataset", f"{_origin(rows)} has no rows to judge"))
        pinned = replace(ref, version=rows.version)
        return Gathered(items=rows.items, origin=_origin(rows), dataset=pinned, sealed_rows=rows.sealed_rows)

    async def _answers(self, workspace: Workspace, run_id: RunId, *, together: bool) -> Gathered:
        view = await self._fanouts.get(workspace, run_id)
        if view.run.state is RunState.RUNNING:
            raise InvalidField(("spec.fanout_run_id", f"{run_id} is still under way; judge it when it has ended"))
        done = [branch for branch in view.branches if branch.state is BranchState.DONE]
        if not done:
            raise InvalidField(("spec.fanout_run_id", f"no branch of {run_id} has answered"))
        if together:
            whole = Item(
                item_id=run_id,
                input=view.prompt,
                candidates=tuple(branch.text for branch in done),
                writers=tuple(branch.model for branch in done),
                latency_ns=done[0].latency_ns,
                cost=done[0].totals.settled,
            )
            return Gathered(items=(whole,), origin=f"fan-out {run_id}")
        items = tuple(
            Item(
                item_id=branch.branch_id,
                input=view.prompt,
                candidates=(branch.text,),
                writers=(branch.model,),
                latency_ns=branch.latency_ns,
                cost=branch.totals.settled,
            )
            for branch in done
        )
        return Gathered(items=items, origin=f"fan-out {run_id}")


def named(items: Sequence[Item]) -> tuple[Item, ...]:
    """Return the items with an id each: its own, else its number from 1. Raises `InvalidField` for an id that comes
    twice.
    """
    found = tuple(item if item.item_id else replace(item, item_id=str(at)) for at, item in enumerate(items, start=1))
    seen: set[str] = set()
    twice = []
    for at, item in enumerate(found):
        if item.item_id in seen:
            twice.append((f"spec.items[{at}].item_id", f"another item is called {item.item_id!r} too"))
        seen.add(item.item_id)
    if twice:
        raise InvalidField(*twice)
    return found


def _together(modes: Sequence[JudgeMode]) -> bool:
    return any(mode is not JudgeMode.POINTWISE for mode in modes)


def _origin(rows: Selection) -> str:
    split = f", {rows.split}" if rows.split else ""
    return f"data set {rows.name}@{rows.version}{split}"
