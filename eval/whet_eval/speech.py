"""How the provider stub speaks: the pieces of a streamed answer, and the exchange that sends them."""

import asyncio
import json
import re
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
    rate: int = 0
    """Tokens a second, kept over the whole answer; 0: as fast as they go, or with the gap between them."""
    brief: int = 0
    """Pieces of the answer to a question that ends in `briefly`; 0: no such question is known."""


class Exchange:
    """One request and the means to answer it, well or badly."""

    def __init__(self, request: web.Request, body: dict[str, Any], settings: Settings) -> None:
        self.request = request
        self.body = body
        self.settings = settings
        messages = body["messages"]
        self.prompt = words(messages[-1])
        self.input_tokens = sum(4 + len(words(message).split()) for message in messages)

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

    async def prose(self) -> web.StreamResponse:
        """Answer with Markdown as models write it, at a steady rate; whole when no stream was asked for."""
        if not self.body.get("stream"):
            return web.json_response(whole("A title"))
        response = await self.start()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        brief = self.settings.brief if self.prompt.rstrip().endswith("briefly") else 0
        for number in range(brief or self.chunks):
            if self.settings.rate and (ahead := begun + number / self.settings.rate - loop.time()) > 0:
                await asyncio.sleep(ahead)
            await response.write(prose_piece(number % PROSE_PIECES))
        await response.write(ending("stop") + self.usage() + DONE)
        return response

    async def verdict(self) -> web.StreamResponse:
        """Answer with JSON by the schema that was asked for, as a judge: words of the judged text as evidence."""
        asked = self.body.get("response_format", {}).get("json_schema", {}).get("schema", {})
        judged = _JUDGED.search(self.prompt)
        text = json.dumps(filled(asked, " ".join(judged[1].split()[:6]) if judged else ""))
        response = await self.start()
        size = -(-len(text) // self.chunks)
        for at in range(0, len(text), size):
            await response.write(delta({"content": text[at : at + size]}))
        await response.write(ending("stop") + self.usage() + DONE)
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


_JUDGED: Final = re.compile(r"<answer-[0-9a-f]+[^>]*>\n(.*?)\n</answer-", re.DOTALL)
"""The text that a judge is shown."""


def filled(schema: dict[str, Any], text: str) -> Any:
    """Return a value by a JSON Schema: of choices the middle one, `text` for every text."""
    if choices := schema.get("enum"):
        return choices[(len(choices) - 1) // 2]
    if "properties" in schema:
        return {name: filled(each, text) for name, each in schema["properties"].items()}
    return [] if schema.get("type") == "array" else text


PROSE: Final = """A **monoid** is a set with an operation that is associative and has a neutral element.

- lists under concatenation, with `[]`
- numbers under addition, with `0`

```python
def fold(values, operation, neutral):
    result = neutral
    for value in values:
        result = operation(result, value)
    return result
```

| structure | operation | neutral |
|---|---|---|
| lists | `+` | `[]` |
| 数 | `*` | `1` |

The law that matters in practice is *associativity*: it lets the work be split, and the parts be joined in any grouping.

"""
"""What `prose` says, again and again."""
TOKEN_CHARACTERS: Final = 4
"""A token of prose."""
PROSE_PIECES: Final = -(-len(PROSE) // TOKEN_CHARACTERS)


def words(message: dict[str, Any]) -> str:
    """The text of a message, whose content may be text, parts, or nothing."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(str(part.get("text", "")) for part in content)


def whole(text: str) -> dict[str, Any]:
    """An answer that is not streamed."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    return {"id": "c", "object": "chat.completion", "created": 0, "model": "stub", "choices": [choice], "usage": usage}


def event(data: object) -> bytes:
    """One server-sent event with JSON data."""
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


@lru_cache(maxsize=4096)
def piece(number: int) -> bytes:
    """The chunk with one token of text."""
    return delta({"content": f"word{number} "})


@lru_cache(maxsize=1024)
def prose_piece(number: int) -> bytes:
    """The chunk with one token of prose."""
    return delta({"content": PROSE[number * TOKEN_CHARACTERS : (number + 1) * TOKEN_CHARACTERS]})


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
