"""The Data sets place, driven key by key on the twin of the desk."""

import json

from tests.tui.test_places import HOSTILE, NOW, SECOND, Stage, staged
from textual.events import Key, Paste
from textual.widgets import Input

from whet_tui.dataset_values import Column, Dataset, Row, Split, SplitCount, SplitPolicy
from whet_tui.memory_desk import MemoryDesk
from whet_tui.screens.place import PlaceScreen
from whet_tui.screens.seal import SealScreen
from whet_tui.widgets.approval_tray import GRACE

REASON = "The report is due."
LONG = "It depends on the season. " * 40 + "And that is the end of it."


def fill_datasets(desk: MemoryDesk) -> None:
    """A data set of two versions with a sealed hold-out, and one that was opened."""
    splits = (30, 10, 10)
    for version, tags in ((1, ()), (2, ("gold",))):
        desk.data["support", version] = Dataset(
            name="support",
            version=version,
            rows=50,
            description="Answers of the help desk, with what a right one says.",
            columns=(
                Column(name="id", type="integer"),
                Column(name="input", type="string"),
                Column(name="output", type="string"),
                Column(name="facts", type="json", optional=True),
            ),
            splits=tuple(SplitCount(split=split, rows=rows) for split, rows in zip(Split, splits, strict=True)),
            policy=SplitPolicy(train=0.6, dev=0.2, holdout=0.2, group="input"),
            key="id",
            tags=tags,
            digest="7f" * 32,
            source="answers.jsonl",
            create_ns=NOW - (3 - version) * 3600 * SECOND,
            role="person",
            sealed=True,
            run_id=f"dat_0{version}",
            seen_rows=version - 1,
        )
        desk.data_rows["support", version] = [row(number) for number in range(1, 51)]
    desk.data["letters", 1] = Dataset(
        name="letters",
        version=1,
        rows=12,
        columns=(Column(name="text", type="string"),),
        splits=tuple(SplitCount(split=split, rows=4) for split in Split),
        create_ns=NOW - 60 * SECOND,
        open_ns=NOW - 30 * SECOND,
        open_reason=REASON,
        open_run_id="dat_09",
    )
    desk.data_rows["letters", 1] = [
        Row(row_id=f"l{number}", number=number, split=list(Split)[number % 3], json='{"text": "Dear all"}')
        for number in range(12)
    ]


def row(number: int) -> Row:
    split = Split.TRAIN if number <= 30 else Split.DEV if number <= 40 else Split.HOLDOUT
    values = {"id": number, "input": f"Question {number}?", "output": LONG, "facts": {"pages": [number, 2]}}
    return Row(row_id=str(number), number=number, split=split, json=json.dumps(values))


async def opened(stage: Stage) -> None:
    """Go to the place and to the data set with the sealed hold-out."""
    fill_datasets(stage.desk)
    await stage.go("datasets")
    await stage.pilot.press("down")
    await stage.until_shown("The hold-out is sealed.")


async def asked(stage: Stage) -> SealScreen:
    """Press the key that opens a seal, and let the dialog be old enough to hear."""
    await stage.pilot.press("o")
    await stage.until(lambda: isinstance(stage.app.screen, SealScreen))
    dialog = stage.app.screen
    assert isinstance(dialog, SealScreen)
    await stage.until(lambda: dialog.shown_at < float("inf"))
    return dialog


async def test_a_data_set_tells_its_splits_its_seal_and_its_columns() -> None:
    async with staged((120, 40)) as stage:
        await opened(stage)
        text = stage.text()
        assert "support@2 #gold" in text
        assert "train 30 / dev 10 / hold-out 10" in text
        assert "⊘ sealed" in text
        assert "○ opened 30 s ago" in text
        assert "1 of its rows were seen in another version." in text
        assert "Split 0.6 / 0.2 / 0.2 by hash, equal input together; key id." in text
        assert "From answers.jsonl, stored by person as dat_02" in text
        assert "names the row" in text
        assert "may be missing" in text


async def test_all_versions_of_one_are_listed_and_left_again() -> None:
    async with staged() as stage:
        await opened(stage)
        await stage.pilot.press("v")
        await stage.until(lambda: stage.rows("datasets").keys == ["support@2", "support@1"])
        await stage.pilot.press("escape")
        await stage.until(lambda: stage.rows("datasets").keys == ["letters@1", "support@2"])
        await stage.pilot.press("escape")
        assert stage.app.screen is stage.chat


async def test_rows_come_page_by_page_and_go_back_the_same_way() -> None:
    async with staged() as stage:
        await opened(stage)
        await stage.pilot.press("enter")
        await stage.until_shown("rows 1 to 20 of 40 · ⊘ 10 more under seal")
        await stage.pilot.press("p", "n")
        await stage.until_shown("rows 21 to 40 of 40")
        assert stage.rows("rows").key == "21"
        await stage.pilot.press("n", "p")
        await stage.until_shown("rows 1 to 20 of 40")
        await stage.pilot.press("s")
        await stage.until_shown("train · rows 1 to 20 of 30")
        await stage.pilot.press("n")
        await stage.until_shown("rows 21 to 30 of 30")
        await stage.pilot.press("s")
        await stage.until_shown("dev · rows 1 to 10 of 10")
        await stage.pilot.press("escape")
        await stage.until_shown("The hold-out is sealed.")


