import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.llm.house import HOME, RUN, open_house

from whet_server.errors import InvalidField, Reason, ScorerNotFound
from whet_server.judging import Direction, Item, Outcome, Verdict
from whet_server.score.finding import DoesNotApply, Finding
from whet_server.score.kinds import KINDS, LIGHT, built_in, info_of, measure
from whet_server.score.names import named
from whet_server.score.scorers import SHORT, Scorers
from whet_server.score.spec import (
    ChoiceScorer,
    ContainsScorer,
    CostScorer,
    EmbeddingScorer,
    ExactScorer,
    JsonScorer,
    KeywordsScorer,
    LatencyScorer,
    LengthScorer,
    MarkdownScorer,
    Normalisation,
    NumericScorer,
    OverlapMetric,
    OverlapScorer,
    RegexScorer,
    RemoteScorer,
    Scorer,
    kind_of,
    name_of,
)
from whet_server.values import ModelName, Nanos

STRICT = Normalisation(case_sensitive=True, keep_whitespace=True, ignore_punctuation=True, ignore_articles=True)
EVERY: tuple[Scorer, ...] = (
    ExactScorer(),
    ExactScorer(normalisation=STRICT),
    ContainsScorer(),
    ContainsScorer(text="yes", absent=True, normalisation=STRICT),
    KeywordsScorer(present=("a", "预算"), absent=("no",)),
    RegexScorer(pattern=r"(?i)\bé|[^a-z]+$"),
    JsonScorer(schema='{"type": ["object", "string"], "patternProperties": {"^a": {"type": "integer"}}}', fenced=True),
    MarkdownScorer(headings=("Plan",), min_list_items=1, min_code_blocks=1, min_tables=1, ordered_headings=True),
    LengthScorer(min=2, max=4),
    LengthScorer(min=2, characters=True),
    NumericScorer(tolerance=0.5, relative=0.1),
    ChoiceScorer(),
    ChoiceScorer(choices=("yes", "no", "maybe not")),
    *(OverlapScorer(metric=metric) for metric in OverlapMetric),
    OverlapScorer(metric=OverlapMetric.LEVENSHTEIN, normalisation=STRICT),
    EmbeddingScorer(),
    LatencyScorer(target_ns=10**9),
    CostScorer(target=Nanos(10), limit=Nanos(30)),
)
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            [*"(){}[]#*`|-,.%'\n\t ", "1", "1,000", "-2.5e3", "yes", "no", "B)", "é", "e\u0301", "预算", "\x00", '"a"']
        ),
        max_size=20,
    ).map("".join),
)
ITEMS = st.builds(
    Item,
    candidates=st.lists(TEXTS, max_size=2).map(tuple),
    reference=TEXTS,
    latency_ns=st.none() | st.integers(0, 10**12),
    cost=st.none() | st.integers(0, 10**12).map(Nanos),
)


@pytest.fixture
async def scorers() -> AsyncIterator[Scorers]:
    async with open_house() as house:
        made = Scorers(house.caller, house.endpoints)
        try:
            yield made
        finally:
            await made.close()


async def verdict_of(scorers: Scorers, scorer: Scorer, candidate: str, reference: str = "", **given: Any) -> Verdict:
    item = Item(item_id="1", candidates=(candidate,), reference=reference, **given)
    return await scorers.score(HOME, RUN, item, "c", scorer)


def said(item: Item, scorer: Scorer) -> Finding | str:
    """Return what a scorer finds, or why it finds nothing."""
    try:
        return measure(scorer, item)
    except DoesNotApply as error:
        return str(error)


def test_every_kind_of_scorer_is_tried_here() -> None:
    assert {type(scorer) for scorer in EVERY} == set(KINDS)


@pytest.mark.parametrize("scorer", EVERY, ids=name_of)
@settings(max_examples=25, deadline=None)
@given(item=ITEMS)
def test_a_scorer_says_the_same_of_any_text_again_and_raises_nothing(scorer: Scorer, item: Item) -> None:
    first, second = said(item, scorer), said(item, scorer)
    assert first == second
    assert isinstance(first, str) or 0 <= first.score <= 1


async def test_a_verdict_carries_score_value_and_words(scorers: Scorers) -> None:
    verdict = await verdict_of(scorers, KeywordsScorer(present=("a", "b")), "a")
    assert (verdict.item_id, verdict.criterion, verdict.outcome) == ("1", "c", Outcome.SCORED)
    assert (verdict.score, verdict.value, verdict.rationale) == (0.5, 0.5, "missing: b")
    assert verdict.latency_ns > 0


