import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from whet_agent.connect import stop
from whet_tui.cli.root import run

DRAFT = ("--synthesis-mode", "draft")
QUICK = ("--model", "sim/fast", "--model", "sim/terse", "--synthesis-model", "sim/fast")


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Shell:
    data: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "WHET_"))}
        return kept | {"WHET_DATA": str(self.data), "XDG_CONFIG_HOME": str(self.data)}

    def popen(self, *arguments: str, stdin: Any = subprocess.DEVNULL) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "whet_tui", *arguments],
            env=self.environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def child(self, *arguments: str, stdin: str = "") -> Done:
        with self.popen(*arguments, stdin=subprocess.PIPE) as process:
            out, err = process.communicate(stdin, timeout=60)
        return Done(process.returncode, out, err)


@dataclass(frozen=True)
class Whet:
    """The command line within this process, on a server that the tests of this file share."""

    shell: Shell
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Done:
        self.capture.readouterr()
        code = run(arguments, {"WHET_DATA": str(self.shell.data), "WHET_CONFIG": ""})
        captured = self.capture.readouterr()
        return Done(code, captured.out, captured.err)

    def ok(self, *arguments: str) -> Done:
        done = self(*arguments)
        assert done.code == 0, done.out + done.err
        return done


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    data = tmp_path_factory.mktemp("data")
    yield Shell(data)
    asyncio.run(stop(data))


@pytest.fixture
def whet(shell: Shell, capsys: pytest.CaptureFixture[str]) -> Whet:
    return Whet(shell, capsys)


@pytest.fixture
def run_id(whet: Whet) -> str:
    lines = whet.ok("fanout", "run", "--prompt", "Why is the sky blue?", *QUICK, "--json").lines
    found: str = json.loads(lines[0])["run_id"]
    return found


def test_a_fanout_tells_its_branches_its_cost_and_its_answer(whet: Whet) -> None:
    done = whet.ok("fanout", "run", "--prompt", "What is a hash table?", *QUICK, "--synthesis-mode", "draft")
    assert done.lines[0].endswith(": 2 branches")
    assert any(line.startswith("[1] sim/fast (simulated)  done") for line in done.lines)
    assert any(line.startswith(("final draft", "draft 1")) for line in done.lines)
    end = next(line for line in done.lines if line.startswith("succeeded in"))
    assert "2 of 2 branches, $0" in end
    assert done.lines[done.lines.index(end) + 2]
    assert not done.err


def test_json_gives_an_event_a_line_and_the_cursor_to_go_on_with(whet: Whet) -> None:
    events = [json.loads(line) for line in whet.ok("fanout", "run", "--prompt", "x y z", *QUICK, "--json").lines]
    durable = [event["sequence"] for event in events if event["sequence"]]
    assert durable == list(range(1, len(durable) + 1))
    assert events[-1]["run_finished"]["state"] == "succeeded"
    assert events[-1]["next_cursor"]
    assert len({event["run_id"] for event in events}) == 1
    finished = [event["branch_finished"] for event in events if "branch_finished" in event]
    assert all(branch["simulated"] for branch in finished)


def test_a_finished_run_is_watched_again_from_a_cursor(whet: Whet) -> None:
    call = ("fanout", "run", "--prompt", "x y", "--model", "sim/steady", "--json")
    run = [json.loads(line) for line in whet.ok(*call).lines]
    cut = next(place for place, event in enumerate(run) if event.get("next_cursor") and event["sequence"])
    watch = ("trace", "watch", run[0]["run_id"], "--json", "--cursor")
    rest = [json.loads(line) for line in whet.ok(*watch, run[cut]["next_cursor"]).lines]
    assert [event["sequence"] for event in rest] == [each["sequence"] for each in run[cut + 1 :] if each["sequence"]]
    over = whet.ok(*watch, run[-1]["next_cursor"])
    assert (over.out, over.err) == ("", "Nothing is new after this cursor.\n")


def test_a_fetched_run_reads_like_a_watched_one(whet: Whet, run_id: str) -> None:
    watched, fetched = whet.ok("fanout", "watch", run_id), whet.ok("fanout", "get", run_id)
    assert [line for line in watched.lines if line.startswith("[")] == [
        line for line in fetched.lines if line.startswith("[")
    ]
    assert watched.lines[-1] == fetched.lines[-1]
    assert whet.ok("fanout", "get", run_id, "--json").json["fanout"]["state"] == "succeeded"


def test_lists_are_tables_and_pages(whet: Whet, run_id: str) -> None:
    table = whet.ok("fanout", "list")
    assert table.lines[0].split()[:2] == ["RUN", "STATE"]
    assert any(line.startswith(run_id) for line in table.lines)
    assert len(whet.ok("trace", "list", "--page-size", "1", "--json").json["traces"]) == 1
    assert "price" in whet.ok("model", "list").out or "$0" in whet.ok("model", "list").out


