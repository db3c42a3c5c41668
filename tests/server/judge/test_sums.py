"""From verdicts to sums: everything is counted, and the order in which verdicts came changes nothing."""

import math
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.server.judge.bench import rubric
from tests.server.judge.court import items, judge

from whet_server.judge import asking
from whet_server.judge.plan import expected
from whet_server.judge.seen import score_of, seen
from whet_server.judge.spec import Asked, ItemOrder, OrderBy
from whet_server.judge.sums import Folded, summed
from whet_server.judging import DimensionScore, JudgeMode, Outcome, Rating, Verdict
from whet_server.score.spec import ExactScorer
from whet_server.values import Failure, ModelName

PANEL = (ModelName("a/x"), ModelName("a/y"))
RATED = Asked(name="rated", judge=judge(*PANEL, samples=2), rubric=rubric(), weight=2.0)
PAIRS = Asked(name="pairs", judge=judge(*PANEL, mode=JudgeMode.PAIRWISE), rubric=rubric())
LISTS = Asked(name="lists", judge=judge(*PANEL, mode=JudgeMode.LISTWISE), rubric=rubric(), aside=True)
SAME = Asked(name="same", scorer=ExactScorer())
SHORT = sorted(set(Outcome) - {Outcome.SCORED})


@st.composite
def judged(draw: st.DrawFn, asked: Asked, candidates: int) -> tuple[Folded, list[Verdict]]:
    """Some verdicts of some items, each question answered at most once."""
    given_items = items(draw(st.integers(1, 6)), candidates=candidates)
    made: list[Verdict] = []
    for item in given_items:
        if asked.judge is None:
            keys: list[asking.Key] = [(item.item_id, asked.name, ModelName(""), 1, ())]
        else:
            keys = [asking.key(each) for each in asking.questions(item, asked.name, asked.judge, rubric())]
        answered = draw(st.lists(st.sampled_from(keys), unique=True))
        made += [draw(verdict(key, candidates, asked)) for key in answered]
    return Folded([asked], given_items, made), made


@st.composite
def verdict(draw: st.DrawFn, key: asking.Key, candidates: int, asked: Asked) -> Verdict:
    item_id, criterion, model, sample, order = key
    outcome = draw(st.sampled_from([Outcome.SCORED, Outcome.SCORED, *SHORT]))
    scored = outcome is Outcome.SCORED
    level = draw(st.integers(1, 5))
    ranking = tuple(draw(st.permutations(order))) if scored and order else ()
    tie = scored and len(ranking) == 2 and draw(st.booleans())
    score = None
    if scored:
        score = (level - 1) / 4
        if ranking:
            score = 0.5 if tie else 1 - ranking.index(min(order)) / (len(order) - 1)
    return Verdict(
        item_id=item_id,
        criterion=criterion,
        outcome=outcome,
        score=score,
        value=score,
        judge=model,
        sample=sample,
        order=order,
        ranking=ranking,
        tie=tie,
        dimensions=(DimensionScore(dimension="right", level=level),) if scored else (),
        failure=None if scored else Failure(reason="INTERNAL", message="x"),
    )


CASES = st.one_of(judged(RATED, 1), judged(PAIRS, 2), judged(PAIRS, 3), judged(LISTS, 3), judged(SAME, 1))


@settings(max_examples=40, deadline=None)
@given(case=CASES, seed=st.randoms())
def test_counts_add_up_and_a_permutation_changes_nothing(
    case: tuple[Folded, list[Verdict]], seed: random.Random
) -> None:
    folded, made = case
    sums = summed(folded)
    (summary,) = sums.criteria
    assert {count.outcome: count.count for count in summary.outcomes} == Counter(each.outcome for each in made)
    assert sum(summary.histogram) == summary.scored_items <= summary.items == len(folded.items)
    assert summary.order_flips <= summary.order_pairs
    for standing in summary.standings:
        assert standing.wins + standing.ties + standing.losses <= summary.items
    assert sum(standing.wins for standing in summary.standings) <= summary.items
    shuffled = list(made)
    seed.shuffle(shuffled)
    assert summed(Folded(folded.criteria, folded.items, shuffled)) == sums


@settings(max_examples=15, deadline=None)
@given(case=judged(RATED, 1))
def test_the_mean_is_over_scored_items_and_each_item_counts_once(case: tuple[Folded, list[Verdict]]) -> None:
    folded, made = case
    (summary,) = summed(folded).criteria
    scores: dict[str, list[float]] = {}
    for each in made:
        if each.score is not None:
            scores.setdefault(each.item_id, []).append(each.score)
    means = [math.fsum(each) / len(each) for each in scores.values()]
    assert summary.scored_items == len(means)
    if means:
        assert summary.mean.value == pytest.approx(math.fsum(means) / len(means))
    else:
        assert (summary.mean.value, summary.deviation, summary.mean_value) == (None, None, None)


@settings(max_examples=15, deadline=None)
@given(case=judged(RATED, 1))
def test_what_was_never_asked_for_is_counted_as_cancelled(case: tuple[Folded, list[Verdict]]) -> None:
    folded, made = case
    missing = expected(RATED, folded.items) - len(made)
    (summary,) = summed(folded, missing={"rated": missing}).criteria
    assert sum(count.count for count in summary.outcomes) == expected(RATED, folded.items)


def scored(item: str, criterion: str, score: float, model: str = "", sample: int = 1) -> Verdict:
    return Verdict(
        item_id=item,
        criterion=criterion,
        outcome=Outcome.SCORED,
        score=score,
        judge=ModelName(model),
        sample=sample,
    )


