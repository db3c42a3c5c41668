import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from whet_agent.connect import stop
from whet_tui.docs import ROOT

README = ROOT / "README.md"


def examples() -> list[tuple[str, str]]:
    """Every `$ command` of the console blocks with the output that stands below it."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"```console\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL):
        for part in block.split("$ ", 1)[1].split("\n$ "):
            command, _, output = part.partition("\n")
            found.append((command, output.strip()))
    return found


def fits(expected: str, printed: str) -> bool:
    """`...` stands for anything, also for nothing and for several lines."""
    pattern = ".*".join(re.escape(part.strip()) for part in expected.split("..."))
    return re.search(f"^{pattern}$", printed.strip(), re.DOTALL) is not None


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "WHET_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    yield kept | {"PATH": path, "WHET_DATA": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path)}
    await stop(tmp_path / "data")


def test_the_examples_run_as_they_stand(shell: dict[str, str], tmp_path: Path) -> None:
    commands = examples()
    assert len(commands) >= 10
    script = "set -euo pipefail\n" + "".join(f"echo '@@{n}'\n{command}\n" for n, (command, _) in enumerate(commands))
    done = subprocess.run(
        ["bash", "-c", script], env=shell, cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed = dict(re.findall(r"@@(\d+)\n(.*?)(?=@@\d+\n|\Z)", done.stdout, re.DOTALL))
    for number, (command, expected) in enumerate(commands):
        assert fits(expected, printed[str(number)]), f"$ {command}\n{printed[str(number)]}"
