"""The way into the chat and out of it."""

import gc
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from whet_tui import memory
from whet_tui.chat_settings import ChatSettings


def run_chat(settings: ChatSettings) -> int:
    """Run the chat until the person leaves; return the exit code. However it ends, say how to take the session up."""
    memory.begin()
    from whet_tui.application import ChatApp
    from whet_tui.bridge import list_sessions, open_session
    from whet_tui.stray import stray_output_to

    while True:
        chat = ChatApp(
            partial(open_session, settings),
            partial(list_sessions, settings),
            theme=settings.settings.theme,
            tmux=settings.settings.tmux,
        )
        try:
            with stray_output_to(settings.log):
                other = chat.run()
        finally:
            gc.enable()
            sys.stdout.write(farewell(chat.session_id, chat.return_code or 0, settings.log))
        if not other:
            return chat.return_code or 0
        settings = replace(settings, resume=other)


def farewell(session_id: str, code: int, log: Path) -> str:
    """What is printed when the screen is gone: what went wrong, if anything did, and how to go on."""
    lines = [f"The chat stopped by a fault of its own. What is known is at the end of {log}."] if code else []
    if session_id:
        lines.append(f"Resume with: whet chat --resume {session_id}")
    return "".join(f"{line}\n" for line in lines)
