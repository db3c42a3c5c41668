"""The examples of docs/datasets.md run as they stand, in their order."""

import re
import subprocess
from pathlib import Path

from tests.docs.test_readme import fits, shell

from whet_tui.docs import ROOT

__all__ = ["shell"]
PAGE = ROOT / "docs" / "datasets.md"


def test_the_examples_run_as_they_stand(shell: dict[str, str], tmp_path: Path) -> None:
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    parts = [part.partition("\n") for block in blocks for part in block.removeprefix("$ ").split("\n$ ")]
    script = "set -eo pipefail\n" + "".join(f"echo '@@{at}'\n{command}\n" for at, (command, _, _) in enumerate(parts))
    done = subprocess.run(
        ["bash", "-c", script], env=shell, cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed = dict(re.findall(r"@@(\d+)\n(.*?)(?=@@\d+\n|\Z)", done.stdout, re.DOTALL))
    for at, (command, _, expected) in enumerate(parts):
        assert fits(expected, printed[str(at)]), f"$ {command}\n{printed[str(at)]}"
