"""JSON Schemas of request messages, made from their descriptors and the contract's `rule` options."""

from typing import Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from whet.v1 import options_pb2
from whet_agent.json_object import JsonObject
from whet_agent.plain import enum_prefix, map_value

_INTEGERS: Final = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    }
)
_MILLISECONDS: Final = 1000
"""Rules bound durations in milliseconds, arguments give seconds."""


def rule_of(field: FieldDescriptor) -> options_pb2.Rule:
    """Return what the field accepts; an empty rule where the contract has none."""
    return field.GetOptions().Extensions[options_pb2.rule]


def schema_of(message: Descriptor, *, without: frozenset[str] = frozenset()) -> JsonObject:
    """Return the JSON Schema of the message's fields, without those named."""
    fields = [field for field in message.fields if field.name not in without]
    schema: JsonObject = {
        "type": "object",
        "properties": {field.name: _field_schema(field) for field in fields},
        "additionalProperties": False,
    }
    if required := [field.name for field in fields if rule_of(field).required]:
        schema["required"] = required
    return schema


def enum_names(enum: EnumDescriptor) -> list[str]:
    """Return the short names that a caller may give: all but the one that means "not said"."""
    return [value.name.removeprefix(enum_prefix(enum)).lower() for value in enum.values if value.number]


def _field_schema(field: FieldDescriptor) -> JsonObject:
    rule = rule_of(field)
    if (entry := map_value(field)) is not None:
        schema: JsonObject = {
            "type": "object",
            "additionalProperties": _value_schema(entry, rule),
        }
    elif field.is_repeated:
        schema = {"type": "array", "items": _value_schema(field, rule)}
        if rule.HasField("max_items"):
            schema["maxItems"] = rule.max_items
    else:
        schema = _value_schema(field, rule)
    if rule.description:
        unit = schema.get("description", "")
        schema["description"] = f"{rule.description} {unit}".rstrip()
    return schema


def _value_schema(field: FieldDescriptor, rule: options_pb2.Rule) -> JsonObject:
    if field.message_type is not None:
        return _message_schema(field.message_type, rule)
    if field.enum_type is not None:
        return {"type": "string", "enum": enum_names(field.enum_type)}
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return {"type": "boolean"}
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _string_schema(field, rule)
    kind = "integer" if field.cpp_type in _INTEGERS else "number"
    return {"type": kind} | _bounds(rule, 1)


def _message_schema(message: Descriptor, rule: options_pb2.Rule) -> JsonObject:
    match message.full_name:
        case "google.protobuf.Duration":
            return {"type": "number", "description": "In seconds."} | _bounds(rule, _MILLISECONDS)
        case "google.protobuf.Timestamp":
            return {
                "type": "string",
                "format": "date-time",
                "description": "As RFC 3339, such as 2026-01-31T00:00:00Z.",
            }
        case "whet.v1.Money":
            return {
                "type": "string",
                "description": "Dollars as text, such as $0.50.",
                "pattern": r"^\$?[0-9]+(\.[0-9]{1,9})?$",
            }
        case _:
            return schema_of(message)


def _string_schema(field: FieldDescriptor, rule: options_pb2.Rule) -> JsonObject:
    schema: JsonObject = {"type": "string"}
    if field.type == FieldDescriptor.TYPE_BYTES:
        return schema | {"pattern": "^([0-9a-f]{2})*$", "description": "In hexadecimal."}
    if rule.required or rule.HasField("min_length"):
        schema["minLength"] = max(rule.min_length, 1 if rule.required else 0)
    if rule.HasField("max_length"):
        schema["maxLength"] = rule.max_length
    if rule.pattern:
        schema["pattern"] = f"^(?:{rule.pattern})$"
    return schema


def _bounds(rule: options_pb2.Rule, scale: int) -> JsonObject:
    bounds = {}
    if rule.HasField("min"):
        bounds["minimum"] = _whole(rule.min / scale)
    if rule.HasField("max"):
        bounds["maximum"] = _whole(rule.max / scale)
    return bounds


def _whole(number: float) -> float:
    return int(number) if number.is_integer() else number
