import re
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.server.log.runs import HOME, RUN_ID, SUCCEEDED, Clock, finished, new_run, opened

from whet_server.log.chain import genesis, link, read_record
from whet_server.log.log import EXPORT_BYTES, EventLog
from whet_server.store.sql import SqlStore

BRANCHES = 6
EVENTS = BRANCHES + 2
PAGE = Path(__file__).parents[3] / "docs" / "trace-format.md"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "whet.db"


@pytest.fixture
async def log(path: Path) -> AsyncIterator[EventLog]:
    store = await SqlStore.open(path)
    log = EventLog(store, clock=Clock())
    writer = await log.open(new_run(), opened())
    for number in range(BRANCHES):
        await writer.append(finished(number, text=f'said "{number}" \\ \n π \U0001f642 }}'))
    await writer.finish(SUCCEEDED)
    yield log
    await store.close()


def tamper(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


async def test_a_log_nobody_has_touched_is_valid(log: EventLog) -> None:
    run = await log.run(HOME, RUN_ID)
    found = await log.verify(HOME, RUN_ID, expected_hash=run.head_hash.hex())
    assert found.valid
    assert (found.events_checked, found.head_hash, found.first_bad_sequence) == (EVENTS, run.head_hash, 0)


async def test_a_hash_seen_on_the_way_is_still_contained(log: EventLog) -> None:
    middle = (await log.events(HOME, RUN_ID))[3].hash
    assert (await log.verify(HOME, RUN_ID, expected_hash=middle.hex())).valid
    refuted = await log.verify(HOME, RUN_ID, expected_hash="ab" * 32)
    assert not refuted.valid
    assert "expected hash" in refuted.problem


@pytest.mark.parametrize(
    ("statements", "first_bad"),
    [
        (["UPDATE event SET record = replace(record, 'said \\\"2', 'said \\\"3') WHERE sequence = 4"], 4),
        (["UPDATE event SET hash = zeroblob(32) WHERE sequence = 5"], 5),
        (["DELETE FROM event WHERE sequence = 3"], 3),
        (["DELETE FROM event WHERE sequence > 5"], 6),
        (["DELETE FROM event"], 1),
        (["DELETE FROM event WHERE sequence = 1", "UPDATE event SET sequence = sequence - 1"], 1),
        (
            [
                "UPDATE event SET sequence = 99 WHERE sequence = 3",
                "UPDATE event SET sequence = 3 WHERE sequence = 4",
                "UPDATE event SET sequence = 4 WHERE sequence = 99",
            ],
            3,
        ),
        (["INSERT INTO event SELECT run_id, 9, record, hash FROM event WHERE sequence = 8"], 9),
        (["UPDATE run SET data = replace(data, '\"event_count\":8', '\"event_count\":7')"], 9),
    ],
    ids=["edited", "rehashed", "cut-out", "cut-off", "emptied", "beheaded", "swapped", "added", "row"],
)
async def test_what_was_done_to_a_log_is_found(
    log: EventLog, path: Path, statements: list[str], first_bad: int
) -> None:
    tamper(path, *statements)
    found = await log.verify(HOME, RUN_ID)
    assert not found.valid
    assert found.first_bad_sequence == first_bad
    assert found.problem


async def test_a_log_written_anew_as_a_whole_is_betrayed_by_a_hash_kept_elsewhere(log: EventLog, path: Path) -> None:
    kept = (await log.run(HOME, RUN_ID)).head_hash
    connection = sqlite3.connect(path)
    head = genesis(RUN_ID)
    for sequence, record in connection.execute("SELECT sequence, record FROM event ORDER BY sequence").fetchall():
        forged = record.replace(b"said", b"lied")
        head = link(head, forged)
        connection.execute("UPDATE event SET record = ?, hash = ? WHERE sequence = ?", (forged, head, sequence))
    row = (await log.run(HOME, RUN_ID)).head_hash
    connection.execute("UPDATE run SET data = replace(data, ?, ?)", (_base64(row), _base64(head)))
    connection.commit()
    connection.close()
    assert (await log.verify(HOME, RUN_ID)).valid
    assert not (await log.verify(HOME, RUN_ID, expected_hash=kept.hex())).valid


def _base64(raw: bytes) -> str:
    import base64

    return base64.b64encode(raw).decode()


async def test_a_run_under_way_can_be_proved_too(path: Path) -> None:
    store = await SqlStore.open(path)
    log = EventLog(store, clock=Clock())
    writer = await log.open(new_run(), opened())
    await writer.append(finished(1))
    assert (await log.verify(HOME, RUN_ID)).events_checked == 2
    await store.close()


def _prove(tmp_path: Path, export: bytes, *head: str) -> "subprocess.CompletedProcess[str]":
    [verifier] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "verify.py").write_text(verifier)
    (tmp_path / "run.jsonl").write_bytes(export)
    command = [sys.executable, "-I", "verify.py", "run.jsonl", *head]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)


async def test_the_verifier_of_the_documentation_proves_an_export_and_refuses_altered_ones(
    log: EventLog, tmp_path: Path
) -> None:
    head = (await log.run(HOME, RUN_ID)).head_hash.hex()
    export = b"".join([piece async for piece in log.export(HOME, RUN_ID)])
    assert _prove(tmp_path, export).stdout == head + "\n"
    assert _prove(tmp_path, export, head).returncode == 0
    lines = export.splitlines(keepends=True)
    altered = {
        "edited": export.replace(b"said", b"lied", 1),
        "swapped": b"".join([*lines[:2], lines[3], lines[2], *lines[4:]]),
        "cut out": b"".join([*lines[:3], *lines[4:]]),
        "another run": export.replace(b'"run_id":"fan_1"', b'"run_id":"fan_2"'),
    }
    for name, forged in altered.items():
        assert "is not what was recorded" in _prove(tmp_path, forged).stderr, name
    assert _prove(tmp_path, b"".join(lines[:-1])).returncode == 0
    assert "does not contain" in _prove(tmp_path, b"".join(lines[:-1]), head).stderr


async def test_an_export_holds_the_very_bytes_in_whole_lines(path: Path) -> None:
    store = await SqlStore.open(path)
    log = EventLog(store, clock=Clock())
    writer = await log.open(new_run(), opened())
    await writer.append(*(finished(number, text="x" * 1000) for number in range(700)))
    pieces = [piece async for piece in log.export(HOME, RUN_ID)]
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert len(pieces) > 5
    assert max(map(len, pieces)) < EXPORT_BYTES + 2000
    _, *lines = b"".join(pieces).splitlines()
    records = [line.split(b'"record":', 1)[1][:-1] for line in lines]
    stored = await store.events(RUN_ID, limit=1000)
    assert records == [record.record for record in stored]
    assert [read_record(record, b"").sequence for record in records] == list(range(1, 702))
    await store.close()
