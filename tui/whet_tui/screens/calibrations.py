"""Calibrations: judges compared with people, and whether they may gate."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual.binding import Binding, BindingType

from whet_tui.calibration_values import Agreement, Calibration
from whet_tui.screens.report import ReportScreen
from whet_tui.widgets.calibration_text import (
    COLUMNS,
    calibration_figures,
    calibration_plot,
    calibration_report,
    calibration_row,
)
from whet_tui.widgets.figure import Draw
from whet_tui.widgets.rows import Rows
from whet_tui.widgets.sheet import Sheet

if TYPE_CHECKING:
    from whet_tui.around import Around
    from whet_tui.places import Place

_EMPTY: Final = (
    "No judge has been compared with people yet. Judge something, rate a part of it by keys in Judges (Alt+7) or from "
    "a file (whet calibration put-ratings), and then:\n\n"
    "  K on the judgement, in Judges\n"
    "  whet calibration calibrate RUN   on the command line"
)


class CalibrationsScreen(ReportScreen):
    """The calibrations, and how far judge and people agree in the one under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "dimension", "Next dimension", id="calibrations.dimension"),
        Binding("t", "plot", "Plot or text", id="calibrations.plot"),
        Binding("tab", "app.focus_next", "Next pane", id="calibrations.next"),
    ]

    def __init__(self, place: "Place", around: "Around") -> None:
        super().__init__(place, around)
        self._calibrations: Sequence[Calibration] | None = None
        self._dimension = ""

    async def look(self) -> None:
        listed = self._calibrations = await (await self.around.desk()).calibrations()
        now = self.around.now_ns()
        sheet = Sheet(COLUMNS, [calibration_row(each, now) for each in listed])
        self.query_one("#list", Rows).show([each.calibration_id for each in listed], sheet)
        self.show_report()

    @property
    def _one(self) -> Calibration | None:
        return next((each for each in self._calibrations or () if each.calibration_id == self.chosen), None)

    def report(self) -> tuple[Text, Text, Draw | None]:
        one = self._one
        if one is None:
            return Text("" if self._calibrations is None else _EMPTY), Text(), None
        agreement = self._agreement(one)
        ink = self.ink
        about = calibration_report(one, agreement, ink, self.room, self.around.now_ns())
        return about, calibration_figures(agreement, ink), calibration_plot(agreement, ink)

    def _agreement(self, one: Calibration) -> Agreement:
        """Of the dimension that was chosen; of the whole where that was not rated."""
        found = (each for each in one.agreements if each.dimension == self._dimension)
        return next(found, one.agreements[0] if one.agreements else Agreement())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "dimension":
            return self._one is not None and len(self._one.agreements) > 1
        return super().check_action(action, parameters)

    def action_dimension(self) -> None:
        """Show the figures of the next dimension, after the last one those of the whole."""
        one = self._one
        if one is not None:
            place = one.agreements.index(self._agreement(one))
            self._dimension = one.agreements[(place + 1) % len(one.agreements)].dimension
            self.show_report()
