"""Enforces the `rule` options of the contract on every request, nested messages included.

The options are read once per message type and become plain checks; a request then costs a walk over the fields that
are set. All violations are found at once, so that a caller mends them in one go.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from whet.v1 import options_pb2
from whet_server.errors import InvalidField
from whet_server.rpc.status import MAX_VIOLATIONS

Violation = tuple[str, str]
Check = Callable[[Any], str | None]
"""Looks at one value and says what is wrong with it, or None."""

_NUMBERS: Final = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
        FieldDescriptor.CPPTYPE_DOUBLE,
        FieldDescriptor.CPPTYPE_FLOAT,
    }
)
_FLOATS: Final = frozenset({FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT})
_NESTED_QUANTIFIER: Final = re.compile(r"[+*}]\)?[+*{]|\([^)]*[+*|{][^)]*\)|\\[1-9]")
"""Patterns with groups that repeat or alternate, or with back references, can take exponential time."""


class Rules:
    """The checks of every request type, compiled at start-up."""

    def __init__(self, requests: Iterable[Descriptor]) -> None:
        self._types: dict[str, _Type] = {}
        for descriptor in requests:
            self._compile(descriptor)

    def check(self, request: Message) -> None:
        """Raise `InvalidField` with the first 40 violations."""
        violations: list[Violation] = []
        self._types[request.DESCRIPTOR.full_name].check(request, "", violations)
        if violations:
            raise InvalidField(*violations[:MAX_VIOLATIONS])

    def _compile(self, descriptor: Descriptor) -> "_Type":
        name = descriptor.full_name
        if name not in self._types:
            # Entered before its fields are compiled: a message may contain itself.
            made = self._types[name] = _Type()
            made.fields = tuple(_Field(field, self._compile) for field in descriptor.fields)
        return self._types[name]


class _Type:
    """The checks of one message type."""

    def __init__(self) -> None:
        self.fields: tuple[_Field, ...] = ()

    def check(self, message: Message, prefix: str, violations: list[Violation]) -> None:
        for field in self.fields:
            if len(violations) >= MAX_VIOLATIONS:
                return
            field.check(message, prefix, violations)


class _Field:
    """The checks of one field."""

    def __init__(self, field: FieldDescriptor, nested: Callable[[Descriptor], _Type]) -> None:
        rule = field.GetOptions().Extensions[options_pb2.rule]
        self.name = field.name
        self.repeated = field.is_repeated
        self.presence = field.has_presence
        self.required = rule.required
        self.max_items = rule.max_items if rule.HasField("max_items") else None
        message = field.message_type
        self.nested = nested(message) if message is not None and _is_ours(message) else None
        self.checks = tuple(_checks(field, rule))

    def check(self, message: Message, prefix: str, violations: list[Violation]) -> None:
        path = prefix + self.name
        if self.repeated:
            self._check_items(getattr(message, self.name), path, violations)
        elif self.presence and not message.HasField(self.name):
            if self.required:
                violations.append((path, "This field is required."))
        else:
            value = getattr(message, self.name)
            if self.required and not self.presence and not value:
                violations.append((path, "This field is required and must not be empty."))
            else:
                self._check_value(value, path, violations)

    def _check_items(self, items: Sequence[Any], path: str, violations: list[Violation]) -> None:
        if self.required and not items:
            violations.append((path, "Give at least one."))
        if self.max_items is not None and len(items) > self.max_items:
            violations.append((path, f"At most {self.max_items} are accepted, {len(items)} were given."))
            return
        if self.checks or self.nested:
            for place, item in enumerate(items):
                if len(violations) >= MAX_VIOLATIONS:
                    return
                self._check_value(item, f"{path}[{place}]", violations)

    def _check_value(self, value: Any, path: str, violations: list[Violation]) -> None:
        violations.extend((path, problem) for check in self.checks if (problem := check(value)) is not None)
        if self.nested is not None:
            self.nested.check(value, path + ".", violations)


def _is_ours(message: Descriptor) -> bool:
    """Whether a message may carry rules of ours: Google's do not, and entries of maps are no messages to a caller."""
    return message.file.package == options_pb2.DESCRIPTOR.package and not message.GetOptions().map_entry


def _checks(field: FieldDescriptor, rule: options_pb2.Rule) -> Iterable[Check]:
    lower = rule.min if rule.HasField("min") else None
    upper = rule.max if rule.HasField("max") else None
    if field.enum_type is not None:
        yield _known_value(field.enum_type)
    elif field.cpp_type in _NUMBERS:
        if field.cpp_type in _FLOATS:
            yield _finite
        yield from _bounds(lower, upper)
    elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING and field.type == FieldDescriptor.TYPE_STRING:
        yield from _lengths(rule)
        if rule.pattern:
            yield _matches(rule.pattern)
    elif field.message_type is not None and field.message_type.full_name == Duration.DESCRIPTOR.full_name:
        yield from (_in_milliseconds(check) for check in _bounds(lower, upper, " ms"))


def _finite(value: float) -> str | None:
    return None if math.isfinite(value) else "This must be a finite number."


def _bounds(lower: float | None, upper: float | None, unit: str = "") -> Iterable[Check]:
    if lower is not None:
        least = lower
        yield lambda value: f"Must be at least {least:.15g}{unit}, not {value:.15g}." if value < least else None
    if upper is not None:
        most = upper
        yield lambda value: f"Must be at most {most:.15g}{unit}, not {value:.15g}." if value > most else None


def _in_milliseconds(check: Check) -> Check:
    return lambda value: check(value.seconds * 1e3 + value.nanos / 1e6)


def _lengths(rule: options_pb2.Rule) -> Iterable[Check]:
    if rule.HasField("min_length"):
        least = rule.min_length
        yield lambda value: f"Needs at least {least} characters." if 0 < len(value) < least else None
    if rule.HasField("max_length"):
        most = rule.max_length
        yield (
            lambda value: (
                f"At most {most} characters are accepted, {len(value)} were given." if len(value) > most else None
            )
        )


def _matches(pattern: str) -> Check:
    if _NESTED_QUANTIFIER.search(pattern):
        raise ValueError(f"the pattern {pattern!r} may take exponential time; write it without repeated groups")
    compiled = re.compile(pattern)
    return lambda value: f"Must match {pattern}." if value and not compiled.fullmatch(value) else None


def _known_value(enum: EnumDescriptor) -> Check:
    known = frozenset(enum.values_by_number)
    names = ", ".join(value.name for value in enum.values if value.number)
    return lambda value: None if value in known else f"{value} is not one of {names}."
