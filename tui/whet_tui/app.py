"""The way into the chat and out of it."""

import gc
import os
import select
import signal
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

from whet_tui import memory
from whet_tui.chat_settings import ChatSettings


def run_chat(settings: ChatSettings) -> int:
    """Run the chat until the person leaves; return the exit code. However it ends, say how to take the session up."""
    memory.begin()
    if settings.settings.in_page:
        end_with(sys.stdin.fileno())
    from whet_tui.application import ChatApp
    from whet_tui.bridge import cut_short, desk_opener, names_from, open_session, shelf_of
    from whet_tui.screens.leaving import NEW
    from whet_tui.stray import stray_output_to
    from whet_tui.surroundings import Surroundings

    while True:
        chosen, desk, shelf = settings.settings.chat, desk_opener(settings), shelf_of(settings)
        _tell_of_colour(settings.settings.no_color)
        chat = ChatApp(
            partial(open_session, settings),
            desk,
            shelf,
            settings.settings,
            around=Surroundings(
                history=settings.history if chosen.history else None,
                editor=chosen.editor,
                copier=settings.copier,
                ask=partial(names_from, desk),
                crashed=partial(cut_short, shelf, settings.resume),
                paste_lines=chosen.paste_lines,
            ),
        )
        other = None
        try:
            with stray_output_to(settings.log):
                other = chat.run()
        finally:
            gc.enable()
            if not other:
                told = farewell(chat.session_id, chat.return_code or 0, settings.log, settings.settings.program)
                sys.stdout.write(told)
        if not other:
            return chat.return_code or 0
        settings = replace(settings, resume="" if other == NEW else other)


def end_with(pipe: int) -> None:
    """End when nobody holds the other end of a pipe any more: the page's server is gone, however it went, and nobody
    sees this chat. Its driver only stops to listen then.
    """
    gone = select.poll()
    gone.register(pipe, 0)  # hears of nothing but the end

    def wait() -> None:
        gone.poll()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="the page", daemon=True).start()


def _tell_of_colour(no_color: bool) -> None:  # noqa: FBT001 -- one word of the settings
    """Tell Textual, which hears of it in no other way and takes the variable away when an application is made."""
    if no_color:
        os.environ["NO_COLOR"] = "1"
    else:
        os.environ.pop("NO_COLOR", None)


def farewell(session_id: str, code: int, log: Path, program: str = "whet") -> str:
    """What is printed when the screen is gone: what went wrong, if anything did, and how to go on."""
    lines = [f"The chat stopped by a fault of its own. What is known is at the end of {log}."] if code else []
    if session_id:
        lines.append(f"Resume with: {program} chat --resume {session_id}")
    return "".join(f"{line}\n" for line in lines)
