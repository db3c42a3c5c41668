"""Whether a call is the one that a script means."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from whet_agent.arguments import BadArguments, money_nanos
from whet_agent.catalogue import request_from, to_plain, tools

SEARCHED: Final = 20_000
"""Characters of a text that a pattern is searched in: a pattern that goes back and forth takes long on a long text."""


def found(pattern: str, text: str, *, ignore_case: bool = False) -> bool:
    """Whether the pattern matches anywhere in the text's beginning."""
    return re.search(pattern, text[:SEARCHED], re.IGNORECASE if ignore_case else 0) is not None


def arguments_of(tool: str, arguments_json: str) -> Any:
    """A call's arguments as the contract reads them, however they were written: every field, short enum names."""
    try:
        given = json.loads(arguments_json)
        return to_plain(request_from(tools()[tool].method, given))
    except (ValueError, KeyError, BadArguments):
        return {}


def fits(expected: object, actual: object) -> bool:
    """Whether the actual value has everything that is expected. `{matches: PATTERN}` is a pattern for a text."""
    if isinstance(expected, Mapping):
        if set(expected) == {"matches"} and not isinstance(actual, Mapping):
            return found(str(expected["matches"]), str(actual))
        return isinstance(actual, Mapping) and all(
            name in actual and fits(value, actual[name]) for name, value in expected.items()
        )
    if isinstance(expected, list | tuple):
        if not isinstance(actual, list | tuple) or len(actual) != len(expected):
            return False
        return all(fits(*pair) for pair in zip(expected, actual, strict=True))
    return _same(expected, actual)


def _same(expected: object, actual: object) -> bool:
    if isinstance(actual, Mapping) and set(actual) == {"nanos"}:
        try:
            return bool(money_nanos(expected, "") == actual["nanos"])
        except BadArguments:
            return False
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    if isinstance(actual, int | float) and isinstance(expected, int | float):
        return float(actual) == float(expected)
    return str(expected) == str(actual)
