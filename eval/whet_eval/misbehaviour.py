"""Everything the provider stub can do wrong, by name. Most were seen in the wild; the rest will be."""

import asyncio
import json
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from functools import partial
from typing import Any, Final

from aiohttp import web

from whet_eval.speech import DONE, EVENT_STREAM, Exchange, delta, ending, event, piece

Kind = Callable[[Exchange], Awaitable[web.StreamResponse]]
KINDS: Final[dict[str, Kind]] = {}
"""What each name does."""
ENDLESS: Final[set[str]] = set()
"""Names that go on until somebody has had enough."""
FREE: Final[set[str]] = set()
"""Names for which nothing is charged: the request was refused before it was worked on."""
_MEGABYTE: Final = 1 << 20
_DRIP_SECONDS: Final = 0.02
_COMMENT: Final = b": " + b"." * 1020 + b"\n\n"

_SLOWER: Final = "Rate limit reached for requests"
_RATE: Final = "rate_limit_exceeded"
_REFUSALS: Final[tuple[tuple[str, int, str, str, Mapping[str, str]], ...]] = (
    ("bad-request", 400, "messages must not be empty", "invalid_request_error", {}),
    ("unauthorised", 401, "Incorrect API key provided", "invalid_api_key", {}),
    ("payment-required", 402, "This request requires more credits", "402", {}),
    ("forbidden", 403, "You are not allowed to sample from this model", "permission_error", {}),
    ("not-found", 404, "The model does not exist", "model_not_found", {}),
    ("request-timeout", 408, "Request timed out", "timeout", {}),
    ("conflict", 409, "Conflict", "conflict", {}),
    ("too-large", 413, "Request too large", "request_too_large", {}),
    ("unprocessable", 422, "temperature: must be below 2", "invalid_request_error", {}),
    ("rate-limited", 429, _SLOWER, _RATE, {}),
    ("rate-limited-seconds", 429, _SLOWER, _RATE, {"retry-after": "1"}),
    ("rate-limited-ms", 429, _SLOWER, _RATE, {"retry-after-ms": "20", "retry-after": "1"}),
    ("rate-limited-zero", 429, _SLOWER, _RATE, {"retry-after": "0"}),
    ("rate-limited-negative", 429, _SLOWER, _RATE, {"retry-after": "-1"}),
    ("rate-limited-garbage", 429, _SLOWER, _RATE, {"retry-after": "soon"}),
    ("rate-limited-49-days", 429, _SLOWER, _RATE, {"retry-after": "4233600"}),
    ("no-credit", 429, "You exceeded your current quota", "insufficient_quota", {}),
    ("prompt-filtered", 400, "The prompt was filtered", "content_filter", {}),
    ("server-error", 500, "The server had an error", "server_error", {}),
    ("unavailable", 503, "The engine is currently overloaded", "service_unavailable", {}),
    ("overloaded", 529, "Overloaded", "overloaded_error", {}),
)


async def _refuse(
    exchange: Exchange, *, status: int, error: Mapping[str, Any], headers: Mapping[str, str]
) -> web.StreamResponse:
    return web.json_response({"error": dict(error)}, status=status, headers=dict(headers))


for _name, _status, _message, _code, _headers in _REFUSALS:
    _error = {"message": _message, "type": _code, "code": _code, "param": None}
    KINDS[_name] = partial(_refuse, status=_status, error=_error, headers=_headers)
    if _status < 500:
        FREE.add(_name)


def _kind(name: str, *, endless: bool = False, free: bool = False) -> Callable[[Kind], Kind]:
    """Register a way to misbehave."""

    def register(answer: Kind) -> Kind:
        KINDS[name] = answer
        if endless:
            ENDLESS.add(name)
        if free:
            FREE.add(name)
        return answer

    return register


@_kind("rate-limited-date", free=True)
async def _rate_limited_date(exchange: Exchange) -> web.StreamResponse:
    later = {"retry-after": formatdate(time.time() + 60, usegmt=True)}
    return web.json_response({"error": {"message": _SLOWER}}, status=429, headers=later)


@_kind("bad-gateway")
async def _bad_gateway(exchange: Exchange) -> web.StreamResponse:
    return web.Response(status=502, text="<html><h1>502 Bad Gateway</h1></html>", content_type="text/html")


@_kind("redirect", free=True)
async def _redirect(exchange: Exchange) -> web.StreamResponse:
    return web.Response(status=307, headers={"location": "/v1/chat/completions"})


@_kind("no-content")
async def _no_content(exchange: Exchange) -> web.StreamResponse:
    return web.Response(status=204)


@_kind("refusal-without-end", endless=True)
async def _refusal_without_end(exchange: Exchange) -> web.StreamResponse:
    response = web.StreamResponse(status=500, headers={"content-type": "application/json"})
    await response.prepare(exchange.request)
    await response.write(b'{"error": {"message": "it goes on and')
    return await exchange.hang()


