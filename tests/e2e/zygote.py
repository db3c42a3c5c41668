"""A process that has loaded everything and forks: a server or a session in a process of its own costs no imports.

Reads a line of JSON for each: `{"run": "server"|"session", "crossing": ..., "log": PATH, ...}`, and answers with its
process's id.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from tests.e2e.crossings import arm
from tests.e2e.person import converse

LOADED = (
    "whet_agent.assembly",
    "whet_agent.model.chat",
    "whet_server.app",
    "whet_server.__main__",
    "whet_server.store.sql",
    "whet_tui.view",
)


def run_server(arguments: list[str]) -> int:
    return int(import_module("whet_server.__main__").main(arguments))


def run_session(arguments: dict[str, str]) -> int:
    asyncio.run(converse(**arguments))
    return 0


RUNS: dict[str, Callable[[Any], int]] = {"server": run_server, "session": run_session}


def child(order: dict[str, Any]) -> None:
    """Never returns."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        arm(order["crossing"])
        code = RUNS[order["run"]](order["arguments"])
    except BaseException:  # noqa: BLE001 -- the top of a process: it tells and ends
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    for module in LOADED:
        import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody here waits for them: whoever ordered one watches its id
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            child(json.loads(line))
        print(pid, flush=True)  # noqa: T201 -- the answer


if __name__ == "__main__":
    main()
