"""A person at a session: says one thing, decides what is asked, and leaves a picture of the conversation at its end.

Whatever was killed before: the message is sent only if the conversation does not hold it, and what is open is decided.
"""

import asyncio
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from whet_agent.client import CallError
from whet_agent.connect import Connection
from whet_agent.events import TurnEnded
from whet_agent.session import AgentSession, MindSettings, SessionSettings
from whet_tui.entries import Card, Note
from whet_tui.view import View

MESSAGE = "Do it all."
APPROVED = "put_cap"
PATIENCE = 60.0
AGAIN = 0.05
"""A person who could not decide because the server was away tries again."""

_LIVE = ("heard", "places", "rewinds", "gone")
"""Of the view: what tells where it came from and not what is seen."""
_PASSING = re.compile(r"Taking up the step|Connection to the server lost|The server is|Cancelled here")
"""Notes that tell of the kill itself."""
_VARIES = re.compile(
    r"\b(?:ses|fan|apr|rsv)_\w+|\d+(?:\.\d+)? ?(?:ms|s)\b|[0-9a-f]{64}|\d{4}-\d\d-\d\dT[\d:.]+Z|\$[\d.,]+"
)
"""Ids, durations, digests, times, and money, which the ledger is asked for."""


async def converse(
    *, address: str, person: str, agent: str, folder: str, url: str, session_id: str, picture: str
) -> None:
    """Be there until the first turn has ended, then draw the picture."""
    connection = Connection(address=address, person_token=person, agent_token=agent, embedded=False)
    mind = MindSettings(base_url=url, api_key="none", model="stub/mind")
    settings = SessionSettings(folder=Path(folder), mind=mind)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as deciding:
        session = await AgentSession.open(connection, settings, session_id=session_id)
        if not session._record._journal.last_sequence or not _said(session):
            await session.send(MESSAGE)
        view, known = View(), set[str]()
        async for envelope in session.events():
            view.apply(envelope)
            for card in view.cards.values():
                if card.approval_id not in known:
                    known.add(card.approval_id)
                    deciding.create_task(_decide(session, card))
            if isinstance(envelope.happening, TurnEnded):
                break
    await session.close()
    _keep(Path(picture), drawn(view))


def _keep(path: Path, picture: Any) -> None:
    path.write_text(json.dumps(picture, default=str))


def _said(session: AgentSession) -> bool:
    return any(type(envelope.happening).__name__ == "UserSaid" for envelope in session._record._journal.read())


async def _decide(session: AgentSession, card: Card) -> None:
    while True:
        try:
            await session.decide(card.approval_id, grant=card.tool == APPROVED, reason="because")
        except CallError as error:
            if error.code != "UNAVAILABLE":
                raise
            await asyncio.sleep(AGAIN)
        else:
            return


def drawn(view: View) -> Any:
    """The view as data, without what differs from one unkilled run to the next."""
    kept = [entry for entry in view.entries if not (isinstance(entry, Note) and _PASSING.search(entry.text))]
    whole = {name: value for name, value in asdict(view).items() if name not in _LIVE}
    return _plain(whole | {"entries": [asdict(entry) for entry in kept]})


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {
                _plain(name): _plain(inner)
                for name, inner in value.items()
                if not str(name).endswith("_ns")
                and name not in {"money", "server", "restored", "input_tokens", "output_tokens"}
            }
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case str():
            return _VARIES.sub("…", value)
        case _:
            return value