@pytest.mark.parametrize("scorer", [scorer for scorer in EVERY if info_of(scorer).needs_reference], ids=name_of)
async def test_without_what_it_needs_a_scorer_abstains_and_says_why(scorers: Scorers, scorer: Scorer) -> None:
    verdict = await verdict_of(scorers, scorer, "an answer: 42, B")
    assert (verdict.outcome, verdict.score) == (Outcome.ABSTAINED, None)
    assert verdict.failure is not None
    assert verdict.failure.reason == Reason.NOT_APPLICABLE
    assert "reference" in verdict.rationale


@pytest.mark.parametrize(
    ("scorer", "candidate", "threads"),
    [
        (ExactScorer(), "short", 0),
        (ExactScorer(), "long" * SHORT, 1),
        (RegexScorer(pattern="a"), "short", 1),
    ],
)
async def test_long_texts_and_libraries_keep_out_of_the_loop(
    scorers: Scorers, scorer: Scorer, candidate: str, threads: int
) -> None:
    await verdict_of(scorers, scorer, candidate, "reference")
    assert len(scorers._threads._threads) == threads


async def test_whoever_scores_many_items_leaves_the_loop_to_others(scorers: Scorers) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    for _ in range(100):
        await verdict_of(scorers, ExactScorer(), "a", "a")
    beside.cancel()
    assert turns >= 100


@pytest.mark.parametrize(
    ("scorer", "field"),
    [
        (RegexScorer(pattern="("), "c[0].regex.pattern"),
        (JsonScorer(schema="{"), "c[0].json.schema"),
        (KeywordsScorer(), "c[0].keywords"),
        (KeywordsScorer(present=("b", "!"), normalisation=STRICT), "c[0].keywords.present[1]"),
        (MarkdownScorer(), "c[0].markdown"),
        (LengthScorer(), "c[0].length"),
        (LengthScorer(min=5, max=4), "c[0].length.max"),
        (ChoiceScorer(choices=("Yes", "yes.")), "c[0].choice.choices[1]"),
        (ChoiceScorer(choices=("?",)), "c[0].choice.choices[0]"),
        (LatencyScorer(), "c[0].latency.target"),
        (LatencyScorer(target_ns=5, limit_ns=5), "c[0].latency.limit"),
        (CostScorer(), "c[0].cost.target"),
        (RemoteScorer(name="mine", settings="{"), "c[0].remote.settings"),
        (EmbeddingScorer(model=ModelName("nowhere")), "c[0].embedding.model"),
        (EmbeddingScorer(model=ModelName("sim/fast")), "c[0].embedding.model"),
    ],
)
async def test_settings_that_cannot_be_used_are_refused_by_their_field(
    scorers: Scorers, scorer: Scorer, field: str
) -> None:
    with pytest.raises(InvalidField) as caught:
        scorers.check(HOME, scorer, "c[0]")
    assert [path for path, _ in caught.value.violations] == [field]


@pytest.mark.parametrize("scorer", EVERY, ids=name_of)
async def test_settings_that_can_be_used_are_not(scorers: Scorers, scorer: Scorer) -> None:
    scorers.check(HOME, scorer, "c")
    info = scorers.info(HOME, scorer)
    assert info.name == name_of(scorer)
    assert info.description.endswith(".")


async def test_a_user_s_own_scorer_must_be_connected(scorers: Scorers) -> None:
    for ask in (
        lambda: scorers.check(HOME, RemoteScorer(name="mine"), "c"),
        lambda: scorers.info(HOME, RemoteScorer(name="mine")),
    ):
        with pytest.raises(ScorerNotFound, match="mine"):
            ask()