def test_the_greatest_disagreement_comes_first_whether_between_judges_or_with_a_person() -> None:
    given_items = items(3)
    made = [
        *(scored("i0", "rated", score, model) for score, model in ((0.5, "a/x"), (0.75, "a/y"))),
        *(scored("i1", "rated", 1.0, model) for model in ("a/x", "a/y")),
        *(scored("i2", "rated", 0.5, model) for model in ("a/x", "a/y")),
    ]
    said = Rating(subject=given_items[1].subject, rubric="two", rater="ada", level=2)
    ratings = {"two": {given_items[1].subject: (said,)}}
    folded = Folded([RATED], given_items, made)
    found, rated = seen(folded, ratings, ItemOrder(by=OrderBy.DISAGREEMENT))
    assert [each.item.item_id for each in found] == ["i1", "i0", "i2"]
    assert [each.disagreement for each in found] == [0.75, 0.25, 0.0]
    assert (found[0].ratings, rated) == ((said,), 1)
    unrated, _ = seen(folded, ratings, ItemOrder(unrated=True))
    assert [each.item.item_id for each in unrated] == ["i0", "i2"]


def test_the_lowest_score_comes_first_and_before_it_what_has_none() -> None:
    made = [scored("i0", "same", 1.0), scored("i2", "same", 0.0)]
    broken = Verdict(item_id="i1", criterion="same", outcome=Outcome.FAILED)
    folded = Folded([SAME], items(4), [*made, broken])
    found, _ = seen(folded, {}, ItemOrder(by=OrderBy.SCORE))
    assert [each.item.item_id for each in found] == ["i1", "i3", "i2", "i0"]
    failed, _ = seen(folded, {}, ItemOrder(outcome=Outcome.FAILED))
    assert [each.item.item_id for each in failed] == ["i1"]


def test_a_pair_that_one_order_of_failed_has_no_score() -> None:
    """Of a judge that always takes the first place, the lost verdicts of the other order would make a winner."""
    made = [
        replace(scored(item, "pairs", float(order == (0, 1)), "a/x"), order=order, ranking=order)
        for item, orders in (("i0", ((0, 1), (1, 0))), ("i1", ((0, 1),)))
        for order in orders
    ]
    lost = Verdict(item_id="i1", criterion="pairs", outcome=Outcome.TIMED_OUT, judge=PANEL[0], order=(1, 0))
    folded = Folded([PAIRS], items(2, candidates=2), [*made, lost])
    assert folded.scores["pairs"] == {"i0": 0.5}
    (summary,) = summed(folded).criteria
    assert (summary.scored_items, summary.order_pairs, summary.order_flips) == (1, 1, 1)


def test_intervals_are_over_items_however_many_verdicts_each_has() -> None:
    """Equal to a bootstrap that draws items one by one."""
    dice = random.Random(3)
    levels = {f"i{at}": [dice.randint(1, 5) for _ in range(dice.randint(1, 4))] for at in range(30)}
    made = [
        replace(
            scored(item, "rated", (level - 1) / 4, "a/x", sample),
            dimensions=(DimensionScore(dimension="right", level=level),),
        )
        for item, said in levels.items()
        for sample, level in enumerate(said)
    ]
    (summary,) = summed(Folded([RATED], items(30), made)).criteria
    means = [math.fsum(said) / len(said) for said in levels.values()]
    drawn = sorted(math.fsum(dice.choices(means, k=30)) / 30 for _ in range(4000))
    right = summary.dimensions[0]
    assert right.scored == sum(map(len, levels.values())) == sum(right.levels)
    assert right.mean.value == pytest.approx(math.fsum(means) / 30)
    assert right.mean.low == pytest.approx(drawn[100], abs=0.1)
    assert right.mean.high == pytest.approx(drawn[3900], abs=0.1)
    assert summary.mean.low == pytest.approx(((right.mean.low or 0) - 1) / 4, abs=0.02)


def test_a_mean_is_corrected_by_what_people_said_of_a_part() -> None:
    given_items = items(100)
    made = [scored(item.item_id, "same", 0.8 + 0.1 * (at % 3)) for at, item in enumerate(given_items)]
    people = {item.item_id: 0.6 + 0.1 * (at % 3) for at, item in enumerate(given_items) if at < 40}
    (summary,) = summed(Folded([SAME], given_items, made), people={"same": people}).criteria
    assert summary.corrected_on == 40
    assert summary.corrected_mean.value == pytest.approx((summary.mean.value or 0) - 0.2)
    (plain,) = summed(Folded([SAME], given_items, made)).criteria
    assert (plain.corrected_mean.value, plain.corrected_on) == (None, 0)


def rating(level: int = 0, dimension: str = "", rater: str = "ada", preferred: int | None = None) -> Rating:
    return Rating(subject="s", rubric="two", rater=rater, level=level, dimension=dimension, preferred=preferred)


@pytest.mark.parametrize(
    ("ratings", "mode", "score"),
    [
        ([rating(3)], JudgeMode.POINTWISE, 0.5),
        ([rating(1), rating(5, rater="bob")], JudgeMode.POINTWISE, 0.5),
        ([rating(5, "right"), rating(1, "short")], JudgeMode.POINTWISE, 0.75),
        ([rating(5, "right")], JudgeMode.POINTWISE, None),
        ([rating(preferred=1)], JudgeMode.PAIRWISE, 0.0),
        ([rating(preferred=-1)], JudgeMode.PAIRWISE, 0.5),
        ([rating(3)], JudgeMode.PAIRWISE, None),
        ([], JudgeMode.POINTWISE, None),
    ],
)
def test_ratings_stand_on_the_scale_of_scores(ratings: Sequence[Rating], mode: JudgeMode, score: float | None) -> None:
    assert score_of(ratings, rubric(), mode) == score
