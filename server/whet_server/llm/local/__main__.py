"""The child process: loads the weights, serves the OpenAI protocol on loopback, and never outlives its parent.

Each step is told as one JSON line on stdout; the last one carries the address. A random part of the path stands in for
a key: other users and web pages on this machine can reach the port, but they do not know the path. Whatever else is
printed, by the library too, goes to stderr.
"""

import argparse
import ctypes
import json
import os
import secrets
import signal
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1
_ERRORS_ONLY: Final = 1
"""llama.cpp's verbosity: what goes wrong, nothing else."""
_MEGABYTES_OF_OLD_PROMPTS: Final = 0
"""llama.cpp would keep up to 8 GB of prompts it may see again."""
_TEMPERATURE: Final = 0.3
"""Tried from 0.2 to 0.8 with questions of one line: above 0.5 this model's sentences lose their sense."""
_TOP_P: Final = 0.9
_REPEAT_PENALTY: Final = 1.1
"""Without it the model falls into loops; from 1.2 on it avoids words that it needs."""
_HEALTH_SECONDS: Final = 10.0

Report = Callable[..., None]


def most_threads(cores: int) -> int:
    """Return the threads for a machine with so many cores: all but one, which the terminal and the server run on.

    llama.cpp's threads wait for each other after every step, so that one that is kept from its core holds up all: on
    two cores with one of them busy, two threads wrote 7 tokens a second and one wrote 59.
    """
    return max(1, cores - 1)


def main() -> None:
    """Serve until stdin ends."""
    given = _arguments()
    report = _reporter()
    _die_with(given.parent)
    report("started")
    import xllamacpp  # the step that is reported next

    report("library")
    prefix = f"/{secrets.token_urlsafe(24)}"
    server = xllamacpp.Server(_parameters(xllamacpp, given, prefix))
    report("model")
    address = server.listening_address + prefix
    with urllib.request.urlopen(f"{address}/health", timeout=_HEALTH_SECONDS) as answer:  # noqa: S310 -- our own server
        answer.read()
    report("ready", address=address)
    sys.stdin.buffer.read()
    os._exit(0)  # nothing to save, and waiting for answers that nobody hears any more would hold the memory


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m whet_server.llm.local", description=__doc__)
    parser.add_argument("--parent", type=int, required=True, help="process id of the parent")
    parser.add_argument("--weights", type=Path, required=True, help="the GGUF file")
    parser.add_argument("--slots", type=int, required=True, help="calls at once")
    parser.add_argument("--context", type=int, required=True, help="tokens of each slot")
    parser.add_argument("--threads", type=int, default=0, help="0: one for each usable core but one")
    return parser.parse_args()


def _reporter() -> Report:
    """Keep stdout for the report and send everything else that is printed to stderr."""
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def report(stage: str, **more: str) -> None:
        channel.write(json.dumps({"stage": stage, **more}) + "\n")
        channel.flush()

    return report


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, also while it is loading and reads no stdin."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel was asked
        os._exit(1)


def _parameters(xllamacpp: Any, given: argparse.Namespace, prefix: str) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(given.weights)
    parameters.n_parallel = given.slots
    parameters.n_ctx = given.slots * given.context
    parameters.fit_params = False  # the context is what was asked for, or loading fails
    parameters.cache_ram_mib = _MEGABYTES_OF_OLD_PROMPTS
    parameters.verbosity = _ERRORS_ONLY
    for threads in (parameters.cpuparams, parameters.cpuparams_batch):
        threads.n_threads = given.threads or most_threads(len(os.sched_getaffinity(0)))
        threads.poll = 0  # spinning threads starve everything else on a machine with few cores
    parameters.sampling.temp = _TEMPERATURE
    parameters.sampling.top_p = _TOP_P
    parameters.sampling.penalty_repeat = _REPEAT_PENALTY
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_threads_http = given.slots + 4  # an answer holds a thread; some are left for health and refusals
    parameters.api_prefix = prefix
    parameters.cors_origins = ""
    parameters.model_alias = {given.weights.stem}  # else answers carry the path of the file
    parameters.ui = False
    parameters.endpoint_slots = False
    return parameters


if __name__ == "__main__":
    main()
