import asyncio
import json

import pytest
from msgspec.structs import replace
from tests.server.dataset.conftest import HERE, PERSON, datasets_over, jsonl, some

from whet_server.dataset.datasets import Datasets
from whet_server.dataset.spec import (
    Column,
    ColumnType,
    DataFormat,
    Dataset,
    DatasetRef,
    Header,
    Split,
    SplitPolicy,
)
from whet_server.errors import DatasetNotFound, HoldoutSealed, InvalidField, StorageUnavailable, TooLarge, WrongState
from whet_server.log.events import DatasetStored, RunFinished, RunOpened, SealOpened
from whet_server.log.log import EventLog
from whet_server.store.base import Store, Write
from whet_server.store.memory import MemoryStore
from whet_server.values import RunId, RunKind, RunState, Workspace

HALF = SplitPolicy(train=1, holdout=1)
HEADER = Header(name="set", key="id", policy=HALF)


async def ids(datasets: Datasets, version: int, split: Split | None = None) -> set[str]:
    return {row.row_id for row in (await datasets.rows(HERE, "set", version, split=split)).rows}


async def stored(datasets: Datasets, data: bytes, **header: object) -> Dataset:
    return (await datasets.put(PERSON, replace(HEADER, **header), data))[0]


async def refused(datasets: Datasets, data: bytes, **header: object) -> list[tuple[str, str]]:
    with pytest.raises(InvalidField) as caught:
        await stored(datasets, data, **header)
    return list(caught.value.violations)


async def test_a_version_is_kept_with_its_columns_splits_and_digest(datasets: Datasets) -> None:
    made = await stored(datasets, some(50), source="a.jsonl", tags=("b", "a"), description="fifty")
    assert await datasets.get(HERE, "set") == await datasets.get(HERE, "set", 1) == made
    assert (made.version, made.rows, made.tags, made.sealed, made.key) == (1, 50, ("a", "b"), True, "id")
    assert made.columns[0] == Column(name="id", type=ColumnType.INTEGER)
    assert made.count(Split.TRAIN) + made.sealed_rows == 50
    assert made.policy == SplitPolicy(train=1, holdout=1, group="id", salt="set")


async def test_rows_come_in_the_order_of_the_file_page_by_page(datasets: Datasets) -> None:
    await stored(datasets, some(30), policy=SplitPolicy(train=1, dev=1))
    first = await datasets.rows(HERE, "set", limit=12)
    rest = await datasets.rows(HERE, "set", after=first.rows[-1].number)
    rows = [*first.rows, *rest.rows]
    assert [row.number for row in rows] == list(range(1, 31))
    assert [json.loads(row.json)["id"] for row in rows] == list(range(30))
    assert {row.split for row in rows} == {Split.TRAIN, Split.DEV}


async def test_the_same_content_is_no_new_version_and_other_content_is(datasets: Datasets) -> None:
    first = await stored(datasets, some(5))
    assert await datasets.put(PERSON, HEADER, some(5)) == (first, False)
    again = jsonl({"output": "yes", "input": f"q{number}", "id": number} for number in range(5))
    assert (await datasets.put(PERSON, Header(name="set"), again))[1] is False, "another spelling of the same rows"
    assert (await stored(datasets, some(6))).version == 2
    assert (await stored(datasets, some(5))).version == 3


async def test_appended_rows_follow_those_that_are_there_and_move_none(datasets: Datasets) -> None:
    await stored(datasets, some(20))
    appended = await stored(datasets, some(20, start=20), policy=None, append=True)
    assert appended.rows == 40
    assert await ids(datasets, 1, Split.TRAIN) <= await ids(datasets, 2, Split.TRAIN)
    assert (await datasets.rows(HERE, "set", 2)).rows[-1].number == max(
        row.number for row in (await datasets.rows(HERE, "set", 2)).rows
    )
    [wrong] = await refused(datasets, some(1, start=3), append=True)
    assert wrong == ("line 1: column id", "Another row has 3 already.")


