"""A tool-calling model behind an OpenAI-compatible API. The only user of the openai SDK."""

import asyncio
import json
import random
import secrets
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final

import openai
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from whet.v1 import value_pb2
from whet_agent.json_object import JsonObject
from whet_agent.model.base import MindError, Moment, Saying, Thought
from whet_agent.model.billing import Billing
from whet_agent.model.messages import request_of
from whet_agent.model.toolcalls import Assembler
from whet_agent.results import shorten

ANSWER_TOKENS: Final = 4_096
"""The most tokens of one thought: enough for a long answer, and what its worst case is reserved for."""

ATTEMPTS: Final = 3
"""A transient fault is tried twice more: a person is waiting."""

FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 20.0
"""A provider that wants a longer wait than this is told to the person instead."""

CONNECT_SECONDS: Final = 10.0
IDLE_SECONDS: Final = 90.0
"""Reasoning models think long before their first token."""
TOTAL_SECONDS: Final = 600.0

_AS_JSON: Final = json.JSONEncoder(ensure_ascii=False).encode
_TRANSIENT_STATUS: Final = frozenset({408, 409, 425, 429})


@dataclass(frozen=True, slots=True)
class _Dialect:
    """Where compatible servers differ; learned from their refusals."""

    limit: str = "max_tokens"
    usage_option: bool = True


@dataclass(slots=True)
class _Answer:
    """A stream as far as it has come."""

    text: str = ""
    calls: Assembler = field(default_factory=Assembler)
    usage: value_pb2.Usage | None = None
    finish: str = ""


class _Fault(Exception):
    """One attempt failed. `str()` is one sentence; `billed` says what the provider may have billed."""

    def __init__(self, message: str, *, transient: bool, billed: bool, wait: float | None = None) -> None:
        super().__init__(message)
        self.transient = transient
        self.billed = billed
        self.wait = wait


class ChatMind:
    """Thinks with one model. Its money is reserved before each attempt."""

    def __init__(self, *, base_url: str, api_key: str, billing: Billing) -> None:
        """`billing` knows the model's name at our server, `endpoint/model`; the provider knows the part after the
        slash.
        """
        self.name = billing.model
        self._billing = billing
        self._dialect = _Dialect()
        timeout = openai.Timeout(IDLE_SECONDS, connect=CONNECT_SECONDS)
        # The SDK's own retries know neither our ledger nor the person who waits.
        self._client = AsyncOpenAI(base_url=base_url, api_key=api_key or "none", max_retries=0, timeout=timeout)

    async def think(self, moment: Moment, saying: Saying) -> Thought:
        """Raises `MindError`."""
        conversation = _written(moment)
        fault: _Fault | None = None
        for attempt in range(1, ATTEMPTS + 1):
            if fault is not None:
                await asyncio.sleep(_wait(fault, attempt))
            try:
                answer = await self._paid(moment, attempt, conversation, saying)
            except _Fault as failed:
                if not failed.transient or (failed.wait or 0) > LONGEST_WAIT_SECONDS:
                    raise MindError(f"{self.name}: {failed}") from failed
                fault = failed
            else:
                return Thought(text=answer.text, calls=answer.calls.finish(), used=_tokens(answer))
        raise MindError(f"{self.name}: {fault} Tried {ATTEMPTS} times; try again later.") from fault

    async def close(self) -> None:
        await self._client.close()

    async def _paid(self, moment: Moment, attempt: int, conversation: bytes, saying: Saying) -> _Answer:
        """Make one attempt between a reservation and its settlement."""
        # A token is at least a byte, so the bytes are the most tokens that the request can have. The id is new for
        # each request that is sent, also after a crash.
        request_id = f"{moment.session_id}/{moment.turn}/{moment.step}/{attempt}-{secrets.token_hex(4)}"
        reservation = await self._billing.reserve(
            request_id, input_tokens=len(conversation), output_tokens=ANSWER_TOKENS
        )
        billing, answer = value_pb2.BILLING_UNKNOWN, _Answer()
        try:
            await self._understood(conversation, attempt, saying, answer)
            if answer.usage is not None:
                billing = value_pb2.BILLING_SETTLED
        except _Fault as fault:
            if answer.usage is not None:
                billing = value_pb2.BILLING_SETTLED
            elif not fault.billed:
                billing = value_pb2.BILLING_NONE
            raise
        finally:
            await self._billing.settle(reservation.reservation_id, billing, answer.usage or value_pb2.Usage())
        return answer

    async def _understood(self, conversation: bytes, attempt: int, saying: Saying, answer: _Answer) -> None:
        """Ask, in the server's dialect. A refusal that names an option is learned from and costs nothing."""
        try:
            while True:
                try:
                    async with asyncio.timeout(TOTAL_SECONDS):
                        await self._stream(conversation, attempt, saying, answer)
                except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                    learned = _learn(self._dialect, str(error))
                    if learned is None:
                        raise
                    self._dialect = learned
                else:
                    return
        except (openai.OpenAIError, TimeoutError) as error:
            raise _fault(error) from error

    async def _stream(self, conversation: bytes, attempt: int, saying: Saying, answer: _Answer) -> None:
        name = self.name.partition("/")[2] or self.name
        options: JsonObject = {"model": name, "stream": True, self._dialect.limit: ANSWER_TOKENS}
        if self._dialect.usage_option:
            options["stream_options"] = {"include_usage": True}
        # The SDK looks through what it is to write itself: with five thousand messages that took the loop away from
        # the screen for more than a second.
        stream = await self._client.post(
            "/chat/completions",
            cast_to=ChatCompletion,
            content=_AS_JSON(options)[:-1].encode() + conversation,
            options={"headers": {"content-type": "application/json"}},
            stream=True,
            stream_cls=AsyncStream[ChatCompletionChunk],
        )
        async with stream:
            async for chunk in stream:
                if chunk.usage is not None:
                    used = chunk.usage
                    answer.usage = value_pb2.Usage(
                        input_tokens=used.prompt_tokens or 0, output_tokens=used.completion_tokens or 0
                    )
                for choice in (chunk.choices or [])[:1]:
                    answer.finish = choice.finish_reason or answer.finish
                    if choice.delta is None:  # not every server keeps to the protocol
                        continue
                    if choice.delta.content:
                        saying(attempt, len(answer.text), choice.delta.content)
                        answer.text += choice.delta.content
                    for piece in choice.delta.tool_calls or ():
                        answer.calls.feed(piece.model_dump(exclude_none=True))
        _check(answer)


