import asyncio
import io
import json
import os
import shlex
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, redirect_stderr, redirect_stdout, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from mcp import ClientSession, McpError, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from tests.e2e.serving import PATIENCE

from whet_agent.catalogue import tools
from whet_eval.bench.children import Server
from whet_eval.bench.children import server as serving
from whet_tui.cli.root import run

CALL = timedelta(seconds=PATIENCE)
WHET = str(Path(sys.executable).with_name("whet"))
QUESTION = {"spec": {"prompt": "Why is grass green?", "models": ["sim/fast", "sim/terse"]}}
CAP = {"period": "day", "limit": "$5"}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """One server for the file: what a test sets there has a name of its own."""
    async with serving(tmp_path_factory.mktemp("mcp") / "data") as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def it(server: Server) -> AsyncIterator[ClientSession]:
    """One client for the file. A task of its own holds it, because what it enters must be left where it was entered."""
    opened: asyncio.Future[ClientSession] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def hold() -> None:
        async with client(server) as session:
            opened.set_result(session)
            await over.wait()

    holding = asyncio.create_task(hold())
    holding.add_done_callback(lambda _: opened.done() or opened.cancel())  # then awaiting it says what went wrong
    with suppress(asyncio.CancelledError):
        yield await opened
    over.set()
    await holding


@asynccontextmanager
async def client(server: Server) -> AsyncIterator[ClientSession]:
    """The SDK's client and `whet mcp` in a process of its own."""
    parameters = StdioServerParameters(command=WHET, args=["--data", str(server.data), "mcp"], env=dict(os.environ))
    async with stdio_client(parameters) as (read, write), ClientSession(read, write, read_timeout_seconds=CALL) as it:
        await it.initialize()
        yield it


