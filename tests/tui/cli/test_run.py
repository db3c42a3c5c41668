"""`whet run`: the documented examples and what goes wrong, on an embedded server that this file shares."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from whet_agent.connect import stop
from whet_tui.cli.root import run
from whet_tui.docs import ROOT

EXAMPLES = ROOT / "docs" / "examples"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Runner:
    data: Path
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Done:
        self.capture.readouterr()
        code = run(["run", *arguments], {"WHET_DATA": str(self.data), "WHET_CONFIG": str(self.data / "config.toml")})
        captured = self.capture.readouterr()
        return Done(code, captured.out, captured.err)

    def script(self, text: str, *arguments: str) -> Done:
        path = self.data / "script.yaml"
        path.write_text(text, encoding="utf-8")
        return self(str(path), *arguments)

    def journal(self, kind: str) -> list[Any]:
        """What the session of the last report keeps of one kind."""
        path = self.data / "agent" / self.report()["session_id"] / "journal.jsonl"
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [line["d"] for line in lines if line["h"] == kind]

    def report(self) -> Any:
        return json.loads((self.data / "report.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    data = tmp_path_factory.mktemp("run")
    (data / "config.toml").write_text('synthesiser = "sim/fast"\n')
    yield data
    asyncio.run(stop(data))


@pytest.fixture
def play(data: Path, capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(data, capsys)


def test_the_gate_of_the_docs_passes_and_is_reported(play: Runner) -> None:
    reports = ["--report", f"json={play.data}/report.json", "--report", f"junit={play.data}/report.xml"]
    done = play(str(EXAMPLES / "gate.yaml"), *reports)
    assert done.code == 0, done.out + done.err
    report = play.report()
    assert (report["ok"], report["exit_code"], len(report["turns"])) == (True, 0, 2)
    assert report["turns"][0]["run_id"] in report["turns"][1]["say"]
    assert 0 < report["cost"]["settled_nanos"] < 100_000_000
    suite = ET.parse(play.data / "report.xml").getroot()[0]  # noqa: S314  we wrote it
    assert (suite.get("tests"), suite.get("failures")) == ("2", "0")
    assert all(float(case.get("time", "")) > 0 for case in suite)


def test_the_gate_of_the_docs_fails_when_an_expectation_is_not_met(play: Runner) -> None:
    text = (EXAMPLES / "gate.yaml").read_text(encoding="utf-8").replace("$0.10", "$0.000000001")
    done = play.script(text, "--report", f"junit={play.data}/report.xml", "--fail-fast", "--var", "question=\x1b[2J")
    assert done.code == 1
    assert "FAIL  the cost is below" in done.out
    assert "1 turn not reached" in done.out
    suite = ET.parse(play.data / "report.xml").getroot()[0]  # noqa: S314  we wrote it
    assert suite.get("failures") == "1"
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message", "").startswith("the cost is below $0.000000001: it is $0.00")


def test_the_approvals_of_the_docs_cover_their_calls_and_no_other(play: Runner) -> None:
    done = play(str(EXAMPLES / "granted.yaml"), "--report", f"json={play.data}/report.json")
    assert done.code == 0, done.out + done.err
    assert "put_cap needs approval" in done.out
    deciders = [each["by"] for each in play.journal("ApprovalDecided")]
    assert deciders == ["script", "person", "script"], "what was left to nobody is withdrawn in the person's name"


SET = "session: {mind: offline}\nturns:\n  - call: {tool: put_cap, arguments: {period: day, limit: $7}}\n"


def test_what_no_rule_grants_ends_the_script_with_three(play: Runner) -> None:
    for rule in (
        "approvals: [{tool: put_cap, arguments: {limit: $8}}]\n",
        "approvals: [{tool: put_cap, effect: spends, worst_cost_below: $9}]\n",
        "approvals: [{tool: delete_cap}]\n",
        f"approvals: [{{digest: {'0' * 64}}}]\n",
        "",
    ):
        done = play.script(rule + SET + "  - say: /caps\n", "--report", f"json={play.data}/report.json")
        assert done.code == 3, done.out
        assert "whet ask --resume ses_" in done.err
        assert "1 turn not reached" in done.out
        assert play.report()["turns"][0]["state"] == "needs_decision"


def test_a_digest_is_granted_as_often_as_the_rule_says(play: Runner) -> None:
    play.script(SET, "--report", f"json={play.data}/report.json")
    digest = play.report()["turns"][0]["needs_approval"]["digest"]
    set_again = SET + "  - call: {tool: put_cap, arguments: {period: day, limit: $7}}\n"
    once = play.script(f"approvals: [{{digest: {digest}}}]\n" + set_again)
    assert (once.code, once.out.count("ok    the turn succeeds")) == (3, 1)
    twice = play.script(
        f"approvals: [{{digest: {digest}, times: 2}}, {{tool: delete_cap}}]\n"
        + set_again
        + "  - call: {tool: delete_cap, arguments: {cap_id: day}}\n"
    )
    assert twice.code == 0, twice.out + twice.err


def test_what_spends_needs_a_bound_that_the_worst_cost_stays_below(play: Runner) -> None:
    turn = (
        "session: {mind: offline}\nturns:\n"
        "  - call:\n      tool: fanout\n      arguments:\n        spec:\n          {prompt: dear, models: [sim/costly,"
        " sim/costly], parameters: {max_tokens: 9000}, synthesis: {mode: none}}\n"
        "    expect: {branches: {done: 2}}\n"
    )
    for rule, code in (
        ("{tool: fanout}", 3),
        ("{tool: fanout, worst_cost_below: $0.000001}", 3),
        ("{tool: fanout, worst_cost_below: $100}", 0),
    ):
        done = play.script(f"approvals: [{rule}]\n{turn}")
        assert done.code == code, done.out + done.err


def test_a_failed_turn_fails_unless_the_script_expects_it(play: Runner) -> None:
    turn = "session: {mind: offline}\nturns:\n  - call: {tool: get_fanout, arguments: {run_id: fan_none}}\n"
    assert play.script(turn).code == 1
    assert play.script(turn + "    expect: [{state: done}, {text: {contains: RUN_NOT_FOUND}}]\n").code == 0


def test_every_kind_of_expectation_can_fail(play: Runner) -> None:
    done = play.script(
        "session: {mind: offline}\nturns:\n  - say: /caps\n    expect:\n"
        "      - tool: put_cap\n      - tool: {name: list_caps, times: 2}\n      - no_tool: '*'\n"
        "      - text: {contains: nowhere}\n      - text: {not_contains: approval}\n"
        "      - answer: {matches: ^nothing$}\n      - answer: {equals: nothing}\n"
        "      - cost_below: $0\n      - duration_below: 0.000001\n      - state: failed\n"
        "      - needs_approval: true\n      - branches: {at_least: 1}\n"
        "    save: {run: branches.0.text}\n"
    )
    assert (done.code, done.out.count("FAIL"), done.out.count("  ok  ")) == (1, 13, 0)


def test_a_time_limit_ends_the_script_with_its_code(play: Runner) -> None:
    done = play.script(
        "session: {mind: offline, timeout: 2}\nturns:\n  - say: /fanout --model sim/silent Cold?\n  - say: /caps\n",
        "--report",
        f"json={play.data}/report.json",
    )
    assert (done.code, "1 turn not reached" in done.out) == (75, True)
    assert play.report()["exit_code"] == 75


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1:1: the script is empty"),
        ("turns: []\nnaem: x", "2:1: 'naem' is not known here; do you mean 'name'?"),
        ("turns:\n  - say: x\n    expect:\n      - tol: x", "4:9: 'tol' is not known here; do you mean 'tool'?"),
        ("turns:\n  - call: {tool: put_kap}", "2:18: 'put_kap' is not known here; do you mean 'put_cap'?"),
        ("turns:\n  - {say: x, call: {tool: put_cap}}", "2:5: a turn has one of say, say_file and call, not 2"),
        ("turns:\n  - say: hi ${who}", "2:10: there is no variable 'who' here"),
        ("turns:\n  - say: hi ${env:HOME}", "2:10: ${env:HOME} may stand in variables only"),
        ("turns:\n  - say: ${r}\n    save: {r: run_id}", "2:10: there is no variable 'r' here"),
        ("turns:\n  - say: x\n    expect: {cost_below: 5 pence}", "3:26: amount: give dollars as text"),
        ("turns:\n  - say: x\n    expect: {text: {matches: '('}}", "3:30: no regular expression"),
        ("turns:\n  - say: x\n  - say: x\n    say: y", "4:5: 'say' stands here twice"),
        ("turns: [\n", "no YAML"),
        ("a: &a [x]\nturns: *a", "2:8: aliases are not understood here"),
        ("turns: !!python/object:os.system x", "1:8: a mapping is needed here"),
        ("[" * 50, "nested too deeply"),
        ("approvals: [{digest: abc}]\nturns: [{say: x}]", "1:13: a digest is 64 hexadecimal digits"),
        ("approvals: [{times: 2}]\nturns: [{say: x}]", "1:13: a rule names either a digest or a tool"),
    ],
)
def test_a_wrong_script_is_explained_where_it_is_wrong(play: Runner, text: str, said: str) -> None:
    done = play.script(text, "--dry-run")
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize("path", ["nowhere/report.xml", "."])
def test_a_report_that_cannot_be_written_is_told_before_anything_is_called(play: Runner, path: str) -> None:
    done = play(str(EXAMPLES / "gate.yaml"), "--report", f"junit={play.data / path}")
    assert (done.code, done.out) == (2, "")
    assert "no file can be written at" in done.err


def test_all_that_is_wrong_is_told_at_once(play: Runner) -> None:
    done = play.script("naem: x\nsession: {mnd: offline}\nturns:\n  - say: x\n    expect: {stat: done}\n")
    assert (done.code, len(done.err.splitlines())) == (2, 3)


def test_a_dry_run_shows_the_turns_and_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = Runner(tmp_path / "new", capsys)
    done = empty(str(EXAMPLES / "granted.yaml"), "--dry-run")
    assert done.code == 0
    assert 'set a cap: /put_cap {"period": "day", "limit": "$7"}' in done.out
    assert not (tmp_path / "new").exists()


def test_variables_are_given_by_the_command_the_environment_or_the_script(play: Runner) -> None:
    text = "variables: {who: '${env:NOBODY_HAS_THIS}', how: cold}\nturns:\n  - say: ${who} is ${how}, $${how}\n"
    missing = play.script(text, "--dry-run")
    assert (missing.code, "--var who=..." in missing.err) == (2, True)
    given = play.script(text, "--dry-run", "--var", "who=It ${how}")
    assert "It ${how} is cold, ${how}" in given.out
    unknown = play.script(text, "--dry-run", "--var", "what=x")
    assert (unknown.code, "no variable 'what'" in unknown.err) == (2, True)
