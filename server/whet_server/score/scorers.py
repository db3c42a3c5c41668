"""Scores items: the one door to scorers of ours, to embeddings, and to users' own."""

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from msgspec.structs import replace

from whet_server.errors import Reason
from whet_server.judging import Item, Outcome, Verdict
from whet_server.llm.taxonomy import failure
from whet_server.score.check import check_settings
from whet_server.score.finding import DoesNotApply, Finding
from whet_server.score.kinds import LIGHT, PURE, ScorerInfo, built_in, info_of
from whet_server.score.spec import Scorer
from whet_server.values import Nanos, RunId, Value, Workspace

SHORT: Final = 10_000
"""Characters of candidate and reference that the loop itself compares: a tenth of a millisecond or so."""
THREADS: Final = 2
"""For long texts and for what needs a library. More would only wait for each other: Python runs one at a time."""

_log = logging.getLogger(__name__)


class Criterion(Value):
    """A scorer under the name that its verdicts carry; `path` is the field of the request that it stands in."""

    name: str
    scorer: Scorer
    path: str = ""


class Scorers:
    """The scorers of every workspace. `close` it when the server stops."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="scorer")

    def check(self, workspace: Workspace, scorer: Scorer, path: str) -> None:
        """Raise `InvalidField` for settings that cannot be used, or `ScorerNotFound`. `path` is the scorer's field."""
        check_settings(scorer, path)

    def info(self, workspace: Workspace, scorer: Scorer) -> ScorerInfo:
        """Return what a scorer is. Raises `ScorerNotFound` for a user's own that is not connected."""
        return info_of(scorer)

    def list(self, workspace: Workspace) -> Sequence[ScorerInfo]:
        """Return the scorers that can be used, ours first."""
        return tuple(built_in())

    async def score(
        self,
        workspace: Workspace,
        run_id: RunId,
        item: Item,
        criterion: str,
        scorer: Scorer,
        *,
        run_cap: Nanos | None = None,
    ) -> Verdict:
        """Score one item. Whatever a scorer does is a verdict; nothing but a cancellation is raised."""
        start = time.perf_counter_ns()
        await asyncio.sleep(0)  # whoever scores thousands leaves the loop to others in between
        verdict = await self._pure(item, criterion, scorer)
        return replace(verdict, latency_ns=time.perf_counter_ns() - start)

    def close(self) -> None:
        """Give up what waits for a thread."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _pure(self, item: Item, criterion: str, scorer: Scorer) -> Verdict:
        measure = PURE[type(scorer)]
        size = sum(map(len, item.candidates)) + len(item.reference)
        try:
            if type(scorer) in LIGHT and size <= SHORT:
                found = measure(item, scorer)
            else:
                loop = asyncio.get_running_loop()
                found = await loop.run_in_executor(self._threads, measure, item, scorer)
        except DoesNotApply as error:
            return abstained(item, criterion, str(error))
        return scored(item, criterion, found)


def scored(item: Item, criterion: str, found: Finding) -> Verdict:
    return Verdict(
        item_id=item.item_id,
        criterion=criterion,
        outcome=Outcome.SCORED,
        score=found.score,
        value=found.value,
        rationale=found.rationale,
    )


def abstained(item: Item, criterion: str, why: str) -> Verdict:
    return Verdict(
        item_id=item.item_id,
        criterion=criterion,
        outcome=Outcome.ABSTAINED,
        rationale=why,
        failure=failure(Reason.NOT_APPLICABLE, why),
    )
