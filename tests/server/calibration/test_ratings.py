"""People's ratings are kept with where they came from, and only the last of each rater counts."""

import time
from pathlib import Path

import pytest
from tests.server.calibration.room import HOME, PERSON, RUBRIC, RUN, Room, items

from whet_server.calibration.ratings import Added, Origin
from whet_server.calibration.sheet import Given
from whet_server.errors import InvalidField
from whet_server.judging import Item, Rating, RatingSource
from whet_server.store.sql import SqlStore
from whet_server.values import Role, Workspace


@pytest.fixture
async def room() -> Room:
    made = Room()
    await made.tone()
    return made


async def wrong(room: Room, text: str) -> list[str]:
    with pytest.raises(InvalidField) as caught:
        await room.sheet(text)
    assert await room.ratings.list(HOME) == []
    return [what for _, what in caught.value.violations]


async def refused(room: Room, rating: Rating, origin: Origin | None = None) -> str:
    with pytest.raises(InvalidField) as caught:
        await room.ratings.put(
            PERSON, [Given(rating=rating, path="ratings[0]")], origin or Origin(items=room.items, run_id=RUN)
        )
    return caught.value.violations[0][1]


async def test_a_later_rating_of_the_same_rater_counts_and_both_stay_on_record(room: Room) -> None:
    assert await room.rate({"i1": 2, "i2": 3}) == Added(added=2, replaced=0)
    assert await room.rate({"i1": 4}) == Added(added=0, replaced=1)
    assert await room.rate({"i1": 5}, rater="bob") == Added(added=1, replaced=0)
    assert [(each.rater, each.level) for each in await room.counting("i1")] == [("ada", 4), ("bob", 5)]
    kept = await room.ratings.list(HOME, subject=room.items["i1"].subject)
    assert [(each.rating.rater, each.rating.level) for each in kept] == [("bob", 5), ("ada", 4), ("ada", 2)]


async def test_dimensions_are_rated_beside_the_whole(room: Room) -> None:
    await room.rate({"i1": 2})
    assert await room.rate({"i1": 5}, dimension="warmth") == Added(added=1, replaced=0)
    assert [(each.dimension, each.level) for each in await room.counting("i1")] == [("", 2), ("warmth", 5)]


async def test_a_rating_twice_in_one_request_replaces_itself(room: Room) -> None:
    assert await room.sheet("item_id,level,rater,rubric\ni1,2,ada,tone\ni1,3,ada,tone\n") == Added(added=1, replaced=1)
    assert [each.level for each in await room.counting("i1")] == [3]


async def test_a_rating_says_who_gave_it_how_of_what_and_by_which_words(room: Room) -> None:
    await room.sheet("item_id,level,rater,rubric,note\ni1,2,ada,tone,too cold\n")
    [kept] = await room.ratings.list(HOME)
    rating, rubric = kept.rating, await room.rubrics.get(HOME, "tone")
    assert (rating.rater, rating.source, rating.note) == ("ada", RatingSource.CSV, "too cold")
    assert (rating.subject, rating.item_id, rating.rate_ns > 0) == (room.items["i1"].subject, "i1", True)
    assert (kept.role, kept.run_id, kept.rubric_digest, kept.scale) == (Role.PERSON, RUN, rubric.digest, (1, 5))


async def test_a_rating_without_a_rubric_goes_by_that_of_the_only_judge_of_its_run(room: Room) -> None:
    bare = Rating(subject="", item_id="i1", rubric="", rater="ada", level=3)
    of_one = Origin(items=room.items, run_id=RUN, rubrics=("tone@1",))
    await room.ratings.put(PERSON, [Given(rating=bare, path="ratings[0]")], of_one)
    [kept] = await room.ratings.list(HOME)
    assert (kept.rating.rubric, kept.scale) == ("tone", (1, 5))
    of_two = Origin(items=room.items, run_id=RUN, rubrics=("tone@1", "style@2"))
    said = await refused(room, bare, of_two)
    assert said == f"Say by which rubric it is rated. The judges of {RUN} go by tone@1, style@2."


async def test_ratings_are_found_wherever_the_same_texts_are(room: Room) -> None:
    await room.rate({"i1": 2})
    twin = Item(item_id="elsewhere", input="Question 1?", candidates=("Answer 1.",))
    other = Item(item_id="i1", input="Question 1?", candidates=("Answer 2.",))
    found = await room.ratings.of(HOME, [twin.subject, other.subject], "tone")
    assert list(found) == [twin.subject]


