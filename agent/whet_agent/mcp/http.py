"""The protocol over HTTP, for clients on this machine that cannot start a process.

Only the loopback address is served. Any page in a browser can send requests there, so whoever calls must know the
secret, and the names that the request gives for us and for where it comes from must be ours.
"""

import secrets
import socket
from collections.abc import Callable
from typing import Final

import uvicorn
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from whet_agent.mcp.adapter import Adapter

LOOPBACK: Final = "127.0.0.1"
PATH: Final = "/mcp"
SESSIONS: Final = 100
"""Clients at once. More on one machine is a client that forgets to end its sessions."""
IDLE_SECONDS: Final = 30 * 60.0
"""After which a session that nobody uses is closed; its client opens another."""
FAREWELL_SECONDS: Final = 5
"""How long open streams have when the process is told to end."""


async def serve_http(adapter: Adapter, *, port: int, secret: str, ready: Callable[[str], None]) -> None:
    """Serve clients until the process is told to end. `ready` hears the address. Raises `OSError` when the port is
    taken; port 0 takes a free one.
    """
    with socket.create_server((LOOPBACK, port)) as listening:
        taken = listening.getsockname()[1]
        names = [f"{name}:{taken}" for name in (LOOPBACK, "localhost")]
        manager = StreamableHTTPSessionManager(
            adapter.server,
            session_idle_timeout=IDLE_SECONDS,
            max_sessions=SESSIONS,
            security_settings=TransportSecuritySettings(
                enable_dns_rebinding_protection=True,
                allowed_hosts=names,
                allowed_origins=[f"http://{name}" for name in names],
            ),
        )
        config = uvicorn.Config(
            Guarded(manager.handle_request, secret),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=FAREWELL_SECONDS,
        )
        async with manager.run():
            ready(f"http://{LOOPBACK}:{taken}{PATH}")
            await uvicorn.Server(config).serve(sockets=[listening])


class Guarded:
    """Lets through who knows the secret, to the one path there is."""

    def __init__(self, inner: ASGIApp, secret: str) -> None:
        self._inner = inner
        self._expected = f"Bearer {secret}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the protocol needs no web sockets
            await send({"type": "websocket.close"})
            return
        given = dict(scope["headers"]).get(b"authorization", b"")
        if not secrets.compare_digest(given, self._expected):
            refusal = PlainTextResponse(
                "The secret is missing or wrong. Send it as: Authorization: Bearer SECRET\n",
                status_code=401,
                headers={"www-authenticate": "Bearer"},
            )
            await refusal(scope, receive, send)
        elif scope["path"] != PATH:
            await PlainTextResponse(f"There is only {PATH}.\n", status_code=404)(scope, receive, send)
        else:
            await self._inner(scope, receive, send)
