"""`whet ask` as scripts use it: the real command on an embedded server that this file shares."""

import asyncio
import io
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from whet_agent.connect import stop
from whet_tui.cli.orders import BadOrder, Cancel, Decide, Steer, User, order_of
from whet_tui.cli.root import run
from whet_tui.opening import open_session
from whet_tui.settings import Settings

Process = subprocess.Popen


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Heard(io.StringIO):
    """Stdout whose reader answers each line at once, as another program on the two pipes would."""

    def __init__(self, answer: Callable[[Any], None]) -> None:
        super().__init__()
        self._answer = answer

    def write(self, text: str) -> int:
        for line in text.splitlines():
            if line:
                self._answer(json.loads(line))
        return super().write(text)


class Orders:
    """What is written to the command's stdin while it runs."""

    def __init__(self, pipe: int) -> None:
        self._pipe = os.fdopen(pipe, "w", encoding="utf-8")
        self.close = self._pipe.close

    def tell(self, **order: object) -> None:
        self._pipe.write(written(**order))
        self._pipe.flush()


@dataclass(frozen=True)
class Shell:
    data: Path

    def converse(self, answer: Callable[[Orders, Any], None], *arguments: str) -> Done:
        """Hold a conversation in JSON lines; `answer` hears that it has begun, then each line."""
        reading, writing = os.pipe()
        orders = Orders(writing)
        out, err, before = Heard(lambda line: answer(orders, line)), io.StringIO(), sys.stdin
        lines = ("--input", "stream-json", "--output", "stream-json")
        with os.fdopen(reading, encoding="utf-8") as piped, redirect_stdout(out), redirect_stderr(err):
            sys.stdin = piped
            try:
                answer(orders, {"type": "begun"})
                code = run(("ask", *lines, *arguments), self.environment)
            finally:
                sys.stdin = before
                orders.close()
        return Done(code, out.getvalue(), err.getvalue())

    @property
    def environment(self) -> dict[str, str]:
        return {"WHET_DATA": str(self.data), "WHET_CONFIG": str(self.data / "config.toml")}

    @property
    def flags(self) -> tuple[str, ...]:
        return ("--data", str(self.data), "--config", str(self.data / "config.toml"))

    def bare(self, *arguments: str) -> Done:
        """Run a command line that says everything itself."""
        return self(*arguments, environment={})

    def popen(self, *arguments: str) -> "Process[str]":
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "WHET_"))}
        return subprocess.Popen(
            [sys.executable, "-m", "whet_tui", *arguments],
            env=kept | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str, stdin: str = "", environment: dict[str, str] | None = None) -> Done:
        """Run the command line within this process: a new one needs seconds to load."""
        given = self.data / "stdin"
        given.write_text(stdin, encoding="utf-8")
        out, err, before = io.StringIO(), io.StringIO(), sys.stdin
        with given.open(encoding="utf-8") as piped, redirect_stdout(out), redirect_stderr(err):
            sys.stdin = piped
            try:
                code = run(arguments, self.environment if environment is None else environment)
            finally:
                sys.stdin = before
        return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def whet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    data = tmp_path_factory.mktemp("ask")
    (data / "config.toml").write_text('synthesiser = "sim/fast"\n')
    yield Shell(data)
    asyncio.run(stop(data))


def written(**order: object) -> str:
    return json.dumps(order) + "\n"


def test_p_is_short_for_ask_and_takes_its_options_on_either_side(whet: Shell) -> None:
    done = whet("-p", "--output", "json", "--model", "sim/fast", "Is it cold?")
    assert done.code == 0, done.err
    assert done.json["answer"]
    assert (done.json["state"], done.json["exit_code"]) == ("done", 0)
    assert done.json["usage"]["output_tokens"] > 0


def test_what_is_piped_in_stands_below_the_text(whet: Shell) -> None:
    done = whet("ask", "--model", "sim/fast", "--output", "stream-json", "Is this cold?", stdin="minus 3\n")
    said = next(line for line in done.lines if line["type"] == "said")
    assert said["text"] == "/fanout --model sim/fast Is this cold?\n\n<stdin>\nminus 3\n</stdin>"


def test_a_question_decided_elsewhere_is_taken_up_and_finished(whet: Shell) -> None:
    asked = whet.bare(*whet.flags, "ask", "--output", "json", "/put_cap --period day --limit $7")
    assert (asked.code, asked.json["state"]) == (3, "needs_decision")
    [question] = asked.json["approvals"]
    assert question["digest"] in asked.err
    assert question["resume"] in asked.err
    resume = shlex.split(question["resume"])[1:]
    early = whet.bare(*resume)
    assert (early.code, question["approval_id"] in early.err) == (3, True)
    assert question["decide"] in early.err
    assert whet.bare(*shlex.split(question["decide"])[1:]).code == 0
    later = whet.bare(*resume, "--output", "stream-json")
    assert later.code == 0, later.err
    assert later.lines[-1]["state"] == "done"
    assert "7000000000" in whet("ledger", "list-caps", "--json").out
    again = whet(*resume)
    assert (again.code, "Nothing is unfinished" in again.err) == (2, True)
    continued = whet("ask", "--continue", "/delete_cap day", "--output", "json")
    assert (continued.code, continued.json["session_id"]) == (3, asked.json["session_id"])


