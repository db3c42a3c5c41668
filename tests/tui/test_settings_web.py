"""The chat in a browser: who gets in, and that it is the chat."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

import aiohttp
import pytest

from whet_agent.connect import stop

DEADLINE = 40


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[tuple[str, Process]]:
    """The address that the command prints, and the command."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "WHET_", "NO_COLOR"))}
    (tmp_path / "config.toml").write_text('panel = ["sim/fast"]\n[chat]\nplain = true\n')
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "whet_tui", "--data", str(tmp_path), "--config", str(tmp_path / "config.toml")),
        *("chat", "--web"),
        env=kept,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE):
        found = re.search(rb"http://127\.0\.0\.1:\d+/[\w-]{32}/", await process.stdout.readline())
    assert found is not None
    yield found[0].decode(), process
    with suppress(ProcessLookupError):
        process.terminate()
    await process.communicate()
    await stop(tmp_path)


@pytest.fixture
def address(serving: tuple[str, Process]) -> str:
    return serving[0]


def opened(
    browser: aiohttp.ClientSession, address: str
) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
    """The socket of a page at this address."""
    origin = {"Origin": address[: address.index("/", 8)]}
    return browser.ws_connect(f"{address}ws?width=100&height=30", headers=origin)


async def test_only_who_knows_the_secret_gets_a_page_or_a_socket(address: str) -> None:
    origin, _, secret = address.rstrip("/").rpartition("/")
    async with aiohttp.ClientSession() as browser:

        async def status(url: str, **headers: str) -> int:
            async with browser.get(url, headers=headers) as answer:
                return answer.status

        async with browser.get(address) as page:
            text, policy = await page.text(), page.headers["Content-Security-Policy"]
            assert page.status == 200
            assert f"{address}static/js/textual.js" in text
            assert "keys.focus()" in text
            assert "default-src 'self'" in policy
            assert "https:" not in policy
        assert await status(f"{address}static/js/textual.js") == 200
        assert await status(f"{origin}/") == 403
        assert await status(f"{origin}/static/js/textual.js") == 403
        assert await status(f"{origin}/{secret[:-1]}/") == 403
        assert await status(address, Host="evil.example") == 403
        assert await status(address, Origin="http://evil.example") == 403
        for url, headers in ((f"{origin}/ws", {}), (f"{address}ws", {"Origin": "http://evil.example"})):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await browser.ws_connect(url, headers=headers)
            assert refused.value.status == 403


async def test_the_page_drives_a_chat(address: str) -> None:
    seen = b""
    async with (
        asyncio.timeout(DEADLINE),
        aiohttp.ClientSession() as browser,
        opened(browser, address) as page,
    ):
        await page.send_json(["resize", {"width": 100, "height": 30}])
        while b"The panel that answers" not in seen:
            seen += await page.receive_bytes()
        await page.send_json(["stdin", "\x1b6"])
        while b"approval_mode" not in seen:
            seen += await page.receive_bytes()


async def test_a_chat_ends_with_its_server_however_that_went(serving: tuple[str, Process]) -> None:
    address, process = serving
    seen = b""
    async with asyncio.timeout(DEADLINE), aiohttp.ClientSession() as browser, opened(browser, address) as page:
        while b"The panel that answers" not in seen:
            seen += await page.receive_bytes()
        chat = child_of(process.pid)
        process.kill()
        await ended(chat)


def child_of(pid: int) -> int:
    [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


async def ended(pid: int) -> None:
    """Wait for the end of a process that is nobody's child any more."""
    over, handle = asyncio.Event(), os.pidfd_open(pid)
    asyncio.get_running_loop().add_reader(handle, over.set)
    await over.wait()
    asyncio.get_running_loop().remove_reader(handle)
    os.close(handle)
