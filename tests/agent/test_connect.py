import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from whet_agent.catalogue import methods
from whet_agent.client import Client
from whet_agent.connect import Connection, ConnectSettings, ServerUnavailable, connect, find, stop
from whet_agent.health import is_serving, watch_health


@pytest.fixture
async def data(tmp_path: Path) -> AsyncIterator[Path]:
    yield tmp_path
    await stop(tmp_path)


def pid_of(data: Path) -> int:
    return int(json.loads((data / "server.json").read_text())["pid"])


def streams_of(pid: int) -> list[str]:
    return [str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in range(3)]


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


async def works(connection: Connection) -> bool:
    client = Client(connection.address, connection.person_token)
    method = next(method for method in methods() if method.name == "ListModels")
    try:
        answer = await client.call(method, method.request())
    finally:
        await client.close()
    return "sim/fast" in str(answer)


async def test_starters_that_come_at_once_share_one_server(data: Path) -> None:
    settings = ConnectSettings(data=data)
    found = await asyncio.gather(*(connect(settings) for _ in range(4)))
    assert len({connection.address for connection in found}) == 1
    assert await works(found[0])
    assert await find(settings) == found[0]


async def test_the_server_has_a_session_of_its_own_and_nothing_of_our_terminal(data: Path) -> None:
    await connect(ConnectSettings(data=data))
    pid = pid_of(data)
    assert os.getsid(pid) == pid
    log = str(data / "server.log")
    assert streams_of(pid) == [os.devnull, log, log]


async def test_what_a_killed_server_left_behind_is_no_server(data: Path) -> None:
    settings = ConnectSettings(data=data)
    await connect(settings)
    killed = pid_of(data)
    kill(killed)
    assert (data / "server.json").exists()
    assert await find(settings) is None
    assert await works(await connect(settings))
    assert pid_of(data) != killed


async def test_a_server_that_goes_down_is_followed_by_another(data: Path) -> None:
    settings = ConnectSettings(data=data)
    await connect(settings)
    first = pid_of(data)
    os.kill(first, signal.SIGTERM)
    async with asyncio.timeout(10):  # until then it answers, and is found
        while (data / "server.json").exists():  # noqa: ASYNC110 -- a file of another process tells nobody
            await asyncio.sleep(0.01)
    assert await works(await connect(settings))
    assert pid_of(data) != first


async def test_a_server_that_ends_while_it_starts_is_quoted(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[server]\nadress = 'x'\n")
    with pytest.raises(ServerUnavailable) as caught:
        await connect(ConnectSettings(data=tmp_path / "data", config=config))
    assert "adress" in str(caught.value)
    assert str(tmp_path / "data" / "server.log") in str(caught.value)


async def test_a_start_that_takes_too_long_names_the_log(data: Path) -> None:
    with pytest.raises(ServerUnavailable, match=r"not ready after 0\.01 seconds.*server\.log"):
        await connect(ConnectSettings(data=data, start_seconds=0.01))
    await connect(ConnectSettings(data=data))


async def test_a_long_path_does_not_keep_the_socket_from_opening(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    try:
        assert await works(await connect(ConnectSettings(data=deep)))
    finally:
        await stop(deep)


async def test_a_server_elsewhere_needs_a_token_and_an_answer(data: Path) -> None:
    with pytest.raises(ServerUnavailable, match="--token-file"):
        await connect(ConnectSettings(data=data, address="127.0.0.1:1"))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(ServerUnavailable, match=address):
            await connect(ConnectSettings(data=data, address=address, token="t"))
    assert not (data / "server.log").exists()


async def test_a_server_elsewhere_is_used_as_it_is(data: Path) -> None:
    started = await connect(ConnectSettings(data=data))
    elsewhere = await connect(ConnectSettings(data=data / "none", address=started.address, token=started.person_token))
    assert not elsewhere.embedded
    assert await works(elsewhere)
    assert not (data / "none").exists()


async def test_the_watch_of_the_health_ends_with_the_server(data: Path) -> None:
    connection = await connect(ConnectSettings(data=data))
    watching = watch_health(connection.address)
    assert await anext(watching)
    assert await stop(data)
    async with asyncio.timeout(5):
        assert not any([state async for state in watching])
    assert not await is_serving(connection.address, timeout=1)
    assert not await stop(data)


def test_tokens_are_in_no_repr(tmp_path: Path) -> None:
    connection = Connection(address="a", person_token="s3cret", agent_token="s3cret", embedded=True)
    assert "s3cret" not in repr(connection) + repr(ConnectSettings(data=tmp_path, token="s3cret"))
