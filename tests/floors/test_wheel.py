import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=100)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        return archive.namelist()


def test_the_wheel_claims_our_names_and_no_others(wheel: list[str]) -> None:
    tops = {name.partition("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "whet",
        "whet_agent",
        "whet_eval",
        "whet_prompts",
        "whet_server",
        "whet_tui",
    }


def test_the_wheel_carries_what_is_read_at_run_time(wheel: list[str]) -> None:
    held = set(wheel)
    for folder, pattern in (
        ("server/whet_server/store/migrations", "**/*.py"),
        ("prompts/whet_prompts", "*.md"),
        ("prompts/whet_prompts", "rubrics/*.toml"),
        ("eval/whet_eval", "judging/*.*"),
        ("tui/whet_tui", "**/*.tcss"),
        ("proto/gen/whet", "**/*.py*"),
    ):
        base = ROOT / folder.partition("/")[0] if not folder.startswith("proto/gen") else ROOT / "proto" / "gen"
        needed = {path.relative_to(base).as_posix() for path in (ROOT / folder).glob(pattern) if path.is_file()}
        needed = {name for name in needed if "__pycache__" not in name}
        assert needed, folder
        assert needed <= held, needed - held


def test_the_wheel_carries_no_tests_and_no_caches(wheel: list[str]) -> None:
    assert not [name for name in wheel if "__pycache__" in name or name.startswith("tests/")]
