"""The examples of docs/datasets.md run as they stand, in their order."""

import re
import subprocess
from pathlib import Path

from tests.docs.test_readme import fits, shell

from whet_tui.docs import ROOT

__all__ = ["shell"]
PAGE = ROOT / "docs" / "datasets.md"


def played(page: Path, shell: dict[str, str], folder: Path) -> list[tuple[str, str, str]]:
    """Run every `$ command` of a page in one shell; return commands, what the page says, and what they print."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    parts = [part.partition("\n") for block in blocks for part in block.removeprefix("$ ").split("\n$ ")]
    script = "set -eo pipefail\n" + "".join(f"echo '@@{at}'\n{command}\n" for at, (command, _, _) in enumerate(parts))
    done = subprocess.run(
        ["bash", "-c", script], env=shell, cwd=folder, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed = dict(re.findall(r"@@(\d+)\n(.*?)(?=@@\d+\n|\Z)", done.stdout, re.DOTALL))
    return [(command, expected, printed[str(at)]) for at, (command, _, expected) in enumerate(parts)]


def test_the_examples_run_as_they_stand(shell: dict[str, str], tmp_path: Path) -> None:
    for command, expected, printed in played(PAGE, shell, tmp_path):
        assert fits(expected, printed), f"$ {command}\n{printed}"
