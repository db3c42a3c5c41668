"""Judges are compared with people, and only one that was checked, unchanged and good enough may gate."""

from collections.abc import Mapping

import numpy as np
import pytest
from msgspec.structs import replace
from tests.server.calibration.room import HOME, LISTS, MODEL, PAIRS, PERSON, RUBRIC, RUN, Room, Said, preference

from whet_server.calibration.agreement import Agreement
from whet_server.calibration.ratings import Origin
from whet_server.calibration.sheet import Given
from whet_server.calibration.standing import Standing
from whet_server.errors import Reason, WrongState
from whet_server.judging import CalibrationState, Item, Judge, JudgeIdentity, Outcome, Rating
from whet_server.values import ModelName, Parameters

OTHER = ModelName("sim/other")


def people(many: int, seed: int = 0) -> dict[str, int]:
    levels = np.random.default_rng(seed).integers(1, 6, many)
    return {f"i{place}": int(level) for place, level in enumerate(levels)}


def near(levels: Mapping[str, int], *, noise: float, seed: int = 1) -> dict[str, Said]:
    generator = np.random.default_rng(seed)
    return {item: int(np.clip(round(level + generator.normal(0, noise)), 1, 5)) for item, level in levels.items()}


@pytest.fixture
async def room() -> Room:
    made = Room()
    await made.tone()
    return made


async def standing(room: Room, judge: Judge | None = None, *, min_kappa: float = 0.4) -> Standing:
    return await room.calibrations.standing(HOME, await room.identity(judge), min_kappa=min_kappa)


async def calibrated(room: Room, *, many: int = 60, noise: float = 0.4, judge: Judge | None = None) -> None:
    await room.rate(people(many))
    await room.calibrate(near(people(many), noise=noise), judge)


async def test_a_judge_that_was_never_checked_is_uncalibrated_and_told_what_to_do(room: Room) -> None:
    found = await standing(room)
    assert (found.state, found.error_reason) == (CalibrationState.UNCALIBRATED, Reason.JUDGE_UNCALIBRATED)
    assert found.reason == (
        "The judge sim/judge by the rubric tone was never checked against people. Judge items with it, rate at least "
        "30 of them on the whole, and calibrate."
    )
    assert found.metadata == {"judge_digest": (await room.identity()).digest}
    assert found.calibration is None


async def test_a_judge_that_agrees_with_people_is_calibrated(room: Room) -> None:
    await calibrated(room)
    found = await standing(room)
    assert (found.state, found.reason, found.error_reason) == (CalibrationState.CALIBRATED, "", None)
    assert found.calibration is not None
    assert found.calibration.simulated
    whole = found.calibration.agreements[0]
    assert whole.items == 60
    assert whole.weighted_kappa.value is not None
    assert whole.weighted_kappa.value > 0.8


async def test_one_changed_word_of_the_rubric_makes_it_stale_and_the_old_words_stay_calibrated(room: Room) -> None:
    await calibrated(room)
    old = (await room.identity()).rubric_digest
    await room.tone(RUBRIC.replace("Warmly", "Fondly"))
    new = (await room.identity()).rubric_digest
    found = await standing(room)
    assert (found.state, found.error_reason) == (CalibrationState.STALE, Reason.JUDGE_STALE)
    assert f"the text of the rubric tone ({old[:8]} to {new[:8]}) has changed since" in found.reason
    assert found.reason.endswith("Judge the rated items again with it, and calibrate.")
    assert found.metadata == {"judge_digest": (await room.identity()).digest, "changed": "rubric", "rubric": "tone"}
    assert (await standing(room, Judge(rubric="tone@1", models=(MODEL,)))).state is CalibrationState.CALIBRATED


async def test_other_models_parameters_and_modes_are_other_judges(room: Room) -> None:
    await calibrated(room)
    changed = Judge(rubric="tone", models=(OTHER,), parameters=Parameters(temperature=0.7))
    found = await standing(room, changed)
    assert found.state is CalibrationState.STALE
    assert "the model (sim/judge to sim/other) and the parameters (temperature 0.0 to 0.7) have changed" in found.reason
    assert found.metadata["changed"] == "model,parameters"
    paired = await standing(room, Judge(rubric="tone", models=(MODEL,), mode=PAIRS))
    assert paired.metadata["changed"] == "mode,prompt"


