"""What a script came to, for machines: one JSON object, or JUnit's XML."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from whet_agent.json_object import JsonObject
from whet_tui.safe import safe
from whet_tui.script.checks import Checked
from whet_tui.script.play import Played

_NOT_XML: Final = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped."""
_MESSAGE: Final = 200
"""Characters of a failure that a list of failures shows; the whole stands below it."""


def write_json(path: Path, name: str, session_id: str, played: Sequence[Played], code: int) -> None:
    """Raises `OSError`."""
    turns = [_turn(each) for each in played]
    costs = [turn["cost"] for turn in turns]
    report = {
        "name": name,
        "ok": code == 0,
        "exit_code": code,
        "session_id": session_id,
        "duration": round(sum(turn["duration"] for turn in turns), 3),
        "cost": {kind: sum(cost[kind] for cost in costs) for kind in (costs[0] if costs else ())},
        "turns": turns,
    }
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _turn(played: Played) -> JsonObject:
    checks = [{"line": each.line, "what": each.what, "failure": each.failure} for each in played.checks]
    return {"name": played.name, "ok": played.ok} | played.facts | {"expectations": checks}


def write_junit(path: Path, name: str, played: Sequence[Played]) -> None:
    """A suite for the script, a case for each turn, a failure for each unmet expectation. Raises `OSError`."""
    failed = sum(not each.ok for each in played)
    seconds = sum(each.facts["duration"] for each in played)
    suite = ET.Element(
        "testsuite", name=_xml(name), tests=str(len(played)), failures=str(failed), errors="0", time=f"{seconds:.3f}"
    )
    for each in played:
        case = ET.SubElement(
            suite, "testcase", classname=_xml(name), name=_xml(each.name), time=f"{each.facts['duration']:.3f}"
        )
        for check in each.checks:
            if check.failure:
                _failure(case, check)
        ET.SubElement(case, "system-out").text = _xml(f"> {each.facts['say']}\n{each.facts['answer']}")
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)


def _failure(case: ET.Element, check: Checked) -> None:
    made = ET.SubElement(case, "failure", type="expectation", message=_xml(f"{check.what}: {check.failure}"[:_MESSAGE]))
    made.text = _xml(f"{check.failure}\nline {check.line}" if check.line else check.failure)


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", safe(text))
