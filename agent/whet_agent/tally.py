"""The little that must be known of a session without reading its journal: what lists show, and where to take it up.

A tally is a fold of the journal and of nothing else, kept in a small file beside it. A file that is missing, torn or
behind is made good by reading the journal from where it had come.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from whet_agent.events import (
    ApprovalAsked,
    ApprovalDecided,
    Compacted,
    Envelope,
    Expanded,
    Happening,
    ModeChanged,
    Renamed,
    Rewound,
    RunHeard,
    Spent,
    ToolAnswered,
    TurnEnded,
    UserSaid,
    Withdrawn,
)
from whet_agent.journal import JOURNAL, whole_lines
from whet_agent.runs import STARTING_TOOLS
from whet_agent.sums import RunSums, Sum

SUMMARY: Final = "summary.json"

VERSION: Final = 1
"""A file of another version is made anew from the journal."""

TITLE_CHARACTERS: Final = 80
"""A title fits a line of a list."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """A journal up to `offset`, added up."""

    session_id: str
    offset: int = 0
    sequence: int = 0
    created_ns: int = 0
    used_ns: int = 0
    first_words: str = ""
    name: str = ""
    """The title that the person gave, if any."""
    turns: list[int] = field(default_factory=list)
    """Those the conversation has now: none that was taken back or gone back over."""
    last_turn: int = 0
    """The highest number that was ever used."""
    open: dict[int, int] = field(default_factory=dict)
    """Turns that have not ended, and where the journal begins to tell of each."""
    approvals: dict[str, int] = field(default_factory=dict)
    """Open questions, and their turns."""
    runs: RunSums = field(default_factory=RunSums)
    settled: int = 0
    unknown: int = 0
    thread: int = 0
    """Which checkpoints hold."""
    held: dict[str, int] = field(default_factory=dict)
    """What fan-outs that were gone back over may still spend: see `Rewound`."""
    compacted: Compacted | None = None
    mode: ModeChanged | None = None
    closed: bool = False
    """Whether the last process to have it gave it up in order. The journal does not know."""

    @property
    def title(self) -> str:
        return self.name or self.first_words

    def hear(self, envelope: Envelope, *, begins: int, ends: int) -> None:
        """Take the envelope that stands in the journal from `begins` to `ends`."""
        self.offset, self.sequence = ends, envelope.sequence
        self.created_ns = self.created_ns or envelope.time_ns
        if not isinstance(envelope.happening, Renamed):
            self.used_ns = envelope.time_ns
        self._fold(envelope.happening, begins)

    def _fold(self, happening: Happening, begins: int) -> None:
        match happening:
            case UserSaid(turn=turn):
                self.first_words = self.first_words if self.turns else title_of(happening.text)
                self.turns.append(turn)
                self.open[turn] = begins
                self.last_turn = max(self.last_turn, turn)
            case TurnEnded(turn=turn):
                self._end(turn)
            case Withdrawn(turn=turn):
                self._end(turn)
                self.turns.remove(turn)
            case Rewound():
                self._go_back(happening)
            case ApprovalAsked():
                self.approvals[happening.approval_id] = happening.turn
            case ApprovalDecided():
                self.approvals.pop(happening.approval_id, None)
            case RunHeard() | ToolAnswered():
                self._count(happening)
            case _:
                self._arrange(happening)

    def _count(self, happening: RunHeard | ToolAnswered) -> None:
        """Count a run of this session: one that was told in the session it was forked from is paid there."""
        ours = happening.key.startswith(f"{self.session_id}/")
        match happening:
            case RunHeard() if ours:
                self.runs.hear(happening.run_id, happening.event)
            case RunHeard():
                self.runs.leave_out(happening.run_id)
            case ToolAnswered() if ours and happening.run_id and happening.tool in STARTING_TOOLS:
                self.runs.begin(happening.run_id)

    def _arrange(self, happening: Happening) -> None:
        match happening:
            case Spent():
                self.settled, self.unknown = happening.settled, happening.unknown
            case Renamed():
                self.name = happening.title
            case Compacted():
                self.compacted = happening
            case Expanded():
                self.compacted = None
            case ModeChanged():
                self.mode = happening
            case _:
                pass

    def _end(self, turn: int) -> None:
        self.open.pop(turn, None)
        self.approvals = {approval: of for approval, of in self.approvals.items() if of != turn}

    def _go_back(self, rewound: Rewound) -> None:
        self.thread = rewound.thread
        self.held |= rewound.held
        for turn in [turn for turn in self.turns if turn >= rewound.turn]:
            self._end(turn)
        self.turns = [turn for turn in self.turns if turn < rewound.turn]
        if self.compacted is not None and self.compacted.upto >= rewound.turn:
            self.compacted = None  # it tells of what is gone


def title_of(text: str) -> str:
    return " ".join(text.split())[:TITLE_CHARACTERS]


def read_tally(home: Path) -> Tally:
    """Return the tally of a session as its journal stands, with as little reading as possible."""
    tally = _kept(home)
    closed = tally.closed if (home / SUMMARY).exists() else True  # nobody has had a session without the file open
    for begins, ends, sequence, envelope in whole_lines(home / JOURNAL, tally.offset):
        if envelope is None:  # of a kind that this version does not know
            tally.offset, tally.sequence = ends, sequence
        else:
            tally.hear(envelope, begins=begins, ends=ends)
    tally.closed = closed
    return tally


def write_tally(home: Path, tally: Tally) -> None:
    """Keep the tally. The journal must be written up to its offset. A crash loses nothing that is not made good."""
    new = home / f"{SUMMARY}.new"
    new.write_text(json.dumps({"version": VERSION, **_to_json(tally)}, separators=(",", ":")), encoding="utf-8")
    new.replace(home / SUMMARY)


def _kept(home: Path) -> Tally:
    """Return what the file says, or an empty tally when the file is not about this journal."""
    try:
        tally = _from_json(json.loads((home / SUMMARY).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return Tally(session_id=home.name)
    if tally.session_id == home.name and _ends_a_line(home / JOURNAL, tally.offset):
        return tally
    return Tally(session_id=home.name)


def _ends_a_line(path: Path, offset: int) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(max(0, offset - 1))
            return offset == 0 or file.read(1) == b"\n"
    except FileNotFoundError:
        return offset == 0


def _to_json(tally: Tally) -> dict[str, Any]:
    values = dataclasses.asdict(tally)
    values["runs"]["ended"] = sorted(tally.runs.ended)
    return values


def _from_json(values: dict[str, Any]) -> Tally:
    """Raises `ValueError`, `KeyError` or `TypeError` for what is no tally of this version."""
    if values.pop("version") != VERSION:
        raise ValueError("a tally of another version")
    runs = values.pop("runs")
    running = {run: (last, Sum(**so_far)) for run, (last, so_far) in runs["running"].items()}
    compacted, mode = values.pop("compacted"), values.pop("mode")
    return Tally(
        **values | {"open": {int(turn): offset for turn, offset in values["open"].items()}},
        runs=RunSums(total=Sum(**runs["total"]), ended=set(runs["ended"]), running=running),
        compacted=None if compacted is None else Compacted(**compacted),
        mode=None if mode is None else ModeChanged(**mode),
    )
