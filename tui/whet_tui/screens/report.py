"""A list with a report of what is under the cursor, and the report's figures as a plot or as text."""

from typing import Final

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.widgets import Static

from whet_tui.screens.place import PlaceScreen
from whet_tui.widgets.figure import Draw, Figure
from whet_tui.widgets.rows import Rows

_MARGIN: Final = 4
"""Padding and the scroll bar."""
_FIGURE: Final = 52
"""Columns of the figure where it stands beside the report."""


class ReportScreen(PlaceScreen):
    """A view that lies over a place and leads back to it."""

    DEFAULT_CSS = f"""
    ReportScreen #list {{ height: 6; }}
    ReportScreen #pair {{ layout: vertical; height: 1fr; }}
    ReportScreen #report {{ height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }}
    ReportScreen #about {{ height: auto; }}
    ReportScreen Figure {{ height: auto; max-height: 50%; min-height: 1; }}
    ReportScreen Figure.plot {{ height: 50%; }}
    ReportScreen.wide #list {{ height: 8; }}
    ReportScreen.wide #pair {{ layout: horizontal; }}
    ReportScreen.wide Figure {{ width: {_FIGURE}; height: 1fr; max-height: 24; }}
    """

    def body(self) -> ComposeResult:
        yield Rows(id="list")
        with Container(id="pair"):
            with VerticalScroll(id="report"):
                yield Static(id="about")
            yield Figure(id="figure", pictures=self.around.pictures)

    @property
    def chosen(self) -> str:
        """The key of what is under the cursor."""
        return self.query_one("#list", Rows).key

    @property
    def room(self) -> int:
        """Columns that a report has."""
        return max(20, self.size.width - _MARGIN - _FIGURE * self.wide)

    def report(self) -> tuple[Text, Text, Draw | None]:
        """What is to be read of what is under the cursor: the report, its figures, and how these are drawn."""
        raise NotImplementedError

    @on(Rows.Moved, "#list")
    def show_report(self) -> None:
        about, figures, draw = self.report()
        self.write("#about", about)
        self.query_one(Figure).show(figures, draw)
        self.refresh_bindings()

    @on(Rows.Picked, "#list")
    def _scroll(self) -> None:
        self.query_one("#report").focus()

    @property
    def picks(self) -> str:
        return "Scroll the report"

    def action_plot(self) -> None:
        self.query_one(Figure).turn()

    async def action_back(self) -> None:
        """From the report to the list, from there to the place below."""
        if self.query_one("#report").has_focus:
            self.query_one("#list").focus()
        else:
            self.dismiss()

    def draw_anew(self) -> None:
        super().draw_anew()
        self.show_report()

    def on_resize(self, event: events.Resize) -> None:
        self.show_report()
