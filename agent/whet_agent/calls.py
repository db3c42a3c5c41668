"""Make the calls that a mind asks for: once each, whatever happens to the connection.

Every request that changes something carries the call's key as its request id, so a repeated one attaches to what the
first one began. A run is streamed; when the stream breaks it is attached again with the last cursor. A cancel waits
for the run's id, because a run that nobody can name cannot be cancelled.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final, Protocol, cast

from google.protobuf.message import Message

from whet.v1 import calibration_pb2, dataset_pb2, event_pb2, fanout_pb2, judge_pb2, sweep_pb2, trace_pb2
from whet_agent import sweep_words
from whet_agent.catalogue import Method, Tool
from whet_agent.client import CallError
from whet_agent.folds import Fold
from whet_agent.judgements import calibration_words, gate_words, plan_words
from whet_agent.results import BUDGET, render, shorten
from whet_agent.runs import again, fold_of, kind_of, named_by, watching

SILENCE_SECONDS: Final = 45.0
"""The server sends an empty batch every 15 seconds: three missed ones mean that nobody is there."""

TRIES: Final = 8
"""How often a lost call is tried again without hearing anything new. With the waits between them this is about half a
minute: a server restarts in two seconds.
"""

FIRST_WAIT_SECONDS: Final = 0.25
LONGEST_WAIT_SECONDS: Final = 8.0

NAME_SECONDS: Final = 5.0
"""How long a cancel waits for the answer that names the run."""

_MOST_BYTES: Final = 4 * BUDGET
"""Of an export: so many hold all characters that can be told."""

_WATCHING: Final[Mapping[type[Message], str]] = {
    fanout_pb2.StartFanoutResponse: "watch_fanout",
    judge_pb2.StartJudgementResponse: "watch_judgement",
    sweep_pb2.StartSweepResponse: "watch_sweep",
}
"""The tool that follows what was left in the background."""

_SWEEP_FILES: Final = "`whet sweep report` and `whet sweep export` write whole files"

_LOST_REASONS: Final = {"DRAINING", "SLOW_CONSUMER", "STORAGE_UNAVAILABLE"}
_BROKEN_CODES: Final = {"INTERNAL", "CANCELLED", "UNKNOWN", "DEADLINE_EXCEEDED"}
"""Codes with which gRPC itself reports a broken connection when the server gave no reason."""


class Backend(Protocol):
    """The client as the agent uses it. Raises `CallError`."""

    async def call(self, method: Method, request: Message, *, timeout: float | None = 60.0) -> Message: ...

    def stream(self, method: Method, request: Message, *, timeout: float | None = None) -> AsyncIterator[Message]: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call ended: what the mind is told, and the run that it made or showed."""

    text: str
    ok: bool = True
    run_id: str = ""
    answer: str = ""
    simulated: bool = False
    unsure: bool = False
    """The connection was lost for good: it may have begun a run, though nobody knows which."""
    message: Message | None = None
    """The answer itself; of a run that was watched, the run as it ended."""


class Listener(Protocol):
    """Whoever wants to know while a call is under way."""

    def run_named(self, run_id: str) -> None:
        """The call began this run."""

    def run_heard(self, run_id: str, event: event_pb2.Event) -> None:
        """Something happened in it."""

    def lost(self, text: str) -> None:
        """The connection was lost and is tried again."""


def is_lost(error: CallError) -> bool:
    """Whether the call may have reached nobody, so that the same one can be made again."""
    if error.reason:
        return error.reason in _LOST_REASONS
    return error.code == "UNAVAILABLE" or error.code in _BROKEN_CODES


async def make(backend: Backend, tool: Tool, request: Message, listener: Listener) -> Outcome:
    """Make a call and return how it ended. Raises `CallError` for what the server refused or when it stays lost."""
    if not tool.method.server_streaming:
        return _told(await unary(backend, tool.method, request, listener))
    if tool.method.name in {"ExportTrace", "ExportDataset"}:
        return await _export(backend, tool.method, request)
    if isinstance(request, sweep_pb2.WatchSweepRequest):
        request.without_cases = True
    return await _watch(backend, tool.method, request, listener)


