"""A conversation in JSON lines from stdin: `whet ask --input stream-json`."""

import asyncio

import click

from whet_agent.client import CallError
from whet_agent.events import ApprovalAsked, TurnEnded
from whet_tui.cli.exits import OK, USAGE
from whet_tui.cli.orders import BadOrder, Cancel, Decide, Order, Steer, User, order_of
from whet_tui.cli.talk import Talk, stdin_lines
from whet_tui.safe import safe
from whet_tui.stream_json import StreamPrinter


async def converse(talk: Talk) -> int:
    """Do what the lines say until they end and every turn has; return the worst exit code. While lines may come a
    question waits for its decision, after that it ends the command: raises `Stopped`. A strike ends the lines, too.
    """
    conversation = _Conversation(talk)
    talk.undecided = conversation.wait
    reader = conversation.reader
    try:
        with talk.cancellable(conversation.strike):
            while not (reader.done() and conversation.idle):
                await talk.hear(*([] if reader.done() else [reader]))
                if reader.done() and not reader.cancelled():
                    reader.result()  # what went wrong inside is not swallowed
                    await conversation.nobody_decides()
    finally:
        reader.cancel()
        await asyncio.wait({reader})
    return talk.interruption.code or conversation.code


class _Conversation:
    """Reads the orders and carries them out."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._asked: set[int] = set(talk.view.turns)
        self._wrong = OK
        self._ending: asyncio.Task[None] | None = None
        self.reader = asyncio.create_task(self._read())

    def strike(self) -> None:
        """No further line is read, messages that wait are taken back, and what runs is cancelled."""
        self.reader.cancel()
        self._ending = asyncio.create_task(self._end())

    async def _end(self) -> None:
        for turn in self._asked - self._talk.ended.keys():
            if await self._talk.session.withdraw(turn):
                self._talk.ended[turn] = TurnEnded(turn=turn, state="cancelled")
        if not self.idle:
            self._talk.cancel()

    @property
    def idle(self) -> bool:
        return self._asked <= self._talk.ended.keys()

    @property
    def code(self) -> int:
        """A turn that ended badly counts more than a line that was no order."""
        codes = [self._talk.verdict(ended) for ended in self._talk.ended.values()]
        return next((code for code in reversed(codes) if code), self._wrong)

    async def wait(self, asked: ApprovalAsked) -> None:
        """A line may decide it."""

    async def nobody_decides(self) -> None:
        """No further line comes: what is open ends the command."""
        for card in self._talk.view.cards.values():
            raise self._talk.needs(card)

    async def _read(self) -> None:
        number = 0
        async for line in stdin_lines():
            number += 1
            if line.strip():
                try:
                    await self._obey(order_of(line))
                except (ValueError, CallError, LookupError) as error:
                    self._complain(number, str(error.args[0]) if error.args else str(error))

    async def _obey(self, order: Order) -> None:
        session = self._talk.session
        match order:
            case User():
                self._asked.add(await session.send(order.text))
            case Steer():
                self._asked.add(await session.steer(order.text))
            case Decide():
                await self._decide(order)
            case Cancel():
                if not await session.cancel():
                    raise BadOrder("there is no turn to cancel")

    async def _decide(self, order: Decide) -> None:
        card = self._talk.view.cards.get(order.approval_id)
        if card is None:
            raise BadOrder(f"no question {order.approval_id!r} is open")
        if card.digest != order.digest:
            raise BadOrder(f"the question {order.approval_id} has the digest {card.digest}")
        await self._talk.session.decide(
            order.approval_id, grant=order.grant, reason=order.reason, arguments_json=order.arguments_json
        )

    def _complain(self, number: int, what: str) -> None:
        self._wrong = USAGE
        printer = self._talk.printer
        if isinstance(printer, StreamPrinter):
            printer.complain(number, what)
        click.echo(f"stdin, line {number}: {safe(what)}", err=True)
