"""A user's JSON Schema for rows: nothing is fetched, and no expression or chain of references takes for ever."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
import re2  # type: ignore[import-untyped]  # no types are shipped
from jsonschema import Draft202012Validator, ValidationError  # type: ignore[import-untyped]  # no types are shipped
from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]  # no types are shipped
from jsonschema.validators import extend  # type: ignore[import-untyped]  # no types are shipped
from referencing import Registry
from referencing.exceptions import Unresolvable

from whet_server.dataset.reading import Line
from whet_server.dataset.wrong import Wrong
from whet_server.errors import InvalidField

_FIELD: Final = "row_schema"
_MAX_STEPS: Final = 10_000
"""References that are followed for one row: a chain of twenty that each stand twice would be a million."""


def check_rows(lines: Iterable[Line], text: str) -> None:
    """Raise `InvalidField` with every line that the row schema refuses, or for a schema that is none."""
    steps = [0]
    validator, wrong = _validator(text, steps), Wrong()
    for line in lines:
        steps[0] = 0
        try:
            for error in validator.iter_errors(line.fields):
                place = f": column {error.absolute_path[0]}" if error.absolute_path else ""
                wrong.add(f"{line.where}{place}", error.message[:200])
        except Unresolvable as error:
            raise InvalidField((_FIELD, f"{error.ref!r} is outside of the schema; nothing is fetched.")) from None
        except RecursionError:
            raise InvalidField((_FIELD, "It refers to itself without end.")) from None
    wrong.tell()


def _validator(text: str, steps: list[int]) -> Any:
    try:
        schema = msgspec.json.decode(text)
        Draft202012Validator.check_schema(schema)
    except (msgspec.DecodeError, SchemaError, RecursionError) as error:
        raise InvalidField((_FIELD, f"This is no JSON Schema: {getattr(error, 'message', error)}")) from None
    if b'"patternProperties"' in msgspec.json.encode(schema):
        raise InvalidField((_FIELD, "patternProperties is not accepted: its expressions may take for ever."))

    def counted(follow: Any) -> Any:
        def step(*parts: Any) -> Iterator[ValidationError]:
            steps[0] += 1
            if steps[0] > _MAX_STEPS:
                raise InvalidField((_FIELD, f"It takes more than {_MAX_STEPS} references for one row."))
            yield from follow(*parts) or ()

        return step

    known = Draft202012Validator.VALIDATORS
    safe = {"pattern": _pattern} | {word: counted(known[word]) for word in ("$ref", "$dynamicRef")}
    return extend(Draft202012Validator, safe)(schema, registry=Registry())


def _pattern(_validator: Any, wanted: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    try:
        if isinstance(instance, str) and not re2.search(wanted, instance):
            yield ValidationError(f"{instance[:100]!r} does not match {wanted!r}")
    except re2.error:
        raise InvalidField((_FIELD, f"{wanted!r} is no expression of RE2.")) from None
