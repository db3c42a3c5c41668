"""Arguments, as a model or a person gives them, into the fields of a request message."""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeGuard

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from whet_agent.json_object import JsonView
from whet_agent.plain import descriptor_of, enum_prefix, map_value
from whet_agent.schema import enum_names

_NANOS: Final = 1_000_000_000
_UNITS: Final = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_INT64: Final = 2**63
_DURATION_SECONDS: Final = 315_576_000_000
"""The longest duration that the well-known type can carry: ten thousand years."""


class BadArguments(ValueError):
    """Arguments that do not fit the request message. `str()` names the field and says what to do."""


def fill(message: Message, arguments: JsonView, path: str = "") -> None:
    """Set the fields that `arguments` names; None leaves a field unset. Raises `BadArguments`."""
    fields = {field.name: field for field in descriptor_of(message).fields}
    for name, value in arguments.items():
        field = fields.get(name)
        where = f"{path}.{name}" if path else name
        if field is None:
            raise BadArguments(f"{where}: there is no such field. {_there_are(fields)}")
        if value is not None:
            _set(message, field, value, where)


def _there_are(fields: Mapping[str, FieldDescriptor]) -> str:
    holders = [name for name, field in fields.items() if name == "spec" and field.message_type is not None]
    inside = f" Fields of the work itself stand inside {holders[0]}." if holders else ""
    return f"There are: {', '.join(fields)}.{inside}" if fields else "This call takes none."


def _set(message: Message, field: FieldDescriptor, value: object, where: str) -> None:
    if (entry := map_value(field)) is not None:
        _set_map(getattr(message, field.name), entry, value, where)
    elif field.is_repeated:
        if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__iter__"):
            raise BadArguments(f"{where}: give a list, not {_shown(value)}.")
        items = getattr(message, field.name)
        for index, item in enumerate(value):
            if field.message_type is not None:
                _set_message(items.add(), item, f"{where}[{index}]")
            else:
                items.append(_scalar(field, item, f"{where}[{index}]"))
    elif field.message_type is not None:
        child = getattr(message, field.name)
        child.SetInParent()
        _set_message(child, value, where)
    else:
        setattr(message, field.name, _scalar(field, value, where))


def _set_map(entries: Any, entry: FieldDescriptor, value: object, where: str) -> None:
    if not isinstance(value, Mapping):
        raise BadArguments(f"{where}: give an object, not {_shown(value)}.")
    for key, item in value.items():
        if entry.message_type is not None:
            _set_message(entries[key], item, f"{where}.{key}")
        else:
            entries[key] = _scalar(entry, item, f"{where}.{key}")


def _set_message(message: Message, value: object, where: str) -> None:
    match message.DESCRIPTOR.full_name:
        case "google.protobuf.Duration":
            nanos = round(_seconds(value, where) * _NANOS)
            fill(message, {"seconds": int(nanos / _NANOS), "nanos": int(math.fmod(nanos, _NANOS))})
        case "google.protobuf.Timestamp":
            time = _time(value, where)
            fill(message, {"seconds": int(time.timestamp()), "nanos": time.microsecond * 1000})
        case "whet.v1.Money":
            fill(message, {"nanos": _money(value, where)})
        case _ if isinstance(value, Mapping):
            fill(message, value, where)
        case _:
            raise BadArguments(
                f"{where}: give an object with {', '.join(message.DESCRIPTOR.fields_by_name)}, not {_shown(value)}."
            )


def _scalar(field: FieldDescriptor, value: object, where: str) -> Any:
    if field.enum_type is not None:
        return _enum(field.enum_type, value, where)
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_BOOL:
            if isinstance(value, bool):
                return value
            raise BadArguments(f"{where}: give true or false, not {_shown(value)}.")
        case FieldDescriptor.CPPTYPE_STRING:
            return _text(field, value, where)
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            if isinstance(value, int | float) and not isinstance(value, bool):
                return float(value)
            raise BadArguments(f"{where}: give a number, not {_shown(value)}.")
        case _:
            return _integer(field, value, where)


def _text(field: FieldDescriptor, value: object, where: str) -> str | bytes:
    if not isinstance(value, str):
        raise BadArguments(f"{where}: give text, not {_shown(value)}.")
    if field.type == FieldDescriptor.TYPE_BYTES:
        try:
            return bytes.fromhex(value)
        except ValueError:
            raise BadArguments(f"{where}: give hexadecimal digits, not {_shown(value)}.") from None
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadArguments(f"{where}: the text holds half of a surrogate pair, which is no character.") from None
    return value


def _integer(field: FieldDescriptor, value: object, where: str) -> int:
    wide = field.cpp_type in {FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64}
    if (isinstance(value, float) and value.is_integer()) or (wide and _is_wide_text(value)):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadArguments(f"{where}: give a whole number, not {_shown(value)}.")
    limit = _INT64 if wide else 2**31
    if not -limit <= value < limit:
        raise BadArguments(f"{where}: {value} does not fit {64 if wide else 32} bits.")
    return value


def _is_wide_text(value: object) -> TypeGuard[str]:
    """Whether it is a number as protobuf's own JSON writes one of 64 bits: approvals show arguments that way."""
    return isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value, re.ASCII) is not None


def _enum(enum: EnumDescriptor, value: object, where: str) -> int:
    if isinstance(value, str):
        name = value.strip().upper().replace("-", "_")
        found = enum.values_by_name.get(name) or enum.values_by_name.get(enum_prefix(enum) + name)
        if found is not None:
            return found.number
    raise BadArguments(f"{where}: give one of {', '.join(enum_names(enum))}, not {_shown(value)}.")


def _seconds(value: object, where: str) -> float:
    wanted = f"{where}: give seconds, such as 1.5 or 250ms, 30s, 10m, 2h, not {_shown(value)}."
    if isinstance(value, str):
        parts = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)?\s*", value)
        if parts is None:
            raise BadArguments(wanted)
        value = float(parts[1]) * _UNITS[parts[2] or "s"]
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= _DURATION_SECONDS:
        raise BadArguments(wanted)
    return value


def _time(value: object, where: str) -> datetime:
    if isinstance(value, str):
        try:
            time = datetime.fromisoformat(value.strip())
        except ValueError:
            pass
        else:
            return time if time.tzinfo else time.replace(tzinfo=UTC)
    raise BadArguments(f"{where}: give a time such as 2026-01-31T12:00:00Z or 2026-01-31, not {_shown(value)}.")


def _money(value: object, where: str) -> int:
    """Plain numbers are refused: 500000000 may mean nanos or dollars, and a wrong guess is a cap that caps nothing."""
    inside = value["nanos"] if isinstance(value, Mapping) and set(value) == {"nanos"} else None
    if type(inside) is int or _is_wide_text(inside):
        nanos = Decimal(inside)
    else:
        text = value.strip().removeprefix("$") if isinstance(value, str) else ""
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) is None:
            raise BadArguments(f"{where}: give dollars as text, such as $0.50, not {_shown(value)}.")
        try:
            nanos = Decimal(text) * _NANOS
        except InvalidOperation:
            nanos = Decimal(_INT64)
    if abs(nanos) >= _INT64:
        raise BadArguments(f"{where}: {_shown(value)} is more money than there is.")
    if nanos != nanos.to_integral_value():
        raise BadArguments(f"{where}: {_shown(value)} is finer than a billionth of a dollar.")
    return int(nanos)


def _shown(value: object) -> str:
    """The value as the caller wrote it, cut to what fits a line."""
    text = json.dumps(value, default=lambda other: type(other).__name__, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