async def test_ratings_of_one_workspace_or_rubric_or_scale_are_not_those_of_another(room: Room) -> None:
    await room.rate({"i1": 2})
    subject = room.items["i1"].subject
    assert await room.ratings.of(Workspace("theirs"), [subject], "tone") == {}
    assert await room.ratings.of(HOME, [subject], "problem-solving") == {}
    assert await room.ratings.of(HOME, [subject], "tone", range(1, 11)) == {}
    assert len(await room.ratings.of(HOME, [subject], "tone", range(1, 6))) == 1


async def test_an_explicit_subject_needs_no_item(room: Room) -> None:
    subject = Item(input="a", candidates=("b",)).subject
    rating = Rating(subject=subject, rubric="tone@1", rater="ada", level=3)
    await room.ratings.put(PERSON, [Given(rating=rating, path="ratings[0]")], Origin())
    assert (await room.ratings.of(HOME, [subject], "tone"))[subject][0].level == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"item_id": "i99"}, "There is no item 'i99' in jud_01, or it is under seal."),
        ({"item_id": ""}, "Name an item_id of a run or a data set, or give the subject."),
        ({"item_id": "", "subject": "ab"}, "A subject is 64 hexadecimal digits."),
        ({"subject": "0" * 64}, "The item 'i1' of jud_01 has another subject."),
        ({"level": 0}, "The level 0 is not on the scale of tone, 1 to 5."),
        ({"level": 6}, "The level 6 is not on the scale of tone, 1 to 5."),
        ({"dimension": "wit"}, "tone has no dimension 'wit'. It has: warmth, candour."),
        ({"rater": ""}, "Say who rated."),
        ({"rater": "a" * 101}, "rater may have 100 characters."),
        ({"rubric": ""}, "Say by which rubric it is rated."),
        ({"preferred": 0}, "Give a level or the preferred candidate, not both."),
        ({"preferred": 0, "level": 0}, "The preferred candidate must be -1 for a tie or one of 0 to 0, not 0."),
    ],
)
async def test_what_cannot_be_kept_is_refused_with_the_reason(room: Room, change: dict[str, object], said: str) -> None:
    whole = {"subject": "", "item_id": "i1", "rubric": "tone", "rater": "ada", "level": 3} | change
    assert await refused(room, Rating(**whole)) == said  # type: ignore[arg-type]  # fields by name
    assert await room.ratings.list(HOME) == []


async def test_a_rubric_that_is_not_there_is_named(room: Room) -> None:
    assert "nowhere" in await refused(room, Rating(subject="", item_id="i1", rubric="nowhere", rater="ada", level=3))


async def test_a_pair_is_rated_by_the_better_candidate(room: Room) -> None:
    room.items["p"] = Item(item_id="p", input="Which?", candidates=("This.", "That."))
    head = "item_id,preferred,rater,rubric\n"
    assert "one of 0 to 1, not 2" in (await wrong(room, f"{head}p,2,ada,tone\n"))[0]
    assert await room.sheet(f"{head}p,-1,ada,tone\np,1,bob,tone\n") == Added(added=2, replaced=0)
    assert [each.preferred for each in await room.counting("p")] == [-1, 1]


async def test_every_wrong_line_is_named_and_nothing_is_stored(room: Room) -> None:
    text = (
        "item_id,level,rater,rubric,note\ni1,2,ada,tone,\ni2,7,ada,tone,\ni3,x,ada,tone,\n"
        'i4,3,ada,tone,"two\nlines"\ni98,3,ada,tone,\ni5,,ada,tone,\ni6,3\n\ni7,3,,tone,\n'
    )
    assert await wrong(room, text) == [
        "Line 3: The level 7 is not on the scale of tone, 1 to 5.",
        "Line 4: level must be a whole number, not 'x'.",
        "Line 7: There is no item 'i98' in jud_01, or it is under seal.",
        "Line 8: Give a level or the preferred candidate, one of the two.",
        "Line 9: There are 2 cells under 5 columns.",
        "Line 11: Say who rated.",
    ]


