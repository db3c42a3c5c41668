"""docs/webhooks.md: its check of a signature accepts ours, its headers are ours, its body is one."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from whet_server.hook.signature import signed_headers

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")
SECRET = "a secret of many letters"


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def checker() -> Callable[[str, dict[str, str], bytes], bool]:
    names: dict[str, Any] = {}
    exec(block("python"), names)  # noqa: S102 -- our own page
    check: Callable[[str, dict[str, str], bytes], bool] = names["is_ours"]
    return check


def test_the_check_on_the_page_accepts_our_requests_and_no_others() -> None:
    is_ours, body = checker(), block("json").encode()
    headers = signed_headers(SECRET, "dlv_1", int(time.time()), body)
    assert is_ours(SECRET, headers, body)
    assert not is_ours("another secret of many", headers, body)
    assert not is_ours(SECRET, headers, body + b" ")
    assert not is_ours(SECRET, headers | {"x-whet-timestamp": str(int(time.time()) + 1)}, body)
    assert not is_ours(SECRET, signed_headers(SECRET, "dlv_1", 1_700_000_000, body), body), "it is old"


def test_the_page_names_every_header_of_ours() -> None:
    named = set(re.findall(r"^\| `(x-whet-[a-z]+)` \|", PAGE, re.MULTILINE))
    assert named == {name for name in signed_headers(SECRET, "dlv_1", 1, b"") if name.startswith("x-whet-")}
    assert json.loads(block("json"))["event"] == "run.ended"