async def test_a_row_is_read_in_full_with_its_long_values() -> None:
    async with staged() as stage:
        await opened(stage)
        await stage.pilot.press("enter")
        await stage.until_shown("rows 1 to 20")
        await stage.pilot.press("down", "enter")
        await stage.until_shown("row 2 · train · 2")
        await stage.until_shown("Question 2?")
        await stage.pilot.press("end")
        await stage.until_shown('"pages": [')
        assert "And that is the end of it." in " ".join(stage.text().split())
        await stage.pilot.press("escape")
        await stage.until(lambda: stage.app.focused is stage.rows("rows"))
        assert stage.rows("rows").key == "2"


async def test_a_sealed_hold_out_is_a_count_and_nothing_is_fetched_for_it() -> None:
    async with staged() as stage:
        await opened(stage)
        await stage.pilot.press("enter", "s", "s", "s")
        await stage.until_shown("hold-out · ⊘ 10 rows under seal")
        assert not stage.rows("rows").keys
        assert "Question" not in stage.text()


async def test_the_seal_is_opened_with_a_reason_and_the_name_and_then_the_rows_are_there() -> None:
    async with staged() as stage:
        await opened(stage)
        await stage.pilot.press("enter", "s", "s", "s")
        await stage.until_shown("10 rows under seal")
        dialog = await asked(stage)
        dialog.shown_at -= GRACE
        await stage.until_shown("Once and for good, on the record.")
        await stage.pilot.press("enter")
        await stage.until_shown("Say why")
        await stage.pilot.press(*"due", "enter", *"suppor", "enter")
        await stage.until_shown("That is not support.")
        assert stage.desk.data["support", 2].sealed
        await stage.pilot.press("t", "enter")
        await stage.until(lambda: not stage.desk.data["support", 2].sealed)
        assert stage.desk.data["support", 2].open_reason == "due"
        assert stage.desk.data["support", 1].sealed
        await stage.until_shown("hold-out · rows 1 to 10 of 10")
        await stage.until_shown("on the record as seal_support_2")
        assert "Open seal" not in stage.text()


async def test_the_dialog_is_deaf_to_keys_and_pastes_that_were_on_their_way_when_it_came() -> None:
    async with staged() as stage:
        await opened(stage)
        dialog = await asked(stage)
        reason = dialog.query_one("#seal-reason", Input)
        early = [Key("a", "a"), Key("enter", "\r"), Paste("pasted"), Key("tab", "\t")]
        for event in early:
            event.time = dialog.shown_at + GRACE * 0.9
            stage.app.post_message(event)
        late = Key("b", "b")
        late.time = dialog.shown_at + GRACE
        stage.app.post_message(late)
        await stage.until(lambda: bool(reason.value))
        assert reason.value == "b"
        assert stage.app.focused is reason
        await stage.pilot.press("escape")
        await stage.until_shown("The seal is as it was.")
        assert stage.desk.data["support", 2].sealed


async def test_what_the_server_refuses_is_said_and_the_seal_stays() -> None:
    async with staged() as stage:
        await opened(stage)
        dialog = await asked(stage)
        dialog.shown_at -= GRACE
        stage.desk.data["support", 2] = stage.desk.data["letters", 1]
        await stage.pilot.press(*"due", "enter", *"support", "enter")
        await stage.until_shown("is open already")


async def test_a_filter_narrows_the_list_by_tag_too() -> None:
    async with staged() as stage:
        await opened(stage)
        await stage.pilot.press("slash", *"gold")
        await stage.until(lambda: stage.rows("datasets").keys == ["support@2"])
        await stage.pilot.press("escape")
        await stage.until(lambda: len(stage.rows("datasets").keys) == 2)


async def test_a_workspace_without_data_sets_says_how_to_begin() -> None:
    async with staged() as stage:
        await stage.go("datasets")
        await stage.until_shown("whet dataset put NAME --path FILE")


async def test_no_row_or_name_or_reason_reaches_the_terminal_as_a_sequence() -> None:
    async with staged((120, 40)) as stage:
        stage.desk.data[HOSTILE, 1] = Dataset(
            name=HOSTILE,
            version=1,
            rows=1,
            description=HOSTILE,
            columns=(Column(name=HOSTILE, type=HOSTILE),),
            splits=(SplitCount(split=Split.TRAIN, rows=1), SplitCount(split=Split.HOLDOUT, rows=1)),
            tags=(HOSTILE,),
            source=HOSTILE,
            role=HOSTILE,
            sealed=True,
            open_reason=HOSTILE,
        )
        stage.desk.data_rows[HOSTILE, 1] = [Row(row_id=HOSTILE, number=1, json=json.dumps({HOSTILE: HOSTILE}))]
        await stage.go("datasets")
        for keys in ((), ("enter",), ("enter",), ("o",)):
            await stage.pilot.press(*keys)
            await stage.until_shown("[@click=app.bell]press[/]")
            assert not set("\x1b\x07\x9b\u202e") & set(stage.text())
        assert not isinstance(stage.app.screen, PlaceScreen)
