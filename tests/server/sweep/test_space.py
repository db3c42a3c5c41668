from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.sweep.spaces import MIXED, one_of, only_if, real, space, spaces, whole

from whet_server.errors import InvalidField
from whet_server.sweep.space import MOST_COMBINATIONS, Space, at_share, share_of
from whet_server.sweeping import Configuration, SearchDimension


def told(*dimensions: SearchDimension) -> list[tuple[str, str]]:
    with pytest.raises(InvalidField) as refused:
        Space(dimensions).check()
    return [(field.removeprefix("spec.space"), what) for field, what in refused.value.violations]


@settings(deadline=None)
@given(spaces(counted=True))
def test_a_grid_has_each_configuration_of_the_space_once_and_as_many_as_its_size(of: Space) -> None:
    grid = [tuple(each.items()) for each in of.grid()]

    assert len(grid) == len(set(grid)) == of.size
    assert all(of.contains(dict(each)) for each in grid)


@settings(deadline=None)
@given(spaces(counted=True, most=3))
def test_a_size_counts_what_is_left_of_all_combinations_when_conditions_are_applied(of: Space) -> None:
    everything = product(*([value for value, *_ in _values(each)] for each in of.dimensions))
    names = [each.name for each in of.dimensions]

    assert of.size == len({tuple(of.ordered(dict(zip(names, each, strict=True))).items()) for each in everything})


@settings(deadline=None)
@given(spaces(), st.integers())
def test_whatever_is_drawn_lies_in_the_space_and_keeps_the_order_of_its_dimensions(of: Space, seed: int) -> None:
    drawn = of.drawn(Random(seed))

    assert of.contains(drawn)
    assert list(drawn) == [each.name for each in of.dimensions if each.name in drawn]


@settings(deadline=None)
@given(spaces(), st.integers())
def test_a_number_is_found_again_where_it_lies_on_its_scale(of: Space, seed: int) -> None:
    drawn = of.drawn(Random(seed))

    for dimension in of.active(drawn):
        if not dimension.choices:
            share = share_of(dimension, drawn[dimension.name])
            assert 0 <= share <= 1
            assert at_share(dimension, share) == pytest.approx(drawn[dimension.name])


@settings(deadline=None)
@given(spaces(), st.integers())
def test_a_float_without_a_step_makes_a_space_without_number(of: Space, seed: int) -> None:
    del seed
    free = any(each.float_range and not each.float_range.step for each in of.dimensions)

    assert (of.size == 0) is free


def test_what_hangs_on_a_dimension_that_does_not_count_does_not_count_either() -> None:
    settings: Configuration = {"model": "small", "style": "long", "examples": 4, "temperature": 1.0, "tokens": 64}

    assert MIXED.ordered(settings) == {"model": "small", "temperature": 1.0, "tokens": 64}
    assert [each.name for each in MIXED.active({**settings, "model": "other"})] == [
        "model",
        "temperature",
        "tokens",
        "style",
        "examples",
    ]


def test_a_configuration_is_completed_by_the_default_and_then_by_the_first_value() -> None:
    default: Configuration = {"model": "large", "temperature": 3.5, "top_p": 0.9}

    assert MIXED.complete({"tokens": 99}, default) == {
        "model": "large",
        "temperature": 3.5,
        "top_p": 0.9,
        "tokens": 99,
        "style": "short",
    }
    assert not MIXED.contains(MIXED.complete({"tokens": 99}, default))


def test_a_configuration_with_a_setting_too_many_or_too_few_lies_outside() -> None:
    inside: Configuration = {"model": "small", "temperature": 0.5, "tokens": 64}

    assert MIXED.contains(inside)
    assert not MIXED.contains({**inside, "style": "short"})
    assert not MIXED.contains({"model": "small", "tokens": 64})
    assert not MIXED.contains({**inside, "tokens": 64.5})
    assert not MIXED.contains({**inside, "tokens": "64"})


def test_steps_are_exact_in_decimals() -> None:
    assert [each["x"] for each in space(real("x", 0.0, 1.0, step=0.1)).grid()] == [at / 10 for at in range(11)]
    assert space(real("x", 0.0, 1.0, step=0.3)).size == 4


