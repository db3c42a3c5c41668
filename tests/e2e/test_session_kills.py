"""Kill the chat's process or the server at named points of a turn, start again, and compare with a twin that lived."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from difflib import unified_diff
from pathlib import Path
from typing import Any, cast

import pytest
from tests.agent.sse import Provider, Reply, calls, provider
from tests.e2e.forked import Forked, Zygote, zygote
from tests.e2e.person import drawn
from tests.e2e.serving import PATIENCE

from whet.v1 import approval_pb2, fanout_pb2, ledger_pb2, value_pb2
from whet_agent.catalogue import method_named
from whet_agent.client import Client
from whet_agent.journal import Journal
from whet_tui.view import View

LOOK = 0.01
MODEL = "sim/steady?first_ms=20&rate=200&tokens=12&price_out=3000000000"
CAP = 5_000_000_000_000
CALLS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("plan_fanout", {"spec": {"prompt": "Is it cold?", "models": [MODEL]}}),
    (
        "fanout",
        {
            "spec": {
                "prompt": "Is it cold?",
                "models": [MODEL, MODEL.replace("first_ms=20", "first_ms=90")],
                "synthesis": {"model": MODEL, "start_after": 2},
                "cache": {"bypass": True},
            }
        },
    ),
    ("put_cap", {"period": "day", "limit": {"nanos": CAP}}),
    ("clear_cache", {}),
)
"""A read, a paid fan-out, a change that the person approves, one that is rejected: all in one step."""

JOURNAL = "whet_agent.journal:Journal"
SAVER = "langgraph.checkpoint.sqlite.aio:AsyncSqliteSaver"
STORE = "whet_server.store.sql:SqlStore.commit"
APPROVALS = "whet_server.approval.approvals:Approvals"

IN_THE_CHAT = (
    f"{JOURNAL}.append[UserSaid] after 1",
    f"{JOURNAL}.append[RunHeard] before 1",
    f"{JOURNAL}.append[ApprovalDecided] before 1",
    f"{SAVER}.aput_writes before 4",
    f"{JOURNAL}.append[TurnEnded] before 1",
)
IN_THE_SERVER = (
    f"{APPROVALS}.decide after 1",
    f"{STORE}[ApprovalRecord] before 2",
    "whet_server.fanout.synthesis:Synthesis._write before 1",
)
IN_THE_CHAT_TOO = (
    f"{JOURNAL}.append[SessionOpened] before 1",
    f"{JOURNAL}.append[UserSaid] before 1",
    f"{JOURNAL}.flush before 4",
    f"{JOURNAL}.append[AssistantSaid] before 1",
    f"{JOURNAL}.append[ToolAsked] after 2",
    f"{JOURNAL}.append[RunHeard] after 3",
    f"{JOURNAL}.append[ApprovalAsked] before 1",
    f"{JOURNAL}.append[ApprovalAsked] after 2",
    f"{JOURNAL}.append[ApprovalDecided] after 2",
    f"{JOURNAL}.append[ToolAnswered] before 1",
    f"{JOURNAL}.append[ToolAnswered] after 4",
    f"{JOURNAL}.append[TurnEnded] after 1",
    "whet_agent.decisions:Decisions._send before 1",
    "whet_agent.decisions:Decisions._send after 2",
    "whet_agent.model.billing:Billing.reserve after 1",
    "whet_agent.model.billing:Billing.settle before 1",
    f"{SAVER}.aput before 1",
    f"{SAVER}.aput after 2",
    f"{SAVER}.aput_writes after 1",
    f"{SAVER}.aput_writes after 6",
)
IN_THE_SERVER_TOO = (
    f"{STORE}[Run] before 1",
    f"{STORE}[Run] after 1",
    f"{STORE}[ReservationRecord] before 2",
    f"{STORE}[ReservationRecord] after 3",
    f"{STORE}[CapRecord] before 1",
    f"{STORE}[CapRecord] after 1",
    f"{STORE}[ApprovalRecord] after 1",
    f"{STORE}[ApprovalRecord] after 4",
    f"{APPROVALS}.decide before 1",
    f"{APPROVALS}.use after 1",
    "whet_server.log.run_writer:RunWriter.finish before 1",
    "whet_server.log.run_writer:RunWriter.finish after 1",
)


def mind(request: dict[str, Any]) -> Reply:
    """Make the calls, and when all are answered say so. Asked the same again, it answers the same."""
    if request["messages"][-1]["role"] != "tool":
        asked = calls(*CALLS)
        return Reply(deltas=[{"content": "I shall "}, {"content": "do it."}, *asked.deltas], finish=asked.finish)
    return Reply(deltas=[{"content": "All "}, {"content": "done."}])


@dataclass
class Place:
    """A data directory, its server and its session."""

    data: Path
    forks: Zygote
    mind: Provider
    server: Forked | None = None
    sessions: int = 0
    watch: asyncio.Task[None] | None = None
    lives: int = 0
    up: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def address(self) -> str:
        return f"unix:{self.data / 's.sock'}"

    async def serve(self, crossing: str = "") -> None:
        """Keep a server there: one that dies is followed by another, without a crossing."""
        await self._start(crossing)
        self.watch = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while self.server is not None:
            await self.server.gone.wait()
            await self._start("")

    async def _start(self, crossing: str) -> None:
        config, socket = self.data / "config.toml", self.data / "s.sock"
        arguments = ["--data", str(self.data), "--config", str(config), "--socket", str(socket)]
        self.server = self.forks.fork("server", [*arguments, "--log-level", "warning"], self.log, crossing)
        self.lives += 1
        note = self.data / "server.json"
        async with asyncio.timeout(PATIENCE):
            while not self.server.gone.is_set():
                if note.exists() and json.loads(note.read_text())["pid"] == self.server.pid:
                    return
                await asyncio.sleep(LOOK)  # a file that appears tells nobody

    @property
    def log(self) -> Path:
        return self.data / "log"

    def token(self, role: str) -> str:
        return (self.data / f"{role}.token").read_text().strip()

    async def visit(self, crossing: str = "") -> Any:
        """Be at the session until its turn has ended or its process has; return the picture, or None."""
        self.sessions += 1
        picture = self.data / f"picture-{self.sessions}.json"
        known = [path.name for path in (self.data / "agent").glob("ses_*")]
        arguments = {
            "address": self.address,
            "person": self.token("person"),
            "agent": self.token("agent"),
            "folder": str(self.data / "agent"),
            "url": self.mind.url,
            "session_id": known[0] if known else "",
            "picture": str(picture),
        }
        session = self.forks.fork("session", arguments, self.log, crossing)
        await session.ended()
        return json.loads(picture.read_text()) if picture.exists() else None

    async def close(self) -> None:
        if self.watch is not None:
            self.watch.cancel()
            await asyncio.wait({self.watch})
        if self.server is not None:
            await self.server.kill()


def _furnish(data: Path, url: str) -> None:
    data.mkdir()
    (data / "config.toml").write_text(
        f'[[endpoint]]\nname = "stub"\nbase_url = "{url}"\n'
        '[[endpoint.model]]\nname = "mind"\nprice = { input = 1.0, output = 3.0 }\n'
    )


@asynccontextmanager
async def place(forks: Zygote, data: Path, crossing: str = "") -> AsyncIterator[Place]:
    async with provider(thinks=mind) as thinking:
        _furnish(data, thinking.url)
        there = Place(data, forks, thinking)
        try:
            await there.serve(crossing)
            yield there
        finally:
            await there.close()


@dataclass(frozen=True, kw_only=True)
class Effects:
    """What was done at the server, by whatever ids."""

    runs: int
    money: Mapping[tuple[str, str, int], int]
    """How many entries of the fan-out have this model, this billing and this amount."""
    minds: Counter[str]
    """The mind's entries by their billing."""
    approvals: Counter[str]
    caps: Mapping[str, int]


