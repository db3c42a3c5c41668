from pathlib import Path

import pytest

from whet_tui.cli.root import run


@pytest.mark.parametrize("content", ["", "short", "not one word but many of them"])
def test_a_secret_that_could_be_guessed_is_not_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    file = tmp_path / "secret"
    file.write_text(content)
    assert run(["--data", str(tmp_path), "mcp", "--http", "--secret-file", str(file)], {}) == 2
    assert "holds no secret" in capsys.readouterr().err
