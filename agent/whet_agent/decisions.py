"""What a person decides while a turn waits: here, or anywhere else with the same workspace."""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable, Mapping
from typing import Final, cast

from google.protobuf.message import Message

from whet.v1 import approval_pb2, fanout_pb2
from whet_agent.account import Account
from whet_agent.calls import Backend
from whet_agent.catalogue import Tool, method_named
from whet_agent.client import CallError
from whet_agent.editing import CHANGED, checked
from whet_agent.events import EXPIRED, ApprovalAsked, ApprovalDecided, Decider, Envelope, Notice, RunHeard
from whet_agent.json_object import JsonObject, JsonView
from whet_agent.record import Record
from whet_agent.runs import kind_for

LOOK_SECONDS: Final = 3.0
"""How often the server is asked whether somebody decided elsewhere, such as on the command line."""

READ_ONLY: Final = "the session is read-only; the person can change its mode"
"""Why nothing that spends or changes is done."""

CALL_SECONDS: Final = 10.0
"""A decision is one row in a database; a server that takes longer is in trouble and the person should hear it."""


class Decisions:
    """Open questions and their answers, by the approval's id."""

    def __init__(self, record: Record, person: Backend, account: Account) -> None:
        """`person` is the client with the person's token: an agent must not decide about itself."""
        self._record = record
        self._person = person
        self._account = account
        self._asked: dict[str, ApprovalAsked] = {}
        self._decided: dict[str, JsonObject] = {}
        self._edits: dict[str, str] = {}
        self._begun: set[str] = set()
        """The keys of calls that have begun or have asked: a mode that changes later does not stop them."""
        self._news = asyncio.Event()

    def restore(self, restored: Iterable[Envelope]) -> None:
        """Learn from the journal what was asked and decided."""
        for envelope in restored:
            match envelope.happening:
                case ApprovalAsked() as question:
                    self.asked(question)
                case ApprovalDecided() as decided:
                    self._keep(decided)
                case RunHeard(key=key):
                    self._begun.add(key)
                case _:
                    pass

    async def catch_up(self, questions: Iterable[JsonView]) -> None:
        """Learn from the server what was decided elsewhere, or before a crash. What a person changed is rejected there
        once more: a crash may have come before the first time, and the second changes nothing.
        """
        for value in questions:
            self.asked(question := ApprovalAsked(**value))
            answer = self._decided.get(question.approval_id)
            if answer is None:
                with contextlib.suppress(CallError):  # it is looked at again while the turn waits
                    await self._look(question)
            elif answer["reason"] == CHANGED:
                await self._reject_changed(question)

    def asked(self, question: ApprovalAsked) -> None:
        self._asked[question.approval_id] = question
        self._begun.add(question.key)

    def refuses(self, key: str, tool: Tool) -> str:
        """Say why the mode does not let a new call be made; empty when it does."""
        reads = tool.effect == "reads" or key in self._begun
        return READ_ONLY if self._account.mode == "read_only" and not reads else ""

    async def by_mode(self, question: ApprovalAsked, request: Message, cap: int | None) -> JsonObject | None:
        """Answer a new question in the person's name when the mode says so; None leaves it to the person. `cap` is
        what the call's share of the allowance is.
        """
        if question.key in self._begun:
            return None  # it was put before a person, perhaps with other arguments
        mode = self._account.mode
        grant = mode == "allowance" and await self._fits(question, request, cap)
        if mode == "ask" or (mode == "allowance" and not grant):
            return None
        self._record.tell(question)
        self.asked(question)
        reason = "" if grant else READ_ONLY
        try:
            await self._send(question, grant=grant, reason=reason)
        except CallError:
            return None
        self._learn(question, granted=grant, reason=reason, by="allowance" if grant else "read_only")
        return self._decided[question.approval_id]

    async def _fits(self, question: ApprovalAsked, request: Message, cap: int | None) -> bool:
        """Whether a call only spends, at prices that are known, and at its worst no more than its share."""
        if question.effect != "spends" or cap is None or question.worst_cost_nanos > cap:
            return False
        spec = getattr(request, "spec", None)
        kind = kind_for(spec) if isinstance(spec, Message) else None
        if kind is None:
            return False
        plan = method_named(*kind.plan)
        try:
            answer = await self._person.call(plan, plan.request(spec=spec), timeout=CALL_SECONDS)
        except CallError:
            return False
        return not cast("fanout_pb2.PlanFanoutResponse", answer).unpriced_models

    @property
    def edits(self) -> Mapping[str, str]:
        """Arguments as the person changed them, by the call's key in the conversation."""
        return self._edits

    async def decide(
        self, approval_id: str, *, grant: bool, reason: str, arguments_json: str = "", by: Decider = "person"
    ) -> None:
        """Tell the server, then whoever waits. Raises `CallError`; `LookupError` for a question that was not asked here
        or is not open any more; `ValueError` for changed arguments that do not fit: then the question stays open.
        """
        question = self._asked.get(approval_id)
        if question is None:
            raise LookupError(f"This session has not asked for the approval {approval_id!r}.")
        if arguments_json:
            await self._change(question, arguments_json, by)
            return
        try:
            await self._send(question, grant=grant, reason=reason)
        except CallError as error:
            if error.reason == "APPROVAL_NOT_OPEN":
                await self._look(question)  # it has expired, or somebody else was faster: the turn goes on at once
            raise
        self._learn(question, granted=grant, reason=reason, by=by)

    def withdrawn(self, turn: int, reason: str) -> list[Coroutine[None, None, None]]:
        """Return what rejects the questions that a turn which has ended left open, so that no list shows them and
        nobody can grant them any more. Each may raise `CallError`.
        """
        left = [
            asked for asked in self._asked.values() if asked.turn == turn and asked.approval_id not in self._decided
        ]
        return [self._withdraw(question, reason) for question in left]

    async def _withdraw(self, question: ApprovalAsked, reason: str) -> None:
        try:
            await self._send(question, grant=False, reason=reason)
        except CallError as error:
            if error.reason != "APPROVAL_NOT_OPEN":
                raise
            await self._look(question)
        else:
            self._learn(question, granted=False, reason=reason)

    async def _change(self, question: ApprovalAsked, text: str, by: Decider) -> None:
        arguments = checked(question, text, [q for q in self._asked.values() if q.key == question.key])
        await self._look(question)
        if question.approval_id in self._decided:
            raise LookupError(f"The approval {question.approval_id!r} is not open any more.")
        # On the disk first: a crash before the rejection repeats it, one before the change of the call makes it.
        self._learn(question, granted=False, reason=CHANGED, arguments_json=arguments, by=by)
        await self._reject_changed(question)

    async def _reject_changed(self, question: ApprovalAsked) -> None:
        try:
            await self._send(question, grant=False, reason=CHANGED)
        except CallError as error:
            text = f"The call was changed, but its old approval could not be rejected: {error}"
            self._record.tell(Notice(level="warning", text=text))

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
                    with contextlib.suppress(CallError):  # a server that cannot be reached is asked again later
                        await self._look(self._asked[value["approval_id"]])

    async def _send(self, question: ApprovalAsked, *, grant: bool, reason: str) -> None:
        request = approval_pb2.DecideApprovalRequest(
            approval_id=question.approval_id,
            decision=approval_pb2.DECISION_GRANT if grant else approval_pb2.DECISION_REJECT,
            digest=question.digest,
            reason=reason,
        )
        await self._person.call(method_named("ApprovalService", "DecideApproval"), request, timeout=CALL_SECONDS)

    def _learn(
        self,
        question: ApprovalAsked,
        *,
        granted: bool,
        reason: str,
        arguments_json: str = "",
        by: Decider = "person",
    ) -> None:
        decided = ApprovalDecided(
            turn=question.turn,
            key=question.key,
            approval_id=question.approval_id,
            granted=granted,
            reason=reason,
            arguments_json=arguments_json,
            by=by,
        )
        self._record.tell(decided)
        self._keep(decided)
        self._news.set()

    def _keep(self, decided: ApprovalDecided) -> None:
        # After one that expired the call is made again: that opens a new approval, which is asked for then.
        granted = decided.granted or decided.reason == EXPIRED
        self._decided[decided.approval_id] = {"granted": granted, "reason": decided.reason}
        if decided.arguments_json:
            self._edits[decided.key.partition("/")[2]] = decided.arguments_json

    async def _look(self, question: ApprovalAsked) -> None:
        """Ask the server how the approval stands. Raises `CallError`."""
        request = approval_pb2.GetApprovalRequest(approval_id=question.approval_id)
        answer = await self._person.call(method_named("ApprovalService", "GetApproval"), request, timeout=CALL_SECONDS)
        approval = cast("approval_pb2.GetApprovalResponse", answer).approval
        match approval.state:
            case approval_pb2.APPROVAL_STATE_GRANTED | approval_pb2.APPROVAL_STATE_USED:
                self._learn(question, granted=True, reason=approval.reason, by="elsewhere")
            case approval_pb2.APPROVAL_STATE_REJECTED:
                self._learn(question, granted=False, reason=approval.reason, by="elsewhere")
            case approval_pb2.APPROVAL_STATE_EXPIRED:
                self._learn(question, granted=False, reason=EXPIRED, by="elsewhere")
            case _:
                pass
