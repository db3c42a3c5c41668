"""`whet status`: what runs where, without starting anything."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from whet_tui.cli.configured import load_settings
from whet_tui.cli.exits import FAILED, OK
from whet_tui.cli.root import Launch
from whet_tui.json_lines import json_line
from whet_tui.plain import counted
from whet_tui.safe import safe_line
from whet_tui.settings import Settings

if TYPE_CHECKING:
    from whet_agent.client import Client

_SESSIONS = 5
"""Sessions listed: the ones somebody may still want to take up."""


@click.command("status", help="Say what runs where, without starting anything. Exit code 1: no server answers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(launch: Launch, *, as_json: bool) -> int:
    settings = load_settings(launch)
    found = asyncio.run(_look(settings))
    if as_json:
        click.echo(json_line(found))
    else:
        for line in _lines(found):
            click.echo(line)
    return OK if found["server"]["answers"] else FAILED


async def _look(settings: Settings) -> dict[str, Any]:
    from whet_agent.session import list_sessions

    mind = settings.mind
    return {
        "data": str(settings.data),
        "config": str(settings.config) if settings.config else "",
        "mind": (mind.model or "chosen from what the endpoint lists") if mind else "offline planner",
        "server": await _server(settings),
        "sessions": [
            {"session_id": each.session_id, "title": each.title, "turns": each.turns}
            for each in list_sessions(settings.data / "agent")[:_SESSIONS]
        ],
    }


async def _server(settings: Settings) -> dict[str, Any]:
    from whet_agent.client import Client
    from whet_agent.connect import find
    from whet_tui.opening import connect_settings

    connection = await find(connect_settings(settings))
    if connection is None:
        return {"answers": False, "address": settings.server}
    client = Client(connection.address, connection.person_token)
    try:
        return {
            "answers": True,
            "address": connection.address,
            "embedded": connection.embedded,
            "running": len((await _ask(client, "ListTraces", {"state": "running"})).traces),
            "undecided": len((await _ask(client, "ListApprovals", {"state": "pending"})).approvals),
        }
    finally:
        await client.close()


async def _ask(client: "Client", name: str, arguments: dict[str, Any]) -> Any:
    from whet_agent.catalogue import methods, request_from

    method = next(method for method in methods() if method.name == name)
    return await client.call(method, request_from(method, arguments))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    server = found["server"]
    yield f"data      {found['data']}"
    yield f"config    {found['config'] or '(none)'}"
    yield f"mind      {safe_line(found['mind'])}"
    if server["answers"]:
        yield f"server    {server['address']}{'' if server['embedded'] else ' (elsewhere)'}"
        yield f"running   {counted(server['running'], 'run', 'runs')}"
        yield f"undecided {counted(server['undecided'], 'approval', 'approvals')}"
    elif server["address"]:
        yield f"server    nothing answers at {server['address']}"
    else:
        yield "server    not running; the next command starts it"
    for session in found["sessions"]:
        turns = counted(session["turns"], "turn", "turns")
        yield f"session   {session['session_id']}  {turns}  {safe_line(session['title'], 60)}"
