"""Users' own scorers: a program offers one over a stream, gets tasks, and answers them by their ids.

An offer stands for as long as its stream is open, under a name that is its own in the workspace. Tasks that are open
when the stream ends have failed, and whoever asked may ask again.
"""

import asyncio
import itertools
import logging
import math
from collections.abc import AsyncGenerator, Iterator
from typing import Final

from whet_server.errors import Reason, ScorerNotFound, WrongState
from whet_server.judging import Direction, Item, Outcome, Verdict
from whet_server.llm.taxonomy import failure
from whet_server.score.kinds import ScorerInfo
from whet_server.score.spec import RemoteScorer, name_of
from whet_server.values import Failure, Value, Workspace

DEFAULT_CONCURRENCY: Final = 16
HEARTBEAT_SECONDS: Final = 15.0
"""Between two signs of life on a stream without tasks: below what proxies take for dead."""

_log = logging.getLogger(__name__)


class Offer(Value):
    """A user's scorer as it introduces itself."""

    name: str
    description: str = ""
    unit: str = "share"
    direction: Direction = Direction.HIGHER
    concurrency: int = DEFAULT_CONCURRENCY


class Task(Value):
    task_id: str
    item: Item
    settings: str = ""


class Answer(Value):
    """The answer to a task: a score, or an error, or neither when the scorer has nothing to say."""

    task_id: str
    score: float | None = None
    value: float | None = None
    rationale: str = ""
    error: str = ""


class Connection:
    """One open stream and its tasks."""

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        self.places = asyncio.Semaphore(offer.concurrency)
        self._numbers = itertools.count(1)
        self._open: dict[str, asyncio.Future[Answer | str]] = {}
        self._outgoing: asyncio.Queue[Task | None] = asyncio.Queue()
        self.closed = False

    @property
    def info(self) -> ScorerInfo:
        offer = self.offer
        description = offer.description or "A user's own scorer."
        return ScorerInfo(
            name=f"remote:{offer.name}", description=description, unit=offer.unit, direction=offer.direction
        )

    async def tasks(self, heartbeat: float = HEARTBEAT_SECONDS) -> AsyncGenerator[Task | None, None]:
        """Yield tasks as they come until the stream is closed; None is a heartbeat."""
        while not self.closed:
            try:
                async with asyncio.timeout(heartbeat):
                    task = await self._outgoing.get()
            except TimeoutError:
                yield None
                continue
            if task is not None and task.task_id in self._open:
                yield task

    async def ask(self, item: Item, settings: str, seconds: float) -> Answer | str:
        """Send a task and wait for its answer; a string says why there is none. Raises `TimeoutError`."""
        if self.closed:
            return _GONE
        task = Task(task_id=f"t{next(self._numbers)}", item=item, settings=settings)
        waiting: asyncio.Future[Answer | str] = asyncio.get_running_loop().create_future()
        self._open[task.task_id] = waiting
        self._outgoing.put_nowait(task)
        try:
            async with asyncio.timeout(seconds):
                return await waiting
        finally:
            del self._open[task.task_id]

    def answered(self, answer: Answer) -> None:
        """Take an answer in. One to a task that is not open, or not any more, is left alone."""
        self._resolve(answer.task_id, answer)

    def broken(self, task_id: str, why: str) -> None:
        """An answer came that breaks the contract: its task has no score."""
        self._resolve(task_id, Answer(task_id=task_id, score=math.nan, rationale=why))

    def close(self) -> None:
        """The stream ends: nobody will answer what is open."""
        self.closed = True
        self._outgoing.put_nowait(None)
        for waiting in self._open.values():
            if not waiting.done():
                waiting.set_result(_GONE)

    def _resolve(self, task_id: str, answer: Answer) -> None:
        waiting = self._open.get(task_id)
        if waiting is None or waiting.done():
            _log.info("the scorer %s answered %r, which is no open task", self.offer.name, task_id[:100])
        else:
            waiting.set_result(answer)