async def test_the_nearest_earlier_judge_says_what_has_changed(room: Room) -> None:
    await calibrated(room)
    await calibrated(room, judge=Judge(rubric="tone", models=(OTHER,)))
    await room.tone(RUBRIC.replace("Warmly", "Fondly"))
    assert (await standing(room)).metadata["changed"] == "rubric"


async def test_the_order_of_a_panel_and_a_rubric_of_another_name_with_the_same_words_change_nothing(room: Room) -> None:
    await room.rate(people(60))
    both = near(people(60), noise=0.3)
    await room.calibrate({item: (one, one) for item, one in both.items()}, Judge(rubric="tone", models=(MODEL, OTHER)))  # type: ignore[misc]  # levels
    assert (await standing(room, Judge(rubric="tone", models=(OTHER, MODEL)))).state is CalibrationState.CALIBRATED


async def test_a_judge_checked_by_another_rubric_is_uncalibrated_and_told_so(room: Room) -> None:
    await calibrated(room)
    found = await standing(room, Judge(rubric="problem-solving", models=(MODEL,)))
    assert found.state is CalibrationState.UNCALIBRATED
    assert "That it was checked by tone says nothing of this rubric." in found.reason


async def test_too_few_rated_items_are_too_weak_and_counted(room: Room) -> None:
    await calibrated(room, many=18)
    found = await standing(room)
    assert (found.state, found.error_reason) == (CalibrationState.TOO_WEAK, Reason.JUDGE_TOO_WEAK)
    assert found.reason == (
        "The judge sim/judge by the rubric tone cannot gate yet: only 18 items were both rated on the whole and "
        "scored; 30 are needed. Rate at least 12 more items of jud_01 and calibrate again."
    )
    assert found.metadata["items"] == "18"


async def test_little_agreement_is_too_weak_with_its_figures(room: Room) -> None:
    await calibrated(room, noise=5)
    await room.rate(near(people(60), noise=0.5, seed=9), rater="bob")  # type: ignore[arg-type]  # levels
    await room.calibrate(near(people(60), noise=5))
    found = await standing(room)
    assert found.state is CalibrationState.TOO_WEAK
    assert "at least 0.40 is asked for. People agree among themselves by alpha 0.9" in found.reason
    assert found.calibration is not None
    figure = found.calibration.agreements[0].weighted_kappa
    assert f"{figure.value:.2f} ({figure.low:.2f} to {figure.high:.2f}) on 60 items" in found.reason
    assert found.metadata == {"weighted_kappa": f"{figure.value:.3f}", "items": "60"}
    assert figure.value is not None
    assert (await standing(room, min_kappa=figure.value - 0.01)).state is CalibrationState.CALIBRATED


async def test_an_interval_that_reaches_chance_is_too_weak_however_low_the_bar(room: Room) -> None:
    await calibrated(room, many=30, noise=6)
    found = await standing(room, min_kappa=0.001)
    assert found.calibration is not None
    figure = found.calibration.agreements[0].weighted_kappa
    assert figure.low is not None
    assert figure.value is not None
    assert figure.low <= 0 < figure.value
    assert "does not exclude chance. Rate about" in found.reason


async def test_people_who_give_everything_one_level_show_nothing(room: Room) -> None:
    await room.rate(dict.fromkeys(people(40), 3))
    await room.calibrate(dict.fromkeys(people(40), 3))
    found = await standing(room)
    assert found.state is CalibrationState.TOO_WEAK
    assert "nothing but one level" in found.reason
    assert found.metadata["weighted_kappa"] == ""


async def test_the_newest_calibration_counts(room: Room) -> None:
    await calibrated(room)
    await room.calibrate(near(people(60), noise=5))
    assert (await standing(room)).state is CalibrationState.TOO_WEAK
    await room.calibrate(near(people(60), noise=0.3))
    assert (await standing(room)).state is CalibrationState.CALIBRATED