class _Patience:
    """Counts the tries without progress and waits between them."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._tries = 0

    def progressed(self) -> None:
        self._tries = 0

    async def wait(self, error: CallError) -> None:
        """Wait before the next try. Raises the error when there have been enough."""
        self._tries += 1
        if self._tries > TRIES:
            raise error
        wait = error.retry_after or min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** (self._tries - 1))
        if self._tries > 1:  # a break that heals at once is nobody's business
            self._listener.lost(f"Connection to the server lost, trying again ({self._tries} of {TRIES}): {error}")
        await asyncio.sleep(min(wait, LONGEST_WAIT_SECONDS))


async def unary(backend: Backend, method: Method, request: Message, listener: Listener) -> Message:
    """Make a unary call, again as often as it is lost. Raises `CallError` as `make` does."""
    patience = _Patience(listener)
    while True:
        try:
            return await _named(asyncio.ensure_future(backend.call(method, request)), lambda m: _name(m, listener))
        except CallError as error:
            if not is_lost(error):
                raise
            await patience.wait(error)


async def _named(answer: "asyncio.Future[Message]", name: Callable[[Message], None]) -> Message:
    """Await an answer; when cancelled, give it a moment to say which run was begun."""
    try:
        message = await asyncio.shield(answer)
    except asyncio.CancelledError:
        done, _ = await asyncio.wait({answer}, timeout=NAME_SECONDS)
        if done and not answer.cancelled() and answer.exception() is None:
            name(answer.result())
        answer.cancel()
        await asyncio.wait({answer})
        raise
    name(message)
    return message


def _name(message: Message, listener: Listener) -> None:
    if run_id := named_by(message):
        listener.run_named(run_id)


_ENDED_AS_ASKED: Final = (
    fanout_pb2.CancelFanoutResponse,
    judge_pb2.CancelJudgementResponse,
    sweep_pb2.ControlSweepResponse,
)
"""Answers to calls that end a run: the run is cancelled then, and the call did what it should."""


def _told(message: Message) -> Outcome:
    fold = fold_of(message)
    if fold is not None:
        outcome = _outcome(fold, message)
        return replace(outcome, ok=True) if isinstance(message, _ENDED_AS_ASKED) else outcome
    match message:
        case fanout_pb2.StartFanoutResponse() | judge_pb2.StartJudgementResponse() | sweep_pb2.StartSweepResponse():
            run_id = named_by(message)
            watch = _WATCHING[type(message)]
            text = f"Started {run_id} in the background. {watch} {run_id} follows it."
            return Outcome(text=text, run_id=run_id, message=message)
        case trace_pb2.GetTraceResponse():
            return Outcome(text=render(message), run_id=message.trace.run_id, message=message)
        case judge_pb2.GateJudgementResponse():
            return Outcome(text=gate_words(message), simulated=message.measured.simulated, message=message)
        case judge_pb2.PlanJudgementResponse() | calibration_pb2.PlanAuditResponse():
            text = plan_words(message)
        case (
            calibration_pb2.CalibrateResponse()
            | calibration_pb2.CheckJudgeResponse()
            | calibration_pb2.ListCalibrationsResponse()
        ):
            text = calibration_words(message)
        case _:
            text = shorten(sweep_words.told(message), BUDGET, _SWEEP_FILES) or render(message)
    return Outcome(text=text, message=message)


def _outcome(fold: Fold, message: Message) -> Outcome:
    return Outcome(
        text=shorten(fold.tell(), BUDGET, fold.more),
        ok=fold.ok or fold.state == event_pb2.RUN_STATE_RUNNING,
        run_id=fold.run_id,
        answer=fold.answer,
        simulated=fold.simulated,
        message=message,
    )


async def follow(backend: Backend, run_id: str, listener: Listener) -> Outcome:
    """Follow a run from its beginning to its end. Raises `CallError` as `make` does."""
    return await _watch(backend, *watching(run_id), listener)


async def _watch(backend: Backend, method: Method, request: Message, listener: Listener) -> Outcome:
    """Follow a run to its end, over as many connections as it takes."""
    run_id: str = getattr(request, "run_id", "")
    fold = kind_of(run_id).fold(run_id=run_id) if run_id else None
    patience, cursor = _Patience(listener), ""
    while True:
        try:
            async with aclosing(_responses(backend.stream(method, request), listener)) as responses:
                async for response in responses:
                    fold = fold or _begun(response)
                    cursor = _hear(response, fold, listener) or cursor
                    patience.progressed()
                    if fold.finished is not None:
                        return _outcome(fold, fold.message())
            lost = CallError("the stream ended before the run did", code="UNAVAILABLE")
        except CallError as error:
            if error.reason == "CURSOR_EXPIRED":
                cursor = error.metadata.get("earliest_cursor", "")
            elif not is_lost(error):
                raise
            lost = error
        await patience.wait(lost)
        if fold is not None:
            method, request = again(method, fold.run_id, cursor)


def _begun(response: Message) -> Fold:
    """Return the fold of the run that the first message of a stream names."""
    run_id = named_by(response)
    return kind_of(run_id).fold(run_id=run_id)


def _hear(response: Message, fold: Fold, listener: Listener) -> str:
    """Fold one batch and pass on what is new; return its cursor."""
    batch = _batch_of(response)
    for event in batch.events:
        if fold.hear(event):
            listener.run_heard(fold.run_id, event)
    return batch.next_cursor


def _batch_of(response: Message) -> event_pb2.EventBatch:
    """Return the batch that every message of a run's stream carries."""
    return cast("fanout_pb2.WatchFanoutResponse", response).batch


