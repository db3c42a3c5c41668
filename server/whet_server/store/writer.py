"""The one writer: group commit from one thread.

Whatever was submitted while a transaction was being written goes into the next one. A transaction is carried out by
one function in the writer's own thread, so that the event loop is crossed once for a whole group, however busy it is,
and no transaction is ever open across an await. Statements carry many rows each, because the driver gives up and
takes back Python's lock around every step of SQLite, and on a busy loop each taking may wait.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, InternalError, NotSupportedError, ProgrammingError

from whet_server.errors import StorageUnavailable
from whet_server.store.rows import Change, Sweep, statements

GROUP: Final = 1024
"""Rows after which a transaction takes no further submission: some ten milliseconds of work, so that nobody waits long
behind others."""
_CALLERS_FAULT: Final = (DataError, IntegrityError, InternalError, NotSupportedError, ProgrammingError)


class _Submission(NamedTuple):
    changes: "list[Change | Sweep]"
    done: "asyncio.Future[None]"


class Writer:
    """Writes to the database file. Made by `open`, used from one event loop."""

    def __init__(self, engine: Engine, connection: Connection, thread: ThreadPoolExecutor) -> None:
        self._engine = engine
        self._connection = connection
        self._thread = thread
        self._queue: deque[_Submission] = deque()
        self._work = asyncio.Event()
        self._closed = False
        self._task = asyncio.create_task(self._run(), name="store-writer")

    @classmethod
    async def open(cls, path: Path, *, prepare: Callable[[Connection], None], lock_wait: float) -> "Writer":
        """Open the file and let `prepare` bring its tables up to date, in one transaction."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-writer")
        engine = create_engine(
            URL.create("sqlite", database=str(path)), poolclass=QueuePool, pool_size=1, max_overflow=0
        )
        event.listen(engine, "connect", _configure(lock_wait))
        event.listen(engine, "begin", _begin)

        def first() -> Connection:
            with engine.begin() as connection:
                prepare(connection)
            return engine.connect()

        try:
            connection = await asyncio.get_running_loop().run_in_executor(thread, first)
        except BaseException as error:
            thread.submit(engine.dispose)
            thread.shutdown(wait=False)
            if isinstance(error, DatabaseError):
                raise _unavailable(error) from error
            raise
        return cls(engine, connection, thread)

    async def submit(self, changes: "list[Change | Sweep]") -> None:
        """Make the changes durable, all or nothing. Submissions keep their order; a caller that is cancelled stops
        waiting, but what it submitted may still be written.
        """
        if self._closed:
            raise StorageUnavailable("the store is closed: this server is about to stop")
        if not changes:
            return
        done = asyncio.get_running_loop().create_future()
        self._queue.append(_Submission(changes, done))
        self._work.set()
        await done

    async def close(self) -> None:
        """Write what was submitted and close the file."""
        self._closed = True
        self._work.set()
        await self._task
        await asyncio.get_running_loop().run_in_executor(self._thread, self._release)
        self._thread.shutdown(wait=False)

    async def _run(self) -> None:
        while self._queue or not self._closed:
            if not self._queue:
                self._work.clear()
                await self._work.wait()
                await asyncio.sleep(0)  # what follows at once from the first submission shares its transaction
                continue
            await self._write(self._take())

    def _take(self) -> list[_Submission]:
        group = [self._queue.popleft()]
        rows = len(group[0].changes)
        while self._queue and rows + len(self._queue[0].changes) <= GROUP:
            group.append(self._queue.popleft())
            rows += len(group[-1].changes)
        return group

    async def _write(self, group: list[_Submission]) -> None:
        error = await self._attempt([change for submission in group for change in submission.changes])
        if error is not None and not isinstance(error, StorageUnavailable) and len(group) > 1:
            # Somebody's values do not fit their columns. Only that one shall hear of it.
            for submission in group:
                await self._write([submission])
            return
        for submission in group:
            if submission.done.done():
                continue  # its caller was cancelled
            if error is None:
                submission.done.set_result(None)
            elif isinstance(error, StorageUnavailable):
                submission.done.set_exception(StorageUnavailable(str(error), retry_after=error.retry_after))
            else:
                submission.done.set_exception(error)

    async def _attempt(self, changes: "list[Change | Sweep]") -> Exception | None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, changes)
        except _CALLERS_FAULT as error:
            return error
        except DatabaseError as error:
            return _unavailable(error)
        except Exception as error:  # noqa: BLE001 -- the writer outlives whatever one caller submits; the caller is told
            return error
        return None

    def _transact(self, changes: "Iterable[Change | Sweep]") -> None:
        with self._connection.begin():
            for sql, parameters in statements(changes):
                self._connection.exec_driver_sql(sql, parameters)

    def _release(self) -> None:
        self._connection.close()
        self._engine.dispose()


def _configure(lock_wait: float) -> Callable[[Any, object], None]:
    def configure(connection: Any, record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {int(lock_wait * 1000)}")
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.execute("PRAGMA trusted_schema = OFF")

    return configure


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _unavailable(error: DatabaseError) -> StorageUnavailable:
    return StorageUnavailable(
        f"the database does not take writes now ({error.orig}); check the disk's free space and try again",
        retry_after=1.0,
    )