@_kind("refusal-of-megabytes")
async def _refusal_of_megabytes(exchange: Exchange) -> web.StreamResponse:
    return web.Response(status=500, body=b"x" * 4 * _MEGABYTE, content_type="text/plain")


# Connections.


@_kind("reset-before-headers")
async def _reset_before_headers(exchange: Exchange) -> web.StreamResponse:
    return await exchange.abort()


@_kind("reset-after-headers")
async def _reset_after_headers(exchange: Exchange) -> web.StreamResponse:
    await exchange.start()
    return await exchange.abort()


@_kind("reset-mid-stream")
async def _reset_mid_stream(exchange: Exchange) -> web.StreamResponse:
    await exchange.speak(await exchange.start(), count=2, finish=None)
    return await exchange.abort()


@_kind("reset-after-finish")
async def _reset_after_finish(exchange: Exchange) -> web.StreamResponse:
    await exchange.speak(await exchange.start())
    return await exchange.abort()


@_kind("not-http")
async def _not_http(exchange: Exchange) -> web.StreamResponse:
    transport = exchange.request.transport
    if transport is not None:
        transport.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        transport.close()
    return await exchange.hang()


@_kind("huge-headers")
async def _huge_headers(exchange: Exchange) -> web.StreamResponse:
    return web.Response(headers={"x-large": "x" * 100_000}, text="{}", content_type="application/json")


@_kind("hang-before-headers", endless=True)
async def _hang_before_headers(exchange: Exchange) -> web.StreamResponse:
    return await exchange.hang()


@_kind("hang-after-headers", endless=True)
async def _hang_after_headers(exchange: Exchange) -> web.StreamResponse:
    await exchange.start()
    return await exchange.hang()


@_kind("hang-mid-stream", endless=True)
async def _hang_mid_stream(exchange: Exchange) -> web.StreamResponse:
    await exchange.speak(await exchange.start(), count=2, finish=None)
    return await exchange.hang()


@_kind("hang-after-done", endless=True)
async def _hang_after_done(exchange: Exchange) -> web.StreamResponse:
    await exchange.plain()
    return await exchange.hang()


