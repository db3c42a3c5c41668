import time
from collections.abc import Callable

import pytest

from whet_server.judging import Item
from whet_server.patterns import compiled
from whet_server.score.finding import DoesNotApply
from whet_server.score.matching import contains, exact, keywords, regex
from whet_server.score.normal import normal
from whet_server.score.spec import ContainsScorer, ExactScorer, KeywordsScorer, Normalisation, RegexScorer


def item(candidate: str, reference: str = "") -> Item:
    return Item(candidates=(candidate,), reference=reference)


@pytest.mark.parametrize(
    ("candidate", "reference", "how", "score"),
    [
        ("  Forty\n two ", "forty two", Normalisation(), 1),
        ("Forty two", "forty two", Normalisation(case_sensitive=True), 0),
        ("forty  two", "forty two", Normalisation(keep_whitespace=True), 0),
        ("forty-two!", "fortytwo", Normalisation(ignore_punctuation=True), 1),
        ("the Answer", "an answer", Normalisation(ignore_articles=True), 1),
        ("theory", "ory", Normalisation(ignore_articles=True), 0),
        ("caf\u00e9", "cafe\u0301", Normalisation(case_sensitive=True), 1),
        ("STRASSE", "straße", Normalisation(), 1),
    ],
)
def test_texts_are_equal_once_they_are_made_alike(
    candidate: str, reference: str, how: Normalisation, score: float
) -> None:
    assert exact(item(candidate, reference), ExactScorer(normalisation=how)).score == score


def test_nothing_is_compared_with_nothing() -> None:
    with pytest.raises(DoesNotApply, match="no reference"):
        exact(item("text"), ExactScorer())
    with pytest.raises(DoesNotApply, match="no reference"):
        contains(item("text"), ContainsScorer())
    with pytest.raises(DoesNotApply, match="one candidate"):
        exact(Item(candidates=("a", "b"), reference="a"), ExactScorer())


def test_a_text_is_found_or_not() -> None:
    assert contains(item("The answer is Yes."), ContainsScorer(text="yes")).score == 1
    assert contains(item("The answer is Yes."), ContainsScorer(text="yes", absent=True)).score == 0
    assert contains(item("The answer is Yes.", "is  yes"), ContainsScorer()).score == 1


@pytest.mark.parametrize(
    ("text", "word", "there"),
    [
        ("The budget is set.", "budget", True),
        ("budgetary", "budget", False),
        ("sub-budget, subbudget", "budget", True),
        ("subbudget and budgets", "budget", False),
        ("C++ is a language", "C++", True),
        ("l'été dernier", "été", True),
        ("étés", "été", False),
        ("данные готовы", "данные", True),
        ("метаданные", "данные", False),
        ("这个预算很大", "预算", True),
        ("action  item list", "action item", True),
        ("नमस्ते", "नमस", False),
    ],
)
def test_keywords_are_whole_words_of_any_script(text: str, word: str, there: bool) -> None:  # noqa: FBT001 -- a case
    assert keywords(item(text), KeywordsScorer(present=(word,))).score == there
    assert keywords(item(text), KeywordsScorer(absent=(word,))).score == (not there)


def test_the_share_of_the_demands_is_said_with_what_is_missing() -> None:
    found = keywords(
        item("Budget: 5. Owner: TBD."), KeywordsScorer(present=("budget", "owner", "date"), absent=("tbd",))
    )
    assert found.score == 0.5
    assert found.rationale == "missing: date; unwanted: tbd"


def test_an_expression_is_found_anywhere_or_must_be_the_whole() -> None:
    assert regex(item("id 42!"), RegexScorer(pattern=r"\d+")).score == 1
    assert regex(item("id 42!"), RegexScorer(pattern=r"\d+", whole=True)).score == 0
    assert regex(item("42"), RegexScorer(pattern=r"\d+", whole=True)).score == 1
    assert regex(item("id 42!"), RegexScorer(pattern=r"\d+", absent=True)).score == 0
    assert regex(item("Ça va, été"), RegexScorer(pattern=r"(?i)\bé?té|ça\s\pL+")).score == 1


@pytest.mark.parametrize("pattern", ["(", r"(a)\1", "(?=a)b", "a{2000}", "(?:(?:a{999}){999}){99}"])
def test_an_expression_that_is_none_is_refused_with_what_is_wrong(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"no expression of RE2: .+"):
        compiled(pattern)


def fastest(work: Callable[[], object]) -> float:
    """Return the processor time of the fastest of five runs."""
    times = []
    for _ in range(5):
        start = time.process_time_ns()
        work()
        times.append(time.process_time_ns() - start)
    return min(times)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){12}$", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_a_catastrophic_expression_takes_linear_time(pattern: str) -> None:
    """Ten times the text takes about ten times as long; a backtracking engine would take 2^10 times as long for ten
    characters more.
    """
    compiled(pattern)
    short, long = (
        fastest(lambda text="a" * size + "!": regex(item(text), RegexScorer(pattern=pattern)))  # type: ignore[misc]  # a default binds it
        for size in (20_000, 200_000)
    )
    assert long / short < 40


@pytest.mark.parametrize("gap", ["", " ", "\n \t", " " * 60_000])
def test_a_text_of_many_pieces_is_made_alike_as_a_whole(gap: str) -> None:
    text = f" {'Word, the ' * 12_345}{gap}{'X' * 120_000}{gap}tail {gap}"
    assert normal(text, Normalisation()) == " ".join(text.lower().split())
    assert normal(text, Normalisation(keep_whitespace=True)) == text.lower()
    words = [word for word in text.lower().replace(",", "").split() if word != "the"]
    assert normal(text, Normalisation(ignore_punctuation=True, ignore_articles=True)) == " ".join(words)
