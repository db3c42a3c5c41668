"""ScorerService: unpack, call, pack."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import aclosing
from typing import Final, cast

from whet.v1 import judging_pb2, scorer_pb2, scorer_pb2_grpc
from whet_server.errors import DeadlineExceeded, InvalidField
from whet_server.judging import Item, Verdict
from whet_server.ledger.ledger import Ledger
from whet_server.rpc import calls
from whet_server.rpc.convert.mirror import message_of, value_of
from whet_server.rpc.convert.scorer import criteria_of, info_message, items_of, offer_of, task_message
from whet_server.rpc.gate import Gate
from whet_server.rpc.interceptors import Messages
from whet_server.rpc.layers import Context
from whet_server.rpc.life import Life
from whet_server.rpc.requests import Requests
from whet_server.score.remote import Answer, Connection, Offer
from whet_server.score.scorers import Criterion, Scorers, costs_money
from whet_server.store.base import Store
from whet_server.values import Role, RunId, Workspace

_SCORE: Final = "whet.v1.ScorerService/ScoreItems"
AT_ONCE: Final = 64
"""Verdicts of one call under way: enough to fill requests for embeddings, few enough to leave the loop to others."""
OFFER_SECONDS: Final = 30.0
"""For the first message of a stream, which every client has at hand."""


class ScorerServicer(scorer_pb2_grpc.ScorerServiceServicer):
    """Scores for the workspace that calls."""

    def __init__(
        self, scorers: Scorers, ledger: Ledger, store: Store, requests: Requests, gate: Gate, life: Life
    ) -> None:
        self._scorers = scorers
        self._ledger = ledger
        self._store = store
        self._requests = requests
        self._gate = gate
        self._life = life

    async def ListScorers(
        self, request: scorer_pb2.ListScorersRequest, context: Context
    ) -> scorer_pb2.ListScorersResponse:
        found = self._scorers.list(calls.principal().workspace)
        return scorer_pb2.ListScorersResponse(scorers=[info_message(info) for info in found])

    async def ScoreItems(
        self, request: scorer_pb2.ScoreItemsRequest, context: Context
    ) -> scorer_pb2.ScoreItemsResponse:
        self._life.admit()
        principal = calls.principal()
        criteria, items = criteria_of(request), items_of(request.items)
        # A schema of a hundred thousand characters takes its time, and so do the libraries that read it.
        await asyncio.to_thread(self._check, principal.workspace, criteria)
        async with self._requests.turn(principal.workspace, _SCORE, request.request_id, request) as turn:
            if turn.answer is None and principal.role is Role.AGENT:
                scorers = [criterion.scorer for criterion in criteria]
                plan = await self._scorers.forecast(principal.workspace, items, scorers)
                await self._gate.spends(principal, _SCORE, request, request_id=turn.request_id, plan=plan)
            if any(costs_money(criterion.scorer) for criterion in criteria):
                await self._store.commit(*turn.record(""))
            verdicts = await self._scored(principal.workspace, RunId(turn.request_id), items, criteria)
        return scorer_pb2.ScoreItemsResponse(
            verdicts=[message_of(verdict, judging_pb2.Verdict) for verdict in verdicts]
        )

    def _check(self, workspace: Workspace, criteria: Sequence[Criterion]) -> None:
        for criterion in criteria:
            self._scorers.check(workspace, criterion.scorer, criterion.path)

    async def ServeScorer(
        self, request_iterator: AsyncIterable[scorer_pb2.ServeScorerRequest], context: Context
    ) -> AsyncGenerator[scorer_pb2.ServeScorerResponse, None]:
        messages = cast("Messages", request_iterator)
        self._life.admit()
        connection = self._scorers.remotes.connect(calls.principal().workspace, await _offer(messages))
        reader = asyncio.create_task(_read(messages, connection), name="scorer-answers")
        try:
            yield scorer_pb2.ServeScorerResponse()
            async with aclosing(connection.tasks()) as tasks:
                async for task in tasks:
                    yield task_message(task)
        finally:
            self._scorers.remotes.disconnect(calls.principal().workspace, connection)
            reader.cancel()
            await asyncio.wait([reader])
        if not reader.cancelled() and (error := reader.exception()) is not None:
            raise error

    async def _scored(
        self, workspace: Workspace, run_id: RunId, items: Sequence[Item], criteria: Sequence[Criterion]
    ) -> list[Verdict]:
        """Score every item by every criterion, in this order."""
        try:
            return await self._in_waves(workspace, run_id, items, criteria)
        finally:
            self._ledger.forget_run(run_id)

    async def _in_waves(
        self, workspace: Workspace, run_id: RunId, items: Sequence[Item], criteria: Sequence[Criterion]
    ) -> list[Verdict]:
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


async def _offer(messages: Messages) -> Offer:
    """Return what the first message offers. Raises `InvalidField`, or `DeadlineExceeded` when none comes."""
    try:
        async with asyncio.timeout(OFFER_SECONDS):
            message = await anext(messages, None)
    except TimeoutError:
        raise DeadlineExceeded(f"No offer came within {OFFER_SECONDS:g} seconds.") from None
    if not isinstance(message, scorer_pb2.ServeScorerRequest) or message.WhichOneof("part") != "offer":
        raise InvalidField(("offer", "The first message says which scorer is offered."))
    return offer_of(message.offer)


async def _read(messages: Messages, connection: Connection) -> None:
    """Take answers in until the client says no more. An answer that breaks a rule costs its task, not the stream."""
    try:
        while (message := await _answer(messages, connection)) is not None:
            connection.answered(value_of(message, Answer))
    finally:
        connection.close()


async def _answer(messages: Messages, connection: Connection) -> scorer_pb2.ScorerAnswer | None:
    """Return the next answer that keeps the rules, or None after the last. Raises `InvalidField` for what is none."""
    while True:
        try:
            message = await anext(messages, None)
        except InvalidField as error:
            latest = messages.latest
            if not isinstance(latest, scorer_pb2.ServeScorerRequest) or latest.WhichOneof("part") != "answer":
                raise
            connection.broken(latest.answer.task_id, str(error))
            continue
        if message is None:
            return None
        if not isinstance(message, scorer_pb2.ServeScorerRequest) or message.WhichOneof("part") != "answer":
            raise InvalidField(("answer", "After the offer every message is an answer."))
        return message.answer
