"""The Judges place, driven key by key on the twin of the desk."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial

import pytest
from tests.tui import judging_story as story
from tests.tui.pictures import runs, taken
from tests.tui.test_places import Stage, staged
from textual.widgets import Input, Static

from whet_tui.desk import DeskError
from whet_tui.item_list import ItemList
from whet_tui.judging_values import ItemQuery, Mode, Outcome, Rating, RunState, Source
from whet_tui.memory_desk import MemoryDesk

GONE = "The server cannot be reached."


@asynccontextmanager
async def judging(size: tuple[int, int] = (80, 24)) -> AsyncIterator[Stage]:
    async with staged(size) as stage:
        yield stage


@asynccontextmanager
async def rating(count: int = 60, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Stage]:
    """In the items of a judgement that has ended: i2 is the first, i3 the second."""
    async with staged(size) as stage:
        await story.put_ended(stage.desk, count)
        await stage.go("judges")
        await stage.until_shown("support, dev")
        await stage.pilot.press("enter")
        await stage.until_shown("5 the best")
        yield stage


def sums(stage: Stage) -> str:
    """What a judgement comes to, in words."""
    return " ".join(str(stage.place.query_one("#sums-text", Static).render()).split())


def underlined(stage: Stage) -> list[str]:
    return [text for text, look in runs(taken(stage.app)) if "underline" in look.marks]


def grown(stage: Stage, count: int) -> bool:
    return len(stage.rows("items").keys) == count


async def kept(desk: MemoryDesk, item_id: str, run_id: str = story.DONE) -> list[tuple[str, int | None]]:
    """What the twin has of me on an item: dimension and level, or the better candidate."""
    page = await desk.judging.items(ItemQuery(run_id=run_id), size=20_000)
    (judged,) = (each for each in page.items if each.item.item_id == item_id)
    mine = [each for each in judged.ratings if each.rater == "me"]
    assert all((each.rubric, each.source) == ("problem-solving", Source.KEYS) for each in mine)
    return [(each.dimension, each.level if each.preferred is None else each.preferred) for each in mine]


# Judgements


async def test_an_empty_place_says_how_to_begin() -> None:
    async with judging() as stage:
        await stage.go("judges")
        await stage.until_shown("whet judge run")
        assert "judge the answers of the last run" in stage.text()
        await stage.pilot.press("enter", "X", "c", "p")
        assert "Nothing has been judged yet." in stage.text()


async def test_every_sum_has_its_denominator_and_the_judge_its_standing_in_words() -> None:
    async with judging() as stage:
        await story.put_ended(stage.desk)
        await stage.go("judges")
        await stage.until(lambda: "scored" in sums(stage))
        for words in (
            "problem-solving 0.62 (0.55 to 0.70) 95% interval · scored 58 of 60",
            "verdicts without a score: 1 unparseable, 1 timed out",
            "sim/judge · by problem-solving@2 · pointwise · simulated",
            "! stale: its model, rubric, prompt or parameters have changed since the check",
            "causal_linking 50% 3.50 (3.20 to 3.80) 58 1 2 3 4 5",
        ):
            assert words in sums(stage)
        await stage.pilot.press("c")
        await stage.until(lambda: "mean 15 words" in sums(stage))
        await stage.pilot.press("c")
        await stage.until(lambda: "all together 0.56 (0.50 to 0.60) 95% interval · scored 58 of 60" in sums(stage))


async def test_scores_are_a_plot_or_the_same_as_text() -> None:
    async with judging((120, 40)) as stage:
        await story.put_ended(stage.desk)
        await stage.go("judges")
        await stage.until_shown("┤")
        await stage.pilot.press("p")
        await stage.until_shown("0.6–0.7  12  ██████████")
        assert "┤" not in stage.text()
        await stage.pilot.press("p")
        await stage.until_shown("┤")
        assert "0.6–0.7  12" not in stage.text()


async def test_a_judgement_that_runs_is_followed_with_what_is_left_and_then_shows_its_sums() -> None:
    async with judging() as stage:
        await story.put_running(stage.desk)
        await stage.go("judges")
        await stage.until_shown("41% · 100 under way · about 12.0 s")
        assert "$0.05 to go" in " ".join(stage.text().split())
        began = time.monotonic()
        await stage.pilot.press("alt+1")
        await stage.pilot.pause()
        assert not [worker for worker in stage.app.workers if worker.group in {"look", "follow"} and worker.is_running]
        await stage.go("judges")
        more = replace(story.under_way, verdicts=900, in_flight=50)
        await stage.desk.judging.put(story.running, progress=more)
        await stage.until_shown("90% · 50 under way")
        await stage.desk.judging.put(
            replace(story.running, state=RunState.SUCCEEDED, verdicts=1_000, criteria=(story.criterion(1_000),))
        )
        await stage.until_shown("✓ succeeded · 1,000 of 1,000 verdicts")
        await stage.until_shown("scored 998 of 1,000")
        assert time.monotonic() - began < stage.place.EVERY, "only the next look has told it"


async def test_the_progress_of_a_server_that_was_away_goes_on_when_it_is_back() -> None:
    async with judging() as stage:
        await story.put_running(stage.desk)
        await stage.go("judges")
        await stage.until_shown("41%")
        stage.place.EVERY = 0.05  # type: ignore[misc]  # this one looks again sooner
        await stage.desk.leave(GONE)
        await stage.until_shown("Trying again.")
        await stage.desk.judging.put(story.running, progress=replace(story.under_way, verdicts=990))
        await stage.desk.leave("")
        stage.place.look_again()
        await stage.until_shown("99%")
        await stage.until(lambda: GONE not in stage.text())


async def test_a_judgement_is_cancelled_at_the_second_press_and_an_ended_one_cannot_be() -> None:
    async with judging() as stage:
        await story.put_running(stage.desk)
        await stage.go("judges")
        await stage.until_shown("41%")
        await stage.pilot.press("X")
        await stage.until_shown("Press X again")
        assert "▸ running" in stage.text()
        await stage.pilot.press("X")
        await stage.until_shown("– cancelled · 412 of 1,000 verdicts")
        await stage.until(lambda: "Cancelled; what it had cost is billed" in stage.text())
        await stage.until(lambda: "X Cancel" not in stage.text())


# Items


async def test_disagreements_come_first_and_keys_change_order_and_filter_and_lead_back() -> None:
    async with rating() as stage:
        assert list(stage.rows("items").keys[:2]) == ["i2", "i3"]
        await stage.pilot.press("o")
        await stage.until_shown("lowest scores first")
        await stage.until(lambda: list(stage.rows("items").keys[:1]) == ["i1"])
        await stage.pilot.press("o")
        await stage.until_shown("as given")
        await stage.until(lambda: list(stage.rows("items").keys[:2]) == ["i1", "i2"])
        await stage.pilot.press("f")
        await stage.until_shown("only unrated")
        await stage.until(lambda: list(stage.rows("items").keys[:2]) == ["i1", "i3"])
        await stage.pilot.press("f")
        await stage.until_shown("only unparseable")
        await stage.until(lambda: list(stage.rows("items").keys) == ["i1"])
        await stage.pilot.press("f")
        await stage.until_shown("No item passes the filter.")
        await stage.pilot.press("f")
        await stage.until(lambda: len(stage.rows("items").keys) > 1)
        await stage.pilot.press("enter")
        assert stage.place.has_class("reading")
        for shown in (["items"], []):
            await stage.pilot.press("escape")
            assert [name for name in ("items", "reading") if stage.place.has_class(name)] == shown
        await stage.pilot.press("escape")
        assert stage.app.screen is stage.chat


async def test_what_others_wrote_cannot_write_to_the_terminal() -> None:
    evil = "\x1b]0;owned\x07\x1b[2J [@click=app.bell]press[/] \u202eesrever"
    async with judging((120, 40)) as stage:
        await story.put_ended(stage.desk, 3)
        item = story.judged(9, disagreement=1.0)
        verdict = replace(item.verdicts[0], judge=evil, rationale=evil, dimensions=())
        hostile = replace(
            item,
            item=replace(item.item, item_id=evil, input=evil, candidates=(evil,), reference=evil, writers=(evil,)),
            verdicts=(verdict, replace(verdict, outcome=Outcome.FAILED, score=None, failure=evil)),
            ratings=(Rating(rubric=evil, rater=evil, level=1, note=evil),),
        )
        plan = replace(story.ended.plan, origin=evil)
        await stage.desk.judging.put(replace(story.ended, title=evil, failure=evil, plan=plan), [hostile])
        await stage.go("judges")
        await stage.until_shown("owned")
        await stage.pilot.press("enter")
        await stage.until_shown("5 the best")
        await stage.pilot.press("v", "4", "enter")
        await stage.until_shown("── people")
        assert not set("\x1b\x07\u202e") & set(stage.text())


@pytest.mark.slow
async def test_a_text_of_a_megabyte_is_shown_as_far_as_anybody_reads_at_once() -> None:
    async with judging() as stage:
        await story.put_ended(stage.desk, 3)
        item = story.judged(9, disagreement=1.0)
        await stage.desk.judging.put(
            story.ended, [replace(item, item=replace(item.item, input="word " * 200_000, candidates=("x" * 100_000,)))]
        )
        await stage.go("judges")
        began = time.monotonic()
        await stage.pilot.press("enter")
        await stage.until_shown("5 the best")
        await stage.pilot.press("enter", "end")
        await stage.until_shown("more letters")
        assert time.monotonic() - began < 3


# Rating


async def test_a_key_rates_the_whole_and_goes_on_and_the_mark_is_drawn_when_the_server_has_it() -> None:
    async with rating() as stage:
        await stage.until_shown("rated 1 of 60")
        await stage.pilot.press("4", "2")
        await stage.until_shown("i3: 2 ✓ kept")
        assert await kept(stage.desk, "i2") == [("", 4)]
        assert await kept(stage.desk, "i3") == [("", 2)]
        assert stage.rows("items").key == "i4"
        await stage.until_shown("rated 2 of 60")
        assert "✓ i2" in stage.text()
        assert "✓ i3" in stage.text()


async def test_keys_that_come_faster_than_the_screen_draws_rate_what_they_were_meant_for() -> None:
    async with rating() as stage:
        await stage.pilot.press("d", *"5454545454")
        await stage.until(lambda: len(stage.desk.judging.calls) == 10)
        for number in range(2, 7):
            assert await kept(stage.desk, f"i{number}") == [("causal_linking", 5), ("safety", 4)]


async def test_undo_goes_back_and_puts_back_what_stood_there() -> None:
    async with rating() as stage:
        await stage.pilot.press("u")
        await stage.until_shown("There is nothing to undo.")
        await stage.pilot.press("4", "up", "5")
        await stage.until_shown("i2: 5 ✓ kept")
        await stage.pilot.press("u")
        await stage.until_shown("What stood there before is put back.")
        await stage.until_shown("i2: 4 ✓ kept")
        assert stage.rows("items").key == "i2"
        assert await kept(stage.desk, "i2") == [("", 4)]
        await stage.pilot.press("u")
        await stage.until_shown("The next key replaces it.")
        await stage.pilot.press("1")
        await stage.until_shown("i2: 1 ✓ kept")
        assert await kept(stage.desk, "i2") == [("", 1)]
        await stage.pilot.press("d", "4", "5", "u")
        await stage.until_shown("›safety 5")
        assert stage.rows("items").key == "i3"
        await stage.pilot.press("left")
        await stage.until_shown("›causal_linking 4")
        await stage.pilot.press("right", "2")
        await stage.until_shown("i3: 2 ✓ kept")
        assert await kept(stage.desk, "i3") == [("causal_linking", 4), ("safety", 2)]


async def test_what_others_say_is_hidden_until_the_person_asks_and_then_evidence_is_set_off_where_it_stands() -> None:
    async with rating(size=(120, 40)) as stage:
        hidden = ("sim/judge", "A sound plan", "It is safety.", "local/smollm2", "anna", "too short", "missing: budget")
        text = stage.text()
        assert "blind: v shows the verdicts" in text
        assert "hidden    0.97" in text
        assert not [words for words in hidden if words in text]
        assert underlined(stage) == []
        await stage.pilot.press("v")
        await stage.until_shown("── people")
        text = stage.text()
        assert not [words for words in hidden if words not in text]
        assert underlined(stage) == [story.ANSWER[:19]]
        assert "the verdicts are shown and may lead you" in text
        await stage.pilot.press("v")
        await stage.until(lambda: "A sound plan" not in stage.text())


async def test_what_the_server_did_not_take_is_said_so_kept_and_sent_again_also_from_another_place() -> None:
    async with rating() as stage:
        stage.place.EVERY = 0.05  # type: ignore[misc]  # this one sends again sooner
        await stage.desk.leave(GONE)
        await stage.pilot.press("4", "3")
        await stage.until_shown("! not kept yet")
        await stage.until_shown("2 ratings are not kept yet")
        assert "! i2" in stage.text()
        await stage.pilot.press("up", "5", "alt+1")
        await stage.desk.leave("")
        await stage.until(lambda: len(stage.desk.judging.kept) == 2)
        await stage.go("judges")
        await stage.until_shown("i3: 5 ✓ kept")
        assert await kept(stage.desk, "i2") == [("", 4)]
        assert await kept(stage.desk, "i3") == [("", 5)]
        await stage.until(lambda: "not kept yet" not in stage.text())
        tries = [call for call in stage.desk.judging.calls if stage.desk.judging.calls.count(call) > 1]
        assert tries, "each attempt has the id of the first"


async def test_what_the_server_refuses_for_good_is_sent_once_said_why_and_can_be_dropped() -> None:
    async with rating() as stage:
        gone = replace((await stage.desk.judging.items(ItemQuery(run_id=story.DONE))).judgement)
        stage.place.EVERY = 0.05  # type: ignore[misc]  # this one would send again soon
        await stage.desk.judging.forget(story.DONE)
        await stage.pilot.press("4")
        await stage.until_shown("the rating was refused. There is no judgement")
        await stage.until_shown("✗ i2")
        await stage.desk.judging.put(gone, [story.judged(2), story.judged(3)])
        await stage.pilot.press("5")
        await stage.until_shown("i3: 5 ✓ kept")
        assert len(stage.desk.judging.calls) == 2, "what was refused did not come again"
        await stage.pilot.press("x")
        await stage.until_shown("Dropped.")
        assert "✗" not in stage.text()
        assert await kept(stage.desk, "i2") == []


async def test_leaving_with_ratings_that_are_not_kept_asks_once() -> None:
    async with rating() as stage:
        await stage.desk.leave(GONE)
        await stage.pilot.press("4")
        await stage.until_shown("! not kept yet")
        await stage.pilot.press("ctrl+d")
        await stage.until_shown("1 rating is not kept yet, and would be lost: leave once more")
        assert stage.app.is_running
        await stage.pilot.press("ctrl+d")
        await stage.until(lambda: stage.app.return_value is not None)


async def test_the_judge_is_compared_with_who_rated_it_at_the_second_press_and_how_far_they_agree_is_shown() -> None:
    async with rating() as stage:
        await stage.pilot.press("4", "3", "K")
        await stage.until_shown("Press K again to compare the judge with people's ratings")
        assert not stage.desk.calibration_list
        await stage.pilot.press("K")
        await stage.until_shown("2 items that the judge scored and people rated")
        assert [each.run_id for each in stage.desk.calibration_list] == [story.DONE]
        await stage.pilot.press("escape")
        await stage.until_shown("5 the best")


async def test_zero_and_s_leave_an_item_and_a_level_off_the_scale_is_refused() -> None:
    async with rating() as stage:
        await stage.pilot.press("0", "s")
        assert stage.rows("items").key == "i4"
        await stage.pilot.press("9")
        await stage.until_shown("9 is no level of this rubric: it goes from 1 to 5.")
        assert stage.rows("items").key == "i4"
        assert not stage.desk.judging.calls


async def test_a_note_goes_with_the_level_that_comes_or_onto_the_one_that_is_there() -> None:
    async with rating() as stage:
        await stage.pilot.press("n", *"so4", "enter")
        await stage.until_shown("with the note “so4”")
        await stage.pilot.press("4", "up")
        await stage.until_shown("4 ✓ kept “so4”")
        await stage.pilot.press("n")
        assert stage.place.query_one("#note-line", Input).value == "so4"
        await stage.pilot.press("!", "enter")
        await stage.until_shown("4 ✓ kept “so4!”")
        await stage.pilot.press("n", "x", "escape")
        assert not stage.place.query_one("#note-line").display
        page = await stage.desk.judging.items(ItemQuery(run_id=story.DONE))
        assert [each.note for each in page.items[0].ratings if each.rater == "me"] == ["so4!"]


@pytest.mark.parametrize(
    ("mode", "keys", "given"),
    [(Mode.PAIRWISE, "abt", [0, 1, -1]), (Mode.LISTWISE, "13t", [0, 2, -1])],
)
async def test_pairs_and_lists_are_rated_by_the_better_answer(mode: Mode, keys: str, given: list[int]) -> None:
    async with judging() as stage:
        await story.put_pairs(stage.desk, mode)
        await stage.go("judges")
        await stage.until_shown("support, dev")
        await stage.pilot.press("enter")
        await stage.until_shown("answer B")
        await stage.pilot.press("9", *keys)
        await stage.until(lambda: len(stage.desk.judging.calls) == 3)
        got = [await kept(stage.desk, f"i{number}", story.PAIRS) for number in (2, 3, 4)]
        assert got == [[("", each)] for each in given]


async def test_a_judgement_without_a_judge_is_read_and_not_rated() -> None:
    async with judging() as stage:
        await stage.desk.judging.put(
            replace(story.ended, criteria=(story.words,), combined=None), [story.judged(1), story.judged(2)]
        )
        await stage.go("judges")
        await stage.until_shown("support, dev")
        await stage.pilot.press("enter")
        await stage.until_shown("no judge, and so no rubric")
        await stage.pilot.press("4", "a", "t")
        assert not stage.desk.judging.calls


# Many items


@pytest.mark.slow
async def test_thousands_of_items_are_read_page_by_page_and_a_key_stays_quick() -> None:
    async with rating(2_000) as stage:
        assert len(stage.rows("items").keys) == 50
        pages = stage.desk.judging.pages
        await stage.pilot.press("pagedown", "pagedown")
        assert stage.desk.judging.pages == pages
        for _ in range(5):
            count = len(stage.rows("items").keys)
            await stage.pilot.press("end")
            await stage.until(partial(grown, stage, count + 50))
        began = time.process_time()
        await stage.pilot.press(*"12345123451234512345")
        assert (time.process_time() - began) / 20 < 0.1
        await stage.until(lambda: len(stage.desk.judging.calls) == 20)


async def test_no_item_is_left_out_when_ratings_move_the_pages_of_those_nobody_has_rated() -> None:
    desk = MemoryDesk()
    await story.put_ended(desk, 12)
    found = ItemList(ItemQuery(run_id=story.DONE, unrated=True))
    page = await desk.judging.items(found.query, size=5)
    assert page.next_page_token

    class Small:
        """Pages of five, of which every second one fails."""

        calls = 0

        async def items(self, query: ItemQuery, token: str = "", size: int = 5) -> object:
            self.calls += 1
            if self.calls % 2 == 0:
                raise DeskError(GONE)
            return await desk.judging.items(query, token, 5)

    small = Small()
    while not found.complete:
        known = set(found.items)
        with suppress(DeskError):
            await found.grow(small)  # type: ignore[arg-type]  # only this method is asked
        for item_id in list(found.items.keys() - known)[:3]:
            await desk.judging.rate(story.DONE, item_id, Rating(rubric="problem-solving", level=3, rater="me"), item_id)
            found.has_rated()
    assert set(found.items) == {f"i{number}" for number in range(1, 13)} - {"i2"}
