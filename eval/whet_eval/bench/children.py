"""The processes a benchmark runs beside itself: the provider stub and a real server, each in a process of its own."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

START_SECONDS: Final = 30.0
"""A child that is not ready by then will not become so."""
STOP_SECONDS: Final = 10.0
"""A child that is asked to stop gets this long before it is killed."""


_ENDPOINT: Final = """
[[endpoint]]
name = "stub"
base_url = "{url}"

[endpoint.limits]
max_concurrency = 4000
"""
_MODEL: Final = """
[[endpoint.model]]
name = "{model}"
price = {{ input = 0.15, output = 0.60 }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running Whet server: its address and a person's token."""

    pid: int
    address: str
    token: str
    data: Path


@contextlib.asynccontextmanager
async def provider() -> AsyncIterator[str]:
    """Run the provider stub; yield its base URL."""
    async with _child("whet_eval.provider", "--port", "0") as process:
        stdout = process.stdout
        if stdout is None:
            raise RuntimeError("the stub was started without a pipe")
        line = await asyncio.wait_for(stdout.readline(), START_SECONDS)
        yield line.decode().split()[-1]


@contextlib.asynccontextmanager
async def server(data: Path, config: str = "") -> AsyncIterator[Server]:
    """Run a server on a unix socket in `data` with this configuration, without keys from the environment."""
    data.mkdir(parents=True, exist_ok=True)
    path = data / "config.toml"
    path.write_text(config, encoding="utf-8")
    arguments = (
        "--data",
        str(data),
        "--config",
        str(path),
        "--socket",
        str(data / "whet.sock"),
        "--log-level",
        "warning",
    )
    async with _child("whet_server", *arguments) as process:
        ready = data / "server.json"
        async with asyncio.timeout(START_SECONDS):
            while not ready.exists():
                if process.returncode is not None:
                    raise RuntimeError(f"the server ended with code {process.returncode} before it was ready")
                await asyncio.sleep(0.01)
        told = json.loads(ready.read_text(encoding="utf-8"))
        token = (data / "person.token").read_text(encoding="utf-8").strip()
        yield Server(pid=process.pid, address=told["address"], token=token, data=data)


def priced(url: str, *models: str) -> str:
    """Return a configuration with the stub as an endpoint whose models have a price: every call passes the ledger."""
    return _ENDPOINT.format(url=url) + "".join(_MODEL.format(model=model) for model in models)


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB (10^6 bytes)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.asynccontextmanager
async def _child(module: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "WHET_", "OTEL_"))
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdout=asyncio.subprocess.PIPE, env=environment
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
