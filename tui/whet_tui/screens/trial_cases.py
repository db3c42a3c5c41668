"""Cases of trials side by side, those first that were scored most differently."""

from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from whet_tui.desk import DeskError
from whet_tui.safe import safe_line
from whet_tui.screens.place import PlaceScreen
from whet_tui.sweep_values import ComparedCase, Trial
from whet_tui.widgets.case_text import case_sheet, case_text
from whet_tui.widgets.rows import Rows
from whet_tui.widgets.trial_rows import parameters_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whet_tui.around import Around
    from whet_tui.places import Place
    from whet_tui.sweep_values import Sweep

_AHEAD: Final = 20
"""Rows before the end of what was read at which the next page is fetched."""
_MARGIN: Final = 4
"""Padding and the scroll bar."""
_MOST: Final = 300
"""Letters of parameters in the heading."""


class TrialCasesScreen(PlaceScreen):
    """A list of cases; the one under the cursor in full below."""

    DEFAULT_CSS = """
    TrialCasesScreen #cases-head { height: auto; max-height: 9; padding: 0 1; }
    TrialCasesScreen #cases { height: 35%; min-height: 4; }
    TrialCasesScreen #case { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    TrialCasesScreen #case-text { height: auto; }
    TrialCasesScreen.reading #cases, TrialCasesScreen.reading #cases-head { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "all", "All or differing", id="trial_cases.all"),
        Binding("r", "renew", "Read anew", id="trial_cases.renew"),
        Binding("tab", "app.focus_next", "Next pane", id="trial_cases.next"),
    ]
    EVERY = 0.0

    def __init__(self, place: "Place", around: "Around", sweep: "Sweep", numbers: "Sequence[int]") -> None:
        super().__init__(place, around)
        self._sweep = sweep
        self._numbers = numbers
        self._differing = True
        self._trials: Sequence[Trial] = ()
        self._cases: dict[str, ComparedCase] = {}
        self._token: str | None = ""
        """The next page; None when all are there."""

    def body(self) -> ComposeResult:
        yield Static(id="cases-head")
        yield Rows(id="cases")
        with VerticalScroll(id="case"):
            yield Static(id="case-text")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#cases").focus()

    @property
    def picks(self) -> str:
        return "" if self.has_class("reading") else "Read in full"

    async def look(self) -> None:
        self._cases, self._token = {}, ""
        await self._read()

    async def _read(self) -> None:
        """Read a page more."""
        desk = (await self.around.desk()).sweeping
        token = self._token or ""
        page = await desk.cases(self._sweep.run_id, self._numbers, token, differing=self._differing)
        self._trials = page.trials
        self._cases |= {each.item.item_id: each for each in page.cases}
        self._token = page.next_page_token or None
        self._draw()

    @work(exclusive=True, group="more")
    async def _more(self) -> None:
        try:
            await self._read()
        except DeskError as error:
            self.tell(f"{error} r reads them anew.", bad=True)

    def _draw(self) -> None:
        cases = list(self._cases.values())
        sheet = case_sheet(cases, self._trials)
        self.query_one("#cases", Rows).show([each.item.item_id for each in cases], sheet)
        self.write("#cases-head", self._head())
        self._draw_case()

    def _head(self) -> Text:
        ink = self.ink
        which = "scored differently, the greatest difference first" if self._differing else "all, as they were asked"
        more = "" if self._token is None else " and more"
        text = Text(f"{len(self._cases):,}{more} cases · {which}", ink.muted)
        for trial in self._trials:
            words = "baseline" if trial.number == 0 else safe_line(trial.state, 20)
            text.append(f"\n#{trial.number:,} {words} ", ink.accent)
            text.append(parameters_words(trial, _MOST), ink.muted)
        return text

    @on(Rows.Moved, "#cases")
    def _moved(self) -> None:
        self.query_one("#case", VerticalScroll).scroll_home(animate=False)
        self._draw_case()
        rows = self.query_one("#cases", Rows)
        if self._token and rows.key in rows.keys[-_AHEAD:]:
            self._more()

    def _draw_case(self) -> None:
        """Draw the case under the cursor."""
        case = self._cases.get(self.query_one("#cases", Rows).key)
        widget = self.query_one("#case-text", Static)
        if case is not None:
            widget.update(case_text(case, self._trials, self.ink, self.size.width - _MARGIN))
        elif self._trials:
            which = "No case was scored differently. a shows all." if self._differing else "No case is in yet."
            widget.update(Text(which))
        self.refresh_bindings()

    @on(Rows.Picked, "#cases")
    def _open(self) -> None:
        self.add_class("reading")
        self.query_one("#case").focus()
        self.refresh_bindings()

    async def action_back(self) -> None:
        """From a case to the cases, from there to the study."""
        if self.has_class("reading"):
            self.remove_class("reading")
            self.query_one("#cases").focus()
            self.refresh_bindings()
        else:
            self.dismiss()

    def action_all(self) -> None:
        self._differing = not self._differing
        self.look_again()

    def action_renew(self) -> None:
        self.look_again()

    def draw_anew(self) -> None:
        super().draw_anew()
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        self._draw_case()
