"""What a person rates by keys: what was given, whether the server has it, and the way back."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from whet_tui.judging_values import JudgedItem, Rating


class Mark(StrEnum):
    """Whether a rating is safe, in the glyph and word that are shown."""

    SENDING = "… sending"
    KEPT = "✓ kept"
    WAITING = "! not kept yet"
    REFUSED = "✗ refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """What is rated: an item, by a rubric, on a dimension or (empty) as a whole."""

    run_id: str
    item_id: str
    rubric: str
    dimension: str = ""


@dataclass(slots=True, kw_only=True, eq=False)
class Given:
    """A rating that was given. The same id goes with every attempt to send it, so that it counts once."""

    spot: Spot
    rating: Rating
    mark: Mark = Mark.SENDING
    failure: str = ""
    request_id: str = field(default_factory=lambda: f"rating-{uuid.uuid4()}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A key that can be taken back: where it was pressed and what had stood there."""

    spot: Spot
    before: Rating | None


class Ratings:
    """Keeps every rating until the server has it. A later rating of the same spot stands for the earlier one."""

    def __init__(self, rater: str) -> None:
        self.rater = rater
        self._given: dict[Spot, Given] = {}
        self._steps: list[Step] = []
        self._kept: set[tuple[str, str]] = set()
        self._last: Given | None = None

    def at(self, spot: Spot, judged: JudgedItem) -> Rating | None:
        """What this person says there: given here, or known to the server."""
        if spot in self._given:
            return self._given[spot].rating
        return next((each for each in judged.ratings if self._is_mine(each, spot)), None)

    def mark(self, spot: Spot, judged: JudgedItem) -> Mark | None:
        """Whether it is safe; None when this person has said nothing there."""
        if spot in self._given:
            return self._given[spot].mark
        return Mark.KEPT if self.at(spot, judged) is not None else None

    def give(self, spot: Spot, rating: Rating, before: Rating | None) -> None:
        """Take a rating, to be sent."""
        self._steps.append(Step(spot=spot, before=before))
        self.put(spot, rating)

    def put(self, spot: Spot, rating: Rating) -> None:
        """Take a rating that cannot be taken back."""
        self._given.pop(spot, None)
        self._last = self._given[spot] = Given(spot=spot, rating=rating)

    def undo(self) -> Step | None:
        """The last key, which is forgotten; what had stood there before it is taken to be sent again."""
        if not self._steps:
            return None
        step = self._steps.pop()
        if step.before is not None:
            self.put(step.spot, step.before)
        return step

    @property
    def unsent(self) -> Sequence[Given]:
        """What the server may not have and may still take, in the order in which it was given."""
        return [given for given in self._given.values() if given.mark in {Mark.SENDING, Mark.WAITING}]

    @property
    def refused(self) -> Sequence[Given]:
        """What the server will never take."""
        return [given for given in self._given.values() if given.mark is Mark.REFUSED]

    def drop(self) -> None:
        """Forget what was refused."""
        for given in self.refused:
            del self._given[given.spot]
        if self._last is not None and self._last.mark is Mark.REFUSED:
            self._last = None

    def is_latest(self, given: Given) -> bool:
        """Whether nothing else was given there since."""
        return self._given.get(given.spot) is given

    def keep(self, given: Given) -> bool:
        """The server has it. Return whether it is the first rating of its item that was kept here."""
        item = (given.spot.run_id, given.spot.item_id)
        new = item not in self._kept
        given.mark, given.failure = Mark.KEPT, ""
        self._kept.add(item)
        return new

    def of_item(self, run_id: str, item_id: str) -> Mark | None:
        """Whether what was rated here of an item is safe; None when nothing was."""
        item = (run_id, item_id)
        left = (*self.refused, *self.unsent)
        marks = {given.mark for given in left if item == (given.spot.run_id, given.spot.item_id)}
        return next((mark for mark in (Mark.REFUSED, Mark.WAITING, Mark.SENDING) if mark in marks), self._known(item))

    def _known(self, item: tuple[str, str]) -> Mark | None:
        return Mark.KEPT if item in self._kept else None

    @property
    def last(self) -> Given | None:
        """What was given last, as it stands."""
        return self._last

    def _is_mine(self, rating: Rating, spot: Spot) -> bool:
        return (rating.rater, rating.rubric, rating.dimension) == (self.rater, spot.rubric, spot.dimension)
