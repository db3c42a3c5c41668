"""Data sets on the command line."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.tui.cli.test_verbs import Shell, Whet

from whet_agent.connect import stop


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    yield Shell(tmp_path / "data")
    asyncio.run(stop(tmp_path / "data"))


@pytest.fixture
def whet(shell: Shell, capsys: pytest.CaptureFixture[str]) -> Whet:
    return Whet(shell, capsys)


def test_a_file_is_stored_exported_and_its_wrong_lines_are_named(whet: Whet, tmp_path: Path) -> None:
    file, bad = tmp_path / "answers.csv", tmp_path / "bad.csv"
    file.write_text("id,input\n" + "".join(f"r{number},q{number}\n" for number in range(20)), encoding="utf-8")
    bad.write_text("id,input\nr1\n", encoding="utf-8")
    stored = json.loads(whet.ok("dataset", "put", "support", "--path", str(file), "--key", "id", "--json").out)
    assert (stored["created"], stored["dataset"]["source"]) == (True, str(file))
    exported = whet.ok("dataset", "export", "support", "--format", "csv")
    sealed = next(each["rows"] for each in stored["dataset"]["splits"] if each["split"] == "holdout")
    assert exported.err.strip() == f"{sealed} rows are under seal and were left out."
    lines = exported.out.splitlines()
    assert (lines[0], len(lines)) == ("id,input", 21 - sealed)
    wrong = whet("dataset", "put", "support", "--path", str(bad))
    assert wrong.code != 0
    assert "line 2: There are 1 cells, and the header has 2." in wrong.err
    nothing = whet("dataset", "put", "support", "--path", str(tmp_path / "none.csv"))
    assert nothing.code != 0
    assert "cannot be read" in nothing.err