_GONE: Final = "The program that offers this scorer went away before it answered."


class RemoteScorers:
    """The users' scorers of every workspace that are connected now."""

    def __init__(self) -> None:
        self._connections: dict[tuple[Workspace, str], Connection] = {}

    def connect(self, workspace: Workspace, offer: Offer) -> Connection:
        """Let an offer stand. Raises `WrongState` when its name is taken."""
        key = (workspace, offer.name)
        if key in self._connections:
            raise WrongState(
                f"A scorer named {offer.name} is connected already: end it, or offer this one under another name.",
                metadata={"scorer": offer.name, "state": "connected"},
            )
        made = self._connections[key] = Connection(offer)
        return made

    def disconnect(self, workspace: Workspace, connection: Connection) -> None:
        """Take an offer back."""
        connection.close()
        self._connections.pop((workspace, connection.offer.name), None)

    def find(self, workspace: Workspace, name: str) -> Connection:
        """Return a connection. Raises `ScorerNotFound`."""
        found = self._connections.get((workspace, name))
        if found is None:
            raise ScorerNotFound(
                f"No program offers a scorer named {name} now: start it, or name another.", metadata={"scorer": name}
            )
        return found

    def list(self, workspace: Workspace) -> Iterator[ScorerInfo]:
        """Yield what is connected, by name."""
        for (owner, _), connection in sorted(self._connections.items()):
            if owner == workspace:
                yield connection.info

    def close(self) -> None:
        """End every stream."""
        for connection in self._connections.values():
            connection.close()

    async def score(self, workspace: Workspace, item: Item, criterion: str, scorer: RemoteScorer) -> Verdict:
        """Let a user's scorer score an item. Whatever it does is a verdict."""
        try:
            connection = self.find(workspace, scorer.name)
        except ScorerNotFound as error:
            told = failure(Reason.SCORER_NOT_FOUND, str(error), transient=True, scorer=scorer.name)
            return _ended(item, criterion, Outcome.FAILED, told)
        seconds = scorer.timeout_ns / 1e9
        try:
            async with connection.places:
                answer = await connection.ask(item, scorer.settings, seconds)
        except TimeoutError:
            said = f"{name_of(scorer)} did not answer within {seconds:g} seconds."
            return _ended(item, criterion, Outcome.TIMED_OUT, failure(Reason.TOTAL_TIMEOUT, said))
        if isinstance(answer, str):
            return _ended(item, criterion, Outcome.FAILED, failure(Reason.SCORER_FAILED, answer, transient=True))
        return _verdict(item, criterion, answer)


def _verdict(item: Item, criterion: str, answer: Answer) -> Verdict:
    if answer.error:
        return _ended(item, criterion, Outcome.FAILED, failure(Reason.SCORER_FAILED, answer.error, transient=True))
    if answer.score is None:
        why = answer.rationale or "The scorer gave no score."
        return _ended(item, criterion, Outcome.ABSTAINED, failure(Reason.NOT_APPLICABLE, why))
    if not 0 <= answer.score <= 1 or (answer.value is not None and not math.isfinite(answer.value)):
        why = answer.rationale if math.isnan(answer.score) else ""
        said = why or f"The scorer sent the score {answer.score:g} and the value {answer.value}: a score is 0 to 1."
        return _ended(item, criterion, Outcome.UNPARSEABLE, failure(Reason.SCORER_FAILED, said, transient=False))
    return Verdict(
        item_id=item.item_id,
        criterion=criterion,
        outcome=Outcome.SCORED,
        score=answer.score,
        value=answer.score if answer.value is None else answer.value,
        rationale=answer.rationale,
    )


def _ended(item: Item, criterion: str, outcome: Outcome, told: Failure) -> Verdict:
    return Verdict(item_id=item.item_id, criterion=criterion, outcome=outcome, failure=told, rationale=told.message)
