"""What a scorer says of one item."""

from whet_server.judging import Item
from whet_server.values import Value


class Finding(Value):
    """A score from 0 to 1, higher being better, and what was measured in the scorer's unit."""

    score: float
    value: float | None = None
    rationale: str = ""


class DoesNotApply(Exception):
    """The scorer cannot say anything of this item. `str()` says what is missing."""


def share(met: int, demands: int, rationale: str = "") -> Finding:
    """Return the share of the demands that are met."""
    return Finding(score=met / demands, value=met / demands, rationale=rationale)


def yes_or_no(answer: bool, rationale: str = "") -> Finding:  # noqa: FBT001 -- the one thing it is about
    return share(int(answer), 1, rationale)


def candidate_of(item: Item) -> str:
    """Return the text to score, which may be empty. Raises `DoesNotApply` when there is none, or more than one."""
    if len(item.candidates) != 1:
        raise DoesNotApply(f"A scorer looks at one candidate, and the item has {len(item.candidates)}.")
    return item.candidates[0]


def reference_of(item: Item) -> str:
    """Return the text to compare with. Raises `DoesNotApply` when there is none."""
    if not item.reference:
        raise DoesNotApply("The item has no reference to compare with.")
    return item.reference


def at_most(limit: int, unit: str, *sizes: int) -> None:
    """Raise `DoesNotApply` when a text is larger than a scorer takes on."""
    if max(sizes) > limit:
        raise DoesNotApply(f"This scorer compares texts of at most {limit:,} {unit}; here are {max(sizes):,}.")
