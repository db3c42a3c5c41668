"""Metrics against published examples, hand-computed values and other people's code."""

import math

import pytest
from sacrebleu import sentence_bleu, sentence_chrf, sentence_ter

from whet_server.judging import Item
from whet_server.score.finding import DoesNotApply, Finding
from whet_server.score.overlap import MAX_CHARACTERS, overlap
from whet_server.score.spec import Normalisation, OverlapMetric, OverlapScorer

GUNMAN = "police killed the gunman"
"""The example of Lin (2004), section 3."""


def measured(metric: OverlapMetric, candidate: str, reference: str, how: Normalisation = Normalisation()) -> Finding:
    item = Item(candidates=(candidate,), reference=reference)
    return overlap(item, OverlapScorer(metric=metric, normalisation=how))


@pytest.mark.parametrize(
    ("metric", "candidate", "score"),
    [
        # Lin (2004): ROUGE-2 cannot tell S2 from S3, ROUGE-L can: 3/4 against 2/4.
        (OverlapMetric.ROUGE_L, "police kill the gunman", 3 / 4),
        (OverlapMetric.ROUGE_L, "the gunman kill police", 2 / 4),
        (OverlapMetric.ROUGE_L, "the gunman police killed", 2 / 4),
        (OverlapMetric.ROUGE_2, "police kill the gunman", 1 / 3),
        (OverlapMetric.ROUGE_2, "the gunman kill police", 1 / 3),
        (OverlapMetric.ROUGE_1, "police kill the gunman", 3 / 4),
        (OverlapMetric.ROUGE_1, "the gunman, POLICE, killed!", 1.0),
        # Precision 1, recall 1/2: F1 2/3.
        (OverlapMetric.ROUGE_1, "police killed", 2 / 3),
        (OverlapMetric.ROUGE_L, "police killed", 2 / 3),
        # A word counts as often as the reference has it.
        (OverlapMetric.ROUGE_1, "the the the the", 1 / 4),
    ],
)
def test_rouge_has_the_values_of_its_paper(metric: OverlapMetric, candidate: str, score: float) -> None:
    assert measured(metric, candidate, GUNMAN).score == pytest.approx(score, abs=1e-12)


def test_rouge_says_precision_and_recall() -> None:
    assert measured(OverlapMetric.ROUGE_1, "police killed", GUNMAN).rationale == "precision 1.000, recall 0.500"


@pytest.mark.parametrize(
    ("candidate", "reference", "score"),
    [
        ("The Denver Broncos", "Denver Broncos", 1.0),
        ("the quick brown fox", "a quick fox", 4 / 5),
        ("Paris, of course!", "Paris", 1 / 2),
        ("London", "Paris", 0.0),
        ("", "Paris", 0.0),
    ],
)
def test_token_f1_counts_as_squad_does(candidate: str, reference: str, score: float) -> None:
    assert measured(OverlapMetric.TOKEN_F1, candidate, reference).score == pytest.approx(score, abs=1e-12)


PAIRS = [
    ("The dog bit the man.", "The dog had bit the man."),
    ("It wasn't surprising.", "It was not unexpected."),
    ("Short", "A much longer reference that shares nothing"),
    ("", "empty candidate"),
    ("Der Hund biss den Mann heftig", "Den Mann biss der Hund"),
]


@pytest.mark.parametrize(("candidate", "reference"), PAIRS)
def test_bleu_chrf_and_ter_are_those_of_sacrebleu(candidate: str, reference: str) -> None:
    bleu = sentence_bleu(candidate, [reference]).score / 100
    assert measured(OverlapMetric.BLEU, candidate, reference).value == pytest.approx(bleu, abs=1e-9)
    chrf = sentence_chrf(candidate, [reference]).score / 100
    assert measured(OverlapMetric.CHRF, candidate, reference).value == pytest.approx(chrf, abs=1e-9)
    rate = sentence_ter(candidate, [reference]).score / 100
    found = measured(OverlapMetric.TER, candidate, reference)
    assert found.value == pytest.approx(rate, abs=1e-9)
    assert found.score == pytest.approx(max(0.0, 1 - rate), abs=1e-9)


@pytest.mark.parametrize(
    ("metric", "candidate", "reference", "score"),
    [
        (OverlapMetric.LEVENSHTEIN, "kitten", "sitting", 1 - 3 / 7),
        (OverlapMetric.LEVENSHTEIN, "flaw", "lawn", 1 - 2 / 4),
        # Winkler (1990), table of examples.
        (OverlapMetric.JARO_WINKLER, "MARTHA", "MARHTA", 0.9611),
        (OverlapMetric.JARO_WINKLER, "DWAYNE", "DUANE", 0.84),
        (OverlapMetric.JARO_WINKLER, "DIXON", "DICKSONX", 0.8133),
    ],
)
def test_edit_distances_have_the_published_values(
    metric: OverlapMetric, candidate: str, reference: str, score: float
) -> None:
    assert measured(metric, candidate, reference).score == pytest.approx(score, abs=5e-5)


@pytest.mark.parametrize("metric", OverlapMetric)
def test_a_text_equals_itself(metric: OverlapMetric) -> None:
    assert measured(metric, GUNMAN, GUNMAN).score == pytest.approx(1.0)


def test_case_counts_when_it_shall() -> None:
    how = Normalisation(case_sensitive=True)
    assert measured(OverlapMetric.ROUGE_1, "POLICE", "police", how).score == 0
    assert measured(OverlapMetric.ROUGE_1, "POLICE", "police").score == 1


@pytest.mark.parametrize("metric", OverlapMetric)
def test_what_is_too_long_to_compare_has_no_score(metric: OverlapMetric) -> None:
    with pytest.raises(DoesNotApply, match="at most"):
        measured(metric, "word " * MAX_CHARACTERS, "word")


@pytest.mark.parametrize("metric", [OverlapMetric.TOKEN_F1, OverlapMetric.ROUGE_2])
def test_a_reference_without_words_defines_no_overlap(metric: OverlapMetric) -> None:
    with pytest.raises(DoesNotApply, match="too few words"):
        measured(metric, "anything", "...")


def test_words_of_every_script_are_words() -> None:
    assert measured(OverlapMetric.ROUGE_1, "полиция убила", "Полиция убила бандита").score == pytest.approx(4 / 5)
    assert math.isclose(measured(OverlapMetric.TOKEN_F1, "¿Qué?", "qué").score, 1.0)
