"""Answers in lines: tables, `name: value` lines, and messages that are read as one word."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from whet.v1 import judging_pb2, model_pb2, value_pb2
from whet_agent.plain import descriptor_of, short_enum_name
from whet_agent.results import estimate
from whet_tui.entries import dollars, money_line
from whet_tui.lanes import money_of
from whet_tui.safe import safe, safe_line

_CELL: Final = 60
"""Characters of a cell: wider ones wrap in a terminal and the table is lost."""
_WORD: Final = 300
"""Characters of a cell that is one word: an id, a model's name or a URL is there to be copied whole."""

Row = Sequence[str]


def table(headers: Row, rows: Sequence[Row], empty: str) -> Iterator[str]:
    """Yield a table whose columns are as wide as they must be; `empty` when there are no rows."""
    if not rows:
        yield empty
        return
    cells: list[list[str]] = [list(headers)]
    cells += [[safe_line(cell, _CELL if " " in cell else _WORD) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def details(message: Message, indent: str) -> Iterator[str]:
    """A message as `name: value` lines; what is empty is left out, but for yes and no."""
    for field in descriptor_of(message).fields:
        value = getattr(message, field.name)
        label = f"{indent}{field.name.replace('_', ' ')}"
        if field.is_repeated:
            for item in value if not hasattr(value, "items") else [f"{key}={value[key]}" for key in value]:
                yield from _detail(label, item, field, indent)
        elif field.has_presence:
            if message.HasField(field.name):
                yield from _detail(label, value, field, indent)
        elif value or isinstance(value, bool):
            yield from _detail(label, value, field, indent)


def _detail(label: str, value: Any, field: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Message) and (word := _word(value)) is None:
        if inside := list(details(value, indent + "  ")):
            yield f"{label}:"
            yield from inside
    elif isinstance(value, Message):
        yield f"{label}: {word}"
    elif field.enum_type is not None:
        yield f"{label}: {short_enum_name(field.enum_type, value)}"
    elif isinstance(value, bytes):
        yield f"{label}: {value.hex()}"
    elif isinstance(value, bool):
        yield f"{label}: {'yes' if value else 'no'}"
    else:
        yield f"{label}: {safe(str(value))}"


def _word(message: Message) -> str | None:
    """A message that is read as one word; None for any other."""
    word = _WORDS.get(type(message))
    return None if word is None else word(message)


def _duration(duration: Duration) -> str:
    return f"{duration.ToNanoseconds() / 1e9:g} s"


def totals_word(totals: value_pb2.Totals) -> str:
    return money_line(money_of(totals))


def tokens_word(usage: value_pb2.Usage) -> str:
    about = "~" if usage.estimated else ""
    return f"{about}{usage.input_tokens}+{usage.output_tokens} tokens"


def price_word(price: model_pb2.Price) -> str:
    return f"{dollars(price.input_nanos_per_million)} in, {dollars(price.output_nanos_per_million)} out"


def time_word(stamp: Timestamp) -> str:
    return stamp.ToJsonString()[:19].replace("T", " ") if stamp.seconds else ""


def enum_word(message: Message, name: str) -> str:
    field = descriptor_of(message).fields_by_name[name]
    return short_enum_name(field.enum_type, getattr(message, name)) if field.enum_type is not None else ""


def more(answer: Any) -> Iterator[str]:
    """Say how the next page of a list is asked for, if there is one."""
    if answer.next_page_token:
        yield f"More: --page-token {answer.next_page_token}"


_WORDS: Final[Mapping[type[Message], Callable[[Any], str]]] = {
    value_pb2.Money: lambda money: dollars(money.nanos),
    value_pb2.Totals: totals_word,
    value_pb2.Usage: tokens_word,
    judging_pb2.Estimate: estimate,
    model_pb2.Price: price_word,
    Timestamp: time_word,
    Duration: _duration,
}
"""Messages that are read as one word."""