async def test_every_wrong_line_is_named_and_nothing_is_stored(datasets: Datasets) -> None:
    await stored(datasets, some(3))
    wrong = await refused(
        datasets,
        jsonl(
            [
                {"id": 1, "input": 5, "output": "yes"},
                {"id": 1, "input": "x"},
                {"id": 3, "input": "", "output": "", "z": 1},
            ]
        ),
    )
    assert [where for where, _ in wrong] == ["line 1: column input", "line 2: column output", "line 3: column z"]
    assert (await datasets.get(HERE, "set")).version == 1
    many = await refused(datasets, jsonl({"id": "text"} for _ in range(100)))
    assert len(many) == 40
    assert many[-1] == ("file", "It was not read any further; there may be more.")


async def test_other_columns_need_a_word(datasets: Datasets) -> None:
    await stored(datasets, some(3))
    wider = jsonl({"id": number, "note": "new"} for number in range(3))
    assert (await refused(datasets, wider))[0][0] == "line 1: column note"
    made = await stored(datasets, wider, new_columns=True)
    assert [column.name for column in made.columns] == ["id", "note"]


async def test_appended_rows_may_bring_columns_that_the_others_lack(datasets: Datasets) -> None:
    await stored(datasets, some(4))
    made = await stored(datasets, jsonl([{"id": 9.5, "note": "x"}]), append=True, new_columns=True, policy=None, key="")
    assert made.columns == (
        Column(name="id", type=ColumnType.NUMBER),
        Column(name="input", type=ColumnType.STRING, optional=True),
        Column(name="output", type=ColumnType.STRING, optional=True),
        Column(name="note", type=ColumnType.STRING, optional=True),
    )
    [(where, _)] = await refused(datasets, jsonl([{"id": "text"}]), append=True, new_columns=True)
    assert where == "line 1: column id"


async def test_a_row_schema_stays_in_force_and_names_lines(datasets: Datasets) -> None:
    schema = json.dumps({"properties": {"output": {"enum": ["yes", "no"]}, "input": {"pattern": "^q"}}})
    await stored(datasets, some(2), row_schema=schema)
    wrong = await refused(
        datasets, jsonl([{"id": 1, "input": "q", "output": "maybe"}, {"id": 2, "input": "x", "output": "no"}])
    )
    assert wrong == [
        ("line 1: column output", "'maybe' is not one of ['yes', 'no']"),
        ("line 2: column input", "'x' does not match '^q'"),
    ]


@pytest.mark.parametrize(
    "schema",
    [
        '{"$ref": "https://elsewhere.example/schema"}',
        '{"$ref": "file:///etc/hostname"}',
        '{"$ref": "#"}',
        '{"type": "nothing"}',
        "{",
        '{"properties": {"input": {"pattern": "(?=x)"}}}',
        '{"patternProperties": {"(?=x)": {}}}',
        json.dumps(
            {
                "$defs": {
                    f"d{at}": {"allOf": [{"$ref": f"#/$defs/d{at + 1}"}, {"$ref": f"#/$defs/d{at + 1}"}]}
                    for at in range(30)
                }
                | {"d30": {}},
                "$ref": "#/$defs/d0",
            }
        ),
    ],
    ids=["http", "file", "itself", "no type", "no json", "lookahead", "patterns", "doubling"],
)
async def test_a_row_schema_that_reaches_out_or_takes_for_ever_is_refused(schema: str) -> None:
    [(where, _)] = await refused(datasets_over(MemoryStore()), some(2), row_schema=schema)
    assert where == "row_schema"


async def test_too_many_rows_are_too_large() -> None:
    with pytest.raises(TooLarge, match="200000 rows"):
        await stored(datasets_over(MemoryStore()), b"a\n" + b"1\n" * 200_001, key="", format=DataFormat.CSV)


async def test_policies_name_columns_that_are_there(datasets: Datasets) -> None:
    [(where, what)] = await refused(datasets, some(2), policy=SplitPolicy(group="topic"))
    assert (where, what) == ("policy.group", "There is no column 'topic'. There are: id, input, output.")
    [(where, _), _] = await refused(datasets, some(2), policy=SplitPolicy(column="output"))
    assert where == "line 1: column output"


