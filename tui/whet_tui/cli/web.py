"""`whet chat --web`: the chat in a browser on this machine, by textual-serve.

Each page that is opened runs a `whet chat` of its own. Whoever knows the address can drive it, so the address holds a
secret, and what another page could send without knowing it (a rebound name, a cross-site socket) is refused before
textual-serve hears of it.
"""

import secrets
import shlex
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import click
from aiohttp import web
from textual_serve.server import Server

HOST: Final = "127.0.0.1"
_SECRET_BYTES: Final = 24
"""As many as nobody guesses."""
_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self' ws://{origin}; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""The page of textual-serve asks the web for a font, which is not needed: the browser is told to ask nobody but us."""

_FOCUS: Final = (
    "<script>new MutationObserver((_, observer) => { const keys = document.querySelector('textarea'); "
    "if (keys) { observer.disconnect(); keys.focus(); } })"
    ".observe(document.getElementById('terminal'), { childList: true, subtree: true });</script>"
)
"""Whoever opens the page can type at once, without a click."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class LocalServer(Server):
    """Serves the chat to who knows the secret, on the loopback interface."""

    def __init__(self, command: Sequence[str], port: int) -> None:
        super().__init__(f"exec {shlex.join(command)}", host=HOST, port=port, title="Whet")
        self._secret = secrets.token_urlsafe(_SECRET_BYTES)

    @property
    def address(self) -> str:
        """What is opened in the browser."""
        return f"{self.public_url}/{self._secret}/"

    async def application(self) -> web.Application:
        """The whole of it below the secret, with the check in front."""
        inner = await self._make_app()
        inner.on_startup.clear()  # prints a banner
        outer = web.Application(middlewares=[self._guard])
        outer.add_subapp(f"/{self._secret}/", inner)
        return outer

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        given = request.path.split("/")[1].encode()
        origin = request.headers.get("Origin", self.public_url)  # browsers send it with every socket
        known = secrets.compare_digest(given, self._secret.encode())
        if not known or f"http://{request.host}" != self.public_url or origin != self.public_url:
            raise web.HTTPForbidden(text="Open the address that whet chat --web has printed.\n")
        response = await handler(request)
        if not response.prepared:
            if isinstance(response, web.Response) and response.content_type == "text/html":
                response.text = (response.text or "").replace("</body>", f"{_FOCUS}</body>")
            response.headers["Content-Security-Policy"] = _POLICY.format(origin=f"{HOST}:{self.port}")
            response.headers["Referrer-Policy"] = "no-referrer"
            response.headers["Cache-Control"] = "no-store"
        return response


def serve(command: Sequence[str], port: int) -> None:
    """Serve until Ctrl+C. Port 0 takes a free one. Raises `OSError` when the port is taken."""
    with socket.create_server((HOST, port)) as listening:
        server = LocalServer(command, listening.getsockname()[1])
        click.echo(
            f"The chat is at {server.address}\nThe address is the key to it: keep it to yourself. Ctrl+C ends it."
        )
        sys.stdout.flush()
        web.run_app(server.application(), sock=listening, print=None, access_log=None)