def test_a_trace_is_proved_and_exported(whet: Whet, shell: Shell, run_id: str) -> None:
    verified = whet.ok("trace", "verify", run_id, "--json").json
    lines = shell.child("trace", "export", run_id).lines
    assert verified["valid"]
    assert (
        sum("sequence" in json.loads(line) or "record" in json.loads(line) for line in lines)
        >= verified["events_checked"]
    )
    wrong = whet("trace", "verify", run_id, "--expected-hash", "0" * 64)
    assert wrong.code == 1
    assert "NOT VALID" in wrong.out
    assert "Valid:" in whet.ok("trace", "verify", run_id).out
    assert "run_opened" in whet.ok("trace", "get", run_id).out


def test_a_plan_is_held_to(whet: Whet) -> None:
    plan = whet.ok("fanout", "plan", "--prompt", "x", *QUICK, "--json").json
    held = ("fanout", "start", "--prompt", "x", "--plan-hash", plan["plan_hash"], "--json")
    started = whet.ok(*held, *QUICK).json
    assert started["started"]
    other = whet(*held, "--model", "sim/fast")
    assert other.code == 1
    assert "PLAN_CHANGED" in other.err
    assert "--plan-hash" in whet.ok("fanout", "plan", "--prompt", "x", *QUICK).out


def test_the_same_request_id_is_the_same_run(whet: Whet) -> None:
    call = ("fanout", "start", "--prompt", "once", *QUICK, "--request-id", "mine", "--json")
    first, second = whet.ok(*call).json, whet.ok(*call).json
    assert (first["started"], second["started"]) == (True, False)
    assert first["fanout"]["run_id"] == second["fanout"]["run_id"]
    reused = whet("fanout", "start", "--prompt", "twice", *QUICK, "--request-id", "mine")
    assert reused.code == 2
    assert "REQUEST_ID_REUSED" in reused.err


def test_caps_are_set_shown_and_removed(whet: Whet) -> None:
    whet.ok("ledger", "put-cap", "--period", "day", "--limit", "$5")
    table = whet.ok("ledger", "list-caps")
    assert any(line.split()[:2] == ["day", "$5.00"] for line in table.lines)
    assert "needs your approval" in table.out
    whet.ok("ledger", "delete-cap", "day")
    assert "No caps." in whet.ok("ledger", "list-caps").out
    gone = whet("ledger", "delete-cap", "day")
    assert (gone.code, "CAP_NOT_FOUND" in gone.err) == (1, True)


def test_a_refused_field_is_named_as_the_flag(whet: Whet) -> None:
    done = whet("fanout", "run", "--model", "sim/fast")
    assert done.code == 2
    assert "Error: " in done.err
    assert "Traceback" not in done.err
    pattern = whet("model", "put-endpoint", "UPPER", "--base-url", "http://127.0.0.1:9/v1")
    assert pattern.code == 2
    assert "Error: NAME: Must match" in pattern.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "nope"), "Error: --model[0]: 'nope' is no endpoint/model"),
        (("--model", "sim/fast", "--model", "nope/x"), "Error: --model[1]: there is no endpoint 'nope'"),
        (("--model", "sim/fast", "--branch", '{"model": "nope/x"}'), "Error: --branch[0].model: there is no endpoint"),
        (("--model", "sim/fast", "--synthesis-model", "nope/x", *DRAFT), "Error: --synthesis-model: there is no end"),
    ],
)
def test_a_model_that_is_not_there_is_named_as_it_was_given(whet: Whet, arguments: tuple[str, ...], said: str) -> None:
    done = whet("fanout", "run", "--prompt", "x", *arguments)
    assert done.code in {1, 2}
    assert said in done.err