async def test_what_the_judge_did_not_score_is_counted_and_left_out(room: Room) -> None:
    levels = people(50)
    await room.rate(levels)
    said = near(levels, noise=0.3) | {"i0": Outcome.ABSTAINED, "i1": Outcome.UNPARSEABLE, "i55": 4}
    made = await room.calibrate(said)
    whole = made.agreements[0]
    assert (whole.items, whole.unscored) == (48, 2)
    assert {each.outcome: each.count for each in made.outcomes} == {
        Outcome.SCORED: 48,
        Outcome.ABSTAINED: 1,
        Outcome.UNPARSEABLE: 1,
    }
    assert sum(whole.matrix) == 48


async def test_raters_and_panels_count_by_their_mean(room: Room) -> None:
    """i1: people 2 and 3, so 2.5 and the even level 2; the panel 3 and 4, so 3.5 and 4."""
    judge = Judge(rubric="tone", models=(MODEL, OTHER))
    await room.rate({"i1": 2, "i2": 5})
    await room.rate({"i1": 3}, rater="bob")
    made = await room.calibrate({"i1": (3, 4), "i2": (5, 5)}, judge)
    whole = made.agreements[0]
    assert whole.levels == (1, 2, 3, 4, 5)
    assert [place for place, times in enumerate(whole.matrix) if times] == [1 * 5 + 3, 4 * 5 + 4]
    assert (whole.bias.value, whole.error.value, whole.exact.value) == (0.5, 0.5, 0.5)
    assert made.raters == ("ada", "bob")


async def test_each_rated_dimension_has_its_own_agreement(room: Room) -> None:
    await room.rate(people(40))
    await room.rate(people(35, seed=0), dimension="warmth")
    made = await room.calibrate(near(people(40), noise=0.2))
    assert [(each.dimension, each.items) for each in made.agreements] == [("", 40), ("warmth", 35)]


async def test_who_rated_every_dimension_has_rated_the_whole(room: Room) -> None:
    levels = people(40)
    await room.rate(levels, dimension="warmth")
    await room.rate({item_id: 6 - level for item_id, level in levels.items()}, dimension="candour")
    await room.rate({item_id: levels[item_id] for item_id in ("i0", "i1")})
    made = await room.calibrate(near(levels, noise=0.2))
    whole = made.agreements[0]
    assert [(each.dimension, each.items) for each in made.agreements] == [("", 40), ("warmth", 40), ("candour", 0)]
    assert sum(whole.matrix[2 * 5 : 3 * 5]) == 38 + sum(levels[item_id] == 3 for item_id in ("i0", "i1"))


async def test_who_rated_a_part_of_the_dimensions_is_told_that_the_whole_counts(room: Room) -> None:
    await room.rate(people(40), dimension="warmth")
    await room.rate(people(3))
    await room.calibrate(near(people(40), noise=0.2))
    reason = (await standing(room)).reason
    assert "only 3 items were both rated on the whole" in reason
    assert "(of 40 a dimension was rated, and not all that make the whole)" in reason


async def test_agreement_among_people_is_the_ceiling(room: Room) -> None:
    await calibrated(room, many=40)
    assert (await room.calibrations.kept(HOME))[0].calibration.agreements[0].people_alpha.value is None
    await room.rate(people(20), rater="bob")
    made = await room.calibrate(near(people(40), noise=0.4))
    assert made.agreements[0].people_alpha.value == pytest.approx(1.0)


async def test_levels_on_another_scale_are_not_compared(room: Room) -> None:
    await room.rate(people(40))
    ten = RUBRIC.replace("highest = 5", "highest = 6").replace('5 = "Warmly."', '5 = "Warmly."\n6 = "Hotly."')
    await room.tone(ten.replace('5 = "Openly."', '5 = "Openly."\n6 = "Nakedly."'))
    ratings = await room.calibrations.ratings(HOME, [item.subject for item in room.items.values()], "tone", range(1, 7))
    assert ratings == {}