def said_by(*words: str) -> tuple[int, str]:
    """Run the command line within this process, without an environment; return its exit code and what it said."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = run(words, {})
    return code, said.getvalue()


async def decided(command: str, *more: str) -> None:
    """Do as a person does who copies the command that they were told."""
    code, said = await asyncio.to_thread(said_by, *shlex.split(command)[1:], *more)
    assert code == 0, said


def text_of(result: types.CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return content.text


def data_of(result: types.CallToolResult) -> dict[str, Any]:
    assert result.structuredContent is not None
    return result.structuredContent


def texts_of(fanout: dict[str, Any]) -> dict[str, str]:
    return {branch["branch_id"]: branch["text"] for branch in fanout["branches"]}


async def test_the_tools_are_those_of_the_catalogue_with_its_schemas_and_effects(it: ClientSession) -> None:
    listed = {tool.name: tool for tool in (await it.list_tools()).tools}
    assert list(listed) == list(tools())
    for name, tool in tools().items():
        hints = listed[name].annotations
        assert hints is not None
        assert listed[name].inputSchema == tool.schema
        assert (hints.readOnlyHint, hints.destructiveHint) == (tool.effect == "reads", tool.effect == "changes")
        assert hints.idempotentHint is (tool.effect != "spends")


async def test_a_fan_out_reports_its_branches_and_ends_with_text_and_data(it: ClientSession) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    result = await it.call_tool("fanout", QUESTION, progress_callback=hear)
    fanout = data_of(result)["fanout"]
    again = data_of(await it.call_tool("get_fanout", {"run_id": fanout["run_id"]}))["fanout"]
    assert not result.isError
    assert "2 of 2 branches answered" in text_of(result)
    assert fanout["synthesis"]["text"] in text_of(result)
    assert texts_of(fanout) == texts_of(again)
    done = [step for step, _, _ in heard]
    assert done == sorted(set(done)), "the protocol wants every report ahead of the one before"
    assert heard[-1][:2] == (3, 3)
    assert any(text and "2 of 2 branches" in text for _, _, text in heard)


async def test_a_change_waits_for_a_person_and_is_made_once(it: ClientSession) -> None:
    asked = await it.call_tool("put_cap", CAP)
    question = data_of(asked)
    assert (asked.isError, question["reason"]) == (True, "APPROVAL_REQUIRED")
    assert question["command"] in text_of(asked)
    assert question["digest"] in text_of(asked)
    assert (await it.call_tool("put_cap", CAP)).isError, "asking again is no yes"
    await decided(question["command"])
    assert (await it.call_tool("put_cap", {**CAP, "limit": "$500"})).isError, "the grant is for its arguments alone"
    made = await it.call_tool("put_cap", CAP)
    assert not made.isError, text_of(made)
    (cap,) = data_of(await it.call_tool("list_caps", {}))["caps"]
    assert cap["limit"]["nanos"] == 5_000_000_000
    repeated = await it.call_tool("put_cap", CAP)
    assert data_of(repeated)["reason"] == "APPROVAL_REQUIRED", "a grant is used up"
    assert data_of(repeated)["approval_id"] != question["approval_id"]


async def test_a_grant_is_good_for_a_client_that_has_started_again(server: Server, it: ClientSession) -> None:
    question = data_of(await it.call_tool("clear_cache", {}))
    await decided(question["command"])
    async with client(server) as again:
        assert not (await again.call_tool("clear_cache", {})).isError


async def test_a_no_reaches_the_agent_with_its_reason(it: ClientSession) -> None:
    cap = {"period": "month", "limit": "$500"}
    question = data_of(await it.call_tool("put_cap", cap))
    await decided(question["command"].replace("grant", "reject"), "--reason", "far too much")
    refused = await it.call_tool("put_cap", cap)
    assert (refused.isError, data_of(refused)["reason"]) == (True, "APPROVAL_NOT_OPEN")
    assert "far too much" in text_of(refused)
    assert "month" not in [cap["cap_id"] for cap in data_of(await it.call_tool("list_caps", {}))["caps"]]


async def test_a_cancel_ends_the_run_at_the_server(it: ClientSession) -> None:
    begun: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        if message and not begun.done():
            begun.set_result(message.split()[0])

    spec = {"prompt": "Say nothing.", "models": ["sim/silent"]}
    call = asyncio.create_task(it.call_tool("fanout", {"spec": spec}, progress_callback=hear))
    run_id = await begun
    number = it._request_id - 1
    cancelled = types.CancelledNotification(params=types.CancelledNotificationParams(requestId=number))
    await it.send_notification(types.ClientNotification(cancelled))
    with pytest.raises(McpError, match="cancelled"):
        await call
    ended = await it.call_tool("watch_fanout", {"run_id": run_id})
    assert data_of(ended)["fanout"]["state"] == "cancelled"


async def test_a_client_that_leaves_lets_its_run_go_on(server: Server) -> None:
    begun: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        if message and not begun.done():
            begun.set_result(message.split()[0])

    spec = {"prompt": "Take your time.", "models": ["sim/steady"]}
    async with client(server) as it:
        call = asyncio.create_task(it.call_tool("fanout", {"spec": spec}, progress_callback=hear))
        run_id = await begun
        call.cancel()  # nothing is said to the other side: it only finds us gone
    code, said = await asyncio.to_thread(said_by, "--data", str(server.data), "fanout", "watch", run_id)
    assert code == 0, said


async def test_what_does_not_fit_is_named_with_what_to_do(it: ClientSession) -> None:
    wrong = await it.call_tool("fanout", {"spec": {"prompt": 3}})
    unknown = await it.call_tool("get_fanout", {"run_id": "fan_none"})
    nowhere = await it.call_tool("fanout", {"spec": {"prompt": "Hm?", "models": ["no/such"]}})
    with pytest.raises(McpError, match="no tool 'rm'"):
        await it.call_tool("rm", {})
    assert wrong.isError
    assert "spec.prompt: give text" in text_of(wrong)
    assert (unknown.isError, data_of(unknown)["code"]) == (True, "NOT_FOUND")
    assert nowhere.isError


async def test_an_id_of_the_clients_own_makes_a_repeated_call_the_same_one(it: ClientSession) -> None:
    params = types.CallToolRequestParams(name="fanout", arguments=QUESTION)
    params.meta = types.RequestParams.Meta.model_validate({"whet/request_id": "mine-1"})
    ask = types.ClientRequest(types.CallToolRequest(params=params))
    runs = {data_of(await it.send_request(ask, types.CallToolResult))["fanout"]["run_id"] for _ in range(2)}
    assert len(runs) == 1


async def lines_of(process: Process, wanted: set[int]) -> dict[int, dict[str, Any]]:
    """Read replies until all that are wanted have come. Every line must be the protocol's."""
    assert process.stdout is not None
    found: dict[int, dict[str, Any]] = {}
    async with asyncio.timeout(PATIENCE):
        while not wanted <= set(found):
            message = json.loads(await process.stdout.readline())
            assert message["jsonrpc"] == "2.0"
            if "id" in message:
                found[message["id"]] = message
    return found


