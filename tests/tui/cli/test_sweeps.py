"""Sweeps on the command line."""

import asyncio
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.tui.cli.test_verbs import Shell, Whet

from whet.v1 import event_pb2, hook_pb2, judging_pb2, scorer_pb2, sweep_pb2, sweeping_pb2, trial_pb2
from whet_agent.connect import stop
from whet_tui.cli.exits import FAILED, OK, REFUSED
from whet_tui.cli.show import shown
from whet_tui.cli.show_sweeps import progress_line

SPEC = """
title: which model
dataset: {name: cases, split: dev}
pipeline:
  stages:
    - {name: label, model: "sim/classify?skill=0.1&luck=0", template: "{{ input }}"}
space:
  - name: label.model
    choices: {choices: [{label: "sim/classify?skill=0.1&luck=0"}, {label: "sim/classify?skill=1"}]}
sampler: {kind: grid}
scorers: ["exact"]
seed: 1
"""


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    yield Shell(tmp_path / "data")
    asyncio.run(stop(tmp_path / "data"))


@pytest.fixture
def whet(shell: Shell, capsys: pytest.CaptureFixture[str]) -> Whet:
    return Whet(shell, capsys)


def test_a_sweep_goes_from_a_file_to_a_gate_and_a_report(whet: Whet, tmp_path: Path) -> None:
    rows = [{"id": f"c{n}", "input": f"case {n} [{'no' if n % 2 else 'yes'}]"} for n in range(40)]
    lines = [json.dumps(row | {"reference": "no" if "[no]" in row["input"] else "yes"}) for row in rows]
    (tmp_path / "cases.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "sweep.yaml").write_text(SPEC, encoding="utf-8")
    whet.ok("dataset", "put", "cases", "--path", str(tmp_path / "cases.jsonl"), "--key", "id", "--dev", "1")
    planned = whet.ok("sweep", "plan", "--spec", str(tmp_path / "sweep.yaml")).out
    assert "up to 2 trials by grid out of 2 combinations, 40 cases each" in planned
    plan_hash = planned.split()[-1]
    start = ("sweep", "start", "--spec", str(tmp_path / "sweep.yaml"), "--plan-hash", plan_hash, "--json")
    run_id = json.loads(whet.ok(*start).out)["sweep"]["run_id"]
    watched = whet("sweep", "watch", run_id, "--gate")
    assert (watched.code, watched.out.split("\n")[0]) == (OK, f"{run_id} succeeded. Simulated.")
    assert "Trial 1 is better than the baseline" in watched.out
    assert "2 of 2 trials" in watched.out
    assert whet("sweep", "get", run_id, "--gate").code == OK
    page = tmp_path / "report.html"
    whet.ok("sweep", "report", run_id, "--format", "html", "--out", str(page))
    HTMLParser().feed(page.read_text(encoding="utf-8"))
    assert "Better than the baseline" in page.read_text(encoding="utf-8")
    exported = json.loads(whet.ok("sweep", "export", run_id).out)
    assert exported["target"]["stages"][0]["model"] == "sim/classify?skill=1"
    assert "1" in whet.ok("trial", "list", run_id).out.split("\n")[1]
    assert whet("sweep", "export", run_id, "--trial", "7").code == FAILED


def sweep(verdict: sweeping_pb2.SweepVerdict.ValueType) -> sweep_pb2.GetSweepResponse:
    result = sweeping_pb2.SweepResult(verdict=verdict, finding="So it is.", end=sweeping_pb2.SWEEP_END_TRIALS, best=0)
    return sweep_pb2.GetSweepResponse(
        sweep=sweep_pb2.Sweep(
            run_id="swp_1",
            title="\x1b[31mred\x1b]0;title\x07",
            state=event_pb2.RUN_STATE_CANCELLED,
            plan=sweeping_pb2.SweepPlan(trials=9, calls=40, simulated=True),
            result=result,
        )
    )


def test_estimate_and_actual_are_told_of_a_cancelled_sweep_too() -> None:
    lines = list(shown(sweep(sweeping_pb2.SWEEP_VERDICT_UNDECIDED)))
    assert lines[0].startswith("swp_1 cancelled: ")
    assert lines[0].endswith("Simulated.")
    assert any(line.startswith("calls  at most 40") for line in lines)
    assert "\x1b" not in "\n".join(lines)


def test_progress_is_told_with_money_and_time_left() -> None:
    progress = event_pb2.SweepProgress(
        phase=event_pb2.SWEEP_PHASE_PAUSED, ended=3, pruned=1, running=2, best=2, best_value=0.91
    )
    progress.money_left.nanos = 380_000_000
    progress.time_left.seconds = 90
    line = progress_line(sweeping_pb2.SweepPlan(trials=40), progress)
    assert line.startswith("[paused] 3 of 40 trials, 1 stopped early, 2 under way, best 0.91 (trial 2), ")
    assert line.endswith("left: $0.38 in the budget, about 90 s")


def test_cases_stand_side_by_side_and_control_nothing() -> None:
    answers = [
        sweeping_pb2.TrialCase(case_id="c1", outcome=judging_pb2.OUTCOME_SCORED, score=1, output="yes\x1b[2J"),
        sweeping_pb2.TrialCase(case_id="c1", outcome=judging_pb2.OUTCOME_TIMED_OUT),
    ]
    cells = [trial_pb2.ComparedCell(number=n, answers=[answer]) for n, answer in enumerate(answers)]
    case = trial_pb2.ComparedCase(item=scorer_pb2.Item(item_id="c1", input="why?", reference="yes"), cells=cells)
    lines = list(shown(trial_pb2.ListCasesResponse(cases=[case])))
    assert lines[1:] == ["c1: why? (reference: yes)", "  trial 0    1.00      yes", "  trial 1    timed out"]


def test_a_secret_that_the_server_made_is_shown() -> None:
    lines = list(shown(hook_pb2.PutHookResponse(hook=hook_pb2.Hook(name="ci"), secret="s3cret" * 4)))
    assert f"secret: {'s3cret' * 4}" in lines


def test_a_gate_tells_undecided_from_no_difference() -> None:
    from whet_tui.cli.calls import sweep_gate

    assert sweep_gate(sweeping_pb2.SWEEP_VERDICT_BETTER) == OK
    assert sweep_gate(sweeping_pb2.SWEEP_VERDICT_NO_DIFFERENCE) == FAILED
    assert sweep_gate(sweeping_pb2.SWEEP_VERDICT_UNDECIDED) == REFUSED
    assert sweep_gate(sweeping_pb2.SWEEP_VERDICT_UNSPECIFIED) == REFUSED