def _written(moment: Moment) -> bytes:
    """Return the rest of a request's JSON, from its messages on. It is written piece by piece: a long conversation in
    one text would need several times the memory.
    """
    messages, tools = request_of(moment)
    written = b', "messages": [' + b", ".join(_AS_JSON(message).encode() for message in messages) + b"]"
    return written + (b', "tools": ' + _AS_JSON(tools).encode() if tools else b"") + b"}"  # an empty list is refused


def _tokens(answer: _Answer) -> int:
    """Return how much of the window the request and its answer fill, 0 when the provider did not say."""
    return answer.usage.input_tokens + answer.usage.output_tokens if answer.usage is not None else 0


def _check(answer: _Answer) -> None:
    if answer.finish == "content_filter":
        raise _Fault("the provider withheld the answer by its content rules.", transient=False, billed=True)
    if not answer.finish:
        raise _Fault("the answer broke off before its end.", transient=True, billed=True)
    if not answer.text and not answer.calls.finish():
        raise _Fault("the answer was empty.", transient=True, billed=True)


def _learn(dialect: _Dialect, refusal: str) -> _Dialect | None:
    if dialect.usage_option and ("stream_options" in refusal or "include_usage" in refusal):
        return replace(dialect, usage_option=False)
    if dialect.limit == "max_tokens" and "max_completion_tokens" in refusal:
        return replace(dialect, limit="max_completion_tokens")
    return None


def _fault(error: openai.OpenAIError | TimeoutError) -> _Fault:
    """Say in one sentence what went wrong, whether it may pass, and whether the provider may have billed it."""
    if isinstance(error, openai.APIStatusError):
        return _refusal(error)
    if isinstance(error, openai.APITimeoutError | TimeoutError):
        return _Fault("did not answer in time.", transient=True, billed=True)
    if isinstance(error, openai.APIConnectionError):
        return _Fault("cannot be reached; check the base URL and the network.", transient=True, billed=True)
    return _Fault(f"the answer was not understood: {_brief(error)}", transient=True, billed=True)


def _refusal(error: openai.APIStatusError) -> _Fault:
    status = error.status_code
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        words = "the key was refused; check OPENAI_API_KEY."
    elif isinstance(error, openai.NotFoundError):
        words = "the model or the URL is not known there; check both."
    elif "insufficient_quota" in str(error):
        words = "credit or quota is used up."
    elif status in _TRANSIENT_STATUS or status >= 500:
        what = "is rate limited" if status == HTTPStatus.TOO_MANY_REQUESTS else "cannot answer now"
        words = f"{what} ({status}): {_brief(error)}"
        return _Fault(words, transient=True, billed=status >= 500, wait=_asked(error))
    else:
        words = f"refused the request ({status}): {_brief(error)}"
    return _Fault(words, transient=False, billed=False)


def _brief(error: Exception) -> str:
    return shorten(" ".join(str(error).split()), 300, "cut").rstrip(".") + "."


def _asked(error: openai.APIStatusError) -> float | None:
    """Return the wait that the provider asks for, in seconds."""
    try:
        return max(0.0, float(error.response.headers.get("retry-after", "")))
    except ValueError:
        return None


def _wait(fault: _Fault, attempt: int) -> float:
    jittered = random.uniform(0, FIRST_WAIT_SECONDS * 2 ** (attempt - 1))  # noqa: S311 -- spreads load, guards nothing
    return max(fault.wait or 0.0, jittered)
