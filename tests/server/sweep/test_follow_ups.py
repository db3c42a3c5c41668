import pytest
from msgspec.structs import replace
from tests.server.sweep.ended import PLAN, RECORD, RESULT, SPEC, fold

from whet_server.dataset.spec import DatasetRef
from whet_server.errors import CapExceeded, InvalidField
from whet_server.sweep.follow_ups import check_chain, follow_ups, followed
from whet_server.sweep.spec import Chain, SweepRecord, SweepSpec
from whet_server.sweeping import Budget, Condition, FloatRange, IntRange, SearchDimension, SweepResult, configuration_of
from whet_server.values import Nanos, RunId


def proposed(result: SweepResult = RESULT, record: SweepRecord = RECORD) -> dict[str, tuple[SearchDimension, ...]]:
    return {each.step: each.space for each in follow_ups(record, fold(record, result), result)}


def with_temperature(dimension: SearchDimension) -> SweepRecord:
    space = (PLAN.space[0], dimension, PLAN.space[2])
    return replace(RECORD, plan=replace(PLAN, space=space), spec=replace(SPEC, space=space))


def test_a_best_at_an_edge_asks_for_more_beyond_it() -> None:
    wider = proposed()["widen"][1]
    assert wider.float_range == FloatRange(low=0.0, high=2.0)
    reason = next(each.reason for each in follow_ups(RECORD, fold(), RESULT) if each.step == "widen")
    assert reason == "Classify.temperature is best at 0.98, an edge of 0..1: search 0..2."


def test_nothing_is_searched_beyond_what_a_place_can_mean() -> None:
    hot = with_temperature(SearchDimension(name="classify.temperature", float_range=FloatRange(low=0.0, high=2.0)))
    result = replace(RESULT, best=0)
    assert "widen" not in proposed(result, hot)


def test_a_converged_sweep_is_looked_at_more_closely() -> None:
    narrower = proposed()["narrow"]
    assert narrower[1].float_range == FloatRange(low=0.855, high=1.0)
    assert narrower[2].choices is not None
    assert [each.label for each in narrower[2].choices.choices] == ["sim/fast", "sim/good"]


def test_a_sweep_that_has_not_converged_is_not_narrowed() -> None:
    assert "narrow" not in proposed(replace(RESULT, converged=False))


def test_a_logarithmic_range_is_narrowed_on_its_scale() -> None:
    name = "classify.temperature"
    record = with_temperature(SearchDimension(name=name, float_range=FloatRange(low=0.0001, high=1.0, log=True)))
    ended = fold(record)
    assert ended.trials[1].configuration[name] == 0.5
    narrow = next(each for each in follow_ups(record, ended, replace(RESULT, best=1)) if each.step == "narrow")
    assert narrow.space[1].float_range == FloatRange(low=0.1581, high=1.0, log=True)


def test_integers_stay_on_their_steps() -> None:
    record = with_temperature(SearchDimension(name="params.k", int_range=IntRange(low=1, high=41, step=5)))
    ended = fold(record)
    for trial in ended.trials.values():
        trial.parameters = tuple(
            replace(each, name="params.k", number=None, integer=21) if each.number is not None else each
            for each in trial.parameters
        )
    narrow = next(each for each in follow_ups(record, ended, RESULT) if each.step == "narrow")
    assert narrow.space[1].int_range == IntRange(low=16, high=26, step=5)


def test_what_explains_nothing_makes_room_for_what_was_not_searched() -> None:
    swapped = proposed()["swap"]
    assert [each.name for each in swapped] == ["classify.template", "classify.model", "classify.examples.count"]
    reason = next(each.reason for each in follow_ups(RECORD, fold(), RESULT) if each.step == "swap")
    assert reason == (
        "Classify.temperature explains 2% of the differences and stays 0.98; "
        "classify.examples.count was not searched yet: try 0..4."
    )


def test_a_condition_on_what_is_fixed_is_settled() -> None:
    by_model = Condition(dimension="classify.model", labels=("sim/good",))
    space = (PLAN.space[0], replace(PLAN.space[1], only_if=by_model), PLAN.space[2])
    importance = tuple(
        replace(each, share=0.01) if each.name == "classify.model" else each for each in RESULT.importance
    )
    result = replace(
        RESULT, importance=(replace(importance[0]), replace(importance[1]), replace(importance[2], share=0.5))
    )
    record = replace(RECORD, plan=replace(PLAN, space=space))
    swapped = proposed(result, record)["swap"]
    assert swapped[1] == PLAN.space[1]


def test_without_a_best_trial_nothing_follows() -> None:
    assert not follow_ups(RECORD, fold(), replace(RESULT, best=None))


def test_a_follow_up_begins_from_the_best_of_its_parent() -> None:
    result = replace(RESULT, follow_ups=follow_ups(RECORD, fold(), RESULT))
    asked = SweepSpec(chain=Chain(parent_run_id=RunId("swp_1"), step="swap"))
    spec = followed(RECORD, fold(), result, asked)
    assert spec.pipeline is not None
    stage = spec.pipeline.stages[0]
    assert stage.parameters.temperature == 0.98
    assert stage.model == "sim/good"
    assert configuration_of(spec.baseline) == {"classify.template": "evil", "classify.model": "sim/good"}
    assert spec.space == next(each.space for each in result.follow_ups if each.step == "swap")
    assert (spec.objectives, spec.dataset, spec.seed, spec.scorers) == (SPEC.objectives, SPEC.dataset, 7, ("exact",))
    assert spec.budget == Budget(money=SPEC.budget.money, trials=10)
    assert spec.chain == asked.chain


def test_what_a_follow_up_says_stands_above_its_parent() -> None:
    result = replace(RESULT, follow_ups=follow_ups(RECORD, fold(), RESULT))
    asked = SweepSpec(
        chain=Chain(step="widen"), dataset=DatasetRef(name="other"), budget=Budget(trials=99), scorers=("f1",), seed=3
    )
    spec = followed(RECORD, fold(), result, asked)
    assert (spec.dataset, spec.budget.trials, spec.scorers, spec.seed) == (DatasetRef(name="other"), 99, ("f1",), 3)
    assert spec.budget.money == SPEC.budget.money


def test_a_follow_up_opens_no_hold_out_unless_it_is_asked_to() -> None:
    result = replace(RESULT, follow_ups=follow_ups(RECORD, fold(), RESULT))
    parent = replace(RECORD, spec=replace(SPEC, holdout=True))
    assert not followed(parent, fold(), result, SweepSpec(chain=Chain(step="widen"))).holdout


def test_a_step_that_is_not_proposed_is_refused() -> None:
    with pytest.raises(InvalidField, match="proposes no follow-up 'narrow'; it proposes: none"):
        followed(RECORD, fold(), RESULT, SweepSpec(chain=Chain(step="narrow")))


def test_a_chain_ends_where_its_first_sweep_says() -> None:
    assert check_chain(RECORD, 2, Nanos(1_000_000_000)) == 4_000_000_000
    with pytest.raises(InvalidField, match="2 may follow the first sweep"):
        check_chain(RECORD, 3, Nanos(0))
    with pytest.raises(CapExceeded, match=r"have spent \$5.00 of \$5.00"):
        check_chain(RECORD, 1, Nanos(5_000_000_000))


def test_a_chain_without_money_has_no_cap_of_its_own() -> None:
    root = replace(RECORD, spec=replace(SPEC, chain=Chain(depth=1)))
    assert check_chain(root, 1, Nanos(10**12)) is None
