"""docs/outside.md carries the program that is tested; `WHET_GOLDEN=write` writes it anew."""

import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "outside.md"
PROGRAM = ROOT / "tests" / "clients" / "node" / "trials.mjs"


def rendered(page: str) -> str:
    program = f"```js\n{PROGRAM.read_text(encoding='utf-8')}```"
    return re.sub(r"```js\n.*?```", lambda _: program, page, flags=re.DOTALL)


def test_the_page_has_the_program_that_is_tested() -> None:
    page = PAGE.read_text(encoding="utf-8")
    if os.environ.get("WHET_GOLDEN") == "write":
        PAGE.write_text(rendered(page), encoding="utf-8")
    assert rendered(page) == page, "run it with WHET_GOLDEN=write, and look at the difference"
