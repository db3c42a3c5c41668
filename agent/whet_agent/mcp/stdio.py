"""The protocol over stdin and stdout."""

import os
import sys

import anyio
from mcp.server.stdio import stdio_server

from whet_agent.mcp.adapter import Adapter


async def serve_stdio(adapter: Adapter) -> None:
    """Serve one client until it closes our stdin.

    The protocol keeps a stdout of its own: whatever else writes to stdout, in this process or below it, would break
    a line of it, and goes to stderr from here on.
    """
    own = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with os.fdopen(own, "w", encoding="utf-8") as lines:
        async with stdio_server(stdout=anyio.wrap_file(lines)) as (read, write):
            await adapter.server.run(read, write, adapter.server.create_initialization_options())
