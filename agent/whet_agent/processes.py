"""Whether another process of this machine is there."""

import os


def is_alive(pid: int) -> bool:
    """Another process may have the number of a dead one by now: a yes is to be asked further."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
