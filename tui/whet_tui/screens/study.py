"""The second half of a study: figures, the verdict, the cases, and what can be done to the sweep."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from whet_tui.desk import DeskError
from whet_tui.screens.asking import AskingScreen, Field
from whet_tui.screens.saving import ending, path_of, saving
from whet_tui.screens.watching import Study, WatchingScreen
from whet_tui.sweep_values import Action, ExportFormat, Phase, ReportFormat, Retuning
from whet_tui.widgets.figure import Figure
from whet_tui.widgets.rows import Rows
from whet_tui.widgets.sweep_figures import Drawing, Kind, drawing, figure_text, kinds, plot_of
from whet_tui.widgets.sweep_text import verdict_text

if TYPE_CHECKING:
    from whet_tui.around import Around
    from whet_tui.places import Place
    from whet_tui.sweep_desk import SweepDesk
    from whet_tui.sweep_values import Document

_REDRAW: Final = 2.0
"""Seconds between two drawings of a figure while trials come in."""
_NANOS: Final = 1_000_000_000
_EXPORTS: Final = {".json": ExportFormat.JSON, ".yaml": ExportFormat.YAML, ".env": ExportFormat.ENV}
_REPORTS: Final = {".md": ReportFormat.MARKDOWN, ".html": ReportFormat.HTML}
_DONE: Final = {
    Action.PAUSE: "Paused: what is under way ends, nothing new is begun. P goes on.",
    Action.RESUME: "It goes on.",
    Action.STOP: "Stopping: what is under way ends, then it concludes from what there is.",
    Action.CANCEL: "Cancelled; what it had cost is billed, and what it found stands.",
    Action.RETUNE: "It goes on with these settings.",
}
_SURE: Final = {
    Action.STOP: ("S", "stop it: what is under way ends, and it concludes from what there is."),
    Action.CANCEL: ("X", "cancel it: what is under way is cut off, what it found stands."),
}


class StudyScreen(WatchingScreen):
    """One sweep."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "cases", "Compare", id="study.cases"),
        Binding("f", "figure", "Figures", id="study.figure"),
        Binding("d", "dimension", "Parameter", id="study.dimension"),
        Binding("p", "plot", "Plot or text", id="study.plot"),
        Binding("v", "verdict", "Verdict", id="study.verdict"),
        Binding("P", "pause", "Pause", id="study.pause"),
        Binding("S", "end('stop')", "Stop", id="study.stop"),
        Binding("X", "end('cancel')", "Cancel", id="study.cancel"),
        Binding("R", "retune", "Retune", id="study.retune"),
        Binding("E", "export", "Export", id="study.export"),
        Binding("W", "report", "Report", id="study.report"),
    ]

    def __init__(self, place: "Place", around: "Around", study: Study) -> None:
        super().__init__(place, around, study)
        self._kind = Kind.BEST
        self._dimension = 0
        self._sure: Action | None = None
        """What one more key does."""
        self._drawn: tuple[object, ...] = ()
        """What the figure in view was drawn from."""
        self._figure_pending = False

    @property
    def picks(self) -> str:
        return "" if self.has_class("verdict") or self.has_class("figures") else "Cases"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What is done with a sweep under way is offered while it is; figures and verdict where they are."""
        verdict, under_way = self.has_class("verdict"), not self.sweep.ended
        figure = not verdict and (self.has_class("figures") or self.has_class("tall"))
        offered = {
            "cases": not self.has_class("figures") and bool(self.board.trials),
            "figure": not verdict,
            "dimension": figure and self._kind is Kind.PARAMETER and len(self.sweep.plan.space) > 1,
            "plot": figure,
            "pause": under_way,
            "end": under_way,
            "retune": under_way,
            "export": self.board.ended > 0,
        }
        return offered[action] if action in offered else super().check_action(action, parameters)

    async def action_back(self) -> None:
        """From figures and verdict to the trials, from there to the list."""
        for name in ("figures", "verdict"):
            if self.has_class(name):
                self._turn_to("")
                return
        self.study.open = False
        self.dismiss()

    def _turn_to(self, view: str) -> None:
        """Show one of `figures` and `verdict`, or the trials."""
        for name in ("figures", "verdict"):
            self.set_class(name == view, name)
        self._drawn = ()
        self.query_one("#verdict" if view == "verdict" else "#figure" if view else "#trials").focus()
        self.draw()
        self.refresh_bindings()

    # Figures and verdict

    def draw_more(self) -> None:
        if self.has_class("verdict"):
            self.write("#verdict-text", verdict_text(self.sweep, self.ink))
        elif self.has_class("figures") or self.has_class("tall"):
            self._draw_figure_soon()

    def _draw_figure_soon(self) -> None:
        wanted = (self._kind, self._dimension, self.app.theme, self.size.width, self.board.version, self.sweep.result)
        if wanted == self._drawn:
            return
        if wanted[:4] != self._drawn[:4]:
            self._draw_figure(wanted)
        elif not self._figure_pending:
            self._figure_pending = True
            self.set_timer(_REDRAW, lambda: self._draw_figure(wanted))

    @work(exclusive=True, group="figure")
    async def _draw_figure(self, wanted: tuple[object, ...]) -> None:
        """Draw the figure of this kind; what it is drawn from is made beside the keys."""
        self._figure_pending, self._drawn = False, wanted
        board, sweep = self.board, self.sweep
        trials = list(board.trials.values())
        drawn = await drawing(self._kind, sweep.plan, trials, sweep.result, board.front, self._dimension)
        self._show_figure(drawn)

    def _show_figure(self, drawn: Drawing) -> None:
        ink = self.ink
        text = figure_text(drawn, ink, max(30, self.size.width - 4))
        self.query_one(Figure).show(text, plot_of(drawn, ink))

    def action_figure(self) -> None:
        """Show the figures; then the next one."""
        found = kinds(self.sweep.plan)
        if self.has_class("figures"):
            self._kind = found[(found.index(self._kind) + 1) % len(found)]
        self._turn_to("figures")

    def action_dimension(self) -> None:
        self._dimension += 1
        self._draw_figure_soon()

    def action_plot(self) -> None:
        self.query_one(Figure).turn()

    def action_verdict(self) -> None:
        self._turn_to("" if self.has_class("verdict") else "verdict")
        self.query_one("#verdict", VerticalScroll).scroll_home(animate=False)

    # Cases

    @on(Rows.Picked, "#trials")
    def _pick(self) -> None:
        """Compare the trial with the baseline."""
        trial = self.chosen
        if trial is not None:
            other = 0 if trial.number else self.best
            self._compare([each for each in (0, trial.number or other) if each is not None])

    def action_cases(self) -> None:
        """Compare the marked trials, else the baseline and the best."""
        self._compare(self.study.marked or [each for each in (0, self.best) if each is not None])

    def _compare(self, numbers: Sequence[int]) -> None:
        from whet_tui.screens.trial_cases import TrialCasesScreen  # for those who look

        self.app.push_screen(TrialCasesScreen(self.place, self.around, self.sweep, tuple(dict.fromkeys(numbers))))

    # What is done to the sweep

    def action_pause(self) -> None:
        paused = self.progress.phase is Phase.PAUSED
        self._control(Action.RESUME if paused else Action.PAUSE)

    def action_end(self, name: str) -> None:
        """Stop or cancel, at the second press."""
        action = Action(name)
        key, does = _SURE[action]
        sure = self._sure is action
        self._sure = None if sure else action
        if sure:
            self._control(action)
        else:
            self.tell(f"Press {key} again to {does}")

    @work(group="control")
    async def _control(self, action: Action, retuning: Retuning | None = None) -> None:
        self._sure = None
        try:
            sweep = await (await self.sweeping()).control(self.sweep.run_id, action, f"keys-{uuid.uuid4()}", retuning)
        except DeskError as error:
            self.tell(str(error), bad=True)
            return
        self.study.sweep, self.progress = sweep, sweep.progress
        self.tell(_DONE[action])
        self.draw()
        self.refresh_bindings()

    @work(group="control")
    async def action_retune(self) -> None:
        """Ask for other settings. What stays as it stands there is not changed."""
        plan = self.sweep.plan
        money = f"{plan.budget.money / _NANOS:g}" if plan.budget.money is not None else ""
        before = (money, str(self.sweep.planned), str(self.sweep.concurrency))
        fields = [
            Field(label=label, value=value)
            for label, value in zip(("money in US dollars", "trials", "cases at once"), before, strict=True)
        ]
        words = "A line that stays as it is changes nothing."
        given = await self.app.push_screen_wait(AskingScreen(f"Retune {self.sweep.title}", words, fields, _wrong))
        if given is None or given == before:
            self.tell("Nothing was changed.")
            return
        money, trials, concurrency = (value if value != old else "" for value, old in zip(given, before, strict=True))
        self._control(
            Action.RETUNE,
            Retuning(
                money=round(float(money) * _NANOS) if money else None,
                trials=int(trials) if trials else None,
                concurrency=int(concurrency) if concurrency else None,
            ),
        )

    @work(group="save")
    async def action_export(self) -> None:
        """Write the configuration of the marked trial or of the best into a file."""
        marked, run_id = self.study.marked, self.sweep.run_id
        trial = marked[0] if len(marked) == 1 else None
        whose = "best" if trial is None else f"trial-{trial}"
        title = f"Export the configuration of {'the best trial' if trial is None else f'trial {trial}'}"
        path = await self._path(saving(title, f"{run_id}-{whose}.json", _EXPORTS))
        if path is not None:
            kind = _EXPORTS[ending(path)]
            await self._save(path, lambda desk: desk.export(run_id, trial, kind))

    @work(group="save")
    async def action_report(self) -> None:
        """Write a report of the sweep into a file."""
        run_id = self.sweep.run_id
        path = await self._path(saving("Report the sweep", f"{run_id}.html", _REPORTS))
        if path is not None:
            kind = _REPORTS[ending(path)]
            await self._save(path, lambda desk: desk.report(run_id, kind))

    async def _path(self, question: AskingScreen) -> Path | None:
        given = await self.app.push_screen_wait(question)
        return None if given is None else path_of(given[0])

    async def _save(self, path: Path, ask: "Callable[[SweepDesk], Awaitable[Document]]") -> None:
        try:
            document = await ask(await self.sweeping())
            await asyncio.to_thread(path.write_text, document.content, encoding="utf-8")
        except (DeskError, OSError) as error:
            self.tell(f"Nothing was written: {error}")
        else:
            self.tell(f"Written to {path}")


def _wrong(values: Sequence[str]) -> str:
    """What is wrong with new settings."""
    money, trials, concurrency = values
    try:
        amount = float(money or 1)
    except ValueError:
        return f"{money} is no amount of money."
    if not 0 < amount < float("inf"):
        return "The money is more than nothing."
    for name, value in (("trials", trials), ("cases at once", concurrency)):
        if not value.isascii() or not value.isdigit() or not int(value):
            return f"The number of {name} is a number from 1."
    return ""
