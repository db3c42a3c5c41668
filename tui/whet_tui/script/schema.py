"""What a script may say, as values. docs/scripts.md is the same in words."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from yaml.nodes import MappingNode, Node, SequenceNode

from whet_agent.catalogue import tools
from whet_agent.json_object import JsonView
from whet_tui.script import tree
from whet_tui.script.tree import ScriptError, line_of, wrong
from whet_tui.script.variables import check, default

PATTERN_CHARACTERS: Final = 500
"""A longer pattern is a program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Approvals that are granted in advance: those with a digest, or those of a tool within bounds."""

    line: int
    digest: str = ""
    tool: str = ""
    effect: str = ""
    worst_cost_below: int | None = None
    arguments: JsonView = field(default_factory=dict)
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCheck:
    name: str
    arguments: JsonView = field(default_factory=dict)
    times: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextCheck:
    contains: tuple[str, ...] = ()
    not_contains: tuple[str, ...] = ()
    matches: str = ""
    equals: str | None = None
    ignore_case: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalCheck:
    tool: str = ""
    effect: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchCheck:
    at_least: int = 0
    done: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One thing that must hold after a turn; `kind` is its key in the script."""

    line: int
    kind: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Either `say` or `tool` with its arguments."""

    line: int
    name: str = ""
    say: str = ""
    tool: str = ""
    arguments: JsonView = field(default_factory=dict)
    expect: tuple[Expectation, ...] = ()
    save: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionWish:
    resume: str = ""
    mind: str = "configured"
    max_cost: int | None = None
    max_turns: int | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    name: str
    variables: Mapping[str, str | None]
    """Defaults; None for one that must be given."""
    session: SessionWish
    approvals: tuple[Rule, ...]
    turns: tuple[Turn, ...]


def load(path: Path, environment: Mapping[str, str]) -> Script:
    """Read a script. Raises `ScriptError` and `OSError`."""
    root = tree.tree_of(path)
    readers: dict[str, tree.Reader[Any]] = {
        "name": tree.text,
        "variables": tree.names(lambda node: default(node, environment)),
        "session": lambda node: SessionWish(**_SESSION(node)),
        "approvals": tree.listed(_rule),
        "turns": tree.listed(lambda node: _turn(node, path.parent)),
    }
    found = tree.mapping(readers, required=("turns",))(root)
    if not found["turns"]:
        raise wrong(root, "turns is empty")
    _check_references(root, set(found.get("variables", {})), found["turns"])
    return Script(
        name=found.get("name", path.stem),
        variables=found.get("variables", {}),
        session=found.get("session", SessionWish()),
        approvals=found.get("approvals", ()),
        turns=found["turns"],
    )


def _check_references(root: Node, known: set[str], turns: tuple[Turn, ...]) -> None:
    """Every `${name}` must be known where it stands: a variable, or saved by an earlier turn."""
    parts = {key.value: value for key, value in root.value if isinstance(root, MappingNode)}
    for part in ("session", "approvals"):
        if part in parts:
            check(parts[part], known)
    listed = parts["turns"].value if isinstance(parts["turns"], SequenceNode) else [parts["turns"]]
    for node, turn in zip(listed, turns, strict=True):
        check(node, known)
        known |= turn.save.keys()


def _tool(node: Node) -> str:
    return tree.one_of(*tools())(node)


def _pattern(node: Node) -> str:
    pattern = tree.text(node)
    if len(pattern) > PATTERN_CHARACTERS:
        raise wrong(node, f"a pattern has at most {PATTERN_CHARACTERS} characters")
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise wrong(node, f"no regular expression: {error}") from error
    return pattern


def _arguments(node: Node) -> Any:
    if not isinstance(node, MappingNode):
        raise wrong(node, "arguments are a mapping")
    return tree.plain(node)


_EFFECT: Final = tree.one_of("reads", "spends", "changes")
_SESSION: Final = tree.mapping(
    {
        "resume": tree.text,
        "mind": tree.one_of("offline", "configured"),
        "max_cost": tree.money,
        "max_turns": tree.whole(1),
        "timeout": tree.seconds,
    }
)
_RULE: Final = tree.mapping(
    {
        "digest": tree.text,
        "tool": _tool,
        "effect": _EFFECT,
        "worst_cost_below": tree.money,
        "arguments": _arguments,
        "times": tree.whole(1),
    }
)
_TEXT: Final = tree.mapping(
    {
        "contains": tree.listed(tree.text),
        "not_contains": tree.listed(tree.text),
        "matches": _pattern,
        "equals": tree.text,
        "ignore_case": tree.flag,
    }
)
_TOOL_CHECK: Final = tree.mapping({"name": _tool, "arguments": _arguments, "times": tree.whole(0)}, required=("name",))


def _rule(node: Node) -> Rule:
    found = _RULE(node)
    if ("digest" in found) == ("tool" in found):
        raise wrong(node, "a rule names either a digest or a tool")
    if "digest" in found and found.keys() - {"digest", "times"}:
        raise wrong(node, "a digest stands for the exact call; a rule with one has nothing beside it but times")
    if "digest" in found and not re.fullmatch(r"[0-9a-f]{64}|\$\{\w+\}", found["digest"]):
        raise wrong(node, "a digest is 64 hexadecimal digits")
    return Rule(line=line_of(node), **found)


def _approval_check(node: Node) -> ApprovalCheck | None:
    if isinstance(node, MappingNode):
        return ApprovalCheck(**tree.mapping({"tool": _tool, "effect": _EFFECT})(node))
    return ApprovalCheck() if tree.flag(node) else None


_CHECKS: Final[Mapping[str, tree.Reader[Any]]] = {
    "tool": lambda node: ToolCheck(**(_TOOL_CHECK(node) if isinstance(node, MappingNode) else {"name": _tool(node)})),
    "no_tool": tree.listed(lambda node: "*" if node.value == "*" else _tool(node)),
    "text": lambda node: TextCheck(**_TEXT(node)),
    "answer": lambda node: TextCheck(**_TEXT(node)),
    "cost_below": tree.money,
    "duration_below": tree.seconds,
    "state": tree.one_of("done", "failed", "cancelled"),
    "needs_approval": _approval_check,
    "branches": lambda node: BranchCheck(**tree.mapping({"at_least": tree.whole(0), "done": tree.whole(0)})(node)),
}


def _expectations(node: Node) -> tuple[Expectation, ...]:
    """A list of mappings, or one mapping; each key is an expectation."""
    nodes = node.value if isinstance(node, SequenceNode) else [node]
    found = []
    for each in nodes:
        values = tree.mapping(_CHECKS)(each)
        lines = {key.value: line_of(key) for key, _ in each.value}
        found += [Expectation(line=lines[kind], kind=kind, value=value) for kind, value in values.items()]
    return tuple(found)


def _turn(node: Node, folder: Path) -> Turn:
    call = tree.mapping({"tool": _tool, "arguments": _arguments}, required=("tool",))
    readers: dict[str, tree.Reader[Any]] = {
        "name": tree.text,
        "say": tree.text,
        "say_file": lambda node: _file(node, folder),
        "call": call,
        "expect": _expectations,
        "save": tree.names(tree.text),
    }
    found = tree.mapping(readers)(node)
    if len(said := found.keys() & {"say", "say_file", "call"}) != 1:
        raise wrong(node, "a turn has one of say, say_file and call" + (f", not {len(said)}" if said else ""))
    say, called = found.pop("say", ""), found.pop("call", {})
    return Turn(line=line_of(node), say=found.pop("say_file", say), **called, **found)


def _file(node: Node, folder: Path) -> str:
    """The text of a file beside the script. A dollar in it is a dollar."""
    path = folder / tree.text(node)
    try:
        return path.read_text(encoding="utf-8").strip().replace("${", "$${")
    except (OSError, UnicodeDecodeError) as error:
        raise ScriptError(*wrong(node, f"{path} cannot be read: {error}").problems) from error
