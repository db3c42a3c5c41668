import random
import time
from collections.abc import Iterable

import pytest
from tests.server.fanout.evidence_cases import CASES, HELD_OUT, Case, Place

from whet_server.fanout.align import MAX_SPANS
from whet_server.fanout.evidence import Evidence, compare
from whet_server.fanout.sentences import split
from whet_server.log.events import Span
from whet_server.values import BranchId


def evidence(case: Case) -> Evidence:
    return compare(case.final, {BranchId(branch): text for branch, text in case.branches.items()})


def place(case: Case, span: Span) -> Place:
    starts = [sentence.start for sentence in split(case.branches[span.branch_id])]
    return span.branch_id, starts.index(span.start)


class Tally:
    """Right, superfluous and missed labels."""

    def __init__(self) -> None:
        self.right = self.wrong = self.missed = 0
        self.lines: list[str] = []

    def add(self, name: str, found: Iterable[object], expected: Iterable[object]) -> None:
        found, expected = set(found), set(expected)
        self.right += len(found & expected)
        self.wrong += len(found - expected)
        self.missed += len(expected - found)
        if found != expected:
            self.lines.append(f"{name}: superfluous {found - expected}, missed {expected - found}")

    @property
    def precision(self) -> float:
        return self.right / (self.right + self.wrong)

    @property
    def recall(self) -> float:
        return self.right / (self.right + self.missed)

    def __repr__(self) -> str:
        return "\n".join([f"precision {self.precision:.3f}, recall {self.recall:.3f}", *self.lines])


def tallies(cases: Iterable[Case]) -> tuple[Tally, Tally, Tally]:
    """Count what is found for support, contradictions and sole claims."""
    support, clashes, soles = Tally(), Tally(), Tally()
    for case in cases:
        found = evidence(case)
        assert len(found.sentences) == len(case.supports), case.name
        for sentence, expected in zip(found.sentences, case.supports, strict=True):
            support.add(case.name, (place(case, span) for span in sentence.support), expected)
        pairs = {(*sorted((pair.left.branch_id, pair.right.branch_id)), pair.kind) for pair in found.contradictions}
        clashes.add(case.name, pairs, case.clashes)
        soles.add(case.name, (place(case, claim.span) for claim in found.sole_claims), case.soles)
    return support, clashes, soles


def test_evidence_is_found_and_little_is_made_up() -> None:
    support, clashes, soles = tallies(CASES)
    assert support.precision >= 0.97, support
    assert support.recall >= 0.9, support
    assert clashes.precision >= 0.9, clashes
    assert clashes.recall >= 0.9, clashes
    assert soles.precision >= 0.9, soles
    assert soles.recall >= 0.95, soles


def test_the_thresholds_hold_on_cases_they_were_not_set_on() -> None:
    support, clashes, soles = tallies(HELD_OUT)
    assert support.precision >= 0.95, support
    assert support.recall >= 0.75, support
    assert clashes.precision >= 0.95, clashes
    assert clashes.recall >= 0.6, clashes
    assert soles.precision >= 0.8, soles
    assert soles.recall >= 0.95, soles


def made_up(chance: random.Random, words: int, sentences: int) -> str:
    vocabulary = [f"{first}{second}o" for first in "bdfgklmnprst" for second in ("ala", "eri", "ini", "oru", "uma")]
    return " ".join(
        " ".join(chance.choices(vocabulary, k=words)).capitalize() + f" {chance.randint(1, 9)} not."
        for _ in range(sentences)
    )


@pytest.mark.parametrize("seed", range(5))
def test_every_span_lies_in_its_text_and_the_best_comes_first(seed: int) -> None:
    chance = random.Random(seed)
    texts = {BranchId(f"b{at}"): made_up(chance, 6, 8) + " 👋 Grüße." for at in range(6)}
    final = " ".join(chance.sample([s.text for text in texts.values() for s in split(text)], 12))
    found = compare(final, texts)
    assert [final[s.start : s.end] for s in found.sentences] == [s.text for s in split(final)]
    for sentence in found.sentences:
        assert 0 < len(sentence.support) <= MAX_SPANS
        scores = [span.score for span in sentence.support]
        assert scores == sorted(scores, reverse=True)
        best = sentence.support[0]
        assert texts[best.branch_id][best.start : best.end] == final[sentence.start : sentence.end]
        assert best.score == 1.0
    for claim in found.sole_claims:
        assert texts[claim.span.branch_id][claim.span.start : claim.span.end] == claim.text
    for pair in found.contradictions:
        assert pair.left.branch_id != pair.right.branch_id
        assert texts[pair.left.branch_id][pair.left.start : pair.left.end] == pair.left_text
        assert texts[pair.right.branch_id][pair.right.start : pair.right.end] == pair.right_text


@pytest.mark.parametrize(("branches", "seconds"), [(300, 6), pytest.param(1_000, 20, marks=pytest.mark.slow)])
def test_the_comparison_of_many_long_branches_is_bounded(branches: int, seconds: float) -> None:
    chance = random.Random(7)
    texts = {BranchId(f"b{at}"): made_up(chance, 10, 20) for at in range(branches)}
    started = time.process_time()  # this process alone: others may be busy
    compare(made_up(chance, 10, 40), texts)
    assert time.process_time() - started < seconds


def test_with_one_branch_nothing_is_sole_and_nothing_contradicts() -> None:
    found = compare("It is so.", {BranchId("b1"): "It is so. Python has many uses. Python has no uses."})
    assert not found.sole_claims
    assert not found.contradictions


def test_texts_without_words_give_no_evidence() -> None:
    found = compare("", {BranchId("b1"): "", BranchId("b2"): "...\n---\n"})
    assert found == Evidence()
