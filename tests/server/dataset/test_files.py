"""Files in and out: every value is kept, and what is wrong is told with its line."""

import io
from typing import Any

import msgspec
import pytest
from arro3.core import Array, DataType, Field, Schema, Table
from arro3.io import write_parquet
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.dataset.conftest import jsonl

from whet_server.dataset.columns import check_values, inferred
from whet_server.dataset.parquet import as_json_lines
from whet_server.dataset.reading import Line, read_csv, read_jsonl
from whet_server.dataset.spec import ColumnType, DataFormat, Dataset, Readable, Row, Split
from whet_server.dataset.writing import write
from whet_server.errors import InvalidField, TooLarge

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
INTEGER = st.integers(-(2**63), 2**63 - 1)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | INTEGER | TEXT | NUMBER,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "text, with a comma": TEXT,
    "whole": INTEGER,
    "number": NUMBER,
    "flag": st.booleans(),
    "any": st.lists(JSON, max_size=3) | st.dictionaries(TEXT, JSON, max_size=3),
}
ROWS = st.lists(
    st.fixed_dictionaries(COLUMNS, optional={"maybe": TEXT}).filter(lambda row: row), min_size=1, max_size=8
)


def readable(rows: list[dict[str, Any]]) -> Readable:
    columns = inferred([Line("", row) for row in rows])
    return Readable(
        dataset=Dataset(name="x", version=1, columns=columns, rows=len(rows)),
        rows=tuple(
            Row(row_id=str(at), number=at, split=Split.TRAIN, json=msgspec.json.encode(row).decode())
            for at, row in enumerate(rows)
        ),
        sealed_rows=0,
    )


def bare(lines: list[Line]) -> list[dict[str, Any]]:
    return [line.fields for line in lines]


@given(rows=ROWS)
@settings(max_examples=25, deadline=None)
def test_json_lines_and_csv_keep_every_value(rows: list[dict[str, Any]]) -> None:
    made = readable(rows)
    types = {column.name: column.type for column in made.dataset.columns}
    assert bare(read_jsonl(write(made, DataFormat.JSONL))) == rows
    assert bare(read_csv(write(made, DataFormat.CSV), types)) == rows


