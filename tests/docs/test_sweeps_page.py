"""The examples of docs/sweeps.md run as they stand, in their order."""

from pathlib import Path

import pytest
from tests.docs.test_datasets_page import played
from tests.docs.test_readme import fits, shell

from whet_tui.docs import ROOT

__all__ = ["shell"]
PAGE = ROOT / "docs" / "sweeps.md"


@pytest.mark.slow  # a dozen commands; tests/tui/cli/test_sweeps.py goes the same way in three seconds
def test_the_commands_of_the_page_do_what_it_says(shell: dict[str, str], tmp_path: Path) -> None:
    for command, said, printed in played(PAGE, shell, tmp_path):
        assert fits(said, printed), command
