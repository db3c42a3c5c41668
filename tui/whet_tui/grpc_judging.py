"""The judging desk over gRPC."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from whet.v1 import calibration_pb2, event_pb2, judge_pb2, judging_pb2, rubric_pb2, value_pb2
from whet_tui.asking_server import Asker
from whet_tui.judging_values import (
    ItemOrder,
    ItemPage,
    ItemQuery,
    JudgedItem,
    Judgement,
    Outcome,
    Progress,
    Rating,
    Rubric,
)
from whet_tui.reading_wire import read

_JUDGEMENTS: Final = 200
"""Judgements that a list shows: more than anybody scrolls through."""
_ITEM_SECONDS: Final = 30.0
"""Sums over ten thousand items and their ratings take their time."""
_CANCEL_SECONDS: Final = 60.0
"""Cancelled calls are billed and reported before the answer comes."""
_AGAIN_SECONDS: Final = 0.2
"""Before a stream that was cut is attached again."""

_ORDERS: Final[Mapping[ItemOrder, judge_pb2.ItemOrder.ValueType]] = {
    ItemOrder.GIVEN: judge_pb2.ITEM_ORDER_GIVEN,
    ItemOrder.DISAGREEMENT: judge_pb2.ITEM_ORDER_DISAGREEMENT,
    ItemOrder.SCORE: judge_pb2.ITEM_ORDER_SCORE,
}


class GrpcJudging:
    """Asks the server that a desk is connected to."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    async def judgements(self) -> Sequence[Judgement]:
        request = judge_pb2.ListJudgementsRequest(page=value_pb2.Page(size=_JUDGEMENTS))
        answer = await self._asker.ask("ListJudgements", request, judge_pb2.ListJudgementsResponse)
        return [read(judgement, Judgement) for judgement in answer.judgements]

    async def items(self, query: ItemQuery, token: str = "", size: int = 50) -> ItemPage:
        request = judge_pb2.GetJudgementRequest(
            run_id=query.run_id,
            page=value_pb2.Page(size=size, token=token),
            order=_ORDERS[query.order],
            outcome=_outcome(query.outcome),
            unrated=query.unrated,
        )
        answer = await self._asker.ask("GetJudgement", request, judge_pb2.GetJudgementResponse, timeout=_ITEM_SECONDS)
        return ItemPage(
            judgement=read(answer.judgement, Judgement),
            items=tuple(read(item, JudgedItem) for item in answer.items),
            next_page_token=answer.next_page_token,
            rated_items=answer.rated_items,
        )

    async def progress(self, run_id: str) -> AsyncGenerator[Progress, None]:
        latest = Progress()
        while not latest.ended:
            judgement = (await self.items(ItemQuery(run_id=run_id), size=1)).judgement
            latest = replace(
                latest,
                verdicts=max(latest.verdicts, judgement.verdicts),
                planned=judgement.plan.verdicts,
                totals=judgement.totals,
                ended=judgement.ended,
            )
            yield latest
            if latest.ended:
                return
            async with aclosing(self._heard(run_id)) as heard:
                async for latest in heard:
                    yield latest
            if not latest.ended:
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _heard(self, run_id: str) -> AsyncGenerator[Progress, None]:
        """What the judgement's stream tells from now on, until it ends or is cut."""
        request = judge_pb2.WatchJudgementRequest(run_id=run_id, cursor="now")
        latest = Progress()
        async with aclosing(
            self._asker.stream("WatchJudgement", request, judge_pb2.WatchJudgementResponse)
        ) as messages:
            async for message in messages:
                told = [progress for event in message.batch.events if (progress := _told(event, latest)) is not None]
                if told:
                    latest = told[-1]
                    yield latest

    async def cancel(self, run_id: str) -> None:
        request = judge_pb2.CancelJudgementRequest(run_id=run_id)
        await self._asker.ask("CancelJudgement", request, judge_pb2.CancelJudgementResponse, timeout=_CANCEL_SECONDS)

    async def rubric(self, name: str) -> Rubric:
        bare, _, version = name.partition("@")
        request = rubric_pb2.GetRubricRequest(name=bare, version=int(version or 0))
        answer = await self._asker.ask("GetRubric", request, rubric_pb2.GetRubricResponse)
        return read(answer.rubric, Rubric)

    async def rate(self, run_id: str, item_id: str, rating: Rating, request_id: str) -> None:
        message = judging_pb2.Rating(
            item_id=item_id,
            rubric=rating.rubric,
            dimension=rating.dimension,
            level=rating.level,
            preferred=rating.preferred,
            rater=rating.rater,
            source=judging_pb2.RATING_SOURCE_KEYS,
            note=rating.note,
        )
        request = calibration_pb2.PutRatingsRequest(request_id=request_id, run_id=run_id, ratings=[message])
        await self._asker.ask("PutRatings", request, calibration_pb2.PutRatingsResponse)


def _outcome(outcome: Outcome | None) -> judging_pb2.Outcome.ValueType:
    return (
        judging_pb2.OUTCOME_UNSPECIFIED if outcome is None else judging_pb2.Outcome.Value(f"OUTCOME_{outcome.upper()}")
    )


def _told(event: event_pb2.Event, before: Progress) -> Progress | None:
    """What an event says of the progress, None for one that says nothing of it."""
    kind = event.WhichOneof("payload")
    if kind == "judgement_progress":
        return read(event.judgement_progress, Progress)
    return replace(before, ended=True) if kind == "run_finished" else None
