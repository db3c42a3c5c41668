import asyncio
import os
import sys
from pathlib import Path

import pytest

from whet_server.errors import StorageUnavailable
from whet_server.store.lock import DataLock

HOLD = """
import sys, pathlib
from whet_server.store.lock import DataLock
lock = DataLock.acquire(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_the_second_holder_is_told_who_has_the_directory(tmp_path: Path) -> None:
    with DataLock.acquire(tmp_path):
        with pytest.raises(StorageUnavailable, match=f"pid {os.getpid()}") as refused:
            DataLock.acquire(tmp_path)
        assert refused.value.metadata == {"pid": str(os.getpid())}
    DataLock.acquire(tmp_path).release()


def test_the_lock_tells_the_pid_of_its_newest_holder_only(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("12345678901234567890\n")
    with DataLock.acquire(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


async def test_a_killed_holder_leaves_the_directory_free(tmp_path: Path) -> None:
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, str(tmp_path), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    async with asyncio.timeout(30):
        assert await holder.stdout.readline() == b"held\n"
        with pytest.raises(StorageUnavailable, match=f"pid {holder.pid}"):
            DataLock.acquire(tmp_path)
        holder.kill()
        await holder.wait()
    DataLock.acquire(tmp_path).release()
