"""The examples of docs/judges.md run as they stand, in their order, as in a clone."""

from pathlib import Path

from tests.docs.test_datasets_page import played
from tests.docs.test_readme import fits, shell

from whet_tui.docs import ROOT

__all__ = ["shell"]
PAGE = ROOT / "docs" / "judges.md"


def test_the_examples_run_as_they_stand(shell: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "eval").symlink_to(ROOT / "eval")
    for command, expected, printed in played(PAGE, shell, tmp_path):
        assert fits(expected, printed), f"$ {command}\n{printed}"
