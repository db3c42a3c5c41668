"""A receiver of webhooks on the loopback: it keeps what arrives and answers as it is told to."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from whet_server.hook.signature import DELIVERY, SIGNATURE, TIMESTAMP, signature

OK = b"HTTP/1.1 204 No Content\r\n\r\n"
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\nno"
GARBAGE = b"SSH-2.0-OpenSSH_9.6\r\n\r\n"
SILENCE = b""
HANGS = None
PATIENCE = 10.0


def redirect(to: str) -> bytes:
    return f"HTTP/1.1 307 Temporary Redirect\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n".encode()


def endless(size: int) -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\nthe beginning of it".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.body)
        return told

    @property
    def delivery_id(self) -> str:
        return self.headers[DELIVERY]

    def is_signed_with(self, secret: str) -> bool:
        return self.headers[SIGNATURE] == signature(secret, int(self.headers[TIMESTAMP]), self.body)


class Receiver:
    """Answers the script in its order, then with success."""

    def __init__(self, *script: bytes | None) -> None:
        self.script = list(script)
        self.received: list[Received] = []
        self.port = 0
        self._came = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/whet?from=tests"

    async def wait_for(self, count: int) -> list[Received]:
        """Wait until so many requests have come."""
        async with asyncio.timeout(PATIENCE), self._came:
            await self._came.wait_for(lambda: len(self.received) >= count)
        return self.received

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers["content-length"]))
            said = self.script.pop(0) if self.script else OK
            async with self._came:
                self.received.append(Received(path=head[0].split()[1], headers=headers, body=body))
                self._came.notify_all()
            if said is HANGS:
                await reader.read()  # until the caller gives up
            else:
                writer.write(said)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def receiving(*script: bytes | None) -> AsyncGenerator[Receiver, None]:
    receiver = Receiver(*script)
    server = await asyncio.start_server(receiver.answer, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await server.wait_closed()
