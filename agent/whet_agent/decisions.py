"""What a person decides while a turn waits: here, or anywhere else with the same workspace."""

import asyncio
from collections.abc import Mapping
from typing import Final, cast

from whet.v1 import approval_pb2
from whet_agent.calls import Backend, method_named
from whet_agent.client import CallError
from whet_agent.events import EXPIRED, ApprovalAsked, ApprovalDecided
from whet_agent.json_object import JsonObject, JsonView
from whet_agent.record import Record

LOOK_SECONDS: Final = 3.0
"""How often the server is asked whether somebody decided elsewhere, such as on the command line."""

CALL_SECONDS: Final = 10.0
"""A decision is one row in a database; a server that takes longer is in trouble and the person should hear it."""


class Decisions:
    """Open questions and their answers, by the approval's id."""

    def __init__(self, record: Record, person: Backend) -> None:
        """`person` is the client with the person's token: an agent must not decide about itself."""
        self._record = record
        self._person = person
        self._asked: dict[str, ApprovalAsked] = {}
        self._decided: dict[str, JsonObject] = {}
        self._news = asyncio.Event()

    def asked(self, question: ApprovalAsked) -> None:
        self._asked[question.approval_id] = question

    async def decide(self, approval_id: str, *, grant: bool, reason: str) -> None:
        """Tell the server, then whoever waits. Raises `CallError`, or `LookupError` for a question that was not asked
        here.
        """
        question = self._asked.get(approval_id)
        if question is None:
            raise LookupError(f"This session has not asked for the approval {approval_id!r}.")
        await self._send(question, grant=grant, reason=reason)
        self._learn(question, granted=grant, reason=reason)

    async def withdraw(self, approval_id: str) -> None:
        """Reject a question whose turn was cancelled, so that no list shows it as open. Raises `CallError`."""
        question = self._asked.get(approval_id)
        if question is not None and approval_id not in self._decided:
            await self._send(question, grant=False, reason="the turn was cancelled")
            self._learn(question, granted=False, reason="the turn was cancelled")

    async def of(self, questions: Mapping[str, JsonView]) -> dict[str, JsonObject]:
        """Wait until at least one question is decided and return all answers that are there, by the interrupt's id."""
        for value in questions.values():
            self.asked(ApprovalAsked(**value))
        while True:
            self._news.clear()
            answers = {
                interrupt: self._decided[value["approval_id"]]
                for interrupt, value in questions.items()
                if value["approval_id"] in self._decided
            }
            if answers:
                return answers
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                for value in questions.values():
                    await self._look(value["approval_id"])

    async def _send(self, question: ApprovalAsked, *, grant: bool, reason: str) -> None:
        request = approval_pb2.DecideApprovalRequest(
            approval_id=question.approval_id,
            decision=approval_pb2.DECISION_GRANT if grant else approval_pb2.DECISION_REJECT,
            digest=question.digest,
            reason=reason,
        )
        await self._person.call(method_named("ApprovalService", "DecideApproval"), request, timeout=CALL_SECONDS)

    def _learn(self, question: ApprovalAsked, *, granted: bool, reason: str) -> None:
        # After one that expired the call is made again: that opens a new approval, which is asked for then.
        self._decided[question.approval_id] = {"granted": granted or reason == EXPIRED, "reason": reason}
        self._record.tell(
            ApprovalDecided(
                turn=question.turn,
                key=question.key,
                approval_id=question.approval_id,
                granted=granted,
                reason=reason,
            )
        )
        self._news.set()

    async def _look(self, approval_id: str) -> None:
        """Ask the server how the approval stands. A server that cannot be reached is asked again later."""
        request = approval_pb2.GetApprovalRequest(approval_id=approval_id)
        try:
            answer = await self._person.call(
                method_named("ApprovalService", "GetApproval"), request, timeout=CALL_SECONDS
            )
        except CallError:
            return
        approval = cast("approval_pb2.GetApprovalResponse", answer).approval
        question = self._asked[approval_id]
        match approval.state:
            case approval_pb2.APPROVAL_STATE_GRANTED | approval_pb2.APPROVAL_STATE_USED:
                self._learn(question, granted=True, reason=approval.reason)
            case approval_pb2.APPROVAL_STATE_REJECTED:
                self._learn(question, granted=False, reason=approval.reason)
            case approval_pb2.APPROVAL_STATE_EXPIRED:
                self._learn(question, granted=False, reason=EXPIRED)
            case _:
                pass
