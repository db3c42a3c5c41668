"""Items as they are shown: with their verdicts, what people said of them, and how far all that lies apart."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain

from whet_server.calibration.agreement import whole_of
from whet_server.judge.rubric import Rubric
from whet_server.judge.spec import Asked, ItemOrder, JudgedItem, OrderBy
from whet_server.judge.sums import Folded
from whet_server.judging import Item, JudgeMode, Rating

Ratings = Mapping[str, Mapping[str, Sequence[Rating]]]
"""What people said, by rubric and subject."""


def seen(folded: Folded, ratings: Ratings, order: ItemOrder) -> tuple[list[JudgedItem], int]:
    """Return the items that are wanted, in the wanted order, those that are alike in it as given; and how many of all
    somebody has rated.
    """
    items = [_judged(folded, item, ratings) for item in folded.items]
    rated = sum(bool(each.ratings) for each in items)
    if order.outcome is not None:
        items = [each for each in items if any(said.outcome is order.outcome for said in each.verdicts)]
    if order.unrated:
        items = [each for each in items if not each.ratings]
    if order.by is OrderBy.DISAGREEMENT:
        items.sort(key=lambda each: -each.disagreement)
    elif order.by is OrderBy.SCORE:
        items.sort(key=lambda each: -math.inf if each.score is None else each.score)
    return items, rated


def people(asked: Asked, items: Sequence[Item], ratings: Ratings) -> dict[str, float]:
    """Return the score that people give to each item that was rated by a judge's rubric."""
    if asked.rubric is None or asked.judge is None:
        return {}
    given = ratings.get(asked.rubric.name, {})
    found = ((item.item_id, score_of(given.get(item.subject, ()), asked.rubric, asked.judge.mode)) for item in items)
    return {item_id: score for item_id, score in found if score is not None}


def score_of(ratings: Sequence[Rating], rubric: Rubric, mode: JudgeMode) -> float | None:
    """Return what people's ratings come to on the scale of scores, 0 to 1: the mean over raters, each of whom rated
    the whole, or else every dimension that may not be left out. Of pairs and lists: the share of candidate 0.
    """
    by_rater: dict[str, list[Rating]] = defaultdict(list)
    for rating in ratings:
        by_rater[rating.rater].append(rating)
    scores = [_of_rater(said, rubric, mode) for said in by_rater.values()]
    there = [score for score in scores if score is not None]
    return math.fsum(there) / len(there) if there else None


def _of_rater(said: Sequence[Rating], rubric: Rubric, mode: JudgeMode) -> float | None:
    if mode is not JudgeMode.POINTWISE:
        whole = next((rating for rating in said if not rating.dimension), None)
        if whole is None or whole.preferred is None:
            return None
        return 0.5 if whole.preferred < 0 else float(whole.preferred == 0)
    levels = {rating.dimension: rating.level for rating in said if rating.preferred is None}
    level = whole_of(levels, rubric.dimensions)
    return None if level is None else rubric.share(level)


def _judged(folded: Folded, item: Item, ratings: Ratings) -> JudgedItem:
    subject = item.subject
    by_rubric = {rubric: given.get(subject, ()) for rubric, given in ratings.items()}
    return JudgedItem(
        item=item,
        verdicts=tuple(folded.of_item(item.item_id)),
        score=folded.combined.get(item.item_id),
        disagreement=max(
            (_disagreement(folded, asked, item.item_id, by_rubric) for asked in folded.criteria), default=0.0
        ),
        ratings=tuple(chain.from_iterable(by_rubric.values())),
    )


def _disagreement(folded: Folded, asked: Asked, item_id: str, ratings: Mapping[str, Sequence[Rating]]) -> float:
    """Return the widest difference between two scores of a criterion, or between the judge and a person."""
    scores = [said.score for said in folded.of[asked.name].get(item_id, ()) if said.score is not None]
    if not scores:
        return 0.0
    widest = max(scores) - min(scores)
    if asked.rubric is None or asked.judge is None:
        return widest
    mean = folded.scores[asked.name].get(item_id)
    by_rater: dict[str, list[Rating]] = defaultdict(list)
    for rating in ratings.get(asked.rubric.name, ()):
        by_rater[rating.rater].append(rating)
    for said in by_rater.values():
        person = _of_rater(said, asked.rubric, asked.judge.mode)
        if person is not None and mean is not None:
            widest = max(widest, abs(mean - person))
    return widest
