"""What a long conversation in one process asks of Python's cycle collector."""

import gc
from typing import Final

YOUNG_OBJECTS: Final = 10_000
"""How many new objects the collector waits for. To look through everything takes it 150 ms in a long conversation, and
with Python's own 700 it did so every other second while an answer streamed: a key that came then waited.
"""


def begin() -> None:
    """Collecting while Textual is imported costs a tenth of the time to the first frame, and finds nothing."""
    gc.disable()


def collect_again() -> None:
    """The first frame is there. What was imported for it stays: the collector need not look at it."""
    gc.set_threshold(YOUNG_OBJECTS)
    gc.freeze()
    gc.enable()


def settle() -> None:
    """Much has been loaded that stays: look through it once more and no longer."""
    gc.collect()
    gc.freeze()
