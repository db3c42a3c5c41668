"""Fan-out: the runs of the workspace, the branches of one of them, its answer; watched while in view."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Final

from rich.segment import Segment
from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.strip import Strip
from textual.timer import Timer
from textual.widgets import Static

from whet_tui.desk import DeskError
from whet_tui.desk_values import Following, Run
from whet_tui.entries import Fanout, Lane, money_line
from whet_tui.safe import safe_line
from whet_tui.screens.place import PlaceScreen
from whet_tui.spans import ago
from whet_tui.widgets import states
from whet_tui.widgets.fanout_block import headline
from whet_tui.widgets.fanout_view import FanoutView
from whet_tui.widgets.ink import Ink
from whet_tui.widgets.lane_table import lane_columns, lane_head, lane_row
from whet_tui.widgets.rows import Rows
from whet_tui.widgets.sheet import Cell, Column, Sheet, cost

if TYPE_CHECKING:
    from whet_tui.around import Around
    from whet_tui.places import Place

_FRAME: Final = 0.1
"""Seconds between two drawings of what arrives."""
_CLOCK: Final = 1.0
"""Seconds between two drawings of running times."""
_FEWEST_LANES: Final = 3
"""Rows that the lanes keep however small the terminal is."""
_PIN: Final = "◆ "
_NO_PIN: Final = "  "
_COLUMNS: Final = (
    Column(title="state", most=11),
    Column(title="run", grows=True),
    Column(title="begun", right=True, most=14, rank=1),
    Column(title="cost", right=True, most=24, rank=3),
    Column(title="where", most=6, rank=2),
)


class FanoutScreen(PlaceScreen):
    """The runs, the lanes of the one under the cursor, its answer or a branch in full."""

    DEFAULT_CSS = """
    FanoutScreen #fanout { layout: vertical; height: 1fr; }
    FanoutScreen #runs { height: 5; }
    FanoutScreen #run { height: 1fr; }
    FanoutScreen #run-head { height: auto; max-height: 2; padding: 0 1; }
    FanoutScreen #lanes { height: 4; }
    FanoutScreen.wide #fanout { layout: horizontal; }
    FanoutScreen.wide #runs { width: 36; height: 1fr; border-right: solid $surface; }
    FanoutScreen.wide #run { width: 1fr; }
    FanoutScreen.reading #runs, FanoutScreen.reading #lanes { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pin", "Pin", id="fanout.pin"),
        Binding("x", "cancel_branch", "Cancel branch", id="fanout.cancel_branch"),
        Binding("X", "cancel_run", "Cancel run", id="fanout.cancel_run"),
        Binding("tab", "app.focus_next", "Next pane", id="fanout.next"),
    ]
    EVERY = 5.0

    def __init__(self, place: "Place", around: "Around") -> None:
        super().__init__(place, around)
        self._followed: dict[str, Following] = {}
        self._pins: defaultdict[str, set[str]] = defaultdict(set)
        self._run_id = ""
        self._wanted = ""
        """The run to go to at the next look."""
        self._older = ""
        """A run that was asked for by its id; it is listed however old it is."""
        self._newest = ""
        """The conversation's last run when this was last looked at."""
        self._branch_id = ""
        """The branch that is read in full."""
        self._sure = ""
        """The run for whose cancellation one more key is needed."""
        self._frame_timer: Timer | None = None
        self._clock: Timer | None = None

    def body(self) -> ComposeResult:
        with Container(id="fanout"):
            yield Rows(id="runs")
            with Vertical(id="run"):
                yield Static(id="run-head")
                yield Rows(id="lanes")
                yield FanoutView(id="view")

    @property
    def picks(self) -> str:
        return "" if self._branch_id else "Open branch"

    @property
    def fanout(self) -> Fanout | None:
        """The run in view, as far as it was heard."""
        following = self._followed.get(self._run_id)
        return following.fanout if following is not None else None

    def go_to(self, run_id: str) -> None:
        """Show this run, also when it is older than those that are listed."""
        self._wanted = self._older = run_id
        self._close_branch()
        if self.is_mounted:
            self.look_again()

    async def look(self) -> None:
        runs = await (await self.around.desk()).runs()
        if self._older and not any(run.run_id == self._older for run in runs):
            runs = [*runs, _run_of(self._following(self._older).fanout)]
        here = list(self.around.conversation.run_ids)
        rows = self.query_one("#runs", Rows)
        now = self.around.now_ns()
        sheet = Sheet(_COLUMNS, [_run_row(run, now, here=run.run_id in here) for run in runs])
        rows.show([run.run_id for run in runs], sheet)
        newest = here[-1] if here else ""
        if newest != self._newest and newest in rows.keys:
            self._newest = newest
            self._wanted = self._wanted or newest
        if self._wanted:
            rows.go_to(self._wanted)
            self._wanted = ""
        self._show_run(rows.key)

    def on_screen_resume(self) -> None:
        if self._run_id:
            self._follow(self._run_id)

    def draw_anew(self) -> None:
        super().draw_anew()
        self._draw()

    def on_screen_suspend(self) -> None:
        self.workers.cancel_group(self, "follow")
        self._tick(running=False)

    @on(Rows.Moved, "#runs")
    def _run_chosen(self, event: Rows.Moved) -> None:
        self._show_run(event.key)

    @on(Rows.Picked, "#runs")
    def _run_picked(self) -> None:
        self.query_one("#lanes", Rows).focus()

    @on(Rows.Picked, "#lanes")
    def _lane_picked(self) -> None:
        self.read_branch()

    def _show_run(self, run_id: str) -> None:
        if run_id == self._run_id and run_id:
            return
        self._run_id, self._sure = run_id, ""
        if not run_id:
            self.write("#run-head", Text("No fan-out yet. Ask something in the chat (Alt+1)."))
            return
        following = self._following(run_id)
        self._draw()
        self.query_one(FanoutView).show(following.fanout)
        self._follow(run_id)

    def _following(self, run_id: str) -> Following:
        """The run as far as it was heard."""
        return self._followed.setdefault(run_id, Following(run_id=run_id, fanout=Fanout(run_id=run_id)))

    @work(exclusive=True, group="follow")
    async def _follow(self, run_id: str) -> None:
        """Let the run in view grow until it has ended or another one is in view."""
        following = self._following(run_id)
        first = not following.cursor
        while not following.fanout.ended:
            try:
                desk = await self.around.desk()
                async for _ in desk.follow(following):
                    if first and following.fanout.lanes:
                        first = False
                        self.query_one(FanoutView).show(following.fanout, self._branch_id)
                    self._draw_soon()
            except DeskError as error:
                self.tell(f"{error} Trying again.", bad=True)
                await asyncio.sleep(self.EVERY)
        self._draw_soon()

    def _draw_soon(self) -> None:
        if self._frame_timer is None:
            self._frame_timer = self.set_timer(_FRAME, self._draw)

    def _draw(self) -> None:
        self._frame_timer = None
        fanout = self.fanout
        if fanout is None:
            return
        now = self.around.now_ns()
        self.write("#run-head", self._head(fanout, now))
        pins = self._pins[self._run_id]
        lanes = sorted(fanout.lanes.values(), key=lambda lane: (lane.branch_id not in pins, lane.number))
        rows = self.query_one("#lanes", Rows)
        rows.styles.height = 1 + max(_FEWEST_LANES, min(len(lanes), self.size.height // 3))
        rows.show([lane.branch_id for lane in lanes], _Lanes(fanout, lanes, pins, now))
        self.query_one(FanoutView).grow()
        self._tick(running=not fanout.ended and self.is_current)

    def _tick(self, *, running: bool) -> None:
        """Let the clock of the lanes go exactly as long as somebody sees a run that is under way."""
        if running and self._clock is None:
            self._clock = self.set_interval(_CLOCK, self._draw)
        elif not running and self._clock is not None:
            self._clock.stop()
            self._clock = None

    def _head(self, fanout: Fanout, now: int) -> Text:
        ink = self.ink
        room = max(20, self.query_one("#run").size.width - 2)
        title = safe_line(fanout.prompt or fanout.run_id, room)
        head = Text(title, ink.you, no_wrap=True, overflow="ellipsis")
        told = [headline(fanout, now), money_line(fanout.money) if fanout.ended else "", fanout.run_id]
        return head.append("\n" + safe_line(" · ".join(part for part in told if part), room), ink.muted)

    def read_branch(self) -> None:
        """Show the branch under the cursor in full."""
        branch_id = self.query_one("#lanes", Rows).key
        fanout = self.fanout
        if fanout is not None and branch_id in fanout.lanes:
            self._branch_id = branch_id
            self.add_class("reading")
            view = self.query_one(FanoutView)
            view.show(fanout, branch_id)
            view.focus()

    def _close_branch(self) -> None:
        self._branch_id = ""
        self.remove_class("reading")

    async def action_back(self) -> None:
        """From a branch to its run, from there to the chat."""
        fanout = self.fanout
        if self._branch_id and fanout is not None:
            self._close_branch()
            self.query_one(FanoutView).show(fanout)
            self.query_one("#lanes", Rows).focus()
        else:
            await super().action_back()

    def action_pin(self) -> None:
        """Keep a branch on top, or let it go back to its place."""
        branch_id = self._branch_id or self.query_one("#lanes", Rows).key
        if branch_id:
            self._pins[self._run_id] ^= {branch_id}
            self._draw()

    def action_cancel_branch(self) -> None:
        branch_id = self._branch_id or self.query_one("#lanes", Rows).key
        fanout = self.fanout
        lane = fanout.lanes.get(branch_id) if fanout is not None else None
        if lane is None or lane.state.ended:
            self.tell("That branch has ended." if lane is not None else "Choose a branch first.")
        else:
            self._cancel(self._run_id, branch_id, f"branch {lane.number}")

    def action_cancel_run(self) -> None:
        """Cancel the whole run, at the second press."""
        fanout = self.fanout
        if fanout is None or fanout.ended:
            self.tell("That run has ended.")
        elif self._sure != self._run_id:
            self._sure = self._run_id
            self.tell("Press X again to cancel the whole run: what is under way is cut off, finished branches stay.")
        else:
            self._sure = ""
            self._cancel(self._run_id, "", "the run")

    @work(group="cancel")
    async def _cancel(self, run_id: str, branch_id: str, what: str) -> None:
        self.tell(f"Cancelling {what} …")
        try:
            await (await self.around.desk()).cancel(run_id, branch_id)
        except DeskError as error:
            self.tell(str(error), bad=True)
        else:
            self.tell(f"Cancelled {what}; what it had cost is billed.")

    def on_resize(self, event: events.Resize) -> None:
        self._draw()


class _Lanes:
    """Paints the lanes, those that are pinned with a mark."""

    def __init__(self, fanout: Fanout, lanes: Sequence[Lane], pins: Collection[str], now_ns: int) -> None:
        self._fanout = fanout
        self._lanes = lanes
        self._pins = frozenset(pins)
        self._now_ns = now_ns
        self._columns = lru_cache(1)(lambda width: lane_columns(lanes, width - len(_PIN), names_first=True))

    def head(self, width: int, ink: Ink) -> Strip:
        return Strip([Segment(_NO_PIN), *lane_head(self._columns(width), ink)])

    def row(self, place: int, width: int, ink: Ink) -> Strip:
        lane = self._lanes[place]
        pin = Segment(_PIN, ink.accent) if lane.branch_id in self._pins else Segment(_NO_PIN)
        return Strip([pin, *lane_row(self._fanout, lane, self._columns(width), ink, self._now_ns)])


def _run_of(fanout: Fanout) -> Run:
    return Run(
        run_id=fanout.run_id,
        title=fanout.prompt,
        state=fanout.state,
        created_ns=fanout.opened_ns,
        money=fanout.money,
    )


def _run_row(run: Run, now_ns: int, *, here: bool) -> list[Cell]:
    glyph, ink = states.RUNS[run.state]
    return [
        Cell(f"{glyph} {run.state}", ink),
        Cell(safe_line(run.title or run.run_id, 200)),
        Cell(ago(run.created_ns, now_ns), "muted"),
        Cell(cost(run.money), "muted"),
        Cell("here" if here else "", "accent"),
    ]
