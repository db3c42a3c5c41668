"""A provider that speaks chat completions as server-sent events and says what a test wrote down for it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer: `deltas` one after the other, then the end. `status` other than 200 answers with an error body."""

    deltas: Sequence[Mapping[str, Any]] = ()
    pace: float = 0.0
    """Seconds between two deltas."""
    usage: tuple[int, int] | None = (10, 5)
    finish: str = "stop"
    cut: bool = False
    hang: bool = False
    status: int = 200
    error: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def text(*words: str) -> Reply:
    return Reply(deltas=[{"content": word} for word in words])


def calls(*named: tuple[str, Mapping[str, Any]]) -> Reply:
    pieces = [
        {"index": n, "id": f"call_{n}", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for n, (name, arguments) in enumerate(named)
    ]
    return Reply(deltas=[{"tool_calls": [piece]} for piece in pieces], finish="tool_calls")


@dataclass
class Provider:
    """Says its replies in order and fails loudly when the script has ended. `requests` keeps what it was sent."""

    script: list[Reply]
    thinks: Callable[[dict[str, Any]], Reply] | None = None
    """Answers by what it is asked, in place of a script: for whoever may ask the same thing twice."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await request.json())
        self.asked.set()
        if self.thinks is None and not self.script:
            return web.json_response({"error": {"message": "the script has ended"}}, status=400)
        reply = self.thinks(self.requests[-1]) if self.thinks is not None else self.script.pop(0)
        if reply.status != 200:
            return web.json_response(
                {"error": {"message": reply.error}}, status=reply.status, headers=dict(reply.headers)
            )
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for delta in reply.deltas:
            await asyncio.sleep(reply.pace)
            await self._send(response, {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        if reply.hang:
            await asyncio.Event().wait()
        if reply.cut:
            return response
        await self._send(response, {"choices": [{"index": 0, "delta": {}, "finish_reason": reply.finish}]})
        if reply.usage is not None:
            given, made = reply.usage
            usage = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
            await self._send(response, {"choices": [], "usage": usage})
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _send(self, response: web.StreamResponse, chunk: Mapping[str, Any]) -> None:
        whole = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", **chunk}
        await response.write(f"data: {json.dumps(whole)}\n\n".encode())


@asynccontextmanager
async def provider(*script: Reply, thinks: Callable[[dict[str, Any]], Reply] | None = None) -> AsyncIterator[Provider]:
    scripted = Provider(script=list(script), thinks=thinks)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", scripted.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    scripted.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield scripted
    finally:
        await runner.cleanup()
