"""The first half of the Judges place: the judgements of the workspace, and what one of them comes to."""

import asyncio
import uuid
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Static

from whet_tui.desk import DeskError
from whet_tui.judging_values import Criterion, ItemQuery, Judgement, Progress
from whet_tui.screens.place import PlaceScreen
from whet_tui.widgets import judgement_sums as sums
from whet_tui.widgets.figure import Figure
from whet_tui.widgets.rows import Rows
from whet_tui.widgets.sheet import Sheet

if TYPE_CHECKING:
    from whet_tui.around import Around
    from whet_tui.judging_desk import JudgingDesk
    from whet_tui.places import Place

_FRAME: Final = 0.2
"""Seconds between two drawings of what arrives."""
_CALM: Final = 1.0
"""The same with reduced motion."""
_SCORES: Final = 54
"""Columns of the scores where there is room beside the sums."""
_EMPTY: Final = (
    "Nothing has been judged yet. Judge something:\n\n"
    "  whet judge run --help                 on the command line\n"
    "  “judge the answers of the last run”   in the chat (Alt+1)\n\n"
    "Judgements stand here while they run and afterwards, with what was scored and what was not."
)


class JudgementsScreen(PlaceScreen):
    """The list, followed while it runs; the sums of the judgement under the cursor."""

    DEFAULT_CSS = """
    JudgementsScreen #judging { height: 1fr; }
    JudgementsScreen #judgements { height: 30%; min-height: 6; }
    JudgementsScreen #sums { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    JudgementsScreen #sums-text, JudgementsScreen #scores { height: auto; }
    JudgementsScreen #scores.plot { height: 14; }
    JudgementsScreen.wide #sums { layout: horizontal; }
    JudgementsScreen.wide #sums-text { width: 1fr; }
    JudgementsScreen.wide #scores { width: 54; padding: 0 0 0 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "criterion", "Next criterion", id="judges.criterion"),
        Binding("p", "plot", "Plot or text", id="judges.plot"),
        Binding("K", "calibrate", "Calibrate", id="judges.calibrate"),
        Binding("C", "calibrations", "Calibrations", id="judges.calibrations"),
        Binding("A", "audits", "Audits", id="judges.audits"),
        Binding("X", "cancel", "Cancel", id="judges.cancel"),
        Binding("tab", "app.focus_next", "Next pane", id="judges.next"),
    ]
    EVERY = 3.0

    def __init__(self, place: "Place", around: "Around") -> None:
        super().__init__(place, around)
        self._judgements: Sequence[Judgement] | None = None
        """None before the first look."""
        self._sums: dict[str, Judgement] = {}
        """Judgements with their criteria, as they were last read."""
        self._progress: dict[str, Progress] = {}
        self._run_id = ""
        self._criterion = 0
        self._sure = ("", "")
        """What one more key does, and with which judgement."""
        self._frame_pending = False
        self._scores: Criterion | None = None
        """Whose scores are drawn."""

    def body(self) -> ComposeResult:
        with Container(id="judging"):
            yield Rows(id="judgements")
            with VerticalScroll(id="sums"):
                yield Static(id="sums-text")
                yield Figure(id="scores", pictures=self.around.pictures)

    async def judging(self) -> "JudgingDesk":
        return (await self.around.desk()).judging

    async def look(self) -> None:
        desk = await self.judging()
        self._judgements = await desk.judgements()
        self._list()
        judgement = self.judgement
        if judgement is not None and (judgement.run_id not in self._sums or not self._sums[judgement.run_id].ended):
            await self._read(judgement.run_id)
        self.draw()

    async def _read(self, run_id: str) -> None:
        """Read the sums of a judgement."""
        page = await (await self.judging()).items(ItemQuery(run_id=run_id), size=1)
        self._sums[run_id] = page.judgement

    @property
    def judgement(self) -> Judgement | None:
        """The one under the cursor, with its sums if they were read."""
        listed = next((each for each in self._judgements or () if each.run_id == self._run_id), None)
        read = self._sums.get(self._run_id)
        if listed is None or read is None:
            return listed or read
        return replace(read, state=listed.state) if listed.ended and not read.ended else read

    @property
    def criterion(self) -> Criterion | None:
        """The criterion that is looked at; the items' weighted scores stand behind the others."""
        found = self._criteria
        return found[self._criterion % len(found)] if found else None

    @property
    def _criteria(self) -> Sequence[Criterion]:
        judgement = self.judgement
        if judgement is None:
            return ()
        whole = judgement.combined
        several = whole is not None and len(judgement.criteria) > 1
        return (
            (*judgement.criteria, replace(whole, criterion="all together")) if several and whole else judgement.criteria
        )

    def on_screen_resume(self) -> None:
        self._sums = {run_id: each for run_id, each in self._sums.items() if run_id != self._run_id}
        if self._run_id:
            self._follow(self._run_id)

    def on_screen_suspend(self) -> None:
        self.workers.cancel_group(self, "follow")

    def draw_anew(self) -> None:
        super().draw_anew()
        self._scores = None
        self.draw()

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self.draw)

    @on(Rows.Moved, "#judgements")
    def _chosen(self, event: Rows.Moved) -> None:
        self._show(event.key)

    def _show(self, run_id: str) -> None:
        if run_id and run_id != self._run_id:
            self._run_id, self._sure, self._criterion = run_id, ("", ""), 0
            self.draw()
            self.query_one("#sums", VerticalScroll).scroll_home(animate=False)
            self._follow(run_id)
            self.look_again()

    @work(exclusive=True, group="follow")
    async def _follow(self, run_id: str) -> None:
        """Hear how far the judgement in view is until it has ended; then read its sums once more."""
        while not self._progress.get(run_id, Progress()).ended:
            try:
                async with aclosing((await self.judging()).progress(run_id)) as heard:
                    async for progress in heard:
                        self._progress[run_id] = progress
                        self._draw_soon()
            except DeskError as error:
                self.tell(f"{error} Trying again.", bad=True)
                await asyncio.sleep(self.EVERY)
        if run_id in self._sums and not self._sums[run_id].ended:
            self.look_again()

    def _draw_soon(self) -> None:
        if not self._frame_pending:
            self._frame_pending = True
            self.set_timer(_FRAME if self.around.pictures else _CALM, self.draw)

    def _list(self) -> None:
        """Show the list; the first judgement is chosen when none is."""
        now = self.around.now_ns()
        judgements = self._judgements or ()
        rows = [sums.row(each, self._progress.get(each.run_id), now) for each in judgements]
        keys = [each.run_id for each in judgements]
        listed = self.query_one("#judgements", Rows)
        listed.show(keys, Sheet(sums.COLUMNS, rows))
        self._show(listed.key)

    def draw(self) -> None:
        """Draw what is in view from what is known."""
        self._frame_pending = False
        self._list()
        judgement, criterion = self.judgement, self.criterion
        if judgement is None:
            self.write("#sums-text", Text(_EMPTY if self._judgements is not None else ""))
        else:
            room = max(30, self.query_one("#sums").size.width - 3 - _SCORES * self.wide)
            self.write("#sums-text", self._sums_text(judgement, criterion, room))
        self._show_scores(criterion)
        self.refresh_bindings()

    def _show_scores(self, criterion: Criterion | None) -> None:
        figure, there = self.query_one(Figure), criterion is not None and any(criterion.histogram)
        figure.display = there
        if criterion is not None and there and criterion != self._scores:
            figure.show(sums.histogram(criterion, self.ink), partial(sums.plotted, criterion=criterion, ink=self.ink))
        self._scores = criterion

    def _sums_text(self, judgement: Judgement, criterion: Criterion | None, room: int) -> Text:
        ink = self.ink
        text = sums.headline(judgement, self._progress.get(judgement.run_id), ink, room)
        if len(self._criteria) > 1 and criterion is not None:
            sheet = sums.criteria_sheet(self._criteria, self._criteria.index(criterion))
            text.append("\n\n").append_text(sheet.text(room, ink))
        if criterion is not None:
            text.append("\n\n").append_text(sums.details(criterion, ink, room))
        return text.append("\n")

    def action_calibrations(self) -> None:
        """See which judges were compared with people."""
        from whet_tui.screens.calibrations import CalibrationsScreen  # for those who look

        self.app.push_screen(CalibrationsScreen(self.place, self.around))

    def action_audits(self) -> None:
        """See what audits of judges found."""
        from whet_tui.screens.audits import AuditsScreen  # for those who look

        self.app.push_screen(AuditsScreen(self.place, self.around))

    def action_criterion(self) -> None:
        """Look at the next criterion."""
        self._criterion += 1
        self.draw()

    def action_plot(self) -> None:
        self.query_one(Figure).turn()

    def action_cancel(self) -> None:
        """Cancel the judgement, at the second press."""
        judgement = self.judgement
        if judgement is None or judgement.ended:
            self.tell("That judgement has ended." if judgement is not None else "Choose a judgement first.")
        elif self._is_sure("X", judgement, "cancel it: what is under way is cut off, verdicts that are in stay."):
            self._cancel(judgement.run_id)

    def _is_sure(self, key: str, judgement: Judgement, does: str) -> bool:
        """Whether the key was pressed before; if not, say what the next press does."""
        sure = self._sure == (key, judgement.run_id)
        self._sure = ("", "") if sure else (key, judgement.run_id)
        if not sure:
            self.tell(f"Press {key} again to {does}")
        return sure

    @property
    def _compared(self) -> Criterion | None:
        """The criterion whose judge is compared with people: the one that is looked at, else the first with a judge."""
        judgement, criterion = self.judgement, self.criterion
        if judgement is None or (criterion is not None and criterion.judge is not None):
            return criterion
        return judgement.rated_by

    def action_calibrate(self) -> None:
        """Compare the judge with the people who rated, at the second press, and show how far they agree."""
        judgement, criterion = self.judgement, self._compared
        if judgement is None or criterion is None or criterion.judge is None:
            self.tell("This judgement has no judge to compare with people.")
        elif not judgement.ended:
            self.tell("The judgement is still running: wait for its end, or cancel it.")
        elif self._is_sure("K", judgement, "compare the judge with people's ratings: the result counts from then on."):
            self._calibrate(judgement.run_id, criterion.criterion)

    @work(group="calibrate", exclusive=True)
    async def _calibrate(self, run_id: str, criterion: str) -> None:
        self.tell("Comparing the judge with people …")
        try:
            await (await self.around.desk()).calibrate(run_id, criterion, f"keys-{uuid.uuid4()}")
        except DeskError as error:
            self.tell(str(error))
            return
        self.clear_hint()
        self._sums.pop(run_id, None)
        self.action_calibrations()

    @work(group="cancel")
    async def _cancel(self, run_id: str) -> None:
        self.tell("Cancelling the judgement …")
        try:
            await (await self.judging()).cancel(run_id)
        except DeskError as error:
            self.tell(str(error), bad=True)
        else:
            self.tell("Cancelled; what it had cost is billed, and the verdicts that are in stay.")
            self.look_again()
