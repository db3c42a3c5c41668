"""`whet chat`, and `whet` alone: the screen where there is one, plain lines where there is none."""

import asyncio
import sys

import click

from whet_tui.cli.configured import load_settings
from whet_tui.cli.exits import OK, USAGE, Stopped
from whet_tui.cli.root import Launch
from whet_tui.settings import Settings


@click.command("chat", help="Chat in the terminal. Without one, each line of stdin that is not empty is a message.")
@click.option("--resume", metavar="ID", default="", help="Take up the session with this id.")
@click.option("--continue", "latest", is_flag=True, help="Take up the session used last.")
@click.pass_obj
def command(launch: Launch, resume: str, *, latest: bool) -> int:
    if resume and latest:
        raise click.UsageError("Give --resume or --continue, not both.")
    return start(launch, resume=resume, latest=latest)


def start(launch: Launch, *, resume: str = "", latest: bool = False) -> int:
    """Chat on the screen if there is one, else answer the lines of stdin."""
    settings = load_settings(launch)
    session_id = latest_session(settings) if latest else resume
    if sys.stdin.isatty() and sys.stdout.isatty():
        return _screen(settings, session_id)
    if session_id:
        raise Stopped(
            "A session can only be taken up in a terminal.", advice="Run whet chat there, without pipes.", code=USAGE
        )
    return asyncio.run(_lines(settings))


def _screen(settings: Settings, session_id: str) -> int:
    from whet_tui.app import run_chat  # Textual is for those who have a screen
    from whet_tui.chat_settings import ChatSettings

    return run_chat(ChatSettings(settings=settings, resume=session_id))


def latest_session(settings: Settings) -> str:
    """Return the id of the session used last. Raises `Stopped` when there is none."""
    from whet_agent.session import list_sessions

    sessions = list_sessions(settings.data / "agent")
    if not sessions:
        raise Stopped("There is no session to continue.", advice="Start one: whet chat.", code=USAGE)
    return sessions[0].session_id


async def _lines(settings: Settings) -> int:
    """Answer stdin line by line: a script of questions is a file of lines. The last that failed makes the exit code."""
    from whet_tui.cli.talk import stdin_lines, talking
    from whet_tui.plain import PlainPrinter

    code = OK
    async with talking(settings, PlainPrinter(click.echo, click.echo)) as talk:
        async for line in stdin_lines():
            if message := line.strip():
                ended = await talk.say(message)
                code = talk.verdict(ended) or code
    return code
