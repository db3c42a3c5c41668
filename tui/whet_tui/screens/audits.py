"""Audits: what judges are biased by."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual import on, work
from textual.binding import Binding, BindingType

from whet_tui.calibration_values import Audit, AuditRun
from whet_tui.desk import DeskError
from whet_tui.judging_values import RunState
from whet_tui.screens.report import ReportScreen
from whet_tui.widgets.audit_text import COLUMNS, audit_figures, audit_plot, audit_report, audit_row
from whet_tui.widgets.figure import Draw
from whet_tui.widgets.rows import Rows
from whet_tui.widgets.sheet import Sheet

if TYPE_CHECKING:
    from whet_tui.around import Around
    from whet_tui.places import Place

_EMPTY: Final = (
    "No judge has been audited yet. An audit tests one for biases: position, length, self-preference, formatting, "
    "sycophancy, planted injections. What it costs is said first by plan-audit:\n\n"
    "  whet calibration run-audit --model ENDPOINT/MODEL --dataset NAME"
)


class AuditsScreen(ReportScreen):
    """The audits, and what the one under the cursor has found; one that is under way tells how far it is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "plot", "Plot or text", id="audits.plot"),
        Binding("tab", "app.focus_next", "Next pane", id="audits.next"),
    ]
    EVERY = 1.0

    def __init__(self, place: "Place", around: "Around") -> None:
        super().__init__(place, around)
        self._runs: Sequence[AuditRun] | None = None
        self._audits: dict[str, Audit] = {}
        """What was fetched; what has ended does not change any more."""

    async def look(self) -> None:
        desk = await self.around.desk()
        runs = self._runs = await desk.audits()
        now = self.around.now_ns()
        sheet = Sheet(COLUMNS, [audit_row(each, now) for each in runs])
        self.query_one("#list", Rows).show([each.run_id for each in runs], sheet)
        await self._fetch(self.chosen)
        self.show_report()

    async def _fetch(self, run_id: str) -> None:
        kept = self._audits.get(run_id)
        if run_id and (kept is None or kept.state is RunState.RUNNING):
            self._audits[run_id] = await (await self.around.desk()).audit(run_id)

    @on(Rows.Moved, "#list")
    def _moved(self) -> None:
        if self.chosen and self.chosen not in self._audits:
            self._fetch_now(self.chosen)

    @work(exclusive=True, group="audit")
    async def _fetch_now(self, run_id: str) -> None:
        try:
            await self._fetch(run_id)
        except DeskError as error:
            self.tell(str(error), bad=True)
        else:
            self.show_report()

    def report(self) -> tuple[Text, Text, Draw | None]:
        if not self._runs:
            return Text("" if self._runs is None else _EMPTY), Text(), None
        audit = self._audits.get(self.chosen)
        if audit is None:
            return Text("Looking …"), Text(), None
        ink, found = self.ink, audit.report
        about = audit_report(audit, ink, self.room)
        return about, audit_figures(found, ink) if found else Text(), audit_plot(found, ink) if found else None
