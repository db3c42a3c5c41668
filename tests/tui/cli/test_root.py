import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from whet_agent.catalogue import methods
from whet_tui.cli.exits import FAILED, NEEDS_DECISION, TRY_AGAIN, USAGE, Stopped, explain
from whet_tui.cli.root import NOUNS, OWN, run
from whet_tui.cli.verbs import group_for

HEAVY = {"grpc", "google.protobuf", "textual", "langgraph", "openai", "opentelemetry", "sqlalchemy", "whet.v1"}
PROBE = """
import json, sys
from whet_tui.cli.root import run
code = run(sys.argv[1:], {})
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
sys.exit(code)
"""


def loaded(*arguments: str) -> tuple[set[str], str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, timeout=20, check=True
    )
    return set(json.loads(done.stderr.splitlines()[-1])), done.stdout


def test_help_loads_nothing_heavy() -> None:
    modules, text = loaded("--help")
    assert not HEAVY & modules
    assert all(name in text for name in (*OWN, *NOUNS))


def test_help_answers_at_once() -> None:
    def seconds() -> float:
        """Of the processor, which is the time on a machine that has nothing else to do."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        loaded("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.3


@pytest.mark.parametrize("name", [name for name in OWN if name != "serve"])  # whose help is the server's
def test_the_help_of_every_command_leaves_the_agent_alone(name: str) -> None:
    modules, _ = loaded(name, "--help")
    assert not {"textual", "langgraph", "openai"} & modules


def test_the_table_of_nouns_is_that_of_the_catalogue() -> None:
    assert list(NOUNS) == list(dict.fromkeys(method.command[0] for method in methods()))


@pytest.mark.parametrize("noun", NOUNS)
def test_every_rpc_is_a_verb_with_help(noun: str) -> None:
    group = group_for(noun, NOUNS[noun])
    assert sorted(group.commands) == sorted(
        method.command[1] for method in methods() if method.command[0] == noun and not method.is_dialogue
    )
    for verb in group.commands:
        shown = CliRunner().invoke(group, [verb, "--help"])
        assert shown.exit_code == 0, shown.output
        assert "--json" in shown.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "No such command 'nope'"),
        (["fanout", "get"], "Missing argument 'RUN_ID'"),
        (["fanout", "run", "--finish-deadline", "soon"], "--finish-deadline: give seconds"),
        (["fanout", "run", "--temperature", "3"], "0.0<=x<=2.0"),
        (["fanout", "run", "--branch", "x"], '--branch \'{"model": "sim/fast"}\''),
        (["ledger", "put-cap", "--period", "week", "--limit", "5"], "'day', 'month'"),
        (["ledger", "put-cap", "--period", "day", "--limit", "five"], "--limit: give dollars as text"),
        (["chat", "--resume", "ses_1", "--continue"], "not both"),
    ],
)
def test_a_wrong_command_line_is_explained(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments, {"WHET_DATA": str(tmp_path)}) == USAGE
    assert said in capsys.readouterr().err


def test_an_unreadable_token_says_which_flag_helps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["--server", "127.0.0.1:1", "--data", str(tmp_path), "model", "list"], {})
    assert code == USAGE
    assert "--token-file PATH" in capsys.readouterr().err


def test_a_server_that_does_not_answer_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "token").write_text("t")
    given = ["--server", f"unix:{tmp_path}/nobody", "--token-file", f"{tmp_path}/token", "--data", str(tmp_path)]
    assert run([*given, "model", "list"], {}) == FAILED
    error = capsys.readouterr().err
    assert f"No server answers at unix:{tmp_path}/nobody" in error
    assert "Traceback" not in error


def test_status_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--data", str(tmp_path / "new"), "status", "--json"], {}) == FAILED
    found = json.loads(capsys.readouterr().out)
    assert found["server"] == {"answers": False, "address": ""}
    assert found["mind"] == "offline planner"
    assert not (tmp_path / "new").exists()


def test_a_stopped_command_says_what_to_do_and_has_its_code() -> None:
    explained = explain(Stopped("It cannot.", advice="Do that.", code=NEEDS_DECISION))
    assert (explained.lines, explained.code) == (("Error: It cannot.", "Do that."), NEEDS_DECISION)


def broken(text: str) -> None:
    raise ZeroDivisionError(text)


def test_a_bug_leaves_a_report_and_no_traceback() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        broken("secret")
    explained = explain(caught.value)
    assert explained.code == FAILED
    assert "secret" not in explained.lines[0]
    report = Path(explained.lines[1].removeprefix("Please report it with ").removesuffix("."))
    assert "ZeroDivisionError: secret" in report.read_text()
    report.unlink()


def test_codes_tell_whether_to_try_again() -> None:
    from whet_agent.client import CallError

    def code(**parts: object) -> int:
        return explain(CallError("no", **parts)).code  # type: ignore[arg-type]  # parametrised by keyword

    assert code(code="INVALID_ARGUMENT", reason="INVALID_FIELD") == USAGE
    assert code(code="FAILED_PRECONDITION", reason="APPROVAL_REQUIRED") == NEEDS_DECISION
    assert code(code="UNAVAILABLE") == TRY_AGAIN
    assert code(code="RESOURCE_EXHAUSTED", retry_after=2.0) == TRY_AGAIN
    assert code(code="RESOURCE_EXHAUSTED", reason="CAP_EXCEEDED") == FAILED
