"""ScorerService: unpack, call, pack."""

import asyncio
from collections.abc import Sequence
from typing import Final

from whet.v1 import judging_pb2, scorer_pb2, scorer_pb2_grpc
from whet_server.judging import Item, Verdict
from whet_server.rpc import calls
from whet_server.rpc.convert.mirror import message_of
from whet_server.rpc.convert.scorer import criteria_of, info_message, items_of
from whet_server.rpc.layers import Context
from whet_server.score.scorers import Criterion, Scorers
from whet_server.values import RunId, Workspace, new_id

AT_ONCE: Final = 64
"""Verdicts of one call under way: enough to fill requests for embeddings, few enough to leave the loop to others."""


class ScorerServicer(scorer_pb2_grpc.ScorerServiceServicer):
    """Scores for the workspace that calls."""

    def __init__(self, scorers: Scorers) -> None:
        self._scorers = scorers

    async def ListScorers(
        self, request: scorer_pb2.ListScorersRequest, context: Context
    ) -> scorer_pb2.ListScorersResponse:
        found = self._scorers.list(calls.principal().workspace)
        return scorer_pb2.ListScorersResponse(scorers=[info_message(info) for info in found])

    async def ScoreItems(
        self, request: scorer_pb2.ScoreItemsRequest, context: Context
    ) -> scorer_pb2.ScoreItemsResponse:
        principal = calls.principal()
        criteria, items = criteria_of(request), items_of(request.items)
        for criterion in criteria:
            self._scorers.check(principal.workspace, criterion.scorer, criterion.path)
        verdicts = await self._scored(principal.workspace, RunId(new_id("score")), items, criteria)
        return scorer_pb2.ScoreItemsResponse(
            verdicts=[message_of(verdict, judging_pb2.Verdict) for verdict in verdicts]
        )

    async def _scored(
        self, workspace: Workspace, run_id: RunId, items: Sequence[Item], criteria: Sequence[Criterion]
    ) -> list[Verdict]:
        """Score every item by every criterion, in this order."""
        pairs = [(item, criterion) for item in items for criterion in criteria]
        verdicts: list[Verdict] = []
        for start in range(0, len(pairs), AT_ONCE):
            verdicts += await asyncio.gather(
                *(
                    self._scorers.score(workspace, run_id, item, criterion.name, criterion.scorer)
                    for item, criterion in pairs[start : start + AT_ONCE]
                )
            )
        return verdicts