async def _responses(stream: AsyncIterator[Message], listener: Listener) -> AsyncGenerator[Message, None]:
    """Yield a stream's messages, none of them later than the server's silence allows."""
    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            first = await _named(asyncio.ensure_future(_next(stream)), lambda message: _name(message, listener))
        yield first
        while True:
            async with asyncio.timeout(SILENCE_SECONDS):
                following = await anext(stream)
            yield following
    except StopAsyncIteration:
        return
    except TimeoutError:
        raise CallError("the server has fallen silent", code="UNAVAILABLE") from None
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()


async def _next(stream: AsyncIterator[Message]) -> Message:
    return await anext(stream)


async def _export(backend: Backend, method: Method, request: Message) -> Outcome:
    """Read an export up to what can be told; the command line writes whole ones to files."""
    run_id = getattr(request, "run_id", "")
    more = f"`whet trace export --run-id {run_id}` writes all of it"
    if isinstance(request, dataset_pb2.ExportDatasetRequest):
        more = f"`whet dataset export {request.name}` writes all of it to a file"
        if request.format == dataset_pb2.DATA_FORMAT_PARQUET:
            return Outcome(ok=False, text=f"Parquet is no text. {more.replace('export', 'export --format parquet')}.")
    content, note, kind = b"", "", "json"
    async for response in backend.stream(method, request, timeout=60.0):
        if isinstance(response, dataset_pb2.ExportDatasetResponse):
            content, kind = content + response.chunk, ""
            note = f"\n\n{response.sealed_rows} rows are under seal and left out." if response.sealed_rows else note
        else:
            content += cast("trace_pb2.ExportTraceResponse", response).lines
        if len(content) > _MOST_BYTES:
            break
    told = shorten(content.decode(errors="replace"), BUDGET, more).rstrip()
    return Outcome(text=f"```{kind}\n{told}\n```{note}", run_id=run_id)
