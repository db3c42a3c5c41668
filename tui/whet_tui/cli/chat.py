"""`whet chat`, and `whet` alone: the screen where there is one, plain lines where there is none."""

import asyncio
import sys
from collections.abc import Mapping

import click

from whet_tui.cli.configured import load_settings, read_settings, tell_complaints
from whet_tui.cli.exits import OK, USAGE, Stopped
from whet_tui.cli.root import Launch
from whet_tui.settings import Settings


@click.command("chat", help="Chat in the terminal. Without one, each line of stdin that is not empty is a message.")
@click.option("--resume", metavar="ID", default="", help="Take up the session with this id.")
@click.option("--continue", "latest", is_flag=True, help="Take up the session used last.")
@click.option("--web", is_flag=True, help="In a browser on this machine, at the address that is printed.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port for --web; else a free one.")
@click.option("--plain", is_flag=True, help="Lines that are only ever added, in place of the screen.")
@click.pass_obj
def command(launch: Launch, resume: str, port: int, *, latest: bool, plain: bool, web: bool) -> int:
    if resume and latest:
        raise click.UsageError("Give --resume or --continue, not both.")
    if web and plain:
        raise click.UsageError("Give --web or --plain, not both.")
    if port and not web:
        raise click.UsageError("--port is for --web.")
    if web:
        return _in_browser(launch, resume, port, latest=latest)
    return start(launch, resume=resume, latest=latest, plain=plain)


def start(launch: Launch, *, resume: str = "", latest: bool = False, plain: bool = False) -> int:
    """Chat on the screen if there is one, in lines if those are wanted, else answer the lines of stdin."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    settings = read_settings(launch)
    on_screen = settings.in_page or (terminal and not (plain or settings.chat.plain))
    if not on_screen:
        tell_complaints(settings)  # the screen tells them itself
    session_id = _latest(settings) if latest else resume
    if on_screen:
        return _screen(settings, session_id, launch.environment)
    if terminal:
        from whet_tui.cli.lines import chat_in_lines  # loads the agent, which the screen does after its first frame

        return chat_in_lines(settings, session_id)
    if session_id:
        raise Stopped(
            "A session can only be taken up in a terminal.", advice="Run whet chat there, without pipes.", code=USAGE
        )
    return asyncio.run(_lines(settings))


def _in_browser(launch: Launch, resume: str, port: int, *, latest: bool) -> int:
    """Serve the chat to a browser; each page runs the chat with the options that this one was given."""
    settings = load_settings(launch)
    session_id = _latest(settings) if latest else resume
    from whet_tui.cli.web import serve  # aiohttp and textual-serve are for those who want a page

    serve(
        [
            sys.executable,
            "-m",
            "whet_tui",
            *launch.options(),
            "chat",
            *(["--resume", session_id] if session_id else []),
        ],
        port,
    )
    return OK


def _screen(settings: Settings, session_id: str, environment: Mapping[str, str]) -> int:
    from whet_tui.app import run_chat  # Textual is for those who have a screen
    from whet_tui.chat_settings import ChatSettings
    from whet_tui.surroundings import copier_of

    return run_chat(ChatSettings(settings=settings, resume=session_id, copier=copier_of(environment)))


def _latest(settings: Settings) -> str:
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
