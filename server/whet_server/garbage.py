"""When the collector of cycles looks, and at what: a look at everything stops the server for a tenth of a second."""

import gc
from functools import cache
from typing import Final

YOUNG_OBJECTS: Final = 50_000
"""Objects made before the collector looks for cycles among them. A wide fan-out makes hundreds of thousands in a second
and hardly a cycle: looking after every 700 cost it a fifth of its time."""


def look_seldom() -> None:
    """Look for cycles less often. Called before the imports, which make many objects and no garbage."""
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)


def keep() -> None:
    """Never look again at what is there now."""
    gc.freeze()


@cache
def keep_once(what: str) -> None:
    """Never look again at what has been loaded with `what`, such as a large library. Only the first call counts: later
    ones would keep garbage too.
    """
    del what
    gc.freeze()
