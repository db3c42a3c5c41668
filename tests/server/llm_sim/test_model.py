import pytest

from whet_server.errors import InvalidField, ModelNotFound
from whet_server.ledger.ledger import Price
from whet_server.llm import sim


def test_a_bare_name_is_a_preset_and_the_prefix_may_be_left_out() -> None:
    assert sim.parse("sim/slow") == sim.parse("slow")
    assert sim.parse("slow").first_ms == 5000


def test_settings_after_the_question_mark_win_over_the_preset() -> None:
    model = sim.parse("sim/slow?first_ms=7&tokens=60&seed=9&usage=missing&text=Yes%2C+indeed.")
    assert (model.first_ms, model.rate, model.tokens, model.seed) == (7, 20, 60, 9)
    assert model.text == "Yes, indeed."
    assert not model.usage_reported


def test_presets_have_seeds_of_their_own() -> None:
    seeds = {sim.parse(preset.name).seed for preset in sim.presets()}
    assert len(seeds) == len(sim.presets())


@pytest.mark.parametrize("preset", sim.presets(), ids=lambda preset: preset.name)
def test_every_preset_parses_and_says_what_it_is(preset: sim.Preset) -> None:
    assert sim.parse(f"sim/{preset.name}").preset == preset.name
    assert preset.description.endswith(".")


def test_an_unknown_preset_is_refused_with_the_list_of_those_there_are() -> None:
    with pytest.raises(ModelNotFound) as refused:
        sim.parse("sim/quick?seed=1")
    assert "'quick'" in str(refused.value)
    assert all(preset.name in str(refused.value) for preset in sim.presets())


def test_an_unknown_setting_is_refused_with_the_list_of_those_there_are() -> None:
    told = ""
    for model in ("sim/judge?speed=9", "sim/classify?speed=9"):
        with pytest.raises(InvalidField) as refused:
            sim.parse(model)
        told += str(refused.value)
    assert all(setting.name in told for setting in sim.settings())


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("rate=0", "rate must be a whole number from 1"),
        ("rate=-1", "rate must be a whole number"),
        ("first_ms=soon", "first_ms must be a whole number from 0"),
        ("tokens=99999999999999999999999999", "tokens must be a whole number"),
        ("tokens=\u0665", "tokens must be a whole number"),
        ("fault=boom", "fault must be one of unreachable"),
        ("usage=no", "usage must be reported or missing"),
        ("text=", "text must be a text"),
        ("seed=1&seed=2", "seed is given twice"),
        ("seed", "settings are written as name=value"),
        ("&&", "settings are written as name=value"),
        ("stance=shy", "stance must be one of agrees, contradicts"),
    ],
)
def test_an_absurd_setting_is_refused_by_name(query: str, complaint: str) -> None:
    with pytest.raises(InvalidField, match=complaint) as refused:
        sim.parse(f"sim/any?{query}")
    assert refused.value.metadata["field"] == "model"


def test_a_price_is_nothing_unless_the_name_says_one() -> None:
    assert sim.price("sim/fast") == Price(input=0, output=0, source="sim")
    assert sim.price("sim/fast?price_in=3&price_out=4000000000") == Price(input=3, output=4_000_000_000, source="sim")


def test_faults_are_counted_from_the_first_call_and_anew_after_every_so_many() -> None:
    twice = sim.parse("sim/any?fault=overloaded&times=2")
    assert [twice.faulted(call) is not None for call in range(4)] == [True, True, False, False]
    flaky = sim.parse("sim/flaky")
    assert [flaky.faulted(call) is not None for call in range(4)] == [True, False, True, False]
    always = sim.parse("sim/any?fault=overloaded")
    assert always.faulted(1_000) is sim.Fault.OVERLOADED
