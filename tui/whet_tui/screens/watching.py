"""The first half of a study: a sweep that is watched, its trials in a table that grows, and how they are looked at."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.geometry import Size
from textual.widgets import Static

from whet_tui import memory
from whet_tui.desk import DeskError
from whet_tui.screens.place import PlaceScreen
from whet_tui.sweep_board import Board, Order
from whet_tui.sweep_values import Heard, Progress, Sweep, Trial
from whet_tui.trial_filter import FilterError, filtered
from whet_tui.widgets.figure import Figure
from whet_tui.widgets.filter_line import FilterLine
from whet_tui.widgets.rows import Rows
from whet_tui.widgets.sweep_text import headline, progress_text
from whet_tui.widgets.trial_rows import TrialRows, trial_text

if TYPE_CHECKING:
    from whet_tui.around import Around
    from whet_tui.places import Place
    from whet_tui.sweep_desk import SweepDesk

_FRAME: Final = 0.25
"""Seconds between two drawings of what arrives."""
_CALM: Final = 1.0
"""The same with reduced motion."""
_TYPING: Final = 0.2
"""Seconds without a key before the words of the filter count."""
_COMPARED: Final = 8
"""Trials that the server compares at once."""
_MARGIN: Final = 2
"""Padding."""
_TALL: Final = 36
"""Rows of the terminal from which a figure stands below the trials."""


@dataclass(slots=True)
class Study:
    """One sweep as it is looked at: it stays when the place is left."""

    sweep: Sweep
    board: Board = field(init=False)
    words: str = ""
    """The filter."""
    only_front: bool = False
    marked: list[int] = field(default_factory=list)
    """Trials to be compared, in the order in which they were marked."""
    open: bool = True
    filled: bool = False
    """Whether all trials were fetched once."""

    def __post_init__(self) -> None:
        self.board = Board(self.sweep.plan.goals[0])

    @property
    def names(self) -> list[str]:
        """The dimensions."""
        return [each.name for each in self.sweep.plan.space]


class WatchingScreen(PlaceScreen):
    """The trials. What arrives is folded at once and drawn a few times a second."""

    DEFAULT_CSS = """
    WatchingScreen #study-head, WatchingScreen #study-progress { height: 2; padding: 0 1; }
    WatchingScreen #study-head, WatchingScreen #study-progress, WatchingScreen #trial {
        text-wrap: nowrap;
        text-overflow: ellipsis;
    }
    WatchingScreen #study { height: 1fr; }
    WatchingScreen #place-keys { max-height: 3; }
    WatchingScreen #trials { height: 1fr; min-height: 3; }
    WatchingScreen #trial { height: 3; padding: 0 1; }
    WatchingScreen #figure { display: none; height: 14; }
    WatchingScreen #verdict { display: none; height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    WatchingScreen #verdict-text { height: auto; }
    WatchingScreen.tall #figure { display: block; }
    WatchingScreen.figures #trials, WatchingScreen.figures #trial { display: none; }
    WatchingScreen.figures #figure { display: block; height: 1fr; overflow-y: auto; }
    WatchingScreen.verdict #study { display: none; }
    WatchingScreen.verdict #verdict { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "order", "Order", id="study.order"),
        Binding("slash", "filter", "Filter", id="study.filter"),
        Binding("n", "only_front", "Front", id="study.only_front"),
        Binding("space", "mark", "Mark", id="study.mark"),
    ]
    EVERY = 3.0

    def __init__(self, place: "Place", around: "Around", study: Study) -> None:
        super().__init__(place, around)
        self.study = study
        self.progress: Progress = study.sweep.progress
        self._frame_pending = False
        self._sized = Size(0, 0)
        """The size that was drawn for."""
        self._behind = 0
        """Looks in a row in which the server had more ended trials than the board."""
        self._front: frozenset[int] = frozenset()

    def body(self) -> ComposeResult:
        yield Static(id="study-head")
        yield Static(id="study-progress")
        with Container(id="study"):
            yield Rows(id="trials")
            yield Static(id="trial")
            yield Figure(id="figure", pictures=self.around.pictures)
        with VerticalScroll(id="verdict"):
            yield Static(id="verdict-text")
        yield FilterLine("quality>0.8 cost<0.01 name=value or words")

    async def sweeping(self) -> "SweepDesk":
        return (await self.around.desk()).sweeping

    @property
    def board(self) -> Board:
        return self.study.board

    @property
    def sweep(self) -> Sweep:
        return self.study.sweep

    @property
    def best(self) -> int | None:
        """The best trial as far as the server knows."""
        result = self.sweep.result
        return self.progress.best if result is None else result.best

    @property
    def chosen(self) -> Trial | None:
        """The trial under the cursor."""
        key = self.query_one("#trials", Rows).key
        return self.board.trials.get(int(key)) if key else None

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(FilterLine).value = self.study.words
        self._size_up()
        self.query_one("#trials").focus()

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        if not (self.study.filled and self.sweep.ended):
            self._follow()

    def on_screen_suspend(self) -> None:
        super().on_screen_suspend()
        for group in ("follow", "fill", "arrange"):
            self.workers.cancel_group(self, group)

    # What arrives

    async def look(self) -> None:
        """See how the sweep stands, and whether the board has all that has ended: what was told between the first page
        and the stream's beginning is fetched again.
        """
        if self.sweep.ended and self.study.filled:
            self.draw()
            return
        desk = await self.sweeping()
        self.study.sweep = await desk.sweep(self.sweep.run_id)
        self.progress = self.sweep.progress
        ended = self.board.ended + self.board.left_out
        self._behind = self._behind + 1 if self.progress.ended > ended else 0
        if not self.study.filled or self._behind > 1:
            self._fill()
        if len(self.sweep.plan.goals) > 1:
            await self._read_front(desk)
        self.draw()
        self.refresh_bindings()

    async def _read_front(self, desk: "SweepDesk") -> None:
        """Ask which trials are on the front: only the server knows every objective."""
        found: set[int] = set()
        token, more = "", True
        while more:
            page = await desk.trials(self.sweep.run_id, token, front=True)
            found |= {each.number for each in page.trials}
            token = page.next_page_token
            more = bool(token)
        if found != self._front:
            self._front = self.board.front = frozenset(found)
            if self.study.only_front:
                self.put_in_order()

    @work(exclusive=True, group="fill")
    async def _fill(self) -> None:
        """Fetch all trials, page by page."""
        self._behind = 0
        desk, token, more = await self.sweeping(), "", True
        ended = self.sweep.ended
        try:
            while more:
                page = await desk.trials(self.sweep.run_id, token)
                self.board.take(page.trials)
                self._draw_soon()
                token = page.next_page_token
                more = bool(token)
        except DeskError as error:
            self.tell(f"{error} Trying again.", bad=True)
            return
        self.study.filled = True
        memory.settle()
        self._draw_soon()
        self.refresh_bindings()
        if ended:
            self.look_again()

    @work(exclusive=True, group="follow")
    async def _follow(self) -> None:
        """Hear what happens until the sweep has ended; then all is fetched once more."""
        ended = self.sweep.ended
        while not ended:
            try:
                async with aclosing((await self.sweeping()).watch(self.sweep.run_id)) as told:
                    async for heard in told:
                        self._hear(heard)
                        ended = heard.ended
            except DeskError as error:
                self.tell(f"{error} Trying again.", bad=True)
                await asyncio.sleep(self.EVERY)
        self.study.filled = False
        self.look_again()

    def _hear(self, heard: Heard) -> None:
        self.board.take(heard.trials)
        if heard.progress is not None:
            self.progress = heard.progress
        if heard.changed and not heard.ended:
            self.look_again()
        self._draw_soon()

    # How trials are looked at

    @work(exclusive=True, group="arrange")
    async def put_in_order(self, order: Order | None = None, after: float = 0.0) -> None:
        """Put the trials in order and leave out those that do not pass, once nobody has typed for a while."""
        await asyncio.sleep(after)
        study = self.study
        try:
            passes = filtered(study.words, study.names)
        except FilterError as error:
            self.tell(str(error))
            return
        self.clear_hint()
        await self.board.arrange(order or self.board.order, passes, only_front=study.only_front)
        self.draw()
        if order is not None:
            self.query_one("#trials", Rows).action_end(-1)

    def action_order(self) -> None:
        orders = list(Order)
        self.put_in_order(orders[(orders.index(self.board.order) + 1) % len(orders)])

    def action_only_front(self) -> None:
        self.study.only_front = not self.study.only_front
        self.put_in_order()

    def action_filter(self) -> None:
        self.query_one(FilterLine).open()

    @on(FilterLine.Filtered)
    def _filter(self) -> None:
        self.study.words = self.query_one(FilterLine).value
        self.put_in_order(after=_TYPING)

    @on(FilterLine.Left)
    def _leave_filter(self) -> None:
        self.query_one("#trials", Rows).focus()

    def action_mark(self) -> None:
        """Mark the trial for a comparison, or take the mark back."""
        trial, marked = self.chosen, self.study.marked
        if trial is None:
            return
        if trial.number in marked:
            marked.remove(trial.number)
        elif len(marked) == _COMPARED:
            self.tell(f"{_COMPARED} trials can be compared at once.")
        else:
            marked.append(trial.number)
        self.draw()
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        trials = not self.has_class("verdict") and not self.has_class("figures")
        offered = {
            "order": trials and len(self.board.trials) > 1,
            "filter": trials,
            "only_front": trials and len(self.sweep.plan.goals) > 1,
            "mark": trials and bool(self.board.trials),
        }
        return offered[action] if action in offered else super().check_action(action, parameters)

    # How it is drawn

    def _draw_soon(self) -> None:
        if not self._frame_pending:
            self._frame_pending = True
            self.set_timer(_FRAME if self.around.pictures else _CALM, self.draw)

    def draw(self) -> None:
        """Draw what is in view from what is known."""
        self._frame_pending = False
        if not self.is_current:
            return
        ink, now, board = self.ink, self.around.now_ns(), self.board
        self.write("#study-head", headline(self.sweep, self.progress, ink), layout=False)
        self.write("#study-progress", self._progress_text(now), layout=False)
        keys = board.keys
        painter = TrialRows(
            self.sweep.plan, board.trials, keys, best=self.best, front=self._front, marked=self.study.marked
        )
        self.query_one("#trials", Rows).show(keys, painter)
        self.draw_trial()
        self.draw_more()

    def _progress_text(self, now: int) -> Text:
        board, room = self.board, self.size.width - _MARGIN
        text = progress_text(self.sweep, self.progress, self.ink, now, room)
        told = [board.order.words] if board.order is not Order.BEST else []
        told += [f"{board.shown:,} of {len(board.trials):,} pass"] if self._filters else []
        told += [f"{board.left_out:,} more are not listed"] if board.left_out else []
        return text.append("".join(f" · {each}" for each in told), self.ink.accent)

    @property
    def _filters(self) -> bool:
        return bool(self.study.words.strip()) or self.study.only_front

    @on(Rows.Moved, "#trials")
    def draw_trial(self) -> None:
        trial = self.chosen
        if trial is not None:
            text = trial_text(trial, self.sweep.plan, self.ink, standing=self._standing(trial.number))
        elif self._filters and self.board.trials:
            text = Text("No trial passes the filter. / changes it.")
        elif self.study.filled:
            text = Text("No trial has begun yet.")
        else:
            text = Text("Looking …")
        self.write("#trial", text, layout=False)

    def _standing(self, number: int) -> str:
        words = ["baseline"] if number == 0 else []
        words += ["best"] if number == self.best else []
        words += ["on the front"] if number in self._front else []
        return ", ".join(words)

    def draw_more(self) -> None:
        """Draw what stands beside the trials."""

    def draw_anew(self) -> None:
        super().draw_anew()
        self.draw()

    def on_resize(self, event: events.Resize) -> None:
        if event.size != self._sized:  # it comes after each layout
            self._sized = event.size
            self._size_up()

    def _size_up(self) -> None:
        self.set_class(self.app.size.height >= _TALL, "tall")
        self.call_after_refresh(self.draw)