def test_stdin_that_is_no_text_is_refused(shell: Shell) -> None:
    for command in (("ask", "-"), ("fanout", "run", "--model", "sim/fast", "--prompt", "-")):
        done = subprocess.run(
            [sys.executable, "-m", "whet_tui", *command],
            env=shell.environment,
            input=b"ab\xff",
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        assert b"stdin is not text in UTF-8 (byte 2)" in done.stderr


def test_an_endpoint_and_the_cache_are_told_in_words(whet: Whet) -> None:
    tested = whet.ok("model", "test-endpoint", "sim")
    assert tested.lines[0].startswith("It works (0.0")
    assert "fast" in tested.lines
    whet.ok("fanout", "run", "--prompt", "cached?", "--model", "sim/fast")
    whet.ok("fanout", "run", "--prompt", "cached?", "--model", "sim/fast")
    answers, hits = whet.ok("model", "get-cache").lines
    assert " kB" in answers
    assert "look-ups, " in hits
    assert not hits.startswith("0 hits")


def test_a_run_that_is_not_there_is_a_failure(whet: Whet) -> None:
    done = whet("fanout", "get", "fan_none")
    assert done.code == 1
    assert "RUN_NOT_FOUND" in done.err
    assert not done.out


def test_a_failed_run_has_the_exit_code_of_failure(whet: Whet) -> None:
    done = whet("fanout", "run", "--prompt", "x", "--model", "sim/any?fault=key_refused", "--synthesis-mode", "none")
    assert done.code == 1
    assert "failed in" in done.out


def test_a_key_is_read_from_stdin_and_never_shown(shell: Shell, whet: Whet) -> None:
    put = shell.child(
        "model", "put-endpoint", "mine", "--base-url", "http://127.0.0.1:9/v1", "--api-key", "-", stdin="s3cret\n"
    )
    assert put.code == 0, put.err
    listed = whet.ok("model", "list-endpoints")
    assert "s3cret" not in put.out + listed.out + whet.ok("model", "list-endpoints", "--json").out
    assert " key " in next(line for line in listed.lines if line.startswith("mine "))
    assert whet("model", "test-endpoint", "mine").code == 1
    whet.ok("model", "delete-endpoint", "mine")


def test_ctrl_c_leaves_the_run_going_and_says_how_to_come_back(shell: Shell, whet: Whet) -> None:
    with shell.popen("fanout", "run", "--prompt", "x", "--model", "sim/silent", "--json") as process:
        assert process.stdout is not None
        run_id = json.loads(process.stdout.readline())["run_id"]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert f"whet fanout cancel {run_id}" in err
    assert "Traceback" not in err
    assert whet.ok("fanout", "get", run_id, "--json").json["fanout"]["state"] == "running"
    whet.ok("fanout", "cancel", run_id)
    assert whet("fanout", "watch", run_id).code == 1


def test_a_reader_that_leaves_is_no_error(shell: Shell) -> None:
    with shell.popen("fanout", "run", "--prompt", "x", "--model", "sim/long", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(timeout=20) == 141
    assert not err


def test_status_names_the_server_and_what_waits(whet: Whet) -> None:
    found = whet.ok("status", "--json").json
    assert found["server"]["embedded"]
    assert "elsewhere" not in whet.ok("status").out


def test_a_server_elsewhere_is_called_with_its_token(whet: Whet) -> None:
    address = whet.ok("status", "--json").json["server"]["address"]
    token = whet.shell.data / "person.token"
    done = whet.ok("--server", address, "--token-file", str(token), "--data", "/nonexistent", "model", "list")
    assert "sim/fast" in done.out
    wrong = whet.shell.data / "wrong.token"
    wrong.write_text("nobody")
    refused = whet("--server", address, "--token-file", str(wrong), "model", "list")
    assert refused.code == 1
    assert "TOKEN_INVALID" in refused.err


def test_serve_is_the_server_itself(shell: Shell) -> None:
    assert "--idle-exit" in shell.child("serve", "--help").out
    made = shell.child("--data", str(shell.data), "serve", "token", "create", "--role", "agent")
    assert made.code == 0, made.err
    assert len(made.out.strip()) > 20


ANSWERS = (
    '{"item_id": "right", "input": "2 + 2?", "candidates": ["4"], "reference": "4"}',
    '{"item_id": "wrong", "input": "2 + 2?", "candidates": ["5"], "reference": "4"}',
)
ITEMS = tuple(word for answer in ANSWERS for word in ("--item", answer))


@pytest.fixture
def judged(whet: Whet) -> str:
    lines = whet.ok("judge", "run", *ITEMS, "--model", "sim/judge", "--scorer", "exact", "--json").lines
    found: str = json.loads(lines[0])["run_id"]
    return found


def test_a_judgement_tells_its_means_with_denominators_and_whether_the_judge_may_gate(whet: Whet) -> None:
    done = whet.ok("judge", "run", *ITEMS, "--model", "sim/judge", "--rubric", "answer-quality", "--scorer", "exact")
    assert "4 verdicts on 2 items by sim/judge (simulated)" in done.err
    assert done.lines[0].startswith("Judgement jud_")
    assert done.lines[0].endswith("Judged by sim/judge. Simulated.")
    exact = next(line for line in done.lines if line.startswith("exact"))
    assert "0.50 (" in exact
    assert "2 of 2 items  2 scored" in exact
    assert "answer-quality: not calibrated, may not gate; simulated" in done.lines


def test_what_nobody_could_score_is_told_with_the_reason_when_it_ends(whet: Whet) -> None:
    arguments = (*ITEMS, "--model", "sim/judge", "--rubric", "answer-quality", "--require-calibrated")
    done = whet("judge", "run", *arguments)
    assert done.code == 1
    assert "2 of 2 verdicts have no score: 2 uncalibrated. The first one said: " in done.lines[0]
    listed = whet.ok("judge", "list").lines
    assert listed[2] == "  2 items: answer-quality, by sim/judge (simulated)"


def test_lines_that_are_wrong_in_the_same_way_are_told_in_one(whet: Whet, tmp_path: Path) -> None:
    (tmp_path / "wrong.csv").write_text("id,input,output\n" + "1,ten\n" * 20 + "9,x,y\n8\n9,x\n")
    said = whet("dataset", "put", "wrong", "--path", str(tmp_path / "wrong.csv")).err.splitlines()
    assert said[:2] == [
        "Error: lines 2-21, 24: There are 2 cells, and the header has 3.",
        "line 23: There are 1 cells, and the header has 3.",
    ]


def test_a_stored_rubric_is_told_in_a_table_and_not_word_by_word(whet: Whet) -> None:
    text = whet.ok("rubric", "get", "answer-quality").out.replace("answer", "reply")
    lines = whet.ok("rubric", "put", "--name", "reply-quality", "--text", text).lines
    assert lines[0] == "Stored reply-quality@1, levels 1 to 5"
    assert lines[2].split() == ["DIMENSION", "WEIGHT", "ANCHORS", "ASKS"]
    assert len(lines) < 12


def test_a_judgement_that_did_not_succeed_says_why(whet: Whet) -> None:
    done = whet("judge", "run", *ITEMS, "--model", "sim/judge?refuse=1")
    assert done.code == 1
    assert done.lines[1].startswith("2 of 2 verdicts have no score: 2 refused. The first one said: The judge declined")


def test_a_judgement_in_json_is_an_event_a_line(whet: Whet, judged: str) -> None:
    lines = [json.loads(line) for line in whet.ok("judge", "watch", judged, "--json").lines]
    assert [next(kind for kind in line if kind.startswith(("run_", "verdicts", "judgement_"))) for line in lines]
    assert "run_finished" in lines[-1]
    assert lines[0]["run_opened"]["judgement"]["verdicts"] == 4
    assert judged in whet.ok("judge", "list").out
    assert whet.ok("judge", "get", judged, "--order", "score").lines[-2:][0].split()[0] == "wrong"


def test_a_gate_has_an_exit_code_for_each_decision(whet: Whet, judged: str) -> None:
    assert whet("judge", "gate", judged, "--criterion", "exact", "--min-mean", "0.4").code == 0
    failed = whet("judge", "gate", judged, "--criterion", "exact", "--min-mean", "0.9")
    assert (failed.code, failed.lines[0].partition(":")[0]) == (1, "The gate failed")
    refused = whet("judge", "gate", judged, "--criterion", "problem-solving", "--min-mean", "0.1")
    assert (refused.code, refused.lines[0].partition(":")[0]) == (4, "The gate refuses to decide")
    assert whet("calibration", "check-judge", "--model", "sim/judge").code == 1


def test_ratings_are_read_from_stdin_and_a_calibration_is_told_in_a_table(
    shell: Shell, whet: Whet, judged: str
) -> None:
    csv = "item_id,level,rater\nright,5,ann\nwrong,1,ann\nright,5,bo\nwrong,1,bo\n"
    put = shell.child(
        "calibration", "put-ratings", "--judgement", judged, "--rubric", "problem-solving", "--csv", "-", stdin=csv
    )
    assert put.code == 0, put.err
    assert "right" in whet.ok("calibration", "list-ratings").out
    lines = whet.ok("calibration", "calibrate", judged).lines
    assert "calibration too weak, may not gate" in lines[0]
    assert lines[3].split()[:3] == ["the", "whole", "2"]
    assert any(line.startswith("Among people, on the whole: alpha 1.00") for line in lines)
    assert "too weak" in whet.ok("calibration", "list").out


def test_an_audit_is_told_axis_by_axis_and_can_be_read_again(whet: Whet) -> None:
    done = whet.ok("calibration", "run-audit", *ITEMS, "--model", "sim/judge", "--axis", "injection")
    run_id = done.lines[0].split()[1]
    assert run_id.startswith("aud_")
    assert any(line.startswith("injection") and "of 4" in line for line in done.lines)
    assert whet.ok("calibration", "get-audit", run_id).lines[1:] == done.lines[1:]


def test_rubrics_and_scorers_are_tables(whet: Whet) -> None:
    assert any(line.startswith("problem-solving@1") for line in whet.ok("rubric", "list").lines)
    assert "causal_linking" in whet.ok("rubric", "get", "problem-solving").out
    assert any(line.startswith("overlap:rouge_l") for line in whet.ok("scorer", "list").lines)
    scored = whet.ok("scorer", "score-items", *ITEMS, "--scorer", "exact", "--scorer", "overlap:token_f1")
    assert [line.split()[:3] for line in scored.lines[1:3]] == [
        ["right", "exact", "1.000"],
        ["right", "overlap:token_f1", "1.000"],
    ]