async def test_names_tags_and_versions_are_listed(datasets: Datasets) -> None:
    for name in ("b", "a", "c"):
        await datasets.put(PERSON, Header(name=name), some(2))
    await datasets.put(PERSON, Header(name="b", tags=("gold",)), some(3))
    assert [(each.name, each.version) for each in await datasets.list(HERE)] == [("a", 1), ("b", 2), ("c", 1)]
    assert [each.name for each in await datasets.list(HERE, after="a", limit=1)] == ["b"]
    assert [each.version for each in await datasets.versions(HERE, "b")] == [2, 1]
    assert [each.version for each in await datasets.versions(HERE, "b", before=2)] == [1]
    await datasets.tag(HERE, "b", 1, add=["gold", "old"])
    assert [(each.name, each.version) for each in await datasets.list(HERE, tag="old")] == [("b", 1)]
    assert (await datasets.tag(HERE, "b", 1, remove=["gold"])).tags == ("old",)
    assert await datasets.list(Workspace("there")) == []


@pytest.mark.parametrize("version", [0, 2])
async def test_what_is_not_there_is_not_found(datasets: Datasets, version: int) -> None:
    if version:
        await stored(datasets, some(2))
    with pytest.raises(DatasetNotFound):
        await datasets.rows(HERE, "set", version)
    with pytest.raises(DatasetNotFound):
        await datasets.open_seal(PERSON, "set", version, "why")


async def test_a_version_and_an_opening_are_runs_in_the_log(store: Store) -> None:
    datasets, log = datasets_over(store), EventLog(store, clock=lambda: 0)
    made = await stored(datasets, some(20))
    opened = await datasets.open_seal(PERSON, "set", 1, "the paper is written", request_id="r-1")
    events = [
        [event.payload for event in await log.events(HERE, RunId(run_id))]
        for run_id in (made.run_id, opened.open_run_id)
    ]
    assert [[type(payload) for payload in each] for each in events] == [
        [RunOpened, DatasetStored, RunFinished],
        [RunOpened, SealOpened, RunFinished],
    ]
    assert events[0][1] == DatasetStored(name="set", version=1, digest=made.digest, rows=20)
    seal = events[1][1]
    assert isinstance(seal, SealOpened)
    assert (seal.reason, seal.rows) == ("the paper is written", made.sealed_rows)
    for run in await log.runs(HERE, kind=RunKind.DATASET):
        assert (run.state, run.event_count) == (RunState.SUCCEEDED, 3)
        assert (await log.verify(HERE, run.run_id)).valid


