"""Rows as items: which column is the input, which are the answers."""

from typing import Any, Final

import msgspec

from whet_server.dataset.spec import DatasetRef, Readable, Row, Selection
from whet_server.errors import InvalidField
from whet_server.judging import Item
from whet_server.values import ModelName, Value

_INPUT: Final = "input"
_OUTPUT: Final = "output"
_REFERENCE: Final = "reference"
_WRITER: Final = "model"


class Roles(Value):
    """The columns that mean something; empty where there is none."""

    input: str
    candidates: tuple[str, ...]
    reference: str
    writer: str


def items_of(given: Readable, ref: DatasetRef, *, answered: bool = True) -> Selection:
    """Return the rows as items. `answered`: a row holds an answer, in `output` unless the reference names columns.
    Raises `InvalidField` for columns that are not there, with those that are.
    """
    roles = _roles(ref, [column.name for column in given.dataset.columns], (_OUTPUT,) if answered else ())
    return Selection(
        items=tuple(_item(row, roles) for row in given.rows),
        name=given.dataset.name,
        version=given.dataset.version,
        split=ref.split,
        sealed_rows=given.sealed_rows,
    )


def _roles(ref: DatasetRef, there: list[str], candidates: tuple[str, ...]) -> Roles:
    roles = Roles(
        input=ref.input or _INPUT,
        candidates=ref.candidates or candidates,
        reference=ref.reference or (_REFERENCE if _REFERENCE in there else ""),
        writer=ref.writer or (_WRITER if _WRITER in there else ""),
    )
    named = [
        ("input", roles.input),
        *((f"candidates[{at}]", name) for at, name in enumerate(roles.candidates)),
        ("reference", roles.reference),
        ("writer", roles.writer),
    ]
    what = f"There are: {', '.join(there)}."
    wrong = [
        (f"dataset.{field}", f"There is no column {name!r}. {what}")
        for field, name in named
        if name and name not in there
    ]
    if wrong:
        raise InvalidField(*wrong)
    return roles


def _item(row: Row, roles: Roles) -> Item:
    fields: dict[str, Any] = msgspec.json.decode(row.json)
    texts = {name: _text(value) for name, value in fields.items() if value is not None}
    taken = {roles.input, roles.reference, roles.writer, *roles.candidates}
    writer = ModelName(texts.get(roles.writer, ""))
    return Item(
        item_id=row.row_id,
        input=texts.get(roles.input, ""),
        candidates=tuple(texts.get(name, "") for name in roles.candidates),
        reference=texts.get(roles.reference, ""),
        writers=(writer,) * len(roles.candidates) if writer else (),
        fields={name: text for name, text in texts.items() if name not in taken},
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
