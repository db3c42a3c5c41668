"""Values and messages whose fields have the same names, converted by their names alone.

A value's field stands on the wire under its own name, or without its `_ns` as a Duration, with `_time` for it as a
Timestamp. Enums have the
same words, amounts of money become `Money`. What the two sides do not share is converted by hand, beside this.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import cache
from types import UnionType
from typing import Any, Final, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from whet_server.rpc.convert.values import (
    SECOND,
    failure_message,
    nanoseconds_of,
    parameters_of,
    seconds_of,
    totals_message,
)
from whet_server.values import Failure, Parameters, Totals, Value

MessageT = TypeVar("MessageT", bound=Message)
ValueT = TypeVar("ValueT", bound=Value)
_Write = Callable[[Any, Any], None]
"""Writes a content into a message."""
_Read = Callable[[Any], Any]

_SPANS: Final = frozenset({"google.protobuf.Duration", "google.protobuf.Timestamp"})
_MONEY: Final = "whet.v1.Money"
_NANOSECONDS: Final = "_ns"


def fill(value: Value, message: Message) -> None:
    """Write a value into an empty message of the same fields, which is there then, whatever the value says."""
    message.SetInParent()
    for field in _plan(type(value), message.DESCRIPTOR):
        content = getattr(value, field.name)
        if content is not None:
            field.write(message, content)


def message_of(value: Value, kind: type[MessageT]) -> MessageT:
    """Return a value as a message of the same fields."""
    message = kind()
    fill(value, message)
    return message


def value_of(message: Message, kind: type[ValueT], **given: Any) -> ValueT:
    """Return a message as a value of the same fields. What is not set on the wire keeps the value's default, and so
    does a field that the wire lacks; `given` stands above both.
    """
    read = {field.name: field.read(message) for field in _plan(kind, message.DESCRIPTOR) if field.there(message)}
    return kind(**(read | given))


class _Field(NamedTuple):
    """One field of both: how it is written and read, and whether the message says anything."""

    name: str
    write: _Write
    read: _Read
    there: Callable[[Any], bool]


@cache
def _plan(kind: type[Value], descriptor: Descriptor) -> tuple[_Field, ...]:
    wire = descriptor.fields_by_name
    hints = get_type_hints(kind)
    made = []
    for name in kind.__struct_fields__:
        bare = name.removesuffix(_NANOSECONDS)
        field = wire.get(name) or wire.get(bare) or wire.get(f"{bare}_time")
        if field is not None:
            made.append(_field(name, field, hints[name]))
    return tuple(made)


def _field(name: str, field: FieldDescriptor, hint: Any) -> _Field:
    if _is_map(field):
        return _map(name, field)
    if field.is_repeated:
        return _repeated(name, field, _inner(hint))
    wire = field.name
    if field.message_type is not None:
        put, take = _nested(name, field, _bare(hint))
        return _Field(
            name,
            lambda message, content: put(getattr(message, wire), content),
            lambda message: take(getattr(message, wire)),
            lambda message: message.HasField(wire),
        )
    to_wire, from_wire = _scalar(field, _bare(hint))
    present = field.has_presence
    return _Field(
        name,
        lambda message, content: setattr(message, wire, to_wire(content)),
        lambda message: from_wire(getattr(message, wire)),
        lambda message: message.HasField(wire) if present else bool(getattr(message, wire)),
    )


def _repeated(name: str, field: FieldDescriptor, kind: Any) -> _Field:
    wire = field.name

    def there(message: Any) -> bool:
        return bool(getattr(message, wire))

    if field.message_type is None:
        to_wire, from_wire = _scalar(field, kind)
        return _Field(
            name,
            lambda message, content: getattr(message, wire).extend(map(to_wire, content)),
            lambda message: tuple(map(from_wire, getattr(message, wire))),
            there,
        )
    put, take = _nested(name, field, kind)

    def write(message: Any, content: Iterable[Any]) -> None:
        target = getattr(message, wire)
        for one in content:
            put(target.add(), one)

    return _Field(name, write, lambda message: tuple(map(take, getattr(message, wire))), there)


def _map(name: str, field: FieldDescriptor) -> _Field:
    wire = field.name
    return _Field(
        name,
        lambda message, content: getattr(message, wire).update(content),
        lambda message: dict(getattr(message, wire)),
        lambda message: bool(getattr(message, wire)),
    )


def _nested(name: str, field: FieldDescriptor, kind: Any) -> tuple[_Write, _Read]:
    """Return how a message inside is written and read."""
    full_name = field.message_type.full_name if field.message_type is not None else ""
    if full_name == _MONEY:
        return _write_money, lambda inside: inside.nanos
    if full_name in _SPANS:
        return (_write_span, nanoseconds_of) if name.endswith(_NANOSECONDS) else (_write_seconds, seconds_of)
    if kind in _BY_HAND:
        return _BY_HAND[kind]
    return _fill_inside, lambda inside: value_of(inside, kind)


def _fill_inside(inside: Any, content: Value) -> None:
    fill(content, inside)


def _write_money(inside: Any, nanos: int) -> None:
    inside.SetInParent()
    inside.nanos = nanos


def _write_span(inside: Any, nanoseconds: int) -> None:
    inside.SetInParent()
    inside.seconds, inside.nanos = divmod(nanoseconds, SECOND)


def _write_seconds(inside: Any, seconds: float) -> None:
    _write_span(inside, round(seconds * SECOND))


def _scalar(field: FieldDescriptor, kind: Any) -> tuple[_Read, _Read]:
    """Return how a single content goes to the wire and comes from it."""
    if field.enum_type is not None and isinstance(kind, type) and issubclass(kind, StrEnum):
        numbers = {kind(word): number for word, number in _words(field.enum_type).items()}
        words = {number: word for word, number in numbers.items()}
        return numbers.__getitem__, words.__getitem__
    return _as_it_is, _as_it_is


def _as_it_is(content: Any) -> Any:
    return content


def _words(enum: EnumDescriptor) -> Mapping[str, int]:
    """Return the enum's words, without what they have in common and without the one that means "not said"."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {value.name.removeprefix(prefix).lower(): value.number for value in enum.values if value.number}


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _bare(hint: Any) -> Any:
    """Return the type without its None, and what a NewType stands for."""
    if get_origin(hint) in {Union, UnionType}:
        hint = next(part for part in get_args(hint) if part is not type(None))
    return getattr(hint, "__supertype__", hint)


def _inner(hint: Any) -> Any:
    """Return what a tuple holds."""
    return _bare(get_args(hint)[0])


_BY_HAND: Final[Mapping[Any, tuple[_Write, _Read]]] = {
    Failure: (lambda inside, content: inside.CopyFrom(failure_message(content)), _as_it_is),
    Totals: (lambda inside, content: inside.CopyFrom(totals_message(content)), _as_it_is),
    Parameters: (_fill_inside, parameters_of),
}
"""What is only ever written (failures, sums), and what has a reader already."""