async def test_lines_that_are_wrong_in_the_same_way_are_told_in_one_sentence(room: Room) -> None:
    lines = "".join(f"i{place % 60},{9 if 10 <= place < 60 or place == 70 else 3},ada,tone\n" for place in range(80))
    said = await wrong(room, "item_id,level,rater,rubric\n" + lines)
    assert said == ["Lines 12-61, 72: The level 9 is not on the scale of tone, 1 to 5."]


async def test_very_many_different_faults_are_told_with_the_numbers_of_all_lines_first(room: Room) -> None:
    lines = "".join(f"i{place},{9 + place},ada,tone\n" for place in range(40))
    said = await wrong(room, "item_id,level,rater,rubric\n" + lines)
    assert said[:2] == ["40 lines are wrong: 2-41.", "Line 2: The level 9 is not on the scale of tone, 1 to 5."]
    assert len(said) == 31


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n", "The first line must name columns of item_id"),
        ("item_id,score\ni1,3\n", "Line 1: no column is called 'score'."),
        ("item_id,note\ni1,x\n", "Line 1: there must be a column item_id and a column level or preferred."),
        ("item_id,level,level\ni1,3,3\n", "Line 1: a column is named twice."),
        ('item_id,level\ni1,"3\n', "Line 2: This is no CSV"),
        ("item_id,level\n", "Give 1 to 10000 ratings at once, not 0."),
    ],
)
async def test_a_sheet_that_is_none_is_refused(room: Room, text: str, said: str) -> None:
    assert (await wrong(room, text))[0].startswith(said)


async def test_a_sheet_of_a_spreadsheet_is_read(room: Room) -> None:
    """With a byte order mark, carriage returns and capitals."""
    assert await room.sheet("\ufeffItem_ID,Level,Rater,Rubric\r\ni1, 4 ,ada,tone\r\n") == Added(added=1, replaced=0)


async def test_ten_thousand_ratings_are_kept_at_once_and_found_again(tmp_path: Path) -> None:
    store = await SqlStore.open(tmp_path / "whet.db")
    room = Room(store=store, items=items(10_000))
    await room.tone()
    text = "item_id,level,rater,rubric\n" + "".join(f"i{place},{place % 5 + 1},ada,tone\n" for place in range(10_000))
    started = time.perf_counter()
    assert await room.sheet(text) == Added(added=10_000, replaced=0)
    assert len(await room.ratings.of(HOME, [item.subject for item in room.items.values()], "tone")) == 10_000
    assert time.perf_counter() - started < 10
    assert [each.rating.item_id for each in await room.ratings.list(HOME, limit=2)] == ["i9999", "i9998"]
    with pytest.raises(InvalidField, match="not 10001"):
        await room.sheet(text + "i1,3,ada,tone\n")
    await store.close()


async def test_lists_are_newest_first_by_page_and_filter(room: Room) -> None:
    await room.rate({f"i{place}": 3 for place in range(5)})
    await room.rate({"i0": 4}, rater="bob")
    first = await room.ratings.list(HOME, limit=2)
    rest = await room.ratings.list(HOME, before=first[-1].rating_id)
    assert [(each.rating.rater, each.rating.item_id) for each in (*first, *rest)] == [
        ("bob", "i0"), ("ada", "i4"), ("ada", "i3"), ("ada", "i2"), ("ada", "i1"), ("ada", "i0")
    ]  # fmt: skip
    assert len(await room.ratings.list(HOME, rater="ada")) == 5
    assert await room.ratings.list(HOME, rubric="problem-solving") == []
    subject = room.items["i0"].subject
    newest, oldest = await room.ratings.list(HOME, subject=subject)
    assert await room.ratings.list(HOME, subject=subject, before=newest.rating_id) == [oldest]


async def test_ratings_of_old_words_are_kept_with_them(room: Room) -> None:
    await room.rate({"i1": 2})
    await room.tone(RUBRIC.replace("Warmly", "Very warmly"))
    await room.rate({"i1": 3}, rater="bob")
    old, new = [each.rubric_digest for each in reversed(await room.ratings.list(HOME))]
    assert old != new
    assert [each.level for each in await room.counting("i1")] == [2, 3]


async def test_a_rating_counts_at_once_also_after_all_were_read(room: Room) -> None:
    everything = list(room.items)
    await room.rate(dict.fromkeys(everything, 2))
    assert {each.level for each in await room.counting(*everything)} == {2}
    await room.rate({"i7": 5})
    assert [each.item_id for each in await room.counting(*everything) if each.level == 5] == ["i7"]