async def test_nothing_rated_is_refused_with_what_to_do(room: Room) -> None:
    with pytest.raises(WrongState, match=f"Nobody has rated an item of {RUN} by the rubric tone"):
        await room.calibrate(near(people(5), noise=0.1))


async def of_preferences(
    room: Room, judge: Judge, rated: Mapping[str, int], said: Mapping[str, list[int]]
) -> Agreement:
    """`said`: the judge's ranking of each item; a pair is asked in both orders and says the same."""
    room.items |= {
        item_id: Item(item_id=item_id, input=item_id, candidates=tuple("abc"[: len(ranking)]))
        for item_id, ranking in said.items()
    }
    given = [
        Given(rating=Rating(subject="", item_id=item, rubric="tone", rater="ada", preferred=best), path="ratings")
        for item, best in rated.items()
    ]
    await room.ratings.put(PERSON, given, Origin(items=room.items, run_id=RUN))
    verdicts = {
        room.items[item].subject: [
            replace(said_once, order=order)
            for said_once in [preference(item, float(ranking[0] == 0), ranking)]
            for order in (said_once.order, said_once.order[::-1])
        ]
        for item, ranking in said.items()
    }
    made = await room.calibrations.calibrate(
        PERSON, judge, await room.identity(judge), run_id=RUN, criterion="tone", levels=(1, 5), dimensions=(),
        verdicts=verdicts,
    )  # fmt: skip
    return made.agreements[0]


async def test_pairs_are_compared_by_preference(room: Room) -> None:
    judge = Judge(rubric="tone", models=(MODEL,), mode=PAIRS)
    rated = {"p0": 0, "p1": 1, "p2": -1, "p3": 0}
    whole = await of_preferences(room, judge, rated, {"p0": [0, 1], "p1": [1, 0], "p2": [0, 1], "p3": [0, 1]})
    assert whole.levels == (0, 1, 2)
    assert whole.matrix == (1, 0, 0, 0, 0, 1, 0, 0, 2)
    assert whole.bias.value == 0.25
    assert whole.exact.value == 0.75


async def test_a_panel_that_leans_to_one_of_a_pair_prefers_it(room: Room) -> None:
    judge = Judge(rubric="tone", models=(MODEL,), mode=PAIRS)
    room.items["p"] = Item(item_id="p", input="p", candidates=("a", "b"))
    rating = Rating(subject="", item_id="p", rubric="tone", rater="ada", preferred=0)
    await room.put([Given(rating=rating, path="ratings")])
    verdicts = {
        room.items["p"].subject: [
            replace(preference("p", score, (0, 1)), sample=sample, order=order)
            for sample, score in enumerate((1.0, 1.0, 0.0))
            for order in ((0, 1), (1, 0))
        ]
    }
    made = await room.calibrations.calibrate(
        PERSON, judge, await room.identity(judge), run_id=RUN, criterion="tone", levels=(1, 5), dimensions=(),
        verdicts=verdicts,
    )  # fmt: skip
    assert made.agreements[0].exact.value == 1.0


async def test_lists_are_compared_by_the_best_candidate_which_has_no_order(room: Room) -> None:
    judge = Judge(rubric="tone", models=(MODEL,), mode=LISTS)
    rated = {"l0": 0, "l1": 2, "l2": 1, "l3": 0}
    said = {"l0": [0, 2, 1], "l1": [2, 0, 1], "l2": [1, 0, 2], "l3": [2, 1, 0]}
    whole = await of_preferences(room, judge, rated, said)
    assert whole.levels == (-1, 0, 1, 2)
    assert whole.exact.value == 0.75
    assert whole.weighted_kappa == whole.kappa
    assert whole.bias.value is None
    assert whole.spearman.value is None


async def test_an_identity_is_found_again_after_the_record_was_read(room: Room) -> None:
    await calibrated(room)
    kept = (await room.calibrations.kept(HOME))[0]
    assert isinstance(kept.identity, JudgeIdentity)
    assert kept.identity == await room.identity()
    assert kept.calibration.judge_digest == kept.identity.digest
