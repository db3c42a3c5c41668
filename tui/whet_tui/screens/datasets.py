"""Data sets: versions, splits, seals; their rows page by page; the opening of a hold-out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from whet_tui.dataset_values import Dataset, RowPage, Split
from whet_tui.desk import DeskError
from whet_tui.safe import safe_line
from whet_tui.screens.place import PlaceScreen
from whet_tui.screens.seal import SealScreen
from whet_tui.widgets.dataset_text import (
    COLUMNS,
    about,
    dataset_row,
    found_in,
    in_full,
    key_of,
    row_sheet,
    split_words,
    under_seal,
)
from whet_tui.widgets.filter_line import FilterLine
from whet_tui.widgets.rows import Rows
from whet_tui.widgets.sheet import Sheet

if TYPE_CHECKING:
    from whet_tui.around import Around
    from whet_tui.places import Place

_EMPTY: Final = (
    "No data set yet. Begin with a file of JSONL, CSV or Parquet:\n\n  whet dataset put NAME --path FILE\n\n"
    "or ask for it in the chat (Alt+1). Rows come into train, dev and hold-out by themselves, and the hold-out is "
    "sealed."
)
_MARGIN: Final = 4
"""Padding and the scroll bar."""
_FILTERS: Final = (None, *Split)
_FIRST: Final = ("", 0)


class DatasetsScreen(PlaceScreen):
    """The list with the details of the data set under the cursor; or its rows; or one row in full."""

    DEFAULT_CSS = """
    DatasetsScreen #datasets { height: 2fr; }
    DatasetsScreen #rows, DatasetsScreen #rows-head { display: none; }
    DatasetsScreen #rows-head { height: auto; max-height: 3; padding: 0 1; }
    DatasetsScreen #dataset { height: 3fr; padding: 0 1; scrollbar-size-vertical: 1; }
    DatasetsScreen #about { height: auto; }
    DatasetsScreen.rows #datasets, DatasetsScreen.rows #dataset { display: none; }
    DatasetsScreen.rows #rows, DatasetsScreen.rows #rows-head { display: block; }
    DatasetsScreen.row #rows { display: none; }
    DatasetsScreen.row #dataset { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "versions", "Versions", id="datasets.versions"),
        Binding("s", "split", "Split", id="datasets.split"),
        Binding("n", "page(1)", "More rows", id="datasets.next"),
        Binding("p", "page(-1)", "Rows before", id="datasets.previous"),
        Binding("o", "open_seal", "Open seal", id="datasets.open_seal"),
        Binding("slash", "filter", "Filter", id="datasets.filter"),
    ]

    def __init__(self, place: "Place", around: "Around") -> None:
        super().__init__(place, around)
        self._listed: Sequence[Dataset] = ()
        self._one = ""
        """The data set whose versions are listed; empty while all data sets are."""
        self._read: Dataset | None = None
        """The version whose rows are shown."""
        self._split: Split | None = None
        self._asked: Split | None = None
        """The split that is on its way: the next key goes on from there."""
        self._page = RowPage()
        self._places: Sequence[tuple[str, int]] = (_FIRST,)
        """For each page up to the one in view: its token, and how many rows stand before it."""

    def body(self) -> ComposeResult:
        yield Rows(id="datasets")
        yield Static(id="rows-head")
        yield Rows(id="rows")
        with VerticalScroll(id="dataset"):
            yield Static(id="about")
        yield FilterLine("name, tag or description")

    @property
    def picks(self) -> str:
        return "" if self.has_class("row") else "Row in full" if self.has_class("rows") else "Rows"

    @property
    def _chosen(self) -> Dataset | None:
        """The version that keys are about."""
        key = self.query_one("#datasets", Rows).key
        return self._read or next((each for each in self._listed if key_of(each) == key), None)

    async def look(self) -> None:
        name = self._one
        listed = await (await self.around.desk()).datasets(name)
        if name == self._one:
            self._listed = listed
            self._show()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What is done with rows is offered where rows are, and the other way round."""
        rows = self.has_class("rows") and not self.has_class("row")
        if action in {"versions", "filter"}:
            return not self.has_class("rows")
        if action == "split":
            return rows
        if action == "page":
            return rows and bool(self._page.next_page_token if parameters == (1,) else len(self._places) > 1)
        if action == "open_seal":
            return self._chosen is not None and self._chosen.sealed
        return super().check_action(action, parameters)

    # The list

    def _show(self) -> None:
        """Draw what was fetched, as far as it passes the filter."""
        words, now = self.query_one(FilterLine).words, self.around.now_ns()
        shown = [each for each in self._listed if all(word in found_in(each) for word in words)]
        sheet = Sheet(COLUMNS, [dataset_row(each, now) for each in shown])
        self.query_one("#datasets", Rows).show([key_of(each) for each in shown], sheet)
        self._show_about()

    @on(Rows.Moved, "#datasets")
    def _show_about(self) -> None:
        self.refresh_bindings()
        if self.has_class("rows"):
            return
        data = self._chosen
        if data is not None:
            self.write("#about", about(data, self.ink, self.around.now_ns(), self.size.width - _MARGIN))
        elif self._listed:
            self.write("#about", Text("Nothing passes the filter. Esc in the filter clears it."))
        else:
            self.write("#about", Text(_EMPTY))

    @on(FilterLine.Filtered)
    def _filter(self) -> None:
        self._show()

    @on(FilterLine.Left)
    def _leave_filter(self) -> None:
        self.query_one("#datasets", Rows).focus()

    def action_filter(self) -> None:
        self.query_one(FilterLine).open()

    def action_versions(self) -> None:
        """List all versions of a data set, or all data sets again."""
        data = self._chosen
        if data is not None:
            self._one = "" if self._one else data.name
            self.look_again()

    # Its rows

    @on(Rows.Picked, "#datasets")
    def _open_rows(self) -> None:
        data = self._chosen
        if data is not None:
            self._read, self._asked = data, None
            self.add_class("rows")
            self._fetch(None, (_FIRST,))
            self.query_one("#rows", Rows).focus()

    def action_split(self) -> None:
        """Show the rows of the next split, after the last one all."""
        self._asked = _FILTERS[(_FILTERS.index(self._asked) + 1) % len(_FILTERS)]
        self._fetch(self._asked, (_FIRST,))

    def action_page(self, step: int) -> None:
        if step > 0:
            after = (self._page.next_page_token, self._places[-1][1] + len(self._page.rows))
            self._fetch(self._split, (*self._places, after))
        else:
            self._fetch(self._split, self._places[:-1])

    @work(exclusive=True, group="rows")
    async def _fetch(self, split: Split | None, places: Sequence[tuple[str, int]]) -> None:
        """Fetch the last of these pages and show it; of a hold-out under seal nothing, because there is nothing to be
        had.
        """
        data = self._read
        if data is None:
            return
        page = RowPage(sealed_rows=data.rows_of(split))
        if not under_seal(data, split):
            try:
                desk = await self.around.desk()
                page = await desk.rows(data.name, data.version, split=split, token=places[-1][0])
            except DeskError as error:
                self._asked = self._split
                self.tell(str(error), bad=True)
                return
        self._split, self._places, self._page = split, places, page
        self._show_rows(data)

    def _show_rows(self, data: Dataset) -> None:
        page = self._page
        rows = self.query_one("#rows", Rows)
        rows.show([row.row_id for row in page.rows], row_sheet(data, page.rows))
        rows.action_end(-1)
        self.write("#rows-head", self._rows_head(data))
        self.refresh_bindings()

    def _rows_head(self, data: Dataset) -> Text:
        ink, page, split = self.ink, self._page, self._split
        head = Text.assemble((f"{safe_line(data.name, 100)}@{data.version}", ink.you), f" · {split_words(split)} · ")
        if under_seal(data, split):
            count = f"{page.sealed_rows:,} row{'s' * (page.sealed_rows != 1)}"
            return head.append(f"⊘ {count} under seal. o opens the seal, once and for good.", ink.warning)
        whole = data.rows_of(split)
        before = self._places[-1][1]
        first, last = before + 1, before + len(page.rows)
        head.append(f"rows {first:,} to {last:,} of {whole:,}" if page.rows else "no rows")
        if page.sealed_rows:
            head.append(f" · ⊘ {page.sealed_rows:,} more under seal", ink.warning)
        return head

    # One row

    @on(Rows.Picked, "#rows")
    def _open_row(self) -> None:
        key, data = self.query_one("#rows", Rows).key, self._read
        row = next((each for each in self._page.rows if each.row_id == key), None)
        if row is not None and data is not None:
            self.add_class("row")
            self.write("#about", in_full(row, data, self.ink))
            sheet = self.query_one("#dataset", VerticalScroll)
            sheet.scroll_home(animate=False)
            sheet.focus()
            self.refresh_bindings()

    async def action_back(self) -> None:
        """From a row to the rows, to the list, to all data sets, to the chat."""
        if self.has_class("row"):
            self.remove_class("row")
            self.query_one("#rows", Rows).focus()
            self.refresh_bindings()
        elif self.has_class("rows"):
            self.remove_class("rows")
            self._read = None
            self.query_one("#datasets", Rows).focus()
            self._show()
        elif self._one:
            self.action_versions()
        else:
            await super().action_back()

    # The seal

    def action_open_seal(self) -> None:
        data = self._chosen
        if data is not None:
            self._ask(data)

    @work(group="seal")
    async def _ask(self, data: Dataset) -> None:
        reason = await self.app.push_screen_wait(SealScreen(data, data.rows_of(Split.HOLDOUT)))
        if not reason:
            self.tell("The seal is as it was.")
            return
        try:
            opened = await (await self.around.desk()).open_seal(data.name, data.version, reason)
        except DeskError as error:
            self.tell(f"The seal was not opened: {error}")
            return
        self.tell(f"The hold-out of {opened.name}@{opened.version} is open, on the record as {opened.open_run_id}.")
        if self._read is not None:
            self._read = opened
            self._fetch(self._split, (_FIRST,))
        self.look_again()

    def draw_anew(self) -> None:
        super().draw_anew()
        self._draw_again()

    def on_resize(self, event: events.Resize) -> None:
        self._draw_again()

    def _draw_again(self) -> None:
        """Draw what is there in other colours or in another width."""
        if self._read is not None:
            self.write("#rows-head", self._rows_head(self._read))
        if self.has_class("row"):
            self._open_row()
        else:
            self._show_about()
