"""Samplers: the same from seed and history alone, within the space, better than chance where they claim to be."""

import json
import sys
from collections.abc import Callable, Sequence
from random import Random
from subprocess import run

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.sweep.spaces import MIXED, one_of, only_if, real, space, spaces, whole

from whet_server.errors import InvalidField
from whet_server.sweep.samplers import check_sampler
from whet_server.sweep.space import Space
from whet_server.sweep.study import Study, importance
from whet_server.sweeping import Configuration, Sampler, SamplerKind

SEARCHING = tuple(set(SamplerKind) - {SamplerKind.REFLECTION})
ONE = sorted(SEARCHING)
SEVERAL = (SamplerKind.TPE, SamplerKind.NSGA_II, SamplerKind.RANDOM)
EARLY = 4
"""Trials at random, so that short histories reach the method."""
Values = tuple[float, ...] | None


class Life:
    """A sweep as the engine runs it: trial k is asked when the trials up to k - lag have been told."""

    def __init__(self, study: Study, lag: int, outcomes: Sequence[tuple[Values, bool]]) -> None:
        self._study = study
        self._lag = lag
        self._outcomes = outcomes
        self._told = 0
        self.asked: list[Configuration | None] = []

    def ask(self, trials: int, known: Sequence[Configuration | None] = ()) -> list[Configuration | None]:
        """Ask for trials; those known from an earlier life are restored."""
        for number in range(trials):
            while self._told <= number - self._lag:
                self._tell()
            if number < len(known):
                if (configuration := known[number]) is not None:
                    self._study.restore(number, configuration)
                self.asked.append(known[number])
            else:
                self.asked.append(self._study.ask(number))
        return self.asked

    def _tell(self) -> None:
        if self.asked[self._told] is not None:
            values, stopped = self._outcomes[self._told]
            self._study.tell(self._told, values, pruned_at=8 if stopped and values is not None else None)
        self._told += 1


def sampler(kind: SamplerKind, startup: int = EARLY) -> Sampler:
    return Sampler(kind=kind, startup_trials=startup)


def outcomes(objectives: int) -> st.SearchStrategy[list[tuple[Values, bool]]]:
    value = st.floats(0, 1, allow_subnormal=False)
    return st.lists(
        st.tuples(st.one_of(st.none(), *[st.tuples(*[value] * objectives)] * 4), st.booleans()),
        min_size=14,
        max_size=14,
    )


@pytest.mark.parametrize(
    ("kind", "objectives"), [*((kind, 1) for kind in ONE), *((kind, 2) for kind in SEVERAL)], ids=str
)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_a_sweep_cut_off_anywhere_goes_on_with_the_same_suggestions(
    data: st.DataObject, kind: SamplerKind, objectives: int
) -> None:
    of = data.draw(spaces(counted=kind is SamplerKind.GRID))
    given_outcomes = data.draw(outcomes(objectives))
    lag = data.draw(st.integers(1, 5))
    seed = data.draw(st.integers(0, 2**63 - 1))
    cut = data.draw(st.integers(0, 14))

    def life() -> Life:
        return Life(Study(of, sampler(kind), [True] * objectives, seed), lag, given_outcomes)

    whole_life = life().ask(14)

    assert life().ask(14, whole_life[:cut]) == whole_life
    assert all(each is None or of.contains(each) for each in whole_life)


@pytest.mark.parametrize("kind", ONE)
@settings(max_examples=5, deadline=None)
@given(of=spaces(counted=True, most=2), seed=st.integers(0, 1000))
def test_no_configuration_of_a_finite_space_comes_twice_and_its_end_is_told(
    kind: SamplerKind, of: Space, seed: int
) -> None:
    study = Study(of, sampler(kind), [True], seed)
    baseline = of.complete({}, {})
    study.restore(0, baseline)
    study.tell(0, [0.5])
    suggested: list[Configuration] = [baseline]
    while (configuration := study.ask(len(suggested))) is not None:
        study.tell(len(suggested), [Random(len(suggested)).random()])
        suggested.append(configuration)

    keys = {json.dumps(each) for each in suggested}
    assert len(keys) == len(suggested) == of.size
    assert study.ask(len(suggested)) is None


def test_a_baseline_outside_of_the_space_uses_up_none_of_its_combinations() -> None:
    study = Study(space(one_of("m", "a", "b")), sampler(SamplerKind.GRID), [True], 1)
    study.restore(0, {"m": "c"})
    study.tell(0, [1.0])

    assert {str(study.ask(number)) for number in (1, 2, 3)} == {"{'m': 'a'}", "{'m': 'b'}", "None"}


def test_the_seed_decides_the_order_of_a_grid() -> None:
    of = space(whole("n", 1, 9), one_of("m", "a", "b"))
    orders = [[Study(of, sampler(SamplerKind.GRID), [True], seed).ask(1)] for seed in range(9)]

    assert len({str(each) for each in orders}) > 1


