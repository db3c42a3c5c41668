"""YAML as a tree whose every node knows its line, and readers that make values of it.

A reader takes a node and returns a value or raises `ScriptError`; those for lists and mappings gather what is wrong
below them, so that a person sees every mistake at once. Nothing in a script names a class to construct.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from whet_agent.arguments import BadArguments, money_nanos

_BYTES: Final = 1_000_000
"""No script that a person reads is longer."""
_DEPTH: Final = 40
"""The parser takes time with the square of the depth."""
_PREFIX: Final = "tag:yaml.org,2002:"

T = TypeVar("T")
Reader: TypeAlias = Callable[[Node], T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    line: int
    column: int
    text: str


class ScriptError(Exception):
    """The script cannot be run. `problems` says where and why."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(problem.text for problem in problems))
        self.problems = problems


def wrong(node: Node, text: str) -> ScriptError:
    return ScriptError(_problem(node.start_mark, text))


def _problem(mark: Any, text: str) -> Problem:
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    return Problem(line=line, column=column, text=text)


def line_of(node: Node) -> int:
    return int(node.start_mark.line) + 1


def tree_of(path: Path) -> Node:
    """Return the tree of a file. Raises `ScriptError` and `OSError`."""
    raw = path.read_bytes()
    if len(raw) > _BYTES:
        raise ScriptError(Problem(line=1, column=1, text=f"a script has at most {_BYTES:,} bytes"))
    try:
        depth = 0
        for event in yaml.parse(raw, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEPTH:
                raise ScriptError(_problem(event.start_mark, "this is nested too deeply"))
            if isinstance(event, yaml.AliasEvent):  # a few of them make a document of any size
                raise ScriptError(_problem(event.start_mark, "aliases are not understood here"))
        root = yaml.compose(raw, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise ScriptError(_problem(error.problem_mark, f"no YAML: {error.problem}")) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ScriptError(Problem(line=1, column=1, text="no YAML in UTF-8")) from error
    if root is None:
        raise ScriptError(Problem(line=1, column=1, text="the script is empty"))
    return root


def text(node: Node) -> str:
    """A text, or a number as it is written."""
    if not isinstance(node, ScalarNode) or node.tag == f"{_PREFIX}null":
        raise wrong(node, "a text is needed here")
    return str(node.value)


def plain(node: Node) -> Any:
    """Whatever stands there, as JSON knows it; a date is its text."""
    match node:
        case MappingNode():
            return {text(key): plain(value) for key, value in _pairs(node)}
        case SequenceNode():
            return [plain(each) for each in node.value]
    if node.tag in {f"{_PREFIX}{kind}" for kind in ("null", "bool", "int", "float")}:
        value = yaml.constructor.SafeConstructor().construct_object(node)
        if not isinstance(value, float) or math.isfinite(value):
            return value
        raise wrong(node, "this is no number that JSON knows")
    return text(node)


def whole(least: int) -> Reader[int]:
    def read(node: Node) -> int:
        value = plain(node)
        if type(value) is not int or value < least:
            raise wrong(node, f"a whole number of at least {least} is needed here")
        return value

    return read


def flag(node: Node) -> bool:
    value = plain(node)
    if not isinstance(value, bool):
        raise wrong(node, "true or false is needed here")
    return value


def seconds(node: Node) -> float:
    value = plain(node)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise wrong(node, "a number of seconds above 0 is needed here")
    return float(value)


def money(node: Node) -> int:
    """Dollars, as nanos."""
    try:
        return money_nanos(text(node), "amount")
    except BadArguments as error:
        raise wrong(node, str(error)) from error


def one_of(*names: str) -> Reader[str]:
    def read(node: Node) -> str:
        value = text(node)
        if value not in names:
            raise wrong(node, f"{value!r} is not known here{_nearest(value, names)}")
        return value

    return read


def listed(reader: Reader[T]) -> Reader[tuple[T, ...]]:
    """A list; one thing alone is a list of one."""

    def read(node: Node) -> tuple[T, ...]:
        nodes = node.value if isinstance(node, SequenceNode) else [node]
        return tuple(_gathered([partial(reader, each) for each in nodes]))

    return read


def mapping(readers: Mapping[str, Reader[Any]], *, required: tuple[str, ...] = ()) -> Reader[dict[str, Any]]:
    """A mapping of known keys."""

    def item(key: Node, value: Node) -> tuple[str, Any]:
        name = text(key)
        if name not in readers:
            raise wrong(key, f"{name!r} is not known here{_nearest(name, tuple(readers))}")
        return name, readers[name](value)

    def read(node: Node) -> dict[str, Any]:
        found = dict(_gathered([partial(item, key, value) for key, value in _pairs(node)]))
        if missing := [name for name in required if name not in found]:
            raise wrong(node, f"{', '.join(missing)} is missing")
        return found

    return read


def names(reader: Reader[T]) -> Reader[dict[str, T]]:
    """A mapping whose keys are names of the script's own."""

    def item(key: Node, value: Node) -> tuple[str, T]:
        name = text(key)
        if not (name.isidentifier() and name.isascii()):
            raise wrong(key, f"{name!r} is no name: letters, digits and _")
        return name, reader(value)

    return lambda node: dict(_gathered([partial(item, key, value) for key, value in _pairs(node)]))


def _pairs(node: Node) -> list[tuple[Node, Node]]:
    if not isinstance(node, MappingNode):
        raise wrong(node, "a mapping is needed here: key: value")
    seen: set[str] = set()
    for key, _ in node.value:
        name = text(key)
        if name in seen:
            raise wrong(key, f"{name!r} stands here twice")
        seen.add(name)
    return list(node.value)


def _gathered(reads: list[Callable[[], T]]) -> list[T]:
    values: list[T] = []
    problems: list[Problem] = []
    for read in reads:
        try:
            values.append(read())
        except ScriptError as error:
            problems += error.problems
    if problems:
        raise ScriptError(*problems)
    return values


def _nearest(name: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"; do you mean {near[0]!r}?" if near else f"; there are: {', '.join(known)}"
