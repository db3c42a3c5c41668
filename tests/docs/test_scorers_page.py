"""docs/scorers.md against what a server lists; `WHET_GOLDEN=write` writes its table and its example anew."""

import json
import os
import re
from pathlib import Path

import pytest

from whet_server.judging import Direction
from whet_server.rpc.convert.scorer import info_message
from whet_server.score.kinds import ScorerInfo, built_in
from whet_server.score.names import named

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "scorers.md"
EXAMPLE = ROOT / "tests" / "clients" / "node" / "score.mjs"
HEAD = "| scorer | measures | unit | better | needs a reference | settings |\n|---|---|---|---|---|---|\n"


def row(info: ScorerInfo) -> str:
    settings = json.loads(info_message(info).settings_schema)["properties"]
    cells = (
        f"`{info.name}`",
        info.description.removesuffix("."),
        info.unit,
        "more" if info.direction is Direction.HIGHER else "less",
        "yes" if info.needs_reference else "",
        ", ".join(f"`{name}`" for name in settings),
    )
    return f"| {' | '.join(cells)} |\n"


def rendered(page: str) -> str:
    table = f"<!-- scorers -->\n{HEAD}{''.join(map(row, built_in()))}<!-- end -->"
    example = f"```js\n{EXAMPLE.read_text(encoding='utf-8')}```"
    page = re.sub(r"<!-- scorers -->.*?<!-- end -->", lambda _: table, page, flags=re.DOTALL)
    return re.sub(r"```js\n.*?```", lambda _: example, page, flags=re.DOTALL)


def test_the_page_has_every_scorer_and_the_example_that_is_tested() -> None:
    page = PAGE.read_text(encoding="utf-8")
    if os.environ.get("WHET_GOLDEN") == "write":
        PAGE.write_text(rendered(page), encoding="utf-8")
    assert rendered(page) == page, "run it with WHET_GOLDEN=write, and look at the difference"


@pytest.mark.parametrize(
    "name",
    re.findall(r"^\| `([^`|]+)` \| .* \|$", PAGE.read_text(encoding="utf-8").partition("## By name")[2], re.MULTILINE),
)
def test_every_name_on_the_page_is_one(name: str) -> None:
    named(name.replace("\\|", "|"))