def test_a_space_says_everything_that_is_wrong_with_it_at_once() -> None:
    assert told(
        SearchDimension(name="nothing"),
        real("down", 1.0, 0.0),
        real("never", float("nan"), 1.0),
        real("log", 0.0, 1.0, log=True),
        real("both", 1.0, 2.0, log=True, step=0.5),
        whole("both", 1, 8, log=True, step=2),
        whole("far", 0, 2**60),
        real("wide", 0.0, 1.0, step=2.0),
        one_of("one", "a"),
        one_of("twice", "a", "b", "a"),
    ) == [
        ("[0]", "say whether nothing is a float range, an int range or choices"),
        ("[1].float_range.high", "must be above low, which is 1.0"),
        ("[2].float_range", "give finite numbers"),
        ("[3].float_range.low", "must be above 0 on a logarithmic scale"),
        ("[4].float_range.step", "a logarithmic scale has no steps: leave out one of the two"),
        ("[5].int_range.step", "a logarithmic scale has no steps: leave out one of the two"),
        ("[6].int_range", "stay within 9007199254740992"),
        ("[7].float_range.step", "must fit between 0.0 and 1.0"),
        ("[8].choices", "give two choices or more"),
        ("[9].choices.choices[2].label", "there are two choices a"),
        ("[5].name", "there are two dimensions both"),
    ]


def test_a_condition_must_be_one_that_can_come_true() -> None:
    model = one_of("model", "a", "b")

    assert told(
        model,
        real("t"),
        whole("n", 1, 9, step=2),
        only_if(real("x"), "no"),
        only_if(real("y"), "t", "0.5"),
        only_if(real("z"), "model", "c"),
        only_if(one_of("self", "a", "b"), "loop", "a"),
        only_if(one_of("loop", "a", "b"), "self", "a"),
        only_if(real("odd"), "n", "3", "4", "03"),
    ) == [
        ("[3].only_if.labels", "name the labels with which it counts"),
        ("[3].only_if.dimension", "the space has no dimension no"),
        ("[4].only_if.dimension", "t is a float range; a condition needs choices or integers"),
        ("[5].only_if.labels[0]", "model is never c"),
        ("[6].only_if.dimension", "self hangs on itself"),
        ("[7].only_if.dimension", "loop hangs on itself"),
        ("[8].only_if.labels[1]", "n is never 4"),
        ("[8].only_if.labels[2]", "n is never 03"),
    ]


def test_a_size_beyond_the_wire_s_numbers_is_its_largest() -> None:
    assert space(*(whole(f"d{at}", 0, 2**40) for at in range(3))).size == MOST_COMBINATIONS


def test_a_narrowed_space_keeps_what_it_does_not_name_and_what_choices_stand_for() -> None:
    narrow = MIXED.narrowed([one_of("model", "large"), real("top_p", 0.3, 0.5), whole("tokens", 32, 64)])
    drawn = [narrow.drawn(Random(seed)) for seed in range(40)]

    assert {each["model"] for each in drawn} == {"large"}
    assert {each["top_p"] for each in drawn} == {0.3, 0.4, 0.5}
    assert all(32 <= int(each["tokens"]) <= 64 and MIXED.contains(each) for each in drawn)
    assert {each["style"] for each in drawn} == {"short", "long"}


def test_a_space_is_never_widened_by_narrowing_it() -> None:
    with pytest.raises(InvalidField) as refused:
        MIXED.narrowed(
            [
                one_of("model", "large", "new"),
                real("temperature", -1.0, 1.0),
                real("top_p", 0.15, 0.5),
                real("tokens", 16.0, 32.0),
                real("unknown"),
                whole("examples", 4, 2),
            ]
        )

    assert [what for _, what in refused.value.violations] == [
        "model has no choice new",
        "temperature is from 0.0 to 2.0",
        "0.15 is none of the steps of top_p",
        "give a range of the same kind",
        "the space has no dimension unknown",
        "low is above high",
    ]


def _values(dimension: SearchDimension) -> list[tuple[float | int | str, ...]]:
    return [
        tuple(each.values())
        for each in Space(
            [
                SearchDimension(
                    name=dimension.name,
                    float_range=dimension.float_range,
                    int_range=dimension.int_range,
                    choices=dimension.choices,
                )
            ]
        ).grid()
    ]
