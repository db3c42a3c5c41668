import pytest
from tests.server.judge.bench import TEXT

import whet_prompts
from whet_server.errors import InvalidField, RubricNotFound
from whet_server.judge import prompts
from whet_server.judge.asking import CANDIDATES, questions
from whet_server.judge.rubric import Rubric, parse
from whet_server.judge.rubrics import Rubrics
from whet_server.judging import DEFAULT_RUBRIC, Item, Judge, JudgeMode
from whet_server.store.memory import MemoryStore
from whet_server.values import ModelName, Workspace

HOME, AWAY = Workspace("home"), Workspace("away")
LOCAL_WINDOW = 4_096
BYTES_PER_TOKEN = 4


async def put(rubrics: Rubrics, text: str, name: str = "tone") -> tuple[Rubric, bool]:
    return await rubrics.put(HOME, name, text, also=lambda *_: ())


@pytest.mark.parametrize("name", whet_prompts.rubric_names())
async def test_every_rubric_that_comes_with_whet_can_be_rated_by(name: str) -> None:
    rubric = await Rubrics(MemoryStore()).get(HOME, name)
    assert rubric.built_in
    assert rubric.version >= 1
    assert sum(dimension.weight for dimension in rubric.dimensions) == pytest.approx(1)
    for dimension in rubric.dimensions:
        assert dimension.description.endswith("?")
        assert [anchor.level for anchor in dimension.anchors] == list(range(rubric.lowest, rubric.highest + 1))
        assert len({anchor.description for anchor in dimension.anchors}) == len(dimension.anchors)
        assert all(len(anchor.description.split()) >= 4 for anchor in dimension.anchors)


async def test_the_built_in_rubric_has_its_six_dimensions() -> None:
    rubric = await Rubrics(MemoryStore()).get(HOME, DEFAULT_RUBRIC)
    assert (rubric.lowest, rubric.highest) == (1, 5)
    assert [dimension.name for dimension in rubric.dimensions] == [
        "problem_understanding",
        "causal_linking",
        "experiment_design",
        "efficiency",
        "reproducibility",
        "safety_and_hygiene",
    ]


@pytest.mark.parametrize("mode", JudgeMode)
async def test_the_built_in_rubric_leaves_half_of_the_local_models_window_to_the_texts(mode: JudgeMode) -> None:
    rubric = await Rubrics(MemoryStore()).get(HOME, DEFAULT_RUBRIC)
    item = Item(item_id="i", input="?", candidates=("a", "b", "c")[: CANDIDATES[mode][0]])
    asked = questions(item, "c", Judge(models=(ModelName("local/smollm2"),), mode=mode), rubric)[0]
    told = prompts.messages(item, rubric, mode, asked.order)
    assert sum(len(message.content) for message in told) / BYTES_PER_TOKEN < LOCAL_WINDOW / 2 - 400


async def test_versions_go_on_from_the_built_in_one_and_stand_above_it() -> None:
    rubrics = Rubrics(MemoryStore())
    built_in = await rubrics.get(HOME, DEFAULT_RUBRIC)
    changed = built_in.text.replace("Nothing in it can be followed.", "Nobody can follow it.")
    rubric, created = await put(rubrics, changed, DEFAULT_RUBRIC)
    assert (created, rubric.version, rubric.built_in) == (True, built_in.version + 1, False)
    assert rubric.digest != built_in.digest
    assert await rubrics.get(HOME, DEFAULT_RUBRIC) == rubric
    assert await rubrics.get(HOME, f"{DEFAULT_RUBRIC}@{built_in.version}") == built_in
    assert await rubrics.get(AWAY, DEFAULT_RUBRIC) == built_in
    assert [each.version for each in await rubrics.versions(HOME, DEFAULT_RUBRIC)] == [2, 1]


async def test_the_same_text_makes_no_new_version_and_an_older_one_does() -> None:
    rubrics = Rubrics(MemoryStore())
    one, two = TEXT, TEXT.replace("short?", "brief?")
    first, again = await put(rubrics, one), await put(rubrics, one + "\n")
    assert (first[0].version, first[1], again) == (1, True, (first[0], False))
    assert [(await put(rubrics, text))[0].version for text in (two, one)] == [2, 3]
    assert [rubric.name for rubric in await rubrics.newest(HOME)] == sorted([*whet_prompts.rubric_names(), "tone"])


@pytest.mark.parametrize("name", ["nobody", "tone@2", "tone@0x1", "Tone", "", "tone@", f"{DEFAULT_RUBRIC}@7"])
async def test_a_rubric_that_is_not_there_is_said_to_be_missing(name: str) -> None:
    rubrics = Rubrics(MemoryStore())
    await put(rubrics, TEXT)
    with pytest.raises(RubricNotFound, match="ListRubrics"):
        await rubrics.get(HOME, name)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name = ", "name ", r"no TOML: .*line 3, column"),
        ("weight = 3", "weight = 0", r"\$\.dimension\[0\]\.weight"),
        ("weight = 3", "weight = 'much'", r"float.*\$\.dimension\[0\]\.weight"),
        ("weight = 3", "wieght = 3", r"unknown field `wieght` - at `\$\.dimension\[0\]`"),
        ("description = ", "version = 3\ndescription = ", r"unknown field `version`"),
        ("4 = 'good', ", "", r"dimension\[0\] \(right\): levels lacks a sentence for 4"),
        ("5 = 'very", "6 = 'very", r"levels has 6, which is not on the scale of 1 to 5"),
        ("'fair'", "' '", r"\$\.dimension\[0\]\.levels"),
        ('"short"', '"right"', r"dimension\[1\] \(right\): there is a dimension of this name"),
        ('"short"', '"Short one"', r"\$\.dimension\[1\]\.name"),
        ("[[dimension]]", "lowest = 5\n[[dimension]]", r"the highest level must be above the lowest"),
        ("[[dimension]]", "lowest = 0\n[[dimension]]", r"\$\.lowest"),
        (TEXT, 'description = "x"', r"missing required field `dimension`"),
    ],
)
def test_what_is_wrong_with_a_rubric_is_said_with_its_line_or_key(old: str, new: str, said: str) -> None:
    with pytest.raises(InvalidField, match=said):
        parse(TEXT.replace(old, new, 1), "tone", 1)
