"""What a sealed row is known by. Values are short here: only the rule of each test can hold a row."""

from collections.abc import Sequence
from typing import Any

import pytest

from whet_server.dataset.seal import Holdout, Seals, canonical, holdout_of, row_digest
from whet_server.dataset.spec import Column, ColumnType, Dataset, Split, SplitPolicy

TRAIN, HOLDOUT = Split.TRAIN, Split.HOLDOUT


def holdout(
    sealed: list[dict[str, Any]],
    readable: Sequence[dict[str, Any]] = (),
    *,
    version: int = 1,
    key: str = "",
    group: str = "",
) -> Holdout:
    names = {name for row in [*sealed, *readable] for name in row}
    dataset = Dataset(
        name="set",
        version=version,
        key=key,
        policy=SplitPolicy(group=group),
        columns=tuple(Column(name=name, type=ColumnType.STRING) for name in names),
    )
    rows = [
        (row_digest(row), row, split, False) for split, all_ in ((HOLDOUT, sealed), (TRAIN, readable)) for row in all_
    ]
    return holdout_of(dataset, rows)


def held(seals: Seals, row: dict[str, Any]) -> bool:
    return seals.holds(row_digest(row), row)


SEALED = {"id": 1, "q": "2+2", "a": "4", "topic": "sums"}


@pytest.mark.parametrize(
    "row",
    [
        SEALED,
        {"a": "4", "id": 1.0, "topic": "sums", "q": "2+2"},
        SEALED | {"extra": None},
        SEALED | {"extra": "one column more"},
        {"id": 1, "q": "other", "a": "words"},
        {"id": 9, "q": "other", "a": "words", "topic": "sums"},
    ],
    ids=["itself", "spelled otherwise", "a null more", "a column more", "its key", "its group"],
)
def test_a_row_is_known_again(row: dict[str, Any]) -> None:
    assert held(Seals([holdout([SEALED], key="id", group="topic")], set()), row)


def test_a_long_text_is_known_in_every_column_without_case_and_spaces() -> None:
    seals = Seals([holdout([{"q": "Why is the sky blue in the evening?"}])], set())
    assert held(seals, {"other": " WHY is the sky  blue in the evening? ", "x": 1})
    assert not held(seals, {"other": "Why is the sky red in the evening?"})


def test_what_a_readable_row_says_too_holds_nobody() -> None:
    shared = "a text that many rows have in common"
    seals = Seals([holdout([{"q": shared, "n": 1}], [{"q": shared, "n": 2}])], set())
    assert not held(seals, {"q": shared, "n": 2})
    assert held(seals, {"q": shared, "n": 1})


def test_a_row_is_let_go_when_it_has_been_shown_and_its_neighbours_are_not() -> None:
    other = {"id": 2, "q": "3+3", "a": "6", "topic": "sums"}
    first, second = holdout([SEALED], key="id"), holdout([SEALED, other], version=2, key="id")
    seals = Seals([first, second], {1})
    assert not held(seals, SEALED)
    assert seals.seen(row_digest(SEALED))
    assert held(seals, other)


def test_any_version_that_ever_was_holds_a_row() -> None:
    seals = Seals([holdout([SEALED]), holdout([{"id": 5}], version=2)], set())
    assert held(seals, SEALED)
    assert held(seals, {"id": 5})


def test_one_is_one_however_it_is_written() -> None:
    assert canonical({"a": [1.0, 2.5], "b": 1}) == canonical({"b": 1.0, "a": [1, 2.5]})
    assert row_digest({"a": True}) != row_digest({"a": 1})
