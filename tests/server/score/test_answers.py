import pytest

from whet_server.judging import Item
from whet_server.score.answers import choice, last_number, named_choice, numeric
from whet_server.score.budget import cost, latency
from whet_server.score.finding import DoesNotApply
from whet_server.score.spec import ChoiceScorer, CostScorer, LatencyScorer, NumericScorer
from whet_server.values import Nanos


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 42.", 42),
        ("first 1, then 2", 2),
        ("1,234,567.5 in all", 1234567.5),
        ("12 345", 345),
        ("12\u202f345", 12345),
        ("1_000", 1000),
        ("-3", -3),
        ("\u22123.5", -3.5),
        ("10-20", 20),
        ("about -1.5e-3", -0.0015),
        ("6.02E23", 6.02e23),
        ("50%", 0.5),
        ("12.5 % of it", 0.125),
        (".5", 0.5),
        ("$5", 5),
        ("5km", 5),
        ("x=7", 7),
        ("GPT4 says 3", 3),
        ("1e999 or 7", 7),
        ("١٢", 12),
        ("no number", None),
        ("v2", None),
        ("", None),
    ],
)
def test_the_last_number_is_found_as_people_write_it(text: str, number: float | None) -> None:
    assert last_number(text) == (None if number is None else pytest.approx(number))


@pytest.mark.parametrize(
    ("candidate", "reference", "scorer", "score"),
    [
        ("so 42", "42", NumericScorer(), 1),
        ("0.1 + 0.2 = 0.30000000000000004", "0.3", NumericScorer(), 1),
        ("1.1", "1", NumericScorer(tolerance=0.1), 1),
        ("1.11", "1", NumericScorer(tolerance=0.1), 0),
        ("1,010", "1000", NumericScorer(relative=0.01), 1),
        ("1,011", "1000", NumericScorer(relative=0.01), 0),
        ("no idea", "1000", NumericScorer(tolerance=1e9), 0),
    ],
)
def test_a_number_is_near_enough_or_not(candidate: str, reference: str, scorer: NumericScorer, score: float) -> None:
    assert numeric(Item(candidates=(candidate,), reference=reference), scorer).score == score


def test_a_number_says_how_far_off_it_is() -> None:
    found = numeric(Item(candidates=("7",), reference="4"), NumericScorer())
    assert (found.value, found.rationale) == (3, "7 against 4")
    with pytest.raises(DoesNotApply, match="no number"):
        numeric(Item(candidates=("7",), reference="four"), NumericScorer())


CITIES = ("Paris", "London", "New York", "York")


@pytest.mark.parametrize(
    ("text", "choices", "index"),
    [
        ("B", (), 1),
        ("b)", (), 1),
        ("(b)", (), 1),
        ("**B**", (), 1),
        ("The answer is (B).", (), 1),
        ("Answer: c", (), 2),
        ("I think A is tempting, but the answer is D", (), 3),
        ("B. Because it rains", (), 1),
        ("A dog barks, so it must be C", (), 2),
        ("I would say B or C", (), None),
        ("It rains", (), None),
        ("London", CITIES, 1),
        ("b)", CITIES, 1),
        ("The answer is (A).", CITIES, 0),
        ("It is london, I believe.", CITIES, 1),
        ("New York!", CITIES, 2),
        ("It lies in new york state", CITIES, 2),
        ("Paris or London", CITIES, None),
        ("Londonderry", CITIES, None),
        ("", CITIES, None),
    ],
)
def test_a_choice_is_named_by_letter_or_by_its_words(text: str, choices: tuple[str, ...], index: int | None) -> None:
    assert named_choice(text, choices) == index


def test_a_choice_is_right_wrong_or_undefined() -> None:
    scorer = ChoiceScorer(choices=CITIES)
    assert choice(Item(candidates=("The answer is (B).",), reference="London"), scorer).score == 1
    wrong = choice(Item(candidates=("Paris",), reference="B"), scorer)
    assert (wrong.score, wrong.rationale) == (0, "Paris against London")
    assert choice(Item(candidates=("Paris or London",), reference="B"), scorer).score == 0
    with pytest.raises(DoesNotApply, match="none of the choices"):
        choice(Item(candidates=("Paris",), reference="Rome"), scorer)


@pytest.mark.parametrize(("seconds", "score"), [(0, 1), (2, 1), (5, 0.5), (8, 0), (100, 0)])
def test_latency_falls_from_the_target_to_four_times_it(seconds: int, score: float) -> None:
    found = latency(Item(candidates=("x",), latency_ns=seconds * 10**9), LatencyScorer(target_ns=2 * 10**9))
    assert (found.score, found.value) == (score, seconds)


def test_cost_falls_from_the_target_to_the_limit() -> None:
    scorer = CostScorer(target=Nanos(100), limit=Nanos(300))
    scores = [cost(Item(candidates=("x",), cost=Nanos(amount)), scorer).score for amount in (0, 100, 150, 300)]
    assert scores == [1, 1, 0.75, 0]


def test_what_nobody_measured_has_no_score() -> None:
    with pytest.raises(DoesNotApply, match="how long"):
        latency(Item(candidates=("x",)), LatencyScorer(target_ns=1))
    with pytest.raises(DoesNotApply, match="cost"):
        cost(Item(candidates=("x",)), CostScorer(target=Nanos(1)))
