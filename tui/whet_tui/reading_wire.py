"""Messages read as the plain values of the screen, by the names of their fields.

A value's field stands on the wire under its own name; without its `_ns` as a Duration or, with `_time` for it, as a
Timestamp. Enums have the same words. A `Failure` becomes its message, amounts become nanos, sums become `Money`.
"""

from collections.abc import Callable
from dataclasses import fields
from enum import StrEnum
from functools import cache
from types import UnionType
from typing import Any, Final, NamedTuple, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from whet_tui.lanes import money_of, nanos_of

_Value = TypeVar("_Value")

_BY_HAND: Final[dict[str, Callable[[Any], Any]]] = {
    "google.protobuf.Duration": nanos_of,
    "google.protobuf.Timestamp": nanos_of,
    "whet.v1.Money": lambda money: money.nanos,
    "whet.v1.Totals": money_of,
    "whet.v1.Failure": lambda failure: failure.message,
}
_NANOSECONDS: Final = "_ns"


class _Field(NamedTuple):
    name: str
    wire: FieldDescriptor
    read: Callable[[Any], Any]


def read(message: Message, kind: type[_Value]) -> _Value:
    """Return the message as a value. What is not set on the wire keeps the value's default."""
    given = {}
    for name, wire, one in _plan(cast("type", kind), message.DESCRIPTOR):
        content = getattr(message, wire.name)
        if wire.is_repeated:
            given[name] = tuple(map(one, content))
        elif message.HasField(wire.name) if wire.has_presence else content:
            given[name] = one(content)
    return kind(**given)


@cache
def _plan(kind: type, descriptor: Descriptor) -> tuple[_Field, ...]:
    hints, wire = get_type_hints(kind), descriptor.fields_by_name
    made = []
    for each in fields(kind):
        bare = each.name.removesuffix(_NANOSECONDS)
        found = wire.get(each.name) or wire.get(bare) or wire.get(f"{bare}_time")
        if found is not None:
            made.append(_Field(each.name, found, _reader(found, _bare(hints[each.name]))))
    return tuple(made)


def _reader(field: FieldDescriptor, kind: Any) -> Callable[[Any], Any]:
    """Return how one content of the field is read."""
    if field.message_type is not None:
        return _BY_HAND.get(field.message_type.full_name) or (lambda inside: read(inside, kind))
    if field.enum_type is not None and issubclass(kind, StrEnum):
        values = field.enum_type.values
        prefix = values[0].name.removesuffix("UNSPECIFIED")
        words = {value.number: value.name.removeprefix(prefix).lower() for value in values}
        return lambda number: kind(words[number])
    return lambda content: content


def _bare(hint: Any) -> Any:
    """The type of one content: without its None, and what a tuple holds."""
    if get_origin(hint) in {Union, UnionType}:
        hint = next(part for part in get_args(hint) if part is not type(None))
    return get_args(hint)[0] if get_origin(hint) is tuple else hint