def bowl(configuration: Configuration) -> float:
    """Best at temperature 0.6 of the large model, long style with 4 examples."""
    value = 1.0 - abs(float(configuration["temperature"]) - 0.6) / 2
    value -= 0.0 if configuration["model"] == "large" else 0.4
    return value - (0.0 if configuration.get("examples") == 4 else 0.1)


def found(kind: SamplerKind, of: Space, score: Callable[[Configuration], float], trials: int, seed: int) -> list[float]:
    """Return the scores of a search with four trials at once."""
    study = Study(of, sampler(kind, 8), [True], seed)
    scores: list[float] = []
    for number in range(trials):
        if number >= 4:
            study.tell(number - 4, [scores[number - 4]])
        configuration = study.ask(number)
        assert configuration is not None
        scores.append(score(configuration))
    return scores


@pytest.mark.parametrize("kind", [SamplerKind.TPE, SamplerKind.GAUSSIAN_PROCESS, SamplerKind.GUIDED_TOP_K])
def test_a_search_ends_where_the_scores_are_high(kind: SamplerKind) -> None:
    last = [score for seed in range(2) for score in found(kind, MIXED, bowl, 40, seed)[-12:]]
    chance = [score for seed in range(2) for score in found(SamplerKind.RANDOM, MIXED, bowl, 40, seed)]

    assert sum(last) / len(last) > sum(chance) / len(chance) + 0.15


def test_cma_es_finds_the_bottom_of_a_bowl_of_numbers() -> None:
    of = space(
        real("x", -5.0, 5.0), real("y", 1e-3, 10.0, log=True), only_if(real("z"), "m", "a"), one_of("m", "a", "b")
    )

    scores = found(SamplerKind.CMA_ES, of, lambda c: -((float(c["x"]) - 2) ** 2) - abs(float(c["y"]) - 1), 120, 3)

    assert max(scores[-30:]) > -0.05
    assert sum(scores[-30:]) / 30 > sum(scores[:30]) / 30 + 1


def test_nsga_ii_spreads_over_the_front_of_two_objectives() -> None:
    of = space(real("x", 0.0, 1.0), real("y", 0.0, 1.0), only_if(real("z"), "m", "a"), one_of("m", "a", "b"))
    study = Study(of, sampler(SamplerKind.NSGA_II, 16), [True, False], 5)
    off: list[float] = []
    for number in range(160):
        configuration = study.ask(number)
        assert configuration is not None
        off.append(float(configuration["y"]))
        quality = float(configuration["x"]) - off[-1]
        study.tell(number, [quality, float(configuration["x"]) + off[-1]])

    assert sum(off[-32:]) / 32 < 0.5 * sum(off[:16]) / 16


def test_trials_under_way_keep_their_distance() -> None:
    of = space(real("x", 0.0, 1.0), real("y", 0.0, 1.0))

    def spread(kind: SamplerKind) -> float:
        study = Study(of, sampler(kind), [True], 2)
        for number in range(12):
            configuration = study.ask(number)
            assert configuration is not None
            study.tell(number, [-abs(float(configuration["x"]) - 0.3) - abs(float(configuration["y"]) - 0.3)])
        points = [study.ask(number) or {} for number in range(12, 20)]
        return min(
            abs(float(one["x"]) - float(two["x"])) + abs(float(one["y"]) - float(two["y"]))
            for at, one in enumerate(points)
            for two in points[:at]
        )

    assert spread(SamplerKind.GAUSSIAN_PROCESS) > 1e-4
    assert spread(SamplerKind.TPE) > 1e-4


@pytest.mark.parametrize("kind", ONE)
def test_a_narrowed_study_stays_in_what_is_left_and_is_resumed_there(kind: SamplerKind) -> None:
    of = MIXED if kind is not SamplerKind.GRID else space(one_of("model", "small", "large"), whole("n", 1, 30))
    narrow = of.narrowed([one_of("model", "large")])

    def life(known: Sequence[Configuration] = ()) -> list[Configuration]:
        study = Study(of, sampler(kind), [True], 9)
        asked: list[Configuration] = []
        for number in range(24):
            if number == 12:
                study.narrow(narrow)
            if number < len(known):
                study.restore(number, known[number])
                asked.append(known[number])
            else:
                asked.append(study.ask(number) or {})
            study.tell(number, [number % 7 / 7])
        return asked

    whole_life = life()

    assert {each["model"] for each in whole_life[12:]} == {"large"}
    assert {each["model"] for each in whole_life[:12]} != {"large"}
    assert life(whole_life[:7]) == life(whole_life[:18]) == whole_life


@pytest.mark.parametrize("kind", ONE)
def test_a_space_that_is_narrowed_to_one_combination_has_that_one(kind: SamplerKind) -> None:
    of = space(real("x", 0.0, 1.0, step=0.5), one_of("m", "a", "b"))
    study = Study(of, sampler(kind, 1), [True], 4)
    study.restore(0, {"x": 0.5, "m": "b"})
    study.tell(0, [0.1])
    study.narrow(of.narrowed([real("x", 1.0, 1.0), one_of("m", "a")]))

    assert [study.ask(1), study.ask(2)] == [{"x": 1.0, "m": "a"}, None]