async def test_lines_written_by_hand_are_answered_and_garbage_ends_nothing(server: Server) -> None:
    process = await asyncio.create_subprocess_exec(
        WHET, "--data", str(server.data), "mcp", stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    assert process.stdin is not None
    assert process.stderr is not None
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "by hand", "version": "0"}}
    written = [
        b"\xff\xfe garbage",
        b"{",
        b"[]",
        b"null",
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}).encode(),
        b'{"jsonrpc": "2.0", "method": "notifications/initialized"}',
        b'{"jsonrpc": "2.0", "id": 2, "method": "no/such"}',
        b'{"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": 7}}',
        b'{"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": {"name": "list_caps", "arguments": []}}',
        b'{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 99}}',
        b"x" * 200_000,
        b'{"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "list_caps"}}',
    ]
    process.stdin.write(b"\n".join(written) + b"\n")
    replies = await lines_of(process, {1, 2, 3, 4, 5})
    assert replies[1]["result"]["serverInfo"]["name"] == "whet"
    assert all("error" in replies[number] for number in (2, 3, 4))
    assert "caps" in replies[5]["result"]["structuredContent"]
    process.stdin.close()
    async with asyncio.timeout(PATIENCE):
        assert await process.wait() == 0
        logged = (await process.stderr.read()).decode().splitlines()
    assert len(logged) <= len(written), "a line for what was wrong, no page"


@asynccontextmanager
async def over_http(server: Server, secret_file: Path) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """`whet mcp --http`: its address and the header that it asks for."""
    process = await asyncio.create_subprocess_exec(
        *(WHET, "--data", str(server.data), "mcp", "--http", "--secret-file", str(secret_file)), stdout=PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            url = (await process.stdout.readline()).decode().strip()
            name, _, value = (await process.stdout.readline()).decode().strip().partition(": ")
            yield url, {name: value}
    finally:
        process.terminate()
        await process.wait()


def http_session(url: str, http: httpx.AsyncClient) -> AbstractAsyncContextManager[ClientSession]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[ClientSession]:
        async with streamable_http_client(url, http_client=http) as (read, write, _), ClientSession(read, write) as it:
            await it.initialize()
            yield it

    return opened()


async def test_http_serves_who_knows_the_secret_and_calls_us_by_our_name(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    accept = {"accept": "application/json, text/event-stream"}
    async with over_http(server, file) as (url, secret):
        assert file.stat().st_mode & 0o077 == 0
        assert secret == {"Authorization": f"Bearer {file.read_text().strip()}"}
        async with httpx.AsyncClient(headers=secret, trust_env=False) as http:
            async with http_session(url, http) as it:
                assert len((await it.list_tools()).tools) == len(tools())
                assert not (await it.call_tool("fanout", QUESTION)).isError
                assert data_of(await it.call_tool("put_cap", CAP))["reason"] == "APPROVAL_REQUIRED"
            for headers, status in (
                ({"host": "evil.example"}, 421),
                ({"origin": "https://evil.example"}, 403),
                ({"authorization": "Bearer guess"}, 401),
            ):
                answer = await http.post(url, json=ping, headers=accept | headers)
                assert answer.status_code == status
            assert (await http.get(url.replace("/mcp", "/other"))).status_code == 404
        assert url.startswith("http://127.0.0.1:")


async def test_a_persons_token_is_not_taken(server: Server) -> None:
    options = ("--server", server.address, "--token-file", str(server.data / "person.token"))
    process = await asyncio.create_subprocess_exec(WHET, *options, "mcp", stdin=PIPE, stderr=PIPE)
    async with asyncio.timeout(PATIENCE):
        _, said = await process.communicate(b"")
    assert process.returncode == 2
    assert "This token is a person's" in said.decode()
