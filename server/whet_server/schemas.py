"""JSON Schemas of users: nothing is fetched, no expression and no chain of references takes exponential time."""

import json
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from jsonschema import exceptions, validators  # type: ignore[import-untyped]  # no types are shipped
from referencing import Registry
from referencing.exceptions import Unresolvable

from whet_server.patterns import compiled

MAX_STEPS: Final = 10_000
"""References that are followed for one text: a chain of twenty that each stand twice would be a million."""
_LATEST: Final = validators.validator_for({})
_STEPS: Final[ContextVar[list[int]]] = ContextVar("schema_steps")


class _TooLongError(Exception):
    """The schema sends the validator on too long a way."""


class Endless(Exception):
    """The schema cannot be followed to its end. `str()` says why."""


def problems(content: object, schema: str, *, most: int = 1) -> list[exceptions.ValidationError]:
    """Return what is wrong with the content by the schema, `most` things at most. Raises `Endless` when it cannot be
    said.
    """
    steps = _STEPS.set([0])
    try:
        return list(islice(_validator(schema).iter_errors(content), most))
    except (_TooLongError, RecursionError, Unresolvable) as error:
        why = str(error)[:200] or "it is too deep"
        raise Endless(f"The schema cannot be followed to its end: {why}.") from None
    finally:
        _STEPS.reset(steps)


def check_schema(schema: str) -> None:
    """Raise `ValueError` with what is wrong when this is no schema that can be used."""
    _validator(schema)


@lru_cache(maxsize=64)
def _validator(text: str) -> Any:
    try:
        schema = json.loads(text)
        kind = validators.validator_for(schema, default=_LATEST)
        # Formats are not checked: Python's idea of a regular expression is not RE2's.
        kind.check_schema(schema, format_checker=None)
        _check_inside(schema)
    except exceptions.SchemaError as error:
        raise ValueError(f"This is no JSON Schema: {error.json_path}: {error.message[:300]}") from None
    except RecursionError:
        raise ValueError("The schema is nested too deeply.") from None
    except ValueError as error:
        raise ValueError(f"The schema cannot be used: {error}") from None
    safe = {word: check for word, check in _SAFE.items() if word in kind.VALIDATORS}
    counted = {word: _counted(kind.VALIDATORS[word]) for word in _REFERENCES if word in kind.VALIDATORS}
    return validators.extend(kind, safe | counted)(schema, registry=Registry())


def _check_inside(schema: Any) -> None:
    """Raise `ValueError` for references that leave the schema and for expressions that RE2 does not know."""
    words = set()
    for name, content in _pairs(schema):
        words.add(name)
        if name in _REFERENCES and isinstance(content, str) and not content.startswith("#"):
            raise ValueError(
                f"{name} {content[:100]!r} leaves the schema: only references that begin with # are followed."
            )
        if name == "pattern" and isinstance(content, str):
            compiled(content)
        if name == "patternProperties" and isinstance(content, dict):
            for pattern in content:
                compiled(pattern)
    if {"patternProperties", "unevaluatedProperties"} <= words:
        raise ValueError("patternProperties and unevaluatedProperties together are not supported.")


def _pairs(schema: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(schema, dict):
        for name, content in schema.items():
            yield name, content
            yield from _pairs(content)
    elif isinstance(schema, list):
        for each in schema:
            yield from _pairs(each)


def _counted(check: Any) -> Any:
    def follow(validator: Any, reference: Any, instance: Any, schema: Any) -> Iterator[exceptions.ValidationError]:
        steps = _STEPS.get()
        steps[0] += 1
        if steps[0] > MAX_STEPS:
            raise _TooLongError(f"more than {MAX_STEPS:,} references")
        yield from check(validator, reference, instance, schema) or ()

    return follow


def _pattern(
    validator: Any, pattern: str, instance: Any, schema: Mapping[str, Any]
) -> Iterator[exceptions.ValidationError]:
    if isinstance(instance, str) and compiled(pattern).search(instance) is None:
        yield exceptions.ValidationError(f"{instance[:100]!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Mapping[str, Any]
) -> Iterator[exceptions.ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, inner in patterns.items():
        expression = compiled(pattern)
        for name, content in instance.items():
            if expression.search(name) is not None:
                yield from validator.descend(content, inner, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, inner: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[exceptions.ValidationError]:
    if not isinstance(instance, dict):
        return
    expressions = [compiled(pattern) for pattern in schema.get("patternProperties", ())]
    known = schema.get("properties", {})
    for name, content in instance.items():
        if name in known or any(expression.search(name) is not None for expression in expressions):
            continue
        if inner is False:
            yield exceptions.ValidationError(f"{name[:100]!r} is not expected here")
        else:
            yield from validator.descend(content, inner, path=name)


_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_SAFE: Final = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
}
