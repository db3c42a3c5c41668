"""Found a session on the beginning of another one."""

import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path

from whet_agent.events import Compacted, Envelope, Renamed
from whet_agent.journal import JOURNAL, encode, whole_lines
from whet_agent.sessions import TRASH
from whet_agent.tally import TITLE_CHARACTERS, Tally

_MARK = " (fork)"


def found(home: Path, session_id: str, tally: Tally, turns: AbstractSet[int]) -> None:
    """Write the journal of a new session beside `home`: what is told there of these turns, which have ended. The folder
    is made in the trash and moved out when it is whole, so that a crash leaves nothing that is listed.
    """
    making = home.parent / TRASH / session_id
    making.mkdir(parents=True, mode=0o700)
    with (making / JOURNAL).open("wb") as journal:
        for sequence, envelope in enumerate(_kept(home, tally, turns), start=1):
            journal.write(encode(replace(envelope, sequence=sequence)))
        journal.flush()
        os.fsync(journal.fileno())
    making.rename(home.parent / session_id)


def _kept(home: Path, tally: Tally, turns: AbstractSet[int]) -> Iterator[Envelope]:
    time_ns = tally.used_ns
    for _, _, _, envelope in whole_lines(home / JOURNAL):
        if envelope is not None and _belongs(envelope, tally, turns):
            yield envelope
            time_ns = envelope.time_ns
    title = tally.title[: TITLE_CHARACTERS - len(_MARK)] + _MARK
    yield Envelope(sequence=0, time_ns=time_ns, happening=Renamed(title=title))


def _belongs(envelope: Envelope, tally: Tally, turns: AbstractSet[int]) -> bool:
    happening = envelope.happening
    if isinstance(happening, Compacted):
        return happening == tally.compacted and happening.upto <= max(turns, default=0)
    return getattr(happening, "turn", 0) in turns
