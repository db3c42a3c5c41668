"""A quiet connection stays: the server allows the pings with which a client keeps it alive."""

import asyncio
from typing import Final

from grpc import aio

from whet_agent.client import CHANNEL_OPTIONS
from whet_server.rpc.server import OPTIONS

FASTER: Final = 600
"""So much faster than in life time passes here. gRPC's own client does not ping so often; a few frames do."""
PINGS: Final = 6
"""gRPC ends a connection at the third ping that it does not allow."""
HELLO: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
PING: Final = bytes((0, 0, 8, 6, 0, 0, 0, 0, 0)) + b"whet?yes"
PING_TYPE: Final = 6
GOAWAY_TYPE: Final = 7
ALLOWED: Final = "grpc.http2.min_ping_interval_without_data_ms"


async def answered(reader: asyncio.StreamReader) -> int:
    """Read frames until one answers a ping or says goodbye; return its type."""
    while True:
        head = await reader.readexactly(9)
        await reader.readexactly(int.from_bytes(head[:3]))
        if head[3] == GOAWAY_TYPE or (head[3] == PING_TYPE and head[4]):
            return head[3]


async def test_a_client_that_keeps_its_silent_connection_alive_is_not_sent_away() -> None:
    known: dict[str, int] = dict(OPTIONS)
    server = aio.server(options=[*(known | {ALLOWED: known.get(ALLOWED, 300_000) // FASTER}).items()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HELLO)
    for _ in range(PINGS):
        writer.write(PING)
        async with asyncio.timeout(10):
            assert await answered(reader) == PING_TYPE
        await asyncio.sleep(dict(CHANNEL_OPTIONS)["grpc.keepalive_time_ms"] / 1000 / FASTER)
    writer.close()
    await server.stop(None)