def test_a_failed_trial_teaches_nothing_and_is_not_tried_again() -> None:
    of = space(one_of("m", "a", "b", "c"))
    study = Study(of, sampler(SamplerKind.TPE, 1), [True], 0)
    study.restore(0, {"m": "a"})
    study.tell(0, None)

    assert {str(study.ask(number)) for number in (1, 2, 3)} == {"{'m': 'b'}", "{'m': 'c'}", "None"}


@pytest.mark.parametrize(
    ("kind", "of", "objectives", "pipeline", "words"),
    [
        (SamplerKind.GRID, space(real("x")), 1, True, "no grid"),
        (SamplerKind.GRID, space(whole("x", 0, 999), whole("y", 0, 999)), 1, True, "1000000 combinations"),
        (SamplerKind.CMA_ES, space(one_of("m", "a", "b")), 1, True, "choices only"),
        (SamplerKind.CMA_ES, space(real("x")), 2, True, "one objective, not 2"),
        (SamplerKind.GAUSSIAN_PROCESS, space(real("x")), 3, True, "one objective, not 3"),
        (SamplerKind.GUIDED_TOP_K, space(real("x")), 2, True, "one objective"),
        (SamplerKind.REFLECTION, Space(()), 1, False, "this target is none"),
        (SamplerKind.TPE, Space(()), 1, True, "nothing to search"),
    ],
)
def test_a_sampler_that_cannot_search_this_is_refused(
    kind: SamplerKind, of: Space, objectives: int, *, pipeline: bool, words: str
) -> None:
    with pytest.raises(InvalidField, match=words) as refused:
        check_sampler(Sampler(kind=kind), of, objectives, pipeline=pipeline)

    assert refused.value.violations[0][0] == "spec.sampler.kind"


def test_what_can_be_searched_is_not_refused() -> None:
    for kind in SamplerKind:
        check_sampler(Sampler(kind=kind), space(whole("n", 1, 3)), 1)
    for kind in SEVERAL:
        check_sampler(Sampler(kind=kind), space(real("x")), 3)


def test_importance_names_what_makes_the_difference_and_leaves_noise_behind() -> None:
    random = Random(1)
    configurations = [MIXED.drawn(random) for _ in range(300)]
    trials = [
        (each, float(each["model"] == "large") - abs(float(each["temperature"]) - 0.5) / 2 + random.gauss(0, 0.1))
        for each in configurations
    ]
    ranked = importance(MIXED, trials, higher=True)
    falling = importance(MIXED, [(each, -value) for each, value in trials], higher=False)

    assert [each.name for each in ranked[:2]] == ["temperature", "model"]
    assert ranked[0].share + ranked[1].share > 0.7
    assert {each.name for each in ranked} == {each.name for each in MIXED.dimensions}
    assert sum(each.share for each in ranked) == pytest.approx(1.0)
    assert falling == ranked


def test_importance_says_nothing_from_few_trials_or_equal_ones() -> None:
    drawn = [MIXED.drawn(Random(seed)) for seed in range(20)]

    assert importance(MIXED, [(each, 0.5) for each in drawn], higher=True) == ()
    assert importance(MIXED, [(each, float(at)) for at, each in enumerate(drawn[:9])], higher=True) == ()


@settings(max_examples=15, deadline=None)
@given(of=spaces(), data=st.data())
def test_importance_is_a_share_of_every_dimension_whatever_the_trials(of: Space, data: st.DataObject) -> None:
    count = data.draw(st.integers(10, 30))
    values = data.draw(st.lists(st.sampled_from([0.0, 0.5, 0.75, 1.0]), min_size=count, max_size=count))
    ranked = importance(of, [(of.drawn(Random(at)), value) for at, value in enumerate(values)], higher=True)

    assert not ranked or sum(each.share for each in ranked) == pytest.approx(1.0)
    assert all(each.share >= 0 for each in ranked)


WITHOUT = """
import sys
for name in ("torch", "scipy", "sklearn", "pandas", "matplotlib", "plotly"):
    sys.modules[name] = None  # as if it were not installed
from whet_server.sweep.space import Space
from whet_server.sweep.study import Study, importance
from whet_server.sweeping import FloatRange, Sampler, SamplerKind, SearchDimension
space = Space([SearchDimension(name=name, float_range=FloatRange(low=0, high=1)) for name in "ab"])
for kind in set(SamplerKind) - {SamplerKind.GRID, SamplerKind.REFLECTION}:
    study = Study(space, Sampler(kind=kind), [True], 1)
    trials = [(study.ask(number), study.tell(number, [number / 30]), number / 30) for number in range(30)]
    importance(space, [(configuration, value) for configuration, _, value in trials], higher=True)
print("sqlalchemy" in sys.modules)
"""


def test_every_sampler_does_without_heavy_libraries_and_writes_nothing_to_the_terminal() -> None:
    done = run([sys.executable, "-W", "error", "-c", WITHOUT], capture_output=True, text=True, check=False, timeout=60)

    assert (done.stdout, done.stderr) == ("False\n", "")