@pytest.mark.parametrize(
    ("text", "scorer"),
    [
        ("exact", ExactScorer()),
        ("contains", ContainsScorer()),
        ("contains:a:b", ContainsScorer(text="a:b")),
        ("keywords:budget, owner ,-tbd", KeywordsScorer(present=("budget", "owner"), absent=("tbd",))),
        (r"regex:^\d+:$", RegexScorer(pattern=r"^\d+:$")),
        ("json", JsonScorer()),
        ('json:{"type":"object"}', JsonScorer(schema='{"type":"object"}')),
        ("markdown:Summary,Risks", MarkdownScorer(headings=("Summary", "Risks"))),
        ("length:100", LengthScorer(max=100)),
        ("length:20-", LengthScorer(min=20)),
        ("length:20-100", LengthScorer(min=20, max=100)),
        ("numeric", NumericScorer()),
        ("numeric:0.5", NumericScorer(tolerance=0.5)),
        ("numeric:5%", NumericScorer(relative=0.05)),
        ("choice", ChoiceScorer()),
        ("choice:yes,no", ChoiceScorer(choices=("yes", "no"))),
        ("overlap", OverlapScorer()),
        ("overlap:rouge_l", OverlapScorer(metric=OverlapMetric.ROUGE_L)),
        ("embedding", EmbeddingScorer()),
        ("embedding:openai/small", EmbeddingScorer(model=ModelName("openai/small"))),
        ("latency:2", LatencyScorer(target_ns=2 * 10**9)),
        ("latency:0.5-8s", LatencyScorer(target_ns=5 * 10**8, limit_ns=8 * 10**9)),
        ("cost:$0.002", CostScorer(target=Nanos(2_000_000))),
        ("cost:0-0.01", CostScorer(target=Nanos(0), limit=Nanos(10_000_000))),
        ("remote:mine", RemoteScorer(name="mine")),
    ],
)
def test_a_scorer_is_named_with_an_argument(text: str, scorer: Scorer) -> None:
    assert named(text) == scorer


@pytest.mark.parametrize(
    "text",
    [
        *("", "nothing", "exact:x", "overlap:rouge_9", "regex:", "keywords:", "markdown", "length:", "length:a-b"),
        *("numeric:-1", "numeric:nan", "numeric:200%", "latency", "cost:dear", "cost:nan", "remote:", "remote:No"),
    ],
)
def test_a_name_that_stands_for_nothing_says_what_would(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w+: \S|There (is|are)|argument|Say"):
        named(text)


def test_the_list_has_every_kind_and_every_metric() -> None:
    names = [info.name for info in built_in()]
    assert len(set(names)) == len(names)
    assert {name.partition(":")[0] for name in names} == {kind_of(kind) for kind in KINDS}
    assert {name for name in names if ":" in name} == {f"overlap:{metric}" for metric in OverlapMetric}


def test_what_is_measured_has_the_direction_of_its_unit() -> None:
    lower = {info.name for info in built_in() if info.direction is Direction.LOWER}
    assert lower == {"length", "numeric", "latency", "cost", "overlap:ter"}
    assert set(LIGHT) < set(KINDS)


async def test_the_embedded_model_knows_what_is_near(scorers: Scorers) -> None:
    near = await verdict_of(scorers, EmbeddingScorer(), "The cat sat on the mat.", "A kitten rested on the rug.")
    far = await verdict_of(scorers, EmbeddingScorer(), "Interest rates rose again.", "A kitten rested on the rug.")
    same = await verdict_of(scorers, EmbeddingScorer(), "The cat sat.", "The cat sat.")
    assert near.score is not None
    assert far.score is not None
    assert far.score < near.score < 1
    assert same.score == pytest.approx(1)
    assert (near.model, near.totals.attempts) == ("", 0)


MEGABYTE = {
    "words": "lorem ipsum dolor sit amet " * 37_000,
    "one word": "a" * 1_000_000,
    "punctuation": "é. ,!?" * 166_000,
    "numbers": "1,234 " * 166_000,
    "brackets": "[(" * 500_000,
}


@pytest.mark.slow
@pytest.mark.parametrize("scorer", EVERY, ids=name_of)
async def test_a_text_of_a_megabyte_does_not_hold_up_the_loop(scorers: Scorers, scorer: Scorer) -> None:
    """The longest silence of the loop is measured beside what it is without any work: the machine may be busy."""
    await verdict_of(scorers, scorer, "a b", "a c", latency_ns=1, cost=1)
    for text in MEGABYTE.values():
        silences = []
        for _ in range(3):
            idle = await longest_silence(asyncio.sleep(0.1))
            busy = await longest_silence(verdict_of(scorers, scorer, text, text[:-1] + "x", latency_ns=1, cost=1))
            silences.append(busy - idle)
        assert min(silences) < 0.05


async def longest_silence(work: Coroutine[Any, Any, object]) -> float:
    """Return the longest time in seconds that the loop did not come round while something was done."""
    doing = asyncio.ensure_future(work)
    longest, last = 0.0, time.perf_counter()
    while not doing.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    await doing
    return longest