@_kind("half-stream")
async def _half_stream(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start()
    await exchange.speak(response, count=2, finish=None)
    return response


@_kind("half-event")
async def _half_event(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start()
    await exchange.speak(response, count=2, finish=None)
    await response.write(piece(2)[:40])
    return response


# Endless and oversized answers.


@_kind("slow-bytes", endless=True)
async def _slow_bytes(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start()
    for byte in (piece(0) * 1000)[: len(piece(0)) - 2]:
        await response.write(bytes((byte,)))
        await asyncio.sleep(_DRIP_SECONDS)
    return await exchange.hang()


@_kind("slow-tokens", endless=True)
async def _slow_tokens(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start()
    while True:
        await response.write(piece(0))
        await asyncio.sleep(_DRIP_SECONDS)


@_kind("comments-only", endless=True)
async def _comments_only(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start()
    while True:
        await response.write(b": still here\n\n")
        await asyncio.sleep(_DRIP_SECONDS)


@_kind("gigabyte", endless=True)
async def _gigabyte(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start()
    for _ in range(1024):
        await response.write(_COMMENT * 1024)
    return response


@_kind("gigabyte-json", endless=True)
async def _gigabyte_json(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start(content_type="application/json")
    for _ in range(1024):
        await response.write(b" " * _MEGABYTE)
    return response


@_kind("gzip-bomb", endless=True)
async def _gzip_bomb(exchange: Exchange) -> web.StreamResponse:
    headers = {"content-type": EVENT_STREAM, "content-encoding": "gzip"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(exchange.request)
    packer = zlib.compressobj(wbits=31)
    first, other = (packer.compress(_COMMENT * 1024) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    await response.write(first + other * 1023)
    return response


@_kind("huge-line")
async def _huge_line(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start()
    await response.write(b"data: ")
    for _ in range(8):
        await response.write(b"x" * _MEGABYTE)
    await response.write(b"\n\n" + DONE)
    return response


async def no_schema(exchange: Exchange) -> web.StreamResponse:
    """Refuse a request for structured output, as servers do that know none, and answer every other one."""
    if "response_format" in exchange.body:
        message = "This response_format type is unavailable now"
        return await _refuse(exchange, status=400, error={"message": message, "type": "invalid"}, headers={})
    return await exchange.plain()


# Answers that are none.


@_kind("html")
async def _html(exchange: Exchange) -> web.StreamResponse:
    return web.Response(text="<html><body>Please log in</body></html>", content_type="text/html")


@_kind("wrong-content-type")
async def _wrong_content_type(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start(content_type="application/octet-stream")
    await exchange.speak(response)
    return response


async def _say(exchange: Exchange, *, data: bytes) -> web.StreamResponse:
    """Send two good pieces, this, and the end."""
    response = await exchange.start()
    await exchange.speak(response, count=2, finish=None)
    await response.write(data + ending("stop") + exchange.usage() + DONE)
    return response


KINDS["invalid-json"] = partial(_say, data=b"data: {'choices': oops}\n\n")
KINDS["invalid-utf8"] = partial(_say, data=delta({"content": "X"}).replace(b"X", b"\xff\xfe"))
KINDS["wrong-shape"] = partial(_say, data=event({"choices": "none"}))
KINDS["wrong-type"] = partial(_say, data=event({"choices": [{"index": 0, "delta": {"content": 7}}]}))
KINDS["error-in-stream"] = partial(_say, data=event({"error": {"message": "Lost it", "type": "server_error"}}))
KINDS["filtered-midway"] = partial(_say, data=ending("content_filter"))


async def _say_only(exchange: Exchange, *, data: bytes) -> web.StreamResponse:
    response = await exchange.start()
    await response.write(data)
    return response


KINDS["overloaded-in-stream"] = partial(
    _say_only, data=event({"error": {"message": "Overloaded", "type": "overloaded_error"}})
)
KINDS["error-string-in-stream"] = partial(_say_only, data=event({"error": "model runner has crashed"}))
KINDS["only-done"] = partial(_say_only, data=DONE)
KINDS["empty-body"] = partial(_say_only, data=b"")


@_kind("broken-json-answer")
async def _broken_json_answer(exchange: Exchange) -> web.StreamResponse:
    return web.Response(text='{"choices": [{"message": {"content": "ha', content_type="application/json")


@_kind("empty-answer")
async def _empty_answer(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start()
    await response.write(ending("stop") + exchange.usage() + DONE)
    return response


@_kind("empty-length")
async def _empty_length(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start()
    await response.write(delta({"reasoning_content": "hm"}) + ending("length") + exchange.usage() + DONE)
    return response


@_kind("filtered")
async def _filtered(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start()
    await response.write(ending("content_filter") + exchange.usage() + DONE)
    return response


# Answers with something odd about them.


@_kind("length")
async def _length(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start()
    await exchange.speak(response, finish="length")
    await response.write(exchange.usage() + DONE)
    return response


@_kind("no-done")
async def _no_done(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start()
    await exchange.speak(response)
    await response.write(exchange.usage())
    return response


@_kind("no-finish-reason")
async def _no_finish_reason(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start()
    await exchange.speak(response, finish=None)
    await response.write(exchange.usage() + DONE)
    return response


@_kind("no-usage")
async def _no_usage(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start()
    await exchange.speak(response)
    await response.write(DONE)
    return response


@_kind("negative-usage")
async def _negative_usage(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start()
    await exchange.speak(response)
    await response.write(exchange.usage(times=-1) + DONE)
    return response


@_kind("absurd-usage")
async def _absurd_usage(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start()
    await exchange.speak(response)
    await response.write(exchange.usage(times=10**15) + DONE)
    return response


@_kind("duplicate-chunks")
async def _duplicate_chunks(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start()
    for number in range(exchange.chunks):
        await response.write(piece(number) * 2)
    await response.write(ending("stop") * 2 + exchange.usage() * 2 + DONE * 2)
    return response


@_kind("crlf-and-comments")
async def _crlf_and_comments(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start()
    for number in range(exchange.chunks):
        data = b": processing\n\n" + b"event: message\nid: 7\nretry: 10\n" + piece(number)
        await response.write(data.replace(b"\n", b"\r\n"))
    await response.write((ending("stop") + exchange.usage() + DONE).replace(b"\n", b"\r\n"))
    return response


@_kind("byte-by-byte")
async def _byte_by_byte(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start()
    for byte in delta({"content": "grüße ✓ "}) + ending("stop") + exchange.usage() + DONE:
        await response.write(bytes((byte,)))
        await asyncio.sleep(0)
    return response


@_kind("reasoning-first")
async def _reasoning_first(exchange: Exchange) -> web.StreamResponse:
    response = await exchange.start()
    await response.write(delta({"reasoning_content": "let me think"}) + delta({"reasoning": "still"}))
    await exchange.speak(response)
    await response.write(exchange.usage() + DONE)
    return response


@_kind("no-stream")
async def _no_stream(exchange: Exchange) -> web.StreamResponse:
    text = "".join(f"word{number} " for number in range(exchange.chunks))
    usage = json.loads(exchange.usage()[6:])["usage"]
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return web.json_response({"model": "stub", "choices": [choice], "usage": usage})


@_kind("gzip")
async def _gzip(exchange: Exchange) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": EVENT_STREAM})
    response.enable_compression(web.ContentCoding.gzip)
    await response.prepare(exchange.request)
    await exchange.speak(response)
    await response.write(exchange.usage() + DONE)
    return response


QUICK: Final = tuple(name for name in KINDS if name not in ENDLESS and not name.startswith(("huge", "refusal-of")))
"""Names that end by themselves and cheaply: what the model `mixed` draws from."""
