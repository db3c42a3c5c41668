"""The same figures as a plot and as text. The plot is drawn where there is room for it and nothing speaks for text,
unless the person says which of the two it shall be.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

if TYPE_CHECKING:
    from textual_plotext import PlotextPlot

_LEAST_ROOM: Final = (72, 30)
"""Columns and rows of the terminal below which a plot says less than its text."""

Draw: TypeAlias = Callable[[Any], None]
"""Draws on an empty plot: Plotext, whose stubs know less than its code."""


class Figure(Vertical):
    """Text, and a plot in its place."""

    DEFAULT_CSS = """
    Figure { height: 1fr; min-height: 6; padding: 0 1; }
    Figure #figure-text { height: auto; }
    """

    def __init__(self, *, id: str, pictures: bool) -> None:  # noqa: A002 -- Textual's own name
        """`pictures`: whether a plot may come without being asked for."""
        super().__init__(id=id)
        self._pictures = pictures
        self._wanted: bool | None = None
        """Whether the person wants the plot; None leaves it to the room there is."""
        self._drawn: tuple[Text, Draw | None] = (Text(), None)
        self._plot: PlotextPlot | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="figure-text")

    @property
    def plots(self) -> bool:
        """Whether it is the plot now."""
        if self._wanted is not None:
            return self._wanted
        columns, rows = _LEAST_ROOM
        size = self.app.size
        return self._drawn[1] is not None and self._pictures and size.width >= columns and size.height >= rows

    def turn(self) -> None:
        """Show the other of the two."""
        self._wanted = not self.plots
        self._show()

    def show(self, text: Text, draw: Draw | None) -> None:
        """Show these figures. Without `draw` there is nothing that a plot would tell."""
        self._drawn = (text, draw)
        self._show()

    def _show(self) -> None:
        text, draw = self._drawn
        plots = self.plots and draw is not None
        words = self.query_one("#figure-text", Static)
        words.display = not plots
        self.set_class(plots, "plot")
        words.update(text)
        if plots and self._plot is None:
            from textual_plotext import PlotextPlot  # for those who look at a plot

            self._plot = PlotextPlot()
            self.mount(self._plot)
        if self._plot is not None:
            self._plot.display = plots
        if self._plot is not None and draw is not None:
            self._plot.theme = "clear" if self.app.current_theme.ansi else "auto"  # which paints no ground
            self._plot.plt.clear_data()
            draw(self._plot.plt)
            self._plot.refresh()
