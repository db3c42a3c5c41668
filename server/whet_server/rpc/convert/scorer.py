"""Scorers: which one is meant, what there is, and verdicts as messages."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from whet.v1 import options_pb2, scorer_pb2
from whet_server.errors import InvalidField
from whet_server.judging import Item
from whet_server.rpc.convert.mirror import message_of, value_of
from whet_server.score.kinds import ScorerInfo
from whet_server.score.names import named
from whet_server.score.remote import Offer, Task
from whet_server.score.scorers import Criterion
from whet_server.score.spec import Scorer, kind_of, name_of

_KINDS: Final[Mapping[str, Any]] = {kind_of(kind): kind for kind in get_args(Scorer)}
MAX_NAME: Final = 100
"""Characters of a criterion's name."""


def scorer_of(message: scorer_pb2.Scorer) -> Scorer:
    """Unpack a scorer. Raises `InvalidField`, with a path that begins at the message, when it does not say which."""
    kind = message.WhichOneof("kind")
    if kind is None:
        raise InvalidField(("kind", f"Say which scorer: {', '.join(_KINDS)}."))
    made: Scorer = value_of(getattr(message, kind), _KINDS[kind])
    return made


def items_of(messages: Any) -> tuple[Item, ...]:
    """Unpack items; one without an id is called by its number."""
    items = (value_of(message, Item) for message in messages)
    return tuple(
        item if item.item_id else msgspec.structs.replace(item, item_id=str(number))
        for number, item in enumerate(items, start=1)
    )


def criteria_of(request: scorer_pb2.ScoreItemsRequest) -> tuple[Criterion, ...]:
    """Unpack the scorers of a request, those by name first. Raises `InvalidField`."""
    found: list[Criterion] = []
    for place, text in enumerate(request.scorers):
        path = f"scorers[{place}]"
        try:
            found.append(Criterion(name=text[:MAX_NAME], scorer=named(text), path=path))
        except ValueError as error:
            raise InvalidField((path, str(error))) from None
    for place, message in enumerate(request.detailed):
        path = f"detailed[{place}]"
        try:
            scorer = scorer_of(message)
        except InvalidField as error:
            raise InvalidField(*((f"{path}.{field}", what) for field, what in error.violations)) from None
        found.append(Criterion(name=name_of(scorer), scorer=scorer, path=path))
    if not found:
        raise InvalidField(("scorers", "Name at least one scorer, such as exact or overlap:rouge_l."))
    return _told_apart(found)


def info_message(info: ScorerInfo) -> scorer_pb2.ScorerInfo:
    """Return a scorer as lists show it, with the JSON Schema of its settings."""
    message = message_of(info, scorer_pb2.ScorerInfo)
    kind = scorer_pb2.Scorer.DESCRIPTOR.fields_by_name.get(info.name.partition(":")[0])
    if kind is not None and kind.message_type is not None and not info.name.startswith("remote:"):
        message.settings_schema = msgspec.json.encode(_schema(kind.message_type)).decode()
    return message


def offer_of(message: scorer_pb2.ScorerOffer) -> Offer:
    return value_of(message, Offer)


def task_message(task: Task | None) -> scorer_pb2.ServeScorerResponse:
    """Return a task, or a heartbeat for None."""
    return scorer_pb2.ServeScorerResponse() if task is None else message_of(task, scorer_pb2.ServeScorerResponse)


def _told_apart(criteria: list[Criterion]) -> tuple[Criterion, ...]:
    """Number criteria of one name, so that their verdicts can be told apart."""
    seen: dict[str, int] = {}
    made = []
    for criterion in criteria:
        count = seen[criterion.name] = seen.get(criterion.name, 0) + 1
        name = criterion.name if count == 1 else f"{criterion.name} ({count})"
        made.append(msgspec.structs.replace(criterion, name=name))
    return tuple(made)


def _schema(descriptor: Descriptor) -> dict[str, Any]:
    """Return what a message accepts as a JSON Schema: its fields with the bounds of their rules."""
    properties = {field.name: _field_schema(field) for field in descriptor.fields}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _field_schema(field: FieldDescriptor) -> dict[str, Any]:
    rule = field.GetOptions().Extensions[options_pb2.rule]
    made = dict(_bounds(field, rule))
    if field.enum_type is not None:
        prefix = field.enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED")
        words = [value.name.removeprefix(prefix).lower() for value in field.enum_type.values if value.number]
        made = {"type": "string", "enum": words}
    elif field.message_type is not None:
        made = _WRITTEN.get(field.message_type.full_name) or _schema(field.message_type)
    if field.is_repeated:
        made = {"type": "array", "items": made} | ({"maxItems": rule.max_items} if rule.max_items else {})
    return made | ({"description": rule.description} if rule.description else {})


def _bounds(field: FieldDescriptor, rule: options_pb2.Rule) -> Iterator[tuple[str, Any]]:
    yield "type", _TYPES[field.cpp_type]
    if rule.HasField("min"):
        yield "minimum", rule.min
    if rule.HasField("max"):
        yield "maximum", rule.max
    if rule.HasField("max_length"):
        yield "maxLength", rule.max_length


_TYPES: Final[Mapping[int, str]] = {
    FieldDescriptor.CPPTYPE_STRING: "string",
    FieldDescriptor.CPPTYPE_BOOL: "boolean",
    FieldDescriptor.CPPTYPE_INT32: "integer",
    FieldDescriptor.CPPTYPE_DOUBLE: "number",
    FieldDescriptor.CPPTYPE_ENUM: "string",
    FieldDescriptor.CPPTYPE_MESSAGE: "object",
}
_WRITTEN: Final[Mapping[str, dict[str, Any]]] = {
    "google.protobuf.Duration": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?s$"},
    "whet.v1.Money": {"type": "object", "properties": {"nanos": {"type": "string", "pattern": "^[0-9]+$"}}},
}
"""As protobuf writes them in JSON."""
