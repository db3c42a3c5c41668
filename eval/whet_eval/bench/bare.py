"""The thing we are compared with: the same calls with aiohttp and nothing else."""

import asyncio
import time
from typing import Any

import aiohttp
import msgspec


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta


class _Usage(msgspec.Struct):
    completion_tokens: int = 0


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None


_DECODER = msgspec.json.Decoder(_Chunk)


async def call(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> str:
    """Make one streaming call and return its text."""
    pieces: list[str] = []
    async with session.post(f"{url}/chat/completions", json=body) as response:
        async for line in response.content:
            if line.startswith(b"data: ") and line[6:12] != b"[DONE]":
                chunk = _DECODER.decode(line[6:])
                if chunk.choices and chunk.choices[0].delta.content:
                    pieces.append(chunk.choices[0].delta.content)
    return "".join(pieces)


async def fanout(url: str, model: str, prompt: str, branches: int) -> tuple[float, int]:
    """Make `branches` calls at once; return the wall time in seconds and the characters received."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 64,
    }
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        start = time.perf_counter()
        texts = await asyncio.gather(*(call(session, url, body) for _ in range(branches)))
        return time.perf_counter() - start, sum(map(len, texts))


async def single(url: str, model: str, prompt: str, times: int) -> list[float]:
    """Make calls one after the other on one connection; return their latencies in seconds."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 64,
    }
    latencies = []
    async with aiohttp.ClientSession() as session:
        for _ in range(times):
            start = time.perf_counter()
            await call(session, url, body)
            latencies.append(time.perf_counter() - start)
    return latencies
