"""One process continues a conversation. The lock is the kernel's, so a killed process frees it at once."""

import fcntl
import os
from pathlib import Path
from typing import BinaryIO

from whet_agent.processes import is_alive


class LeaseTaken(Exception):
    """Another process holds the lease. `holder` is its pid, 0 when it did not say."""

    def __init__(self, holder: int) -> None:
        super().__init__(f"process {holder}" if holder else "another process")
        self.holder = holder


class Lease:
    """A locked file that holds the pid of its owner, for the message to whoever comes second."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    @classmethod
    def take(cls, path: Path) -> "Lease":
        """Take the lease. Raises `LeaseTaken`."""
        file = path.open("a+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read(20).strip()
            file.close()
            raise LeaseTaken(int(holder) if holder.isdigit() else 0) from None
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        return cls(file)

    def release(self) -> None:
        """Free it. The file stays: removing it would let two processes lock two files of one name."""
        self._file.truncate(0)
        self._file.close()


def holder_of(path: Path) -> int:
    """Return the pid of the process that holds a lease, 0 when none does."""
    try:
        with path.open("rb") as file:
            pid = file.read(20).strip()
            # A process that is gone holds nothing; only of one that is there must the lock be asked, which gets into
            # the way of whoever takes it in this very moment.
            if not pid.isdigit() or not is_alive(int(pid)):
                return 0
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(pid)
    except FileNotFoundError:
        pass
    return 0
