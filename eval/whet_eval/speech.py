"""How the provider stub speaks: the pieces of a streamed answer, and the exchange that sends them."""

import asyncio
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NoReturn

from aiohttp import web

EVENT_STREAM: Final = "text/event-stream"
DONE: Final = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a model answers: `plain?chunks=20&first_ms=200`."""

    chunks: int = 4
    first_ms: int = 0
    gap_ms: int = 0


class Exchange:
    """One request and the means to answer it, well or badly."""

    def __init__(self, request: web.Request, body: dict[str, Any], settings: Settings) -> None:
        self.request = request
        self.body = body
        self.settings = settings
        messages = body["messages"]
        self.prompt: str = messages[-1]["content"]
        self.input_tokens = sum(4 + len(message["content"].split()) for message in messages)

    @property
    def chunks(self) -> int:
        """Pieces of the answer, a token each: never more than the caller allowed."""
        allowed = self.body.get("max_tokens") or self.body.get("max_completion_tokens")
        return self.settings.chunks if allowed is None else min(self.settings.chunks, int(allowed))

    async def plain(self) -> web.StreamResponse:
        """Answer as a provider should."""
        response = await self.start()
        await self.speak(response)
        await response.write(self.usage() + DONE)
        return response

    async def start(self, *, content_type: str = EVENT_STREAM, first: bool = True) -> web.StreamResponse:
        """Wait for the first token, then send the headers."""
        if first and self.settings.first_ms:
            await asyncio.sleep(self.settings.first_ms / 1000)
        response = web.StreamResponse(headers={"content-type": content_type, "x-request-id": "stub-request"})
        await response.prepare(self.request)
        return response

    async def speak(
        self, response: web.StreamResponse, *, count: int | None = None, finish: str | None = "stop"
    ) -> None:
        """Send the pieces of the answer, and the reason of its end unless that is None."""
        gap = self.settings.gap_ms / 1000
        for number in range(self.chunks if count is None else count):
            if gap and number:
                await asyncio.sleep(gap)
            await response.write(piece(number))
        if finish is not None:
            await response.write(ending(finish))

    def usage(self, *, times: int = 1) -> bytes:
        """The chunk that reports the tokens."""
        figures = {
            "prompt_tokens": self.input_tokens * times,
            "completion_tokens": self.chunks * times,
            "total_tokens": (self.input_tokens + self.chunks) * times,
        }
        return event({"id": "c", "object": "chat.completion.chunk", "model": "stub", "choices": [], "usage": figures})

    async def abort(self) -> NoReturn:
        """Break the connection without a goodbye; that cancels the handler."""
        if self.request.transport is not None:
            self.request.transport.abort()
        await self.hang()

    async def hang(self) -> NoReturn:
        """Say nothing until the caller leaves, which cancels the handler."""
        await asyncio.Event().wait()
        raise RuntimeError("an event that nobody has was set")


def event(data: object) -> bytes:
    """One server-sent event with JSON data."""
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


@lru_cache(maxsize=4096)
def piece(number: int) -> bytes:
    """The chunk with one token of text."""
    return delta({"content": f"word{number} "})


def delta(content: dict[str, str], finish: str | None = None) -> bytes:
    """A chunk of an answer, as providers send it with all its decoration."""
    choice = {"index": 0, "delta": content, "logprobs": None, "finish_reason": finish}
    return event(
        {
            "id": "chatcmpl-stub",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": "stub",
            "system_fingerprint": "fp",
            "choices": [choice],
            "usage": None,
        }
    )


@lru_cache(maxsize=16)
def ending(finish: str) -> bytes:
    """The chunk that gives the reason of the end."""
    return delta({}, finish)