def test_a_slash_command_that_was_not_understood_is_a_failure(whet: Shell) -> None:
    for wrong, said in (
        ("/put_kap --period day", "Do you mean `/put_cap`?"),
        ("/put_cap --period week", "`/put_cap`:"),
    ):
        done = whet("ask", wrong)
        assert (done.code, said in done.out) == (1, True), done.out
    assert whet("ask", "/help put_cap").code == 0


def test_the_time_limit_cancels_the_turn_at_the_server(whet: Shell) -> None:
    done = whet("ask", "--timeout", "2", "--output", "json", "--model", "sim/silent", "Is it cold?")
    assert (done.code, done.json["exit_code"], done.json["state"]) == (75, 75, "cancelled")
    assert "2 seconds" in done.err
    run = whet("fanout", "get", done.json["run_id"], "--json").json["fanout"]
    assert run["state"] == "cancelled"


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_a_signal_cancels_the_turn_and_the_result_says_so(whet: Shell, number: signal.Signals) -> None:
    asking = whet.popen("ask", "--output", "stream-json", "--model", "sim/silent", "Cold?")
    with asking as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "fan_" in line:
                break
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    result = json.loads(out.splitlines()[-1])
    assert (process.returncode, result["type"], result["state"], result["exit_code"]) == (
        130,
        "result",
        "cancelled",
        130,
    )
    assert "Traceback" not in err
    assert whet("fanout", "get", result["run_id"], "--json").json["fanout"]["state"] == "cancelled"


def test_a_turn_that_thinks_too_often_and_a_session_without_money_fail(whet: Shell) -> None:
    steps = whet("ask", "--max-turns", "1", "--model", "sim/fast", "Is it cold?")
    assert (steps.code, "1 steps" in steps.err) == (1, True)
    money = whet("ask", "--max-cost", "$0.000001", "--model", "sim/costly", "Is it cold?", "--output", "json")
    assert money.code == 1, money.out
    assert sum(money.json["cost"].values()) <= 1_000


def test_messages_come_as_lines_and_a_wrong_line_loses_nothing(whet: Shell) -> None:
    lines = written(type="user", text="/caps") + 'no json\n{"type": "shout"}\n\n' + written(type="user", text="/usage")
    done = whet("ask", "--input", "stream-json", "--output", "stream-json", stdin=lines)
    assert done.code == 2
    assert [line["line"] for line in done.lines if line["type"] == "error"] == [2, 3]
    assert "stdin, line 2: this is no JSON: no json" in done.err
    tools = [line["tool"] for line in done.lines if line["type"] == "call"]
    assert tools == ["list_caps", "get_usage"]
    assert (done.lines[-1]["type"], done.lines[-1]["state"]) == ("result", "done")


def test_words_for_a_turn_that_is_not_there_are_a_message(whet: Shell) -> None:
    done = whet("ask", "--input", "stream-json", "--output", "json", stdin=written(type="steer", text="/caps"))
    assert (done.code, "approval threshold" in done.json["answer"]) == (0, True)


def test_a_question_is_decided_and_changed_by_lines(whet: Shell) -> None:
    limits = []

    def answer(orders: Orders, told: Any) -> None:
        if told["type"] == "begun":
            orders.tell(type="user", text="/put_cap --period month --limit $9")
        if told["type"] != "approval":
            return
        limits.append(json.loads(told["arguments_json"])["limit"]["nanos"])
        question = {"type": "decide", "approval_id": told["approval_id"]}
        if len(limits) == 1:
            orders.tell(**question, digest="0" * 64, decision="grant")
            arguments = {"period": "month", "limit": "$10"}
            orders.tell(**question, digest=told["digest"], decision="edit", arguments=arguments)
        else:
            orders.tell(**question, digest=told["digest"], decision="reject", reason="too much")
            orders.close()

    done = whet.converse(answer)
    assert done.code in {1, 2}
    assert limits == ["9000000000", "10000000000"]
    [error] = [line["message"] for line in done.lines if line["type"] == "error"]
    assert "has the digest" in error
    assert "month" not in whet("ledger", "list-caps", "--json").out


def test_words_go_into_the_running_turn(whet: Shell) -> None:
    def answer(orders: Orders, told: Any) -> None:
        if told["type"] == "begun":
            orders.tell(type="user", text="/fanout --model sim/steady Cold?")
        elif told["type"] == "call" and told["tool"] == "fanout":
            orders.tell(type="steer", text="/caps")
            orders.close()

    done = whet.converse(answer)
    assert done.code == 0, done.err
    said = [(line["turn"], line["text"], line["steering"]) for line in done.lines if line["type"] == "said"]
    assert said == [(1, "/fanout --model sim/steady Cold?", False), (1, "/caps", True)]
    calls = [(line["turn"], line["tool"]) for line in done.lines if line["type"] == "call"]
    assert calls == [(1, "fanout"), (1, "list_caps")]


