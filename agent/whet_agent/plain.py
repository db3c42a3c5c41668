"""Messages as JSON-ready data, the way people and models read them."""

import re
from typing import Any, Final, cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from whet_agent.json_object import JsonObject

_NANOS: Final = 1_000_000_000


def to_plain(message: Message) -> JsonObject:
    """Return a message as JSON-ready data: snake_case names, short enum names in lower case, bytes in hexadecimal.

    Durations are seconds, times RFC 3339, integers stay integers. A field that can be unset is left out while it is
    unset; every other field is always there, so that a script may rely on it.
    """
    plain = {}
    for field in descriptor_of(message).fields:
        if not field.has_presence or message.HasField(field.name):
            plain[field.name] = _plain_field(field, getattr(message, field.name))
    return plain


def short_enum_name(enum: EnumDescriptor, number: int) -> str:
    """Return `draft` for SYNTHESIS_MODE_DRAFT; a number that this version of the contract lacks stays a number."""
    value = enum.values_by_number.get(number)
    return str(number) if value is None else value.name.removeprefix(enum_prefix(enum)).lower()


def enum_prefix(enum: EnumDescriptor) -> str:
    """Return what all names of an enum begin with: `SYNTHESIS_MODE_` for SynthesisMode."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper() + "_"


def descriptor_of(message: Message | type[Message]) -> Descriptor:
    """Return the message's descriptor under the one type that its two implementations share."""
    return cast("Descriptor", message.DESCRIPTOR)


def map_value(field: FieldDescriptor) -> FieldDescriptor | None:
    """Return the field of a map's values; None for a field that is no map."""
    entry = field.message_type
    return entry.fields_by_name["value"] if entry is not None and entry.GetOptions().map_entry else None


def _plain_field(field: FieldDescriptor, value: Any) -> object:
    if (entry := map_value(field)) is not None:
        return {str(key): _plain_value(entry, item) for key, item in value.items()}
    if field.is_repeated:
        return [_plain_value(field, item) for item in value]
    return _plain_value(field, value)


def _plain_value(field: FieldDescriptor, value: Any) -> object:
    if isinstance(value, Duration):
        return (value.seconds * _NANOS + value.nanos) / _NANOS
    if isinstance(value, Timestamp):
        return value.ToJsonString()
    if isinstance(value, Message):
        return to_plain(value)
    if field.enum_type is not None:
        return short_enum_name(field.enum_type, value)
    return value.hex() if isinstance(value, bytes) else value
