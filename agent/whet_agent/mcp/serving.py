"""Put the adapter together: a server, the agent's token, a transport."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from whet.v1 import approval_pb2
from whet_agent.catalogue import method_named
from whet_agent.client import CallError, Client
from whet_agent.connect import Connection
from whet_agent.events import Happening, Notice
from whet_agent.lifeline import Lifeline
from whet_agent.mcp.adapter import Adapter

_log = logging.getLogger("whet_agent.mcp")
_NO_DIGEST: Final = "0" * 64


class NotAnAgent(Exception):
    """The token is a person's. `str()` says what to do."""


@asynccontextmanager
async def adapter_for(connection: Connection, *, program: str) -> AsyncIterator[Adapter]:
    """Yield the adapter. A server of our own that goes to sleep is started again by the next call.

    Raises `NotAnAgent`, and `CallError` when the server does not take the token.
    """
    lifeline = Lifeline(connection, _tell)
    client = Client(connection.address, connection.agent_token, restore=lifeline.restore)
    try:
        await _must_be_an_agents(client)
    except BaseException:
        await client.close()
        raise
    adapter = Adapter(client, program=program)
    try:
        yield adapter
    finally:
        await adapter.close()


async def _must_be_an_agents(client: Client) -> None:
    """Make sure that nobody could approve with this token: ask for a decision about nothing, and be refused."""
    nothing = approval_pb2.DecideApprovalRequest(
        approval_id="apr_none", decision=approval_pb2.DECISION_REJECT, digest=_NO_DIGEST
    )
    try:
        await client.call(method_named("ApprovalService", "DecideApproval"), nothing)
    except CallError as error:
        if error.reason == "ROLE_NOT_ALLOWED":
            return
        if error.code not in {"NOT_FOUND", "INVALID_ARGUMENT", "FAILED_PRECONDITION"}:
            raise
    raise NotAnAgent(
        "This token is a person's: other agents could approve their own calls with it. Give the agent's: --token-file."
    )


def _tell(happening: Happening) -> None:
    if isinstance(happening, Notice):
        _log.warning("%s", happening.text)
