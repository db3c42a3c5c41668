import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.exc import IntegrityError

from whet_server.errors import StorageUnavailable
from whet_server.store.base import CachedAnswer, CapRecord, EventRecord, RemoveCached
from whet_server.store.migrate import MIGRATIONS, NEWEST, migrate, version
from whet_server.store.sql import SqlStore
from whet_server.store.tables import METADATA
from whet_server.values import ModelName, Nanos, RunId, Usage, Workspace

HERE = Workspace("here")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "50% of what?.db"  # a path is a path, not part of an address


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqlStore]:
    store = await SqlStore.open(path, lock_wait=0.05)
    yield store
    await store.close()


def cap(limit: int, *, workspace: str = HERE) -> CapRecord:
    return CapRecord(workspace=Workspace(workspace), period="day", limit=Nanos(limit))


def large_event(sequence: int) -> EventRecord:
    return EventRecord(run_id=RunId("fan_1"), sequence=sequence, record=b"x" * 50_000, hash=bytes(32))


async def _allow_pages(store: SqlStore, pages: int) -> None:
    def limit() -> None:
        connection = store._writer._connection
        with connection.begin():
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    await asyncio.get_running_loop().run_in_executor(store._writer._thread, limit)


async def test_a_full_disk_fails_every_waiter_and_is_forgotten_once_there_is_room(
    store: SqlStore,
) -> None:
    await store.commit(cap(1))
    await _allow_pages(store, 40)
    results = await asyncio.gather(
        *(store.commit(large_event(n), cap(2)) for n in range(1, 50)), return_exceptions=True
    )
    assert {type(result) for result in results} == {StorageUnavailable}
    assert len({id(result) for result in results}) == len(results)
    assert await store.events(RunId("fan_1")) == []
    assert await store.caps(HERE) == [cap(1)]
    await _allow_pages(store, 100_000)
    await store.commit(large_event(1), cap(3))
    assert await store.caps(HERE) == [cap(3)]


async def test_a_file_that_somebody_else_holds_is_said_to_be_unavailable(store: SqlStore, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable, match="locked") as refused:
        await store.commit(cap(1))
    assert refused.value.retry_after is not None
    other.execute("ROLLBACK")
    other.close()
    await store.commit(cap(2))
    assert await store.caps(HERE) == [cap(2)]


async def test_values_that_fit_no_column_hurt_only_their_own_caller(store: SqlStore) -> None:
    wrong = [cap(2**70, workspace="w1"), CapRecord(workspace=HERE, period="day", limit=None)]  # type: ignore[arg-type]
    right = [store.commit(cap(n, workspace=f"right{n}")) for n in range(5)]
    results = await asyncio.gather(*right, *(store.commit(one) for one in wrong), return_exceptions=True)
    assert results[:5] == [None] * 5
    assert [type(result) for result in results[5:]] == [OverflowError, IntegrityError]
    assert {record.workspace for record in await store.caps(None)} == {f"right{n}" for n in range(5)}


async def test_the_readers_cannot_write(store: SqlStore) -> None:
    async with store._readers.connect() as connection:
        with pytest.raises(Exception, match="readonly"):
            await connection.exec_driver_sql("DELETE FROM cap")


async def test_the_writer_syncs_fully_and_keeps_a_log(store: SqlStore) -> None:
    def pragmas() -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "trusted_schema")
        connection = store._writer._connection
        with connection.begin():
            return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    found = await asyncio.get_running_loop().run_in_executor(store._writer._thread, pragmas)
    assert found == ["wal", 2, 1, 0]


async def test_closing_writes_what_was_submitted_and_then_refuses(path: Path) -> None:
    store = await SqlStore.open(path)
    waiting = [asyncio.create_task(store.commit(cap(n, workspace=f"w{n}"))) for n in range(100)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*waiting)
    with pytest.raises(StorageUnavailable, match="closed"):
        await store.commit(cap(1))
    again = await SqlStore.open(path)
    assert len(await again.caps(None)) == 100
    await again.close()


async def test_a_reopened_store_knows_which_answers_are_cached(path: Path) -> None:
    def answer(key: bytes, expire_ns: int) -> CachedAnswer:
        return CachedAnswer(
            workspace=HERE,
            key=key,
            text="a",
            usage=Usage(),
            model=ModelName("sim/a"),
            finish_reason="stop",
            simulated=True,
            create_ns=1,
            expire_ns=expire_ns,
        )

    store = await SqlStore.open(path)
    await store.commit(answer(b"old", 10), answer(b"new", 20))
    await store.close()
    again = await SqlStore.open(path)
    assert await again.cached(HERE, b"new") == answer(b"new", 20)
    await again.commit(RemoveCached(expired_before_ns=20))
    assert await again.cached(HERE, b"old") is None
    assert await again.cached(HERE, b"new") is not None
    await again.close()


@pytest.fixture
def empty(tmp_path: Path) -> Engine:
    return create_engine(f"sqlite:///{tmp_path / 'empty.db'}")


def test_the_migrations_leave_the_tables_that_the_code_describes(empty: Engine) -> None:
    with empty.begin() as connection:
        migrate(connection)
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    empty.dispose()


def test_the_newest_migration_is_the_one_that_opening_compares_with() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [NEWEST]


async def test_a_database_of_the_first_migration_is_opened_with_everything_in_it(path: Path) -> None:
    first = create_engine(URL.create("sqlite", database=str(path)))
    with first.begin() as connection:
        migrate(connection, "0001")
        connection.exec_driver_sql("INSERT INTO cap VALUES ('here', 'day', 77)")
        connection.exec_driver_sql(
            "INSERT INTO reservation VALUES ('here','res_1','fan_1','sim/a','unknown',9,0,1,2,0,3,4,5,NULL,NULL)"
        )
    first.dispose()
    store = await SqlStore.open(path)
    assert await store.caps(HERE) == [cap(77)]
    [entry] = await store.reservations(HERE)
    assert (entry.reserved, entry.input_price, entry.create_ns, entry.end_ns) == (9, 3, 5, None)
    await store.close()


async def test_a_database_of_a_newer_server_is_left_alone(path: Path) -> None:
    await (await SqlStore.open(path)).close()
    newer = sqlite3.connect(path)
    newer.execute("UPDATE alembic_version SET version_num = '9999'")
    newer.commit()
    newer.close()
    with pytest.raises(StorageUnavailable, match="newer"):
        await SqlStore.open(path)


async def test_a_failing_migration_leaves_the_file_as_it_was(path: Path) -> None:
    taken = sqlite3.connect(path)
    taken.execute("CREATE TABLE cap (mine TEXT)")  # in the way of the first migration, half of which comes before it
    taken.close()
    with pytest.raises(StorageUnavailable):
        await SqlStore.open(path)
    with create_engine(URL.create("sqlite", database=str(path))).begin() as connection:
        assert version(connection) is None
        tables = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars().all()
    assert tables == ["cap"]


@pytest.fixture
def no_database(path: Path) -> Path:
    path.write_bytes(b"this is no database" * 100)
    return path


async def test_a_file_that_is_no_database_is_said_to_be_unavailable(no_database: Path) -> None:
    with pytest.raises(StorageUnavailable, match="not a database"):
        await SqlStore.open(no_database)
