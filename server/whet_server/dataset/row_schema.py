"""A user's JSON Schema for rows."""

from collections.abc import Iterable
from typing import Final

from whet_server.dataset.reading import Line
from whet_server.dataset.wrong import MOST, Wrong
from whet_server.errors import InvalidField
from whet_server.schemas import Endless, check_schema, problems

_FIELD: Final = "row_schema"


def check_rows(lines: Iterable[Line], text: str) -> None:
    """Raise `InvalidField` with every line that the row schema refuses, or for a schema that is none."""
    wrong = Wrong()
    try:
        check_schema(text)
        for line in lines:
            for error in problems(line.fields, text, most=MOST):
                place = f": column {error.absolute_path[0]}" if error.absolute_path else ""
                wrong.add(f"{line.where}{place}", error.message[:200])
    except (ValueError, Endless) as error:
        raise InvalidField((_FIELD, str(error))) from None
    wrong.tell()