async def test_the_hold_out_is_refused_until_it_is_opened_once(datasets: Datasets) -> None:
    made = await stored(datasets, some(20))
    with pytest.raises(HoldoutSealed):
        await datasets.rows(HERE, "set", split=Split.HOLDOUT)
    with pytest.raises(HoldoutSealed):
        await datasets.items(HERE, DatasetRef(name="set", split=Split.HOLDOUT))
    with pytest.raises(HoldoutSealed):
        await datasets.export(HERE, "set", 0, DataFormat.JSONL, Split.HOLDOUT)
    given = await datasets.rows(HERE, "set")
    assert (len(given.rows), given.sealed_rows) == (20 - made.sealed_rows, made.sealed_rows)
    results = await asyncio.gather(
        *(datasets.open_seal(PERSON, "set", 1, f"try {at}") for at in range(4)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["Dataset", "WrongState", "WrongState", "WrongState"]
    assert len((await datasets.rows(HERE, "set", split=Split.HOLDOUT)).rows) == made.sealed_rows
    assert len((await datasets.rows(HERE, "set")).rows) == 20


async def test_an_empty_hold_out_has_no_seal(datasets: Datasets) -> None:
    made = await stored(datasets, some(5), policy=SplitPolicy(train=1))
    assert made.sealed is False
    with pytest.raises(WrongState, match="empty"):
        await datasets.open_seal(PERSON, "set", 1, "why")


async def test_rows_that_an_opening_has_shown_are_counted_in_every_other_version(datasets: Datasets) -> None:
    first = await stored(datasets, some(40))
    between = await stored(datasets, some(80))
    await datasets.open_seal(PERSON, "set", 1, "why")
    after = await stored(datasets, some(90))
    seen = [(await datasets.get(HERE, "set", version)).seen_rows for version in (1, 2, 3)]
    assert seen == [0, first.sealed_rows, first.sealed_rows]
    assert (await datasets.get(HERE, "set", 2)).sealed
    assert after.seen_rows == first.sealed_rows
    assert between.sealed_rows > first.sealed_rows


class Faulty(MemoryStore):
    """A disk that fails in a commit: before anything is written, or after all of it is."""

    fault = ""

    async def commit(self, *writes: Write) -> None:
        if self.fault == "before":
            raise StorageUnavailable("the disk is full")
        await super().commit(*writes)
        if self.fault == "after":
            raise StorageUnavailable("the power went away")


async def test_an_opening_that_the_disk_refuses_has_not_happened() -> None:
    store = Faulty()
    datasets = datasets_over(store)
    await stored(datasets, some(20))
    store.fault = "before"
    with pytest.raises(StorageUnavailable):
        await datasets.open_seal(PERSON, "set", 1, "why")
    store.fault = ""
    with pytest.raises(HoldoutSealed):
        await datasets_over(store).rows(HERE, "set", split=Split.HOLDOUT)
    assert len(await store.runs(HERE)) == 1
    assert (await datasets.open_seal(PERSON, "set", 1, "why")).sealed is False


async def test_an_opening_whose_answer_was_lost_has_happened_once_and_is_in_the_log() -> None:
    store = Faulty()
    datasets = datasets_over(store)
    await stored(datasets, some(20))
    store.fault = "after"
    with pytest.raises(StorageUnavailable):
        await datasets.open_seal(PERSON, "set", 1, "why")
    store.fault = ""
    with pytest.raises(WrongState):
        await datasets_over(store).open_seal(PERSON, "set", 1, "again")
    opened = await datasets.get(HERE, "set", 1)
    run = await store.run(RunId(opened.open_run_id))
    assert run is not None
    assert (run.state, opened.open_reason) == (RunState.SUCCEEDED, "why")


async def test_a_version_that_the_disk_refuses_leaves_nothing() -> None:
    store = Faulty()
    store.fault = "before"
    with pytest.raises(StorageUnavailable):
        await stored(datasets_over(store), some(20))
    assert await store.runs(HERE) == []
    assert await store.documents(HERE, "dataset-row") == []


async def test_uploads_at_once_become_versions_one_after_the_other(datasets: Datasets) -> None:
    made = await asyncio.gather(*(stored(datasets, some(3, start=at * 10), append=True) for at in range(5)))
    assert sorted(each.version for each in made) == [1, 2, 3, 4, 5]
    assert (await datasets.get(HERE, "set")).rows == 15


async def test_rows_become_items(datasets: Datasets) -> None:
    rows = [
        {"id": 1, "input": "2+2", "output": "4", "reference": "four", "model": "sim/a", "note": {"a": [1]}, "n": 2.5},
        {"id": 2, "input": "3+3", "output": None, "reference": "six", "model": None, "note": None, "n": 1},
    ]
    await datasets.put(PERSON, Header(name="set", key="id", policy=SplitPolicy(train=1)), jsonl(rows))
    chosen = await datasets.items(HERE, DatasetRef(name="set"))
    first, second = chosen.items
    assert (first.item_id, first.input, first.candidates, first.reference) == ("1", "2+2", ("4",), "four")
    assert (first.writers, first.fields) == (("sim/a",), {"id": "1", "note": '{"a":[1]}', "n": "2.5"})
    assert (second.candidates, second.writers) == (("",), ())
    other = DatasetRef(name="set", input="reference", candidates=("output", "input"), limit=1)
    assert [item.candidates for item in (await datasets.items(HERE, other)).items] == [("4", "2+2")]
    with pytest.raises(InvalidField) as caught:
        await datasets.items(HERE, DatasetRef(name="set", candidates=("answer",), writer="who"))
    what = "There are: id, input, output, reference, model, note, n."
    assert caught.value.violations == (
        ("dataset.candidates[0]", f"There is no column 'answer'. {what}"),
        ("dataset.writer", f"There is no column 'who'. {what}"),
    )
