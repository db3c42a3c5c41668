import pytest
from msgspec.structs import replace
from tests.server.audit.bench import AXES, items

from whet_server.audit.variants import ORDERS, OTHER, PADDING, Design, design, formatted, padded, planted
from whet_server.judging import AuditAxis, Item, JudgeMode
from whet_server.llm.sim.judge import plain, quality
from whet_server.values import ModelName

JUDGE = ModelName("house/judge")
TEXT = "The seal is hot. Check it first:\nopen the valve. Then wait 5 minutes."


def designed(mode: JudgeMode = JudgeMode.POINTWISE, *, count: int = 4, candidates: int = 1) -> Design:
    return design(items(count, candidates=candidates), AXES, mode, JUDGE)


@pytest.mark.parametrize("mode", [JudgeMode.POINTWISE, JudgeMode.PAIRWISE])
def test_every_comparison_names_items_that_are_there_and_differ(mode: JudgeMode) -> None:
    made = designed(mode, candidates=2)
    named = {item.item_id: item for item in made.items}
    assert len(named) == len(made.items)
    for each in made.comparisons:
        assert (each.before == each.after) is (each.axis is AuditAxis.POSITION)
        if each.before != each.after:
            before, after = named[each.before], named[each.after]
            assert (before.input, before.candidates) != (after.input, after.candidates)
            assert before.candidates[1:] == after.candidates[1:] or each.axis is AuditAxis.SELF_PREFERENCE
    assert {each.axis for each in made.comparisons} == {None, *AXES}
    assert {each.source for each in made.comparisons} == {f"row-{n}" for n in range(4)}


def test_a_pointwise_judge_is_shown_pairs_for_the_position_only() -> None:
    made = designed(candidates=3)
    pairs = {item.item_id for item in made.items if len(item.candidates) == 2}
    assert pairs == {each.before for each in made.comparisons if each.axis is AuditAxis.POSITION}
    assert all(len(item.candidates) == 1 for item in made.items if item.item_id not in pairs)


def test_nobody_is_told_who_wrote_an_answer_but_by_the_signature() -> None:
    item = Item(item_id="a", input="?", candidates=("x",), writers=(JUDGE,), fields={"writer": JUDGE})
    made = design([item], AXES, JudgeMode.POINTWISE, JUDGE)
    assert not any(each.writers or each.fields for each in made.items)
    signed = [each.output for each in made.items if "Written by" in each.output]
    assert signed == [f"x\n\nWritten by {OTHER}", f"x\n\nWritten by {JUDGE}"]


def test_an_item_that_repeats_another_is_no_further_evidence() -> None:
    given = items(3)
    again = [replace(item, item_id=f"again-{item.item_id}") for item in given]
    assert design([*given, *again], AXES, JudgeMode.POINTWISE, JUDGE) == designed(count=3)


def test_every_order_is_tried_in_every_place() -> None:
    tried = {
        (order, place)
        for each in designed(count=12).comparisons
        for order in ORDERS
        for place in ("before", "inside", "behind")
        if each.axis is AuditAxis.INJECTION and order in each.change and each.change.startswith(place)
    }
    assert len(tried) == 3 * len(ORDERS)


@pytest.mark.parametrize(
    "changed",
    [padded(TEXT, 12), formatted(TEXT), *(planted(TEXT, order, place) for order in ORDERS for place in range(3))],
)
def test_a_change_keeps_every_sentence_and_a_fair_simulated_judge_sees_the_same_answer(changed: str) -> None:
    assert all(word in changed for word in ("seal is hot.", "open", "valve.", "wait 5 minutes."))
    asked = "Why is the seal of the valve hot?"
    assert plain(changed) == plain(TEXT)
    assert quality(asked, "", changed) == quality(asked, "", TEXT)


def test_padding_says_nothing() -> None:
    assert plain(" ".join(PADDING)) == ""
