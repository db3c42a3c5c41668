"""Be killed at the N-th write of something done to a session: `python killed.py ADDRESS FOLDER SESSION ACTION STEP`.

For each N that STEP divides the folder is copied to `FOLDER.N`, where a process of its own works. Ends with the first N
that was not reached; prints it.
"""

import asyncio
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import whet_agent.assembly  # noqa: F401 -- loaded once, before the copies of this process are made
from whet_agent.connect import Connection
from whet_agent.model.scripted import ScriptedMind
from whet_agent.session import AgentSession, SessionSettings

WRITES = {"fsync", "flush", "open", "rename", "replace", "mkdir"}
"""What reaches the disk beside the database; a plain `write` only fills a buffer."""


class Fuse:
    """Kills this process at the N-th write since it was lit."""

    def __init__(self, point: int) -> None:
        self.left = point
        self.lit = False
        threading.setprofile(self.watch)  # whatever is written by a thread counts too
        sys.setprofile(self.watch)

    def watch(self, frame: FrameType, event: str, called: Any) -> None:
        if not self.lit:
            return
        database = event == "call" and frame.f_code.co_name == "_execute" and "aiosqlite" in frame.f_code.co_filename
        if database or (event == "c_call" and called.__name__ in WRITES):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


async def act(address: str, folder: Path, session_id: str, action: str, point: int) -> None:
    connection = Connection(address=address, person_token="person-token", agent_token="agent-token", embedded=False)
    fuse = Fuse(point)
    session = await AgentSession.open(
        connection, SessionSettings(folder=folder), session_id=session_id, mind=ScriptedMind([])
    )
    name, _, turn = action.partition(" ")
    fuse.lit = True
    await getattr(session, name)(int(turn))
    os._exit(0)


def main(address: str, folder: str, session_id: str, action: str, step: str) -> None:
    point = 0
    while True:
        point += int(step)
        copy = Path(f"{folder}.{point}")
        shutil.copytree(folder, copy)
        if (pid := os.fork()) == 0:
            asyncio.run(act(address, copy, session_id, action, point))
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0:
            print(point)  # noqa: T201 -- the parent reads it
            return


main(*sys.argv[1:])
