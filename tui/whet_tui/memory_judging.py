"""The judging desk in memory: the twin of `whet_tui.grpc_judging.GrpcJudging`."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from whet_tui.desk import DeskError
from whet_tui.judging_values import (
    ItemOrder,
    ItemPage,
    ItemQuery,
    JudgedItem,
    Judgement,
    Progress,
    Rating,
    Rubric,
    RunState,
    Source,
)

_LONGEST_NOTE: Final = 2_000
"""Characters, as the contract has it."""


@dataclass(slots=True, kw_only=True)
class _Kept:
    judgement: Judgement
    items: dict[str, JudgedItem] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)


class MemoryJudging:
    """Keeps what it is given. `answer` raises while the desk is away, `wake` tells those who wait that something has
    happened.
    """

    def __init__(
        self,
        look: Callable[[], None],
        answer: Callable[[], None],
        grown: asyncio.Condition,
        wake: Callable[[], Awaitable[None]],
    ) -> None:
        self.rubrics: dict[str, Rubric] = {}
        """By `name@version`."""
        self.calls: list[str] = []
        """The request ids of ratings that came, also of those that were refused and came again."""
        self.kept: set[str] = set()
        """Those of ratings that are kept."""
        self.pages = 0
        """How many pages of items were fetched."""
        self._look = look
        self._answer = answer
        self._grown = grown
        self._wake = wake
        self._kept: dict[str, _Kept] = {}

    async def put(
        self, judgement: Judgement, items: Sequence[JudgedItem] = (), progress: Progress | None = None
    ) -> None:
        """Let a judgement stand so; those who follow it are told."""
        kept = self._kept.setdefault(judgement.run_id, _Kept(judgement=judgement))
        kept.judgement = judgement
        kept.items |= {each.item.item_id: each for each in items}
        shown = progress or Progress(
            verdicts=judgement.verdicts, planned=judgement.plan.verdicts, totals=judgement.totals
        )
        kept.progress = replace(shown, ended=judgement.ended)
        await self._wake()

    async def forget(self, run_id: str) -> None:
        """Let a judgement not be there any more."""
        del self._kept[run_id]
        await self._wake()

    async def judgements(self) -> Sequence[Judgement]:
        self._look()
        return [_listed(kept.judgement) for kept in reversed(self._kept.values())]

    async def items(self, query: ItemQuery, token: str = "", size: int = 50) -> ItemPage:
        self._look()
        self.pages += 1
        kept = self._of(query.run_id)
        found = [
            each
            for each in kept.items.values()
            if not (query.unrated and each.ratings)
            and (query.outcome is None or any(verdict.outcome is query.outcome for verdict in each.verdicts))
        ]
        if query.order is ItemOrder.DISAGREEMENT:
            found.sort(key=lambda each: -each.disagreement)
        elif query.order is ItemOrder.SCORE:
            found.sort(key=lambda each: -1.0 if each.score is None else each.score)
        begin = int(token or 0)
        end = begin + size
        return ItemPage(
            judgement=kept.judgement,
            items=tuple(found[begin:end]),
            next_page_token=str(end) if end < len(found) else "",
            rated_items=sum(bool(each.ratings) for each in kept.items.values()),
        )

    async def progress(self, run_id: str) -> AsyncGenerator[Progress, None]:
        kept = self._of(run_id)
        while True:
            told = kept.progress
            yield told
            if told.ended:
                return
            async with self._grown:
                await self._grown.wait_for(lambda told=told: kept.progress is not told or self._away())  # type: ignore[misc]  # the default holds this round's value
            self._answer()

    async def cancel(self, run_id: str) -> None:
        kept = self._of(run_id)
        if not kept.judgement.ended:
            await self.put(replace(kept.judgement, state=RunState.CANCELLED))

    async def rubric(self, name: str) -> Rubric:
        self._answer()
        if name not in self.rubrics:
            raise DeskError(f"There is no rubric {name!r}.")
        return self.rubrics[name]

    async def rate(self, run_id: str, item_id: str, rating: Rating, request_id: str) -> None:
        self.calls.append(request_id)
        kept = self._of(run_id)
        if item_id not in kept.items:
            raise DeskError(f"There is no item {item_id!r} in {run_id}.", lasting=True)
        if len(rating.note) > _LONGEST_NOTE:
            raise DeskError("ratings[0].note: The value is too long.", lasting=True)
        if request_id in self.kept:
            return
        self.kept.add(request_id)
        judged = kept.items[item_id]
        others = tuple(each for each in judged.ratings if _place(each) != _place(rating))
        kept.items[item_id] = replace(judged, ratings=(*others, replace(rating, source=Source.KEYS)))

    def _away(self) -> bool:
        try:
            self._answer()
        except DeskError:
            return True
        return False

    def _of(self, run_id: str) -> _Kept:
        self._answer()
        if run_id not in self._kept:
            raise DeskError(f"There is no judgement {run_id!r}.", lasting=True)
        return self._kept[run_id]


def _listed(judgement: Judgement) -> Judgement:
    """A judgement as lists give it."""
    return replace(judgement, criteria=(), combined=judgement.combined if judgement.ended else None)


def _place(rating: Rating) -> tuple[str, str, str]:
    """What a later rating has in common with the one it replaces."""
    return rating.rater, rating.rubric, rating.dimension