@given(cells=st.lists(st.text(st.sampled_from('0123456789.-+eE truefalsnx_[]{}"'), min_size=1), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_csv_column_without_a_known_type_loses_nothing(cells: list[str]) -> None:
    made = readable([{"a": cell} for cell in cells])
    read = bare(read_csv(write(made, DataFormat.CSV), {}))
    again = bare(read_csv(write(readable(read), DataFormat.CSV), {}))
    assert again == read
    kinds = {type(row["a"]) for row in read}
    if kinds == {int}:
        assert [str(row["a"]) for row in read] == cells
    if kinds == {float}:
        assert [row["a"] for row in read] == [float(cell) for cell in cells]


async def test_parquet_keeps_every_value() -> None:
    rows = [
        {"text": 'ä\n"x",', "whole": 2**63 - 1, "number": 0.1, "flag": True, "any": {"a": [1, None, "b"]}},
        {"text": "", "whole": -(2**63), "number": -1e300, "flag": False, "any": [], "maybe": "x"},
    ]
    assert bare(read_jsonl(await as_json_lines(write(readable(rows), DataFormat.PARQUET)))) == rows


@pytest.mark.parametrize(
    ("data", "where", "what"),
    [
        (b'{"a":1}\n{"a":', "line 2", "This is no JSON"),
        (b'{"a":1}\n\n[1]\n', "line 3", "Give a JSON object."),
        (b'{"a":NaN}\n', "line 1", "NaN is no JSON number"),
        (b'{"a":1}\n{"a":1,"a":2}\n', "line 2", "the name 'a' occurs twice"),
        (b'{"a":1}\n{"b":"\xff"}\n', "line 2", "This is not UTF-8 (byte 0xff)."),
        (b'{"a":1}\n\0\n', "line 2", "NUL byte"),
        ("﻿{}".encode("utf-16"), "line 1", "UTF-16"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "line 1", "nested too deeply"),
    ],
)
def test_what_is_wrong_with_json_lines_is_told_with_the_line(data: bytes, where: str, what: str) -> None:
    with pytest.raises(InvalidField) as caught:
        read_jsonl(data)
    assert caught.value.violations[0][0] == where
    assert what in caught.value.violations[0][1]


@pytest.mark.parametrize(
    ("data", "where", "what"),
    [
        (b"a,b\n1,2\n3\n4,5,6\n", "line 3", "There are 1 cells, and the header has 2."),
        (b'a,b\n1,"2\n3\n', "line 2", "This is no CSV"),
        (b'a,b\n1,"x\ny"\n3\n', "line 4", "There are 1 cells"),
        (b"a,a\n1,2\n", "line 1: column a", "stands twice"),
        (b"a,\n1,2\n", "line 1", "A column has no name."),
        (b"a\n\xe4\n", "line 2", "This is not UTF-8"),
    ],
)
def test_what_is_wrong_with_csv_is_told_with_the_line(data: bytes, where: str, what: str) -> None:
    with pytest.raises(InvalidField) as caught:
        read_csv(data, {})
    assert caught.value.violations[0][0] == where
    assert what in caught.value.violations[0][1]


def test_a_csv_cell_that_does_not_fit_the_known_type_is_named() -> None:
    with pytest.raises(InvalidField) as caught:
        read_csv(b"age\n5\nfive\n", {"age": ColumnType.INTEGER})
    assert caught.value.violations == (("line 3: column age", "'five' is no integer."),)


def test_csv_types_are_what_all_cells_of_a_column_are() -> None:
    data = b"\xef\xbb\xbfid,age,rate,ok,tags,mixed\n007,5,0.5,true,[1],1\n008,,1,false,{},x\n"
    assert bare(read_csv(data, {})) == [
        {"id": "007", "age": 5, "rate": 0.5, "ok": True, "tags": [1], "mixed": "1"},
        {"id": "008", "rate": 1.0, "ok": False, "tags": {}, "mixed": "x"},
    ]


@pytest.mark.parametrize(
    ("value", "what"),
    [(2**63, "64 bits"), (1e400, "finite"), ("\ud800", "surrogate"), ([[1e400]], "finite"), ({"a": 2**70}, "64 bits")],
)
def test_values_that_no_format_keeps_are_named(value: object, what: str) -> None:
    with pytest.raises(InvalidField) as caught:
        check_values([Line("line 7", {"a": value})])
    assert caught.value.violations[0][0] == "line 7: column a"
    assert what in caught.value.violations[0][1]


def test_a_value_of_another_type_than_those_before_is_named() -> None:
    lines = read_jsonl(jsonl([{"a": 1, "b": None}, {"a": 2.5, "b": "x"}, {"a": "x", "b": 1}]))
    with pytest.raises(InvalidField) as caught:
        inferred(lines)
    assert caught.value.violations == (
        ("line 3: column a", "This is a text; before it was a number."),
        ("line 3: column b", "This is a whole number; before it was a text."),
    )


def parquet_of(name: str, values: list[Any], kind: DataType, **options: Any) -> bytes:
    file = io.BytesIO()
    array = Array(values, kind)
    write_parquet(Table.from_arrays([array], schema=Schema([Field(name, kind, nullable=True)])), file, **options)
    return file.getvalue()


async def refused(data: bytes) -> tuple[str, str]:
    with pytest.raises(InvalidField) as caught:
        await as_json_lines(data)
    return caught.value.violations[0]


async def test_a_parquet_file_that_is_torn_or_none_is_told() -> None:
    whole = parquet_of("a", ["x"] * 100, DataType.utf8())
    for data in (b"", b"PAR1xxxxPAR1", whole[: len(whole) // 2], b"\0" * 100):
        assert (await refused(data))[1].startswith("This cannot be read as Parquet")


async def test_a_number_that_is_none_is_told_with_its_row() -> None:
    data = parquet_of("rate", [0.5, None, float("nan")], DataType.float64())
    assert await refused(data) == ("row 3: column rate", "nan is no JSON number; leave the cell empty")


async def test_bytes_are_not_kept() -> None:
    where, what = await refused(parquet_of("blob", [b"x"], DataType.binary()))
    assert (where, "Binary" in what) == ("column blob", True)


async def test_a_parquet_file_that_unfolds_to_gigabytes_is_too_large() -> None:
    bomb = parquet_of("a", ["x" * 1_000_000] * 300, DataType.utf8(), compression="zstd(3)")
    assert len(bomb) < 100_000
    with pytest.raises(TooLarge):
        await as_json_lines(bomb)