@pytest.mark.parametrize("busy", [True, False])
def test_a_strike_ends_the_lines_cancels_the_turn_and_takes_back_what_waits(whet: Shell, *, busy: bool) -> None:
    def answer(orders: Orders, told: Any) -> None:
        if told["type"] == "begun" and busy:
            orders.tell(type="user", text="/fanout --model sim/silent Cold?")
            orders.tell(type="user", text="/caps")
        elif told["type"] == "change" and "run_id" in told.get("set", {}) if busy else told["type"] == "status":
            signal.raise_signal(signal.SIGTERM)

    done = whet.converse(answer)
    result = done.lines[-1]
    assert (done.code, result["type"], result["state"]) == (130, "result", "cancelled")
    assert "list_caps" not in [line["tool"] for line in done.lines if line["type"] == "call"]
    again = whet("ask", "--resume", result["session_id"])
    assert (again.code, "Nothing is unfinished" in again.err) == (2, True), again.err


def test_the_time_limit_ends_a_conversation_in_which_nothing_is_said(whet: Shell) -> None:
    done = whet.converse(lambda _, __: None, "--timeout", "1")
    assert (done.code, "1 seconds" in done.err) == (75, True)


def test_a_session_that_is_not_there_is_told_without_a_server(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    done = Shell(tmp_path)("ask", "--resume", "ses_none", "And?")
    assert (done.code, "There is no session 'ses_none'" in done.err) == (2, True)
    assert not (tmp_path / "server.json").exists()


def test_when_the_lines_end_an_open_question_ends_the_command(whet: Shell) -> None:
    done = whet("ask", "--input", "stream-json", stdin=written(type="user", text="/put_cap --period month --limit $9"))
    assert (done.code, "approval decide" in done.err) == (3, True)


def test_a_line_cancels_the_turn_and_the_next_message_is_taken(whet: Shell) -> None:
    def answer(orders: Orders, told: Any) -> None:
        if told["type"] == "begun":
            orders.tell(type="user", text="/fanout --model sim/silent Cold?")
        elif told["type"] == "change" and "run_id" in told.get("set", {}):
            orders.tell(type="cancel")
            orders.tell(type="user", text="/caps")
            orders.close()

    done = whet.converse(answer)
    assert done.code == 130
    assert "list_caps" in [line["tool"] for line in done.lines if line["type"] == "call"]
    assert any(line["type"] == "note" and line["text"] == "Cancelled." for line in done.lines)


def test_a_configuration_that_the_server_refuses_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[server]\naproval_threshold = 1\n")
    done = Shell(tmp_path)("ask", "Is it cold?")
    assert (done.code, "did you mean approval_threshold?" in done.err) == (2, True)


def test_orders_are_read_and_wrong_ones_explained() -> None:
    assert order_of('{"type": "user", "text": "hi"}') == User(text="hi")
    assert order_of('{"type": "steer", "text": "hi"}') == Steer(text="hi")
    assert order_of('{"type": "cancel"}') == Cancel()
    decided = order_of('{"type":"decide","approval_id":"a","digest":"d","decision":"reject","reason":"no"}')
    assert decided == Decide(approval_id="a", digest="d", grant=False, reason="no", arguments_json="")
    for line, said in (
        ("[]", "an object"),
        ('{"type": []}', "an object"),
        ("[" * 100_000, "no JSON"),
        ('{"type": "user"}', "text is missing"),
        ('{"type": "user", "text": " "}', "empty"),
        ('{"type": "user", "text": 3}', "must be text"),
        ('{"type": "user", "txet": "x"}', "no field 'txet'"),
        ('{"type":"decide","approval_id":"a","digest":"d","decision":"maybe"}', "grant, reject, edit"),
        ('{"type":"decide","approval_id":"a","digest":"d","decision":"grant","arguments":{}}', "only edit"),
        ('{"type":"decide","approval_id":"a","digest":"d","decision":"edit"}', "only edit"),
    ):
        with pytest.raises(BadOrder, match=said):
            order_of(line)


def test_a_session_whose_allowance_covers_a_call_needs_nobody(whet: Shell) -> None:
    session_id = whet("ask", "--output", "json", "/caps").json["session_id"]

    async def allow() -> None:
        opened = await open_session(Settings(data=whet.data, config=whet.data / "config.toml"), session_id)
        await opened.session.set_mode("allowance", 100_000_000_000)
        await opened.session.close()

    asyncio.run(allow())
    spec = {"prompt": "dear", "models": ["sim/costly"], "parameters": {"max_tokens": 20_000}}
    done = whet("ask", "--resume", session_id, "--output", "stream-json", f"/fanout {json.dumps({'spec': spec})}")
    assert done.code == 0, done.err
    assert "approval_closed" in [line["type"] for line in done.lines]
    changing = whet("ask", "--resume", session_id, "/put_cap --period month --limit $9")
    assert changing.code == 3