async def effects(there: Place) -> Effects:
    client = Client(there.address, there.token("person"))

    async def ask(service: str, name: str, request: Any) -> Any:
        return cast("Any", await client.call(method_named(service, name), request))

    try:
        runs = await ask("FanoutService", "ListFanouts", fanout_pb2.ListFanoutsRequest())
        entries = (await ask("LedgerService", "ListReservations", ledger_pb2.ListReservationsRequest())).reservations
        approvals = await ask("ApprovalService", "ListApprovals", approval_pb2.ListApprovalsRequest())
        caps = await ask("LedgerService", "ListCaps", ledger_pb2.ListCapsRequest())
    finally:
        await client.close()
    billed = [(entry, value_pb2.Billing.Name(entry.billing)) for entry in entries]
    return Effects(
        runs=len(runs.fanouts),
        money=Counter((e.model, name, e.settled.nanos) for e, name in billed if e.run_id.startswith("fan_")),
        minds=Counter(name for e, name in billed if e.run_id.startswith("ses_")),
        approvals=Counter(approval_pb2.ApprovalState.Name(found.state) for found in approvals.approvals),
        caps={cap.cap_id: cap.limit.nanos for cap in caps.caps},
    )


def replayed(there: Place) -> Any:
    """What somebody sees who opens the session once more."""
    (home,) = (there.data / "agent").glob("ses_*")
    view, journal = View(), Journal(home / "journal.jsonl")
    for envelope in journal.read():
        view.apply(envelope)
    journal.close()
    return drawn(view)


@pytest.fixture(scope="module")
def twin() -> dict[str, Any]:
    """What came of it where nobody was killed, found out once."""
    return {}


