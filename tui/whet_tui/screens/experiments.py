"""Experiments: the sweeps of the workspace, and what the one under the cursor has found so far."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from whet_tui.desk import DeskError
from whet_tui.screens.place import PlaceScreen
from whet_tui.screens.study import StudyScreen
from whet_tui.screens.watching import Study
from whet_tui.widgets.rows import Rows
from whet_tui.widgets.sheet import Sheet
from whet_tui.widgets.sweep_text import COLUMNS, headline, progress_text, sweep_row, verdict_text
from whet_tui.widgets.trial_rows import trial_text

if TYPE_CHECKING:
    from whet_tui.around import Around
    from whet_tui.places import Place
    from whet_tui.sweep_values import Sweep

_MARGIN: Final = 4
"""Padding and the scroll bar."""
_EMPTY: Final = (
    "No sweep yet. A sweep searches prompts, models and parameters under a budget and says whether what it found was "
    "luck:\n\n"
    "  whet sweep plan --help                  on the command line\n"
    "  “find a better prompt for the data set support”   in the chat (Alt+1)\n\n"
    "Sweeps stand here while they run and afterwards. Enter opens one."
)


class ExperimentsScreen(PlaceScreen):
    """The list; a study that was open when the place was left is open again."""

    DEFAULT_CSS = """
    ExperimentsScreen #sweeps { height: 1fr; }
    ExperimentsScreen #about-sweep { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    ExperimentsScreen #about { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.focus_next", "Next pane", id="experiments.next"),
    ]
    EVERY = 3.0

    def __init__(self, place: "Place", around: "Around") -> None:
        super().__init__(place, around)
        self._sweeps: Sequence[Sweep] | None = None
        """None before the first look."""
        self._whole: dict[str, Sweep] = {}
        """Ended sweeps that were read one by one: a list has only what they found."""
        self._study: Study | None = None
        """The one that was opened last, with its trials and how they were looked at."""

    @property
    def picks(self) -> str:
        return "Open" if self._sweeps else ""

    def body(self) -> ComposeResult:
        yield Rows(id="sweeps")
        with VerticalScroll(id="about-sweep"):
            yield Static(id="about")

    async def look(self) -> None:
        desk = (await self.around.desk()).sweeping
        self._sweeps = await desk.sweeps()
        self._list()
        await self._read()
        self._draw()

    async def _read(self) -> None:
        """Read the sweep under the cursor whole, once it has ended."""
        sweep = self._chosen
        if sweep is not None and sweep.ended and sweep.run_id not in self._whole:
            whole = await (await self.around.desk()).sweeping.sweep(sweep.run_id)
            self._whole[sweep.run_id] = whole
            self._list()

    def _list(self) -> None:
        now, sweeps = self.around.now_ns(), self._sweeps or ()
        rows = [sweep_row(self._whole.get(each.run_id, each), now) for each in sweeps]
        self.query_one("#sweeps", Rows).show([each.run_id for each in sweeps], Sheet(COLUMNS, rows))

    @on(Rows.Moved, "#sweeps")
    def _moved(self) -> None:
        self.query_one("#about-sweep", VerticalScroll).scroll_home(animate=False)
        self._draw()
        self._read_soon()

    @work(exclusive=True, group="read")
    async def _read_soon(self) -> None:
        try:
            await self._read()
        except DeskError as error:
            self.tell(f"{error} Trying again.", bad=True)
        else:
            self._draw()

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        if self.is_current and self._study is not None and self._study.open:  # it may have been left again already
            self._enter(self._study)

    def _draw(self) -> None:
        """Draw the sweep under the cursor."""
        sweep = self._chosen
        if sweep is None:
            self.write("#about", Text(_EMPTY if self._sweeps is not None else ""))
            return
        ink, now = self.ink, self.around.now_ns()
        text = headline(sweep, sweep.progress, ink)
        text.append("\n").append_text(progress_text(sweep, sweep.progress, ink, now, self.size.width - _MARGIN)).append(
            "\n\n"
        )
        if sweep.result is not None:
            text.append_text(verdict_text(sweep, ink))
        elif sweep.best is not None:
            text.append_text(trial_text(sweep.best, sweep.plan, ink))
        self.write("#about", text)

    @property
    def _chosen(self) -> "Sweep | None":
        key = self.query_one("#sweeps", Rows).key
        found = next((each for each in self._sweeps or () if each.run_id == key), None)
        return self._whole.get(key, found)

    @on(Rows.Picked, "#sweeps")
    def _open(self) -> None:
        sweep = self._chosen
        if sweep is not None:
            if self._study is None or self._study.sweep.run_id != sweep.run_id:
                self._study = Study(sweep)
            self._study.open = True
            self._enter(self._study)

    def _enter(self, study: Study) -> None:
        self.app.push_screen(StudyScreen(self.place, self.around, study))

    def draw_anew(self) -> None:
        super().draw_anew()
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        self._draw()
