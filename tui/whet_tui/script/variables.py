"""`${name}` in the texts of a script, and nothing more: no expression, no shell."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final

from yaml.nodes import Node, ScalarNode

from whet_tui.script.tree import Problem, ScriptError, wrong

_REFERENCE: Final = re.compile(r"\$(?P<escaped>\$(?=\{))|\$\{(?P<name>[^{}]*)\}")
"""`$${` is a dollar and a brace."""
_ENVIRONMENT: Final = "env:"


def filled(value: Any, variables: Mapping[str, str]) -> Any:
    """Return the value with every reference in its texts replaced. What a variable holds is not looked at again."""
    if isinstance(value, str):
        return _REFERENCE.sub(lambda found: "$" if found["escaped"] else variables[found["name"]], value)
    if isinstance(value, Mapping):
        return {key: filled(each, variables) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(filled(each, variables) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: filled(getattr(value, f.name), variables) for f in fields(value)})
    return value


def check(node: Node, known: set[str]) -> None:
    """Raises `ScriptError` for references below the node to names that are not known there."""
    if isinstance(node, ScalarNode):
        for name in _names(node):
            if name.startswith(_ENVIRONMENT):
                raise wrong(node, f"${{{name}}} may stand in variables only, so that they name all that is read")
            if name not in known:
                raise wrong(
                    node, f"there is no variable {name!r} here; there are: {', '.join(sorted(known)) or 'none'}"
                )
        return
    problems: list[Problem] = []
    for child in node.value:
        for each in child if isinstance(child, tuple) else (child,):
            try:
                check(each, known)
            except ScriptError as error:
                problems += error.problems
    if problems:
        raise ScriptError(*problems)


def default(node: Node, environment: Mapping[str, str]) -> str | None:
    """Return a variable's default; None when it must be given."""
    if isinstance(node, ScalarNode) and node.tag.endswith(":null"):
        return None
    if not isinstance(node, ScalarNode):
        raise wrong(node, "a variable is a text")
    values = {}
    for name in _names(node):
        if not name.startswith(_ENVIRONMENT):
            raise wrong(node, f"a variable may stand on ${{env:NAME}} only, not on ${{{name}}}")
        variable = name.removeprefix(_ENVIRONMENT)
        if variable not in environment:
            return None
        values[name] = environment[variable]
    return str(filled(node.value, values))


def _names(node: ScalarNode) -> list[str]:
    return [found["name"] for found in _REFERENCE.finditer(node.value) if found["name"] is not None]
