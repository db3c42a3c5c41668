import asyncio
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from whet_agent.connect import stop


@dataclass(frozen=True)
class Shell:
    data: Path

    def __call__(self, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "WHET_"))}
        return subprocess.run(
            [sys.executable, "-m", "whet_tui", *arguments],
            env=kept | {"WHET_DATA": str(self.data), "WHET_CONFIG": str(self.data / "config.toml")},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )


@pytest.fixture(scope="module")
def whet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    data = tmp_path_factory.mktemp("talk")
    (data / "config.toml").write_text('synthesiser = "sim/fast"\n')
    yield Shell(data)
    asyncio.run(stop(data))


def test_the_answer_goes_to_stdout_and_the_rest_to_stderr(whet: Shell) -> None:
    done = whet("ask", "--model", "sim/fast", "Is a tomato a fruit?")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "[1] sim/fast (simulated)  done" in done.stderr
    assert "(simulated)" in done.stderr.splitlines()[-1]
    assert "[1] sim/fast" not in done.stdout


def test_an_answer_that_tells_of_a_failed_call_is_a_failure(whet: Shell) -> None:
    for done in (
        whet("ask", "--model", "sim/any?fault=key_refused", "Is it cold?"),
        whet("ask", "/fanout --model nope/x Is it cold?"),
        whet(stdin="/fanout --model nope/x Is it cold?\n/list_caps\n"),
    ):
        assert done.returncode == 1, done.stdout + done.stderr


def test_json_holds_the_answer_the_run_the_cost_and_the_branches(whet: Shell) -> None:
    done = whet("ask", "-", "--model", "sim/fast", "--model", "sim/costly", "--json", stdin="Is it cold?\n")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["answer"]
    assert found["simulated"] is True
    assert found["run_id"].startswith("fan_")
    assert [branch["model"] for branch in found["branches"]] == ["sim/fast", "sim/costly"]
    assert found["cost"]["settled_nanos"] == sum(b["cost"]["settled_nanos"] for b in found["branches"]) > 0
    assert found["cost"]["unknown_nanos"] == 0


def test_what_needs_a_person_fails_closed_and_names_the_command(whet: Shell) -> None:
    asked = whet("ask", "/put_cap --period day --limit $7")
    assert asked.returncode == 3, asked.stdout + asked.stderr
    command = next(line for line in asked.stderr.splitlines() if "approval decide" in line).partition("whet ")[2]
    assert whet("ledger", "list-caps", "--json").stdout.find("7000000000") == -1
    decided = whet(*shlex.split(command))
    assert decided.returncode == 0, decided.stderr
    again = whet("ask", "/put_cap --period day --limit $7")
    assert again.returncode == 0, again.stderr
    assert "7000000000" in whet("ledger", "list-caps", "--json").stdout
    whet("ledger", "delete-cap", "day")


def test_each_line_of_stdin_is_a_message(whet: Shell, tmp_path: Path) -> None:
    done = whet(stdin="/fanout --model sim/fast what is a monad\n\nhow much have I spent\n")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("> ")] == [
        "> /fanout --model sim/fast what is a monad",
        "> how much have I spent",
    ]
    assert "* get_usage" in lines


def test_a_file_of_lines_is_read_like_a_pipe(whet: Shell, tmp_path: Path) -> None:
    script = tmp_path / "lines"
    script.write_text("which models are there\nhow big is the cache")
    with script.open() as stdin:
        done = subprocess.run(
            [sys.executable, "-m", "whet_tui", "--data", str(whet.data)],
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert done.stdout.count("\n> ") + done.stdout.startswith("> ") == 2


def test_an_empty_question_is_not_asked(whet: Shell) -> None:
    done = whet("ask", stdin=" \n")
    assert (done.returncode, "empty" in done.stderr) == (2, True)


def test_a_session_is_taken_up_in_a_terminal_only(whet: Shell) -> None:
    done = whet("chat", "--resume", "ses_none")
    assert (done.returncode, "terminal" in done.stderr) == (2, True)


def test_the_demo_runs_and_marks_what_is_simulated(whet: Shell) -> None:
    done = whet("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    lanes = [line for line in lines if line.startswith("[")]
    assert all("(simulated)" in line for line in lanes if "sim/" in line)
    assert any(line.startswith("[1] local/smollm2  done") for line in lanes)
    assert any("draft" in line for line in lines)
    assert "* verify_trace" in lines
    assert "* plan_fanout" in lines
    assert not (whet.data / "demo").exists()
