import asyncio
import json
import os
import signal
import stat
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from aiohttp import web
from grpc_health.v1 import health_pb2, health_pb2_grpc

from whet.v1 import event_pb2, fanout_pb2, fanout_pb2_grpc

PATIENCE = 60.0
"""Two cores may be busy with other tests; a server alone is ready within a second."""
KEPT = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "PYTHONPATH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    process: Process
    data: Path

    @property
    def address(self) -> str:
        return str(json.loads((self.data / "server.json").read_text())["address"])

    def metadata(self, name: str = "person.token") -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {(self.data / name).read_text().strip()}"),)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, list[dict[str, Any]]]:
        """Send the signal; return the exit code and the log."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> tuple[int, list[dict[str, Any]]]:
        async with asyncio.timeout(PATIENCE):
            _, err = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, [json.loads(line) for line in err.splitlines() if line.startswith(b"{")]


async def launch(data: Path, *arguments: str, **environment: str) -> Child:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    config = data.with_name("config-home")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "whet_server", "--data", str(data), *arguments),
        stderr=PIPE,
        stdout=PIPE,
        env=kept | {"XDG_CONFIG_HOME": str(config)} | environment,
    )
    return Child(process=process, data=data)


def says_ready(child: Child) -> bool:
    note = child.data / "server.json"
    return note.exists() and json.loads(note.read_text())["pid"] == child.process.pid


@asynccontextmanager
async def running(data: Path, *arguments: str, **environment: str) -> AsyncGenerator[Child, None]:
    """Start a server and wait until it says that it is ready."""
    child = await launch(data, "--socket", str(data / "s.sock"), *arguments, **environment)
    try:
        async with asyncio.timeout(PATIENCE):
            while not says_ready(child):
                assert child.process.returncode is None, (await child.ended())[1]
                await asyncio.sleep(0.02)
        yield child
    finally:
        if child.process.returncode is None:
            child.process.kill()
            await child.process.communicate()


def modes(data: Path) -> set[int]:
    """The rights of others in the data directory and of all that lies in it."""
    return {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (data, *data.iterdir())}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def question(model: str, request_id: str = "") -> fanout_pb2.RunFanoutRequest:
    return fanout_pb2.RunFanoutRequest(
        request_id=request_id, spec=fanout_pb2.FanoutSpec(prompt="What is a secret-prompt-42?", models=[model])
    )


async def run_of(child: Child, request: fanout_pb2.RunFanoutRequest) -> list[event_pb2.Event]:
    async with grpc.aio.insecure_channel(child.address) as channel:
        call = fanout_pb2_grpc.FanoutServiceStub(channel).RunFanout(
            request, metadata=child.metadata(), timeout=PATIENCE
        )
        return [event async for response in call for event in response.batch.events if event.sequence]


async def test_a_server_makes_a_private_home_answers_and_leaves_when_told(data: Path) -> None:
    async with running(data) as child:
        assert modes(data) == {0}
        events = await run_of(child, question("sim/fast"))
        assert events[-1].run_finished.state == event_pb2.RUN_STATE_SUCCEEDED
        tokens = [child.metadata(name)[0][1].removeprefix("Bearer ") for name in ("person.token", "agent.token")]
        code, log = await child.end()
    assert code == 0
    assert not says_ready(child)
    text = json.dumps(log)
    assert not any(token in text for token in tokens)
    assert "secret-prompt-42" not in text
    assert [line["message"] for line in log][-1] == "stopping"


async def test_a_server_at_rest_is_small(data: Path) -> None:
    async with running(data) as child:
        status = Path(f"/proc/{child.process.pid}/status").read_text(encoding="utf-8")  # noqa: ASYNC240 -- no disk
        kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    assert kilobytes < 120_000


async def test_two_servers_do_not_share_a_data_directory(data: Path) -> None:
    async with running(data) as child:
        second = await launch(data, "--address", "127.0.0.1:0")
        code, log = await second.ended()
        assert code == 75
        assert f"pid {child.process.pid}" in log[-1]["message"]
        assert (await run_of(child, question("sim/fast")))[-1].HasField("run_finished")


async def test_an_embedded_server_ends_by_itself_but_not_while_somebody_listens(data: Path) -> None:
    async with running(data, "--idle-exit", "0.4") as child:
        async with grpc.aio.insecure_channel(child.address) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            watch = health.Watch(health_pb2.HealthCheckRequest())
            await watch.read()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(child.process.wait(), 1.2)
            watch.cancel()
        code, log = await child.ended()
    assert code == 0
    assert any("nobody has called" in line["message"] for line in log)


async def test_an_embedded_server_does_not_leave_a_run_behind(data: Path) -> None:
    async with running(data, "--idle-exit", "0.3") as child:
        async with grpc.aio.insecure_channel(child.address) as channel:
            await fanout_pb2_grpc.FanoutServiceStub(channel).StartFanout(
                fanout_pb2.StartFanoutRequest(spec=question("sim/any?first_ms=1500&tokens=5").spec),
                metadata=child.metadata(),
            )
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(child.process.wait(), 1.0)
        code, _ = await child.ended()
    assert code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--workspace", "../x y"), b"--workspace: give lower case letters"),
        (("--days", "0"), b"--days: give a whole number from 1 to 3650"),
        (("--days", "99999999"), b"--days: give a whole number from 1 to 3650"),
        (("--role", "boss"), b"invalid choice: 'boss'"),
    ],
)
async def test_a_token_for_nobody_is_not_made(data: Path, arguments: tuple[str, ...], said: bytes) -> None:
    maker = await launch(data, "token", "create", *arguments)
    out, err = await maker.process.communicate()
    assert (maker.process.returncode, out) == (2, b"")
    assert said in err
    assert not (data / "tokens.json").exists()


async def test_a_made_token_opens_the_running_server(data: Path) -> None:
    async with running(data) as child:
        maker = await launch(data, "token", "create", "--workspace", "team", "--role", "person", "--days", "1")
        out, _ = await maker.process.communicate()
        token = out.decode().strip()
        async with grpc.aio.insecure_channel(child.address) as channel:
            answer = await fanout_pb2_grpc.FanoutServiceStub(channel).ListFanouts(
                fanout_pb2.ListFanoutsRequest(), metadata=(("authorization", f"Bearer {token}"),)
            )
    assert not answer.fanouts


@pytest.mark.parametrize(
    ("config", "arguments", "words"),
    [
        ("[server]\nadress = 'x'", (), "did you mean address?"),
        ("", ("--address", "0.0.0.0:0"), "--insecure-listen"),
        ("[[endpoint]]\nname = 'far'\nbase_url = 'http://example.org/v1'", (), "https"),
    ],
)
async def test_what_cannot_be_served_is_said_in_one_line(
    data: Path, tmp_path: Path, config: str, arguments: tuple[str, ...], words: str
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(config)
    child = await launch(data, "--config", str(file), *(arguments or ("--address", "127.0.0.1:0")))
    code, log = await child.ended()
    assert code == 78
    assert words in log[-1]["message"]
    assert "exception" not in log[-1]


async def test_a_run_that_a_kill_interrupted_is_brought_to_its_end(data: Path) -> None:
    request = question("sim/any?first_ms=1500&tokens=5", request_id="r1")
    async with running(data) as child, grpc.aio.insecure_channel(child.address) as channel:
        call = fanout_pb2_grpc.FanoutServiceStub(channel).RunFanout(request, metadata=child.metadata())
        first = await anext(aiter(call))
        child.process.kill()
        await child.process.communicate()
    async with running(data) as child:
        events = await run_of(child, request)
        assert events[0].run_opened.run_id == first.run_id
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert events[-1].HasField("run_finished")


async def test_log_lines_name_the_request_the_run_and_the_workspace(data: Path) -> None:
    async with running(data, "--log-level", "debug") as child:
        async with grpc.aio.insecure_channel(child.address) as channel:
            stub = fanout_pb2_grpc.FanoutServiceStub(channel)
            metadata = (*child.metadata(), ("x-request-id", "seen-in-the-log"))
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.CancelFanout(fanout_pb2.CancelFanoutRequest(run_id="fan_x"), metadata=metadata)
        _, log = await child.end()
    line = next(line for line in log if line.get("request_id") == "seen-in-the-log")
    assert line["workspace"] == "default"
    assert line["run_id"] == "fan_x"
    assert line["method"] == "whet.v1.FanoutService/CancelFanout"
    assert set(line) >= {"time", "level", "logger", "message"}


async def test_spans_reach_a_collector_under_the_callers_own(data: Path) -> None:
    bodies: list[bytes] = []

    async def collect(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/traces", collect)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    try:
        async with running(data, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{host}:{port}") as child:
            async with grpc.aio.insecure_channel(child.address) as channel:
                metadata = (*child.metadata(), ("traceparent", f"00-{trace_id}-b7ad6b7169203331-01"))
                call = fanout_pb2_grpc.FanoutServiceStub(channel).RunFanout(question("sim/fast"), metadata=metadata)
                assert [response async for response in call]
            code, _ = await child.end()
    finally:
        await runner.cleanup()
    sent = b"".join(bodies)
    assert code == 0
    assert b"whet.v1.FanoutService/RunFanout" in sent
    assert b"llm.call" in sent
    assert bytes.fromhex(trace_id) in sent