async def lived(forks: Zygote, folder: Path, twin: dict[str, Any]) -> tuple[Any, Effects]:
    if not twin:
        async with place(forks, folder / "twin") as there:
            twin["picture"] = await there.visit()
            assert twin["picture"] is not None, there.log.read_text()
            assert twin["picture"] == replayed(there)
            twin["effects"] = await effects(there)
    return twin["picture"], twin["effects"]


def settled_again(found: Effects, there: Place) -> None:
    """Every request that the mind was sent has one entry, and none is settled twice."""
    asked = len(there.mind.requests)
    assert found.minds["BILLING_SETTLED"] <= asked <= found.minds.total()


async def survive_in_the_chat(forks: Zygote, folder: Path, twin: dict[str, Any], crossing: str) -> None:
    picture, done = await lived(forks, folder, twin)
    async with place(forks, folder / "killed") as there:
        assert await there.visit(crossing) is None, f"nobody came by {crossing}"
        seen = await there.visit()
        assert seen is not None, there.log.read_text()
        assert differences(seen, picture) == ""
        assert differences(replayed(there), picture) == ""
        found = await effects(there)
        assert (found.runs, found.money, found.approvals, found.caps) == (
            done.runs,
            done.money,
            done.approvals,
            done.caps,
        )
        settled_again(found, there)


async def survive_in_the_server(forks: Zygote, folder: Path, twin: dict[str, Any], crossing: str) -> None:
    picture, done = await lived(forks, folder, twin)
    async with place(forks, folder / "killed", crossing) as there:
        seen = await there.visit()
        assert there.lives == 2, f"nobody came by {crossing}: {there.lives}"
        assert seen is not None, there.log.read_text()
        assert differences(without_run(seen), without_run(picture)) == ""
        assert differences(replayed(there), seen) == ""
        found = await effects(there)
        assert (found.runs, found.approvals, found.caps) == (done.runs, done.approvals, done.caps)
        assert set(paid(found)) <= set(paid(done))
        assert all(paid(found)[model] <= count for model, count in paid(done).items())
        settled_again(found, there)


def paid(found: Effects) -> Counter[tuple[str, int]]:
    """What was settled for the fan-out. A call that was under way when its server died is unknown instead, or made
    again where nothing had been sent.
    """
    return Counter(
        {(model, nanos): n for (model, billing, nanos), n in found.money.items() if billing == "BILLING_SETTLED"}
    )


def differences(found: Any, wanted: Any) -> str:
    """The lines in which two pictures differ."""
    before, after = (
        json.dumps(picture, indent=1, sort_keys=True, ensure_ascii=False).splitlines() for picture in (wanted, found)
    )
    return "\n".join(unified_diff(before, after, "wanted", "found", n=2, lineterm=""))


def without_run(picture: Any) -> Any:
    """The picture without the fan-out's own words: a branch that its server's death cut off is told as cut off."""
    entries = [
        {**entry, "fanout": None, "result": "", "state": ""} if entry.get("fanout") else entry
        for entry in picture["entries"]
    ]
    return {**picture, "entries": entries}


@pytest.fixture(scope="module")
def forks() -> Iterator[Zygote]:
    with zygote() as ready:
        yield ready


def short(crossing: str) -> str:
    return crossing.partition(":")[2].replace(" ", "-")


@pytest.mark.parametrize("crossing", IN_THE_CHAT, ids=short)
async def test_a_chat_killed_here_goes_on_as_if_it_had_not_been(
    forks: Zygote, tmp_path: Path, twin: dict[str, Any], crossing: str
) -> None:
    await survive_in_the_chat(forks, tmp_path, twin, crossing)


@pytest.mark.parametrize("crossing", IN_THE_SERVER, ids=short)
async def test_a_server_killed_here_does_nothing_twice_and_forgets_nothing(
    forks: Zygote, tmp_path: Path, twin: dict[str, Any], crossing: str
) -> None:
    await survive_in_the_server(forks, tmp_path, twin, crossing)


@pytest.mark.slow
@pytest.mark.parametrize("crossing", IN_THE_CHAT_TOO, ids=short)
async def test_a_chat_killed_anywhere_goes_on_as_if_it_had_not_been(
    forks: Zygote, tmp_path: Path, twin: dict[str, Any], crossing: str
) -> None:
    await survive_in_the_chat(forks, tmp_path, twin, crossing)


@pytest.mark.slow
@pytest.mark.parametrize("crossing", IN_THE_SERVER_TOO, ids=short)
async def test_a_server_killed_anywhere_does_nothing_twice_and_forgets_nothing(
    forks: Zygote, tmp_path: Path, twin: dict[str, Any], crossing: str
) -> None:
    await survive_in_the_server(forks, tmp_path, twin, crossing)
