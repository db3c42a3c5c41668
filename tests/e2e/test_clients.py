import asyncio
import json
import os
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.serving import PATIENCE, House, Wire

from whet.v1 import event_pb2, judging_pb2, scorer_pb2, sweep_pb2, sweeping_pb2, trial_pb2

NODE = Path(__file__).parents[1] / "clients" / "node"
PROTO = Path(__file__).parents[2] / "proto"
MODELS = ("sim/fast", "sim/terse")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="there is no node on this machine"),
]


async def run(*command: str, folder: Path, **environment: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=os.environ | environment, stdout=PIPE, stderr=PIPE
    )
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
async def client(tmp_path: Path) -> Path:
    """A copy of the client beside what it needs, and nothing of ours but the proto files."""
    folder = tmp_path / "client"
    shutil.copytree(NODE, folder, ignore=shutil.ignore_patterns("node_modules"))
    code, _, err = await run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", folder=folder)
    if code:
        pytest.skip(f"npm cannot fetch what the client needs: {err[:300]}")
    return folder


async def ask(client: Path, address: str, token: str, *models: str) -> tuple[int, list[dict[str, Any]], str]:
    code, out, err = await run(
        "node", "ask.mjs", address, token, "What is a monad?", *models, folder=client, WHET_PROTO=str(PROTO)
    )
    return code, [json.loads(line) for line in out.splitlines()], err


@pytest.fixture
async def wire(house: House) -> Wire:
    house.config = 'synthesiser = "sim/steady"'
    return await house.start()


async def test_a_client_in_another_language_needs_the_proto_files_only(wire: Wire, client: Path) -> None:
    code, lines, err = await ask(client, wire.address, wire.token, *MODELS)
    assert (code, err) == (0, "")
    *branches, synthesis, run = lines
    assert {branch["branch_id"] for branch in branches} == {"b1", "b2"}
    assert {branch["model"] for branch in branches} == set(MODELS)
    assert all(branch["state"] == "BRANCH_STATE_DONE" and branch["characters"] > 0 for branch in branches)
    assert synthesis["synthesis"] == "BRANCH_STATE_DONE"
    assert synthesis["text"]
    assert synthesis["sentences"] > 0
    assert run["run_id"].startswith("fan_")
    assert (run["state"], run["settled"]) == ("RUN_STATE_SUCCEEDED", "0")


async def test_it_hears_why_a_call_was_refused(wire: Wire, client: Path) -> None:
    code, lines, err = await ask(client, wire.address, "no-token", *MODELS)
    assert (code, lines) == (1, [])
    assert err.startswith("16 ")
    code, lines, err = await ask(client, wire.address, wire.token, "nowhere/model")
    assert (code, lines) == (1, [])
    assert "nowhere" in err


async def test_a_scorer_in_another_language_needs_the_proto_files_only(wire: Wire, client: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *("node", "score.mjs", wire.address, wire.token),
        cwd=client,
        env=os.environ | {"WHET_PROTO": str(PROTO)},
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            assert await process.stdout.readline() == b"ready\n"
        verdicts = await scored(wire, "the cat and the hat", "ein Wort", "42", settings='{"ignore": ["the"]}')
        assert [(each.criterion, each.outcome) for each in verdicts] == [
            *(("remote:no_repeats", judging_pb2.OUTCOME_SCORED), ("remote:no_repeats (2)", judging_pb2.OUTCOME_SCORED))
            * 2,
            ("remote:no_repeats", judging_pb2.OUTCOME_ABSTAINED),
            ("remote:no_repeats (2)", judging_pb2.OUTCOME_ABSTAINED),
        ]
        assert [each.score for each in verdicts[:4]] == [pytest.approx(0.8), 1, 1, 1]
        assert (verdicts[0].value, verdicts[0].rationale) == (1, "the")
        (broken,) = await scored(wire, "text", settings='{"ignore": 7}', names=())
        assert broken.outcome == judging_pb2.OUTCOME_FAILED
        assert "TypeError" in broken.failure.message
        process.terminate()
        async with asyncio.timeout(PATIENCE):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def sweep_of_texts() -> sweep_pb2.SweepSpec:
    """Forty texts of which those with three marks or with a shout are urgent; the baseline finds half of them."""
    texts = [
        (f"Please look at order {at}" + "!" * (at % 5) + (" NOW" if at % 2 else ""), at % 5 > 2 or at % 2 == 1)
        for at in range(40)
    ]
    shouting = sweeping_pb2.Choices(choices=[sweeping_pb2.Choice(label=label) for label in ("ignored", "counts")])
    return sweep_pb2.SweepSpec(
        outside=sweep_pb2.Outside(description="rules in Node"),
        space=[
            sweeping_pb2.SearchDimension(name="threshold", int_range=sweeping_pb2.IntRange(low=0, high=5)),
            sweeping_pb2.SearchDimension(name="shouting", choices=shouting),
        ],
        sampler=sweeping_pb2.Sampler(kind=sweeping_pb2.SAMPLER_KIND_GRID),
        items=[
            scorer_pb2.Item(item_id=f"t{at}", input=text, reference="urgent" if urgent else "calm")
            for at, (text, urgent) in enumerate(texts)
        ],
        trials_at_once=3,
        seed=3,
    )


async def test_a_program_in_another_language_runs_trials_over_a_kill_of_the_server(
    house: House, wire: Wire, client: Path
) -> None:
    request = sweep_pb2.StartSweepRequest(spec=sweep_of_texts())
    run_id = (await wire.ask(wire.sweeps.StartSweep, request)).sweep.run_id
    process = await asyncio.create_subprocess_exec(
        *("node", "trials.mjs", wire.address, wire.token, run_id, "3"),
        cwd=client,
        env=os.environ | {"WHET_PROTO": str(PROTO)},
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            first = [json.loads(await process.stdout.readline()) for _ in range(2)]
            await house.kill()
            wire = await house.start()
            out, err = await process.communicate()
        assert (process.returncode, err) == (0, b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = first + [json.loads(line) for line in out.splitlines()]
    assert sorted(line["number"] for line in lines) == list(range(12)), "each combination was run once"
    assert len({line["worker"] for line in lines}) == 3
    while (sweep := (await wire.ask(wire.sweeps.GetSweep, sweep_pb2.GetSweepRequest(run_id=run_id))).sweep).state == (
        event_pb2.RUN_STATE_RUNNING
    ):
        pass
    assert sweep.state == event_pb2.RUN_STATE_SUCCEEDED
    assert {each.name: each.text or each.integer for each in sweep.best.parameters} == {
        "threshold": 2,
        "shouting": "counts",
    }
    assert sweep.best.quality.value == 1.0
    board = await wire.ask(wire.trials.ListTrials, trial_pb2.ListTrialsRequest(run_id=run_id))
    assert board.trials[0].number == sweep.best.number
    for trial in board.trials:
        if trial.state == sweeping_pb2.TRIAL_STATE_COMPLETE:
            assert trial.cases == trial.answers == 40, "nothing was counted twice"


async def scored(
    wire: Wire, *texts: str, settings: str, names: tuple[str, ...] = ("remote:no_repeats",)
) -> list[judging_pb2.Verdict]:
    remote = scorer_pb2.RemoteScorer(name="no_repeats", settings=settings)
    request = scorer_pb2.ScoreItemsRequest(
        items=[scorer_pb2.Item(candidates=[text]) for text in texts],
        scorers=names,
        detailed=[scorer_pb2.Scorer(remote=remote)],
    )
    return list((await wire.ask(wire.scorers.ScoreItems, request)).verdicts)
