"""One server a data directory: the lock that says so."""

import fcntl
import os
from pathlib import Path
from typing import IO, Self

from whet_server.errors import StorageUnavailable


class DataLock:
    """Holds `lock` in the data directory as long as this process lives or until `release`. The kernel gives it back
    when the process ends, however it ends; the file stays and tells the pid of the last holder.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    @classmethod
    def acquire(cls, directory: Path) -> Self:
        """Take the lock. Raises `StorageUnavailable`, naming the pid, when another process has it."""
        path = directory / "lock"
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = file.read().strip() or "unknown"
            file.close()
            raise StorageUnavailable(
                f"{directory} is in use by another server (pid {holder}): stop it, or give this one its own --data",
                metadata={"pid": holder},
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        return cls(file)

    def release(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()
