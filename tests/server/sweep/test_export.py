import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace
from tests.server.sweep.ended import HOSTILE, RECORD, RUN, STAGE, fold

from whet_server.errors import TrialNotFound
from whet_server.sweep.export import ExportFormat, exported
from whet_server.sweep.spec import Pipeline


def content(number: int = 2, file_format: ExportFormat = ExportFormat.JSON) -> str:
    return exported(RUN, fold(), number, file_format).content


def read_env(text: str) -> dict[str, str]:
    """As python-dotenv reads single quotes: `\\\\` and `\\'` are escapes, `${NAME}` is replaced, nothing else."""
    read = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, quoted = line.partition("=")
            assert quoted[0] == quoted[-1] == "'"
            inside = quoted[1:-1]
            assert "'" not in inside
            assert "${" not in inside
            read[name] = inside.replace("\\\\", "\\")
    return read


def test_the_best_configuration_stands_with_its_prompts_in_full() -> None:
    document = json.loads(content())
    assert document["parameters"] == {
        "classify.template": "evil",
        "classify.temperature": 0.98,
        "classify.model": "sim/good",
    }
    assert document["target"]["stages"] == [
        {"name": "classify", "template": HOSTILE, "model": "sim/good", "parameters": {"temperature": 0.98}}
    ]
    assert document["texts"] == {"classify.template": HOSTILE}


def test_an_export_says_with_which_interval_on_what_and_that_it_is_simulated() -> None:
    metadata = json.loads(content())["metadata"]
    assert metadata["verdict"] == "better"
    assert metadata["lift"] == {
        "value": 0.4167,
        "low": 0.2,
        "high": 0.62,
        "level": 0.95,
        "objective": "quality",
        "unit": "share of 1",
    }
    assert (metadata["data"], metadata["seed"], metadata["simulated"]) == ("data set support@3, dev", 7, True)
    assert metadata["date"] == "2023-11-14T22:13:50Z"
    assert metadata["holdout_lift"]["value"] == 0.3


def test_another_trial_claims_no_verdict_of_its_own() -> None:
    metadata = json.loads(content(1))["metadata"]
    assert metadata["best_of_sweep"] is False
    assert metadata["lift"]["uncorrected"] is True
    assert "p_value" not in metadata
    assert "holdout_lift" not in metadata


def test_yaml_and_json_hold_the_same() -> None:
    assert yaml.safe_load(content(file_format=ExportFormat.YAML)) == json.loads(content())


def test_a_prompt_of_several_lines_is_a_block_in_yaml() -> None:
    pipeline = Pipeline(stages=(replace(STAGE, system="One.\nTwo."),))
    record = replace(RECORD, spec=replace(RECORD.spec, pipeline=pipeline))
    written = exported(RUN, fold(record), 0, ExportFormat.YAML).content
    assert "system: |-\n" in written


def expected_env() -> dict[str, Any]:
    return {
        "WHET_RUN_ID": "swp_1",
        "WHET_TRIAL": "2",
        "WHET_CLASSIFY_TEMPLATE_JSON": HOSTILE,
        "WHET_CLASSIFY_TEMPERATURE": "0.98",
        "WHET_CLASSIFY_MODEL": "sim/good",
    }


def decoded(read: dict[str, str]) -> dict[str, Any]:
    return {name: json.loads(value) if name.endswith("_JSON") else value for name, value in read.items()}


def test_a_reader_of_env_files_gets_every_value_as_it_is() -> None:
    assert decoded(read_env(content(file_format=ExportFormat.ENV))) == expected_env()


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no shell")
def test_a_shell_gets_every_value_as_it_is_and_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "it.env").write_text(content(file_format=ExportFormat.ENV), encoding="utf-8")
    script = 'set -a; PATH_BEFORE=$PATH; . ./it.env; [ "$PATH" = "$PATH_BEFORE" ] && env -0'
    told = subprocess.run(["/bin/sh", "-c", script], cwd=tmp_path, capture_output=True, check=True, timeout=10)
    assert told.stderr == b""
    read = dict(pair.split("=", 1) for pair in told.stdout.decode().split("\0") if pair.startswith("WHET_"))
    wanted = expected_env()
    assert {name: value for name, value in decoded(read).items() if name in wanted} == wanted


def test_a_line_of_a_comment_stays_one_line() -> None:
    run = replace(RUN, title="one\nPATH=/evil\r\u2028two")
    written = exported(run, fold(), 2, ExportFormat.ENV).content
    assert "# title: one PATH=/evil two" in written.splitlines()


def test_names_that_fall_together_are_told_apart() -> None:
    trial = fold()
    parameters = tuple(
        replace(each, name=name) for each, name in zip(trial.trials[1].parameters, ("a.b", "a-b", "path"), strict=True)
    )
    trial.trials[1].parameters = parameters
    names = read_env(exported(RUN, trial, 1, ExportFormat.ENV).content)
    assert {"WHET_A_B", "WHET_A_B_2", "WHET_PATH"} < names.keys()


def test_a_trial_that_is_not_there_cannot_be_exported() -> None:
    with pytest.raises(TrialNotFound, match="no trial 9"):
        exported(RUN, fold(), 9, ExportFormat.JSON)
    with pytest.raises(TrialNotFound, match="no best trial yet"):
        exported(RUN, fold(), None, ExportFormat.JSON)
