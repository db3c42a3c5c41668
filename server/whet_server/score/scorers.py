"""Scores items: the one door to scorers of ours, to embeddings, and to users' own."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from msgspec.structs import replace

from whet_server.errors import Reason
from whet_server.judging import Item, Outcome, Verdict, outcome_of
from whet_server.llm.base import Caller
from whet_server.llm.registry import Endpoints
from whet_server.llm.taxonomy import failure
from whet_server.score.check import check_settings
from whet_server.score.embedding import Embeddings, RunCaps, cosine, texts_of
from whet_server.score.finding import DoesNotApply, Finding
from whet_server.score.kinds import LIGHT, ScorerInfo, built_in, info_of, measure
from whet_server.score.remote import RemoteScorers
from whet_server.score.spec import EmbeddingScorer, RemoteScorer, Scorer
from whet_server.values import Failure, Forecast, ModelName, Nanos, RunId, Totals, Value, Workspace

SHORT: Final = 10_000
"""Characters of candidate and reference that the loop itself compares: a tenth of a millisecond or so."""
THREADS: Final = 2
"""For long texts and for what needs a library. More would only wait for each other: Python runs one at a time."""


class Criterion(Value):
    """A scorer under the name that its verdicts carry; `path` is the field of the request that it stands in."""

    name: str
    scorer: Scorer
    path: str = ""


def costs_money(scorer: Scorer) -> bool:
    """Whether somebody may send a bill for what it does."""
    return isinstance(scorer, EmbeddingScorer) and bool(scorer.model)


class Scorers:
    """The scorers of every workspace. `close` it when the server stops."""

    def __init__(self, caller: Caller, endpoints: Endpoints) -> None:
        self._embeddings = Embeddings(caller, endpoints)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="scorer")
        self.remotes = RemoteScorers()

    def check(self, workspace: Workspace, scorer: Scorer, path: str) -> None:
        """Raise `InvalidField` for settings that cannot be used, or `ScorerNotFound`. `path` is the scorer's field."""
        check_settings(scorer, path)
        if isinstance(scorer, RemoteScorer):
            self.remotes.find(workspace, scorer.name)
        elif isinstance(scorer, EmbeddingScorer) and scorer.model:
            self._embeddings.check(workspace, scorer.model, f"{path}.embedding.model")

    def info(self, workspace: Workspace, scorer: Scorer) -> ScorerInfo:
        """Return what a scorer is. Raises `ScorerNotFound` for a user's own that is not connected."""
        return self.remotes.find(workspace, scorer.name).info if isinstance(scorer, RemoteScorer) else info_of(scorer)

    def list(self, workspace: Workspace) -> Sequence[ScorerInfo]:
        """Return the scorers that can be used, ours first."""
        return (*built_in(), *self.remotes.list(workspace))

    async def score(
        self,
        workspace: Workspace,
        run_id: RunId,
        item: Item,
        criterion: str,
        scorer: Scorer,
        *,
        run_cap: Nanos | None = None,
        run_token_cap: int = 0,
    ) -> Verdict:
        """Score one item. Whatever a scorer does is a verdict; nothing but a cancellation is raised."""
        start = time.perf_counter_ns()
        await asyncio.sleep(0)  # whoever scores thousands leaves the loop to others in between
        if isinstance(scorer, RemoteScorer):
            verdict = await self.remotes.score(workspace, item, criterion, scorer)
        elif isinstance(scorer, EmbeddingScorer) and scorer.model:
            caps = RunCaps(money=run_cap, tokens=run_token_cap)
            verdict = await self._embedded(workspace, run_id, item, criterion, scorer.model, caps)
        else:
            verdict = await self._pure(item, criterion, scorer)
        return replace(verdict, latency_ns=time.perf_counter_ns() - start)

    def end_streams(self) -> None:
        """End the streams of users' scorers: the server closes."""
        self.remotes.close()

    async def close(self) -> None:
        """Cut off what is asked of endpoints, and give up what waits for a thread."""
        await self._embeddings.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def forecast(self, workspace: Workspace, items: Sequence[Item], scorers: Sequence[Scorer]) -> Forecast:
        """Return what it would cost at most to score the items: only embeddings of an endpoint cost anything."""
        models = {scorer.model for scorer in scorers if isinstance(scorer, EmbeddingScorer) and scorer.model}
        texts = [text for item in items for text in (*item.candidates[:1], item.reference)]
        return await self._embeddings.forecast(workspace, [(model, text) for model in sorted(models) for text in texts])

    async def _embedded(
        self,
        workspace: Workspace,
        run_id: RunId,
        item: Item,
        criterion: str,
        model: ModelName,
        caps: RunCaps,
    ) -> Verdict:
        try:
            texts = texts_of(item)
            found = await self._embeddings.of(workspace, run_id, model, texts, caps)
            if found.failure is not None:
                return failed(item, criterion, found.failure, found.totals)
            verdict = scored(item, criterion, cosine(*found.vectors))
        except DoesNotApply as error:
            return abstained(item, criterion, str(error))
        return replace(verdict, totals=found.totals, model=model, simulated=found.simulated)

    async def _pure(self, item: Item, criterion: str, scorer: Scorer) -> Verdict:
        size = sum(map(len, item.candidates)) + len(item.reference)
        try:
            if type(scorer) in LIGHT and size <= SHORT:
                found = measure(scorer, item)
            else:
                loop = asyncio.get_running_loop()
                found = await loop.run_in_executor(self._threads, measure, scorer, item)
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


def failed(item: Item, criterion: str, told: Failure, totals: Totals) -> Verdict:
    """Return how a call that failed counts."""
    return Verdict(
        item_id=item.item_id,
        criterion=criterion,
        outcome=outcome_of(told.reason),
        failure=told,
        totals=totals,
    )


def abstained(item: Item, criterion: str, why: str) -> Verdict:
    return Verdict(
        item_id=item.item_id,
        criterion=criterion,
        outcome=Outcome.ABSTAINED,
        rationale=why,
        failure=failure(Reason.NOT_APPLICABLE, why),
    )
