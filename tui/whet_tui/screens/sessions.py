"""Sessions: earlier conversations and the work that goes on at the server."""

import os
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Input, Static

from whet_agent.sessions import SessionError, SessionSummary
from whet_tui.desk import DeskError
from whet_tui.desk_values import Run
from whet_tui.entries import FanoutState, Money
from whet_tui.safe import safe, safe_line
from whet_tui.screens.place import PlaceScreen
from whet_tui.shelf import LastWords, ShelfError
from whet_tui.spans import ago
from whet_tui.widgets.filter_line import FilterLine
from whet_tui.widgets.in_order import Line
from whet_tui.widgets.rows import Rows
from whet_tui.widgets.sheet import Cell, Column, Sheet, cost

if TYPE_CHECKING:
    from whet_tui.around import Around
    from whet_tui.places import Place

_NANOS: Final = 1_000_000_000
_QUOTED: Final = 4_000
"""Letters of the last words that are shown: a screen holds no more."""
_COLUMNS: Final = (
    Column(title="conversation", grows=True),
    Column(title="used", right=True, most=14),
    Column(title="turns", right=True, rank=3),
    Column(title="cost", right=True, most=24, rank=2),
    Column(title="state", most=28, rank=1),
)
_JOBS: Final = (
    Column(title="running", grows=True),
    Column(title="begun", right=True, most=14),
    Column(title="conversation", most=40, rank=1),
    Column(title="run", rank=2),
)


class SessionsScreen(PlaceScreen):
    """The list with the last words of the one under the cursor; or all runs that are under way."""

    DEFAULT_CSS = """
    SessionsScreen #shelf { layout: vertical; height: 1fr; }
    SessionsScreen #sessions, SessionsScreen #jobs { height: 3fr; }
    SessionsScreen #preview { height: 2fr; padding: 0 1; scrollbar-size-vertical: 1; }
    SessionsScreen #words { height: auto; }
    SessionsScreen #jobs { display: none; }
    SessionsScreen.working #sessions { display: none; }
    SessionsScreen.working #jobs { display: block; }
    SessionsScreen #title { height: 1; border: none; padding: 0 1; display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "rename", "Rename", id="sessions.rename"),
        Binding("f", "fork", "Fork", id="sessions.fork"),
        Binding("d", "delete", "Delete", id="sessions.delete"),
        Binding("u", "restore", "Undo", id="sessions.restore"),
        Binding("slash", "filter", "Filter", id="sessions.filter"),
        Binding("w", "work", "Jobs", id="sessions.work"),
        Binding("x", "cancel", "Cancel run", id="sessions.cancel"),
    ]

    EVERY = 5.0

    def __init__(self, place: "Place", around: "Around") -> None:
        super().__init__(place, around)
        self._sessions: Sequence[SessionSummary] = ()
        self._under_way: Sequence[Run] = ()
        self._words: dict[tuple[str, float], LastWords] = {}
        self._deleted: list[tuple[str, str]] = []

    def body(self) -> ComposeResult:
        with Container(id="shelf"):
            yield Rows(id="sessions")
            yield Rows(id="jobs")
            with VerticalScroll(id="preview"):
                yield Static(id="words")
        yield FilterLine("words of the title")
        yield Line(id="title", placeholder="a title; Enter gives it, Esc keeps the old one", select_on_focus=False)

    @property
    def picks(self) -> str:
        return "Watch" if self.has_class("working") else "Take up"

    @property
    def _listed(self) -> Rows:
        """The list in view."""
        return self.query_one("#jobs" if self.has_class("working") else "#sessions", Rows)

    @property
    def _chosen(self) -> SessionSummary | None:
        key = self.query_one("#sessions", Rows).key
        return next((each for each in self._sessions if each.session_id == key), None)

    async def look(self) -> None:
        self._sessions = await self.around.shelf.sessions()
        try:
            runs = await (await self.around.desk()).runs()
            self._under_way = [run for run in runs if run.state is FanoutState.RUNNING]
        finally:
            self._show()  # sessions lie in files: they are there without a server

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What is done with a session is not offered where runs are listed, and the other way round."""
        working = self.has_class("working")
        if action in {"rename", "fork", "delete", "filter"}:
            return not working
        if action == "restore":
            return bool(self._deleted) and not working
        return working if action == "cancel" else super().check_action(action, parameters)

    def _show(self) -> None:
        words = self.query_one(FilterLine).words
        shown = [each for each in self._sessions if all(word in each.title.lower() for word in words)]
        now, running = self.around.now_ns(), {run.run_id for run in self._under_way}
        rows = [_row(each, now, running, here=each.session_id == self._here) for each in shown]
        self.query_one("#sessions", Rows).show([each.session_id for each in shown], Sheet(_COLUMNS, rows))
        owners = {run_id: each.title for each in self._sessions for run_id in each.runs}
        jobs = [_job(run, owners.get(run.run_id, ""), now) for run in self._under_way]
        self.query_one("#jobs", Rows).show([run.run_id for run in self._under_way], Sheet(_JOBS, jobs))
        self._preview()

    @property
    def _here(self) -> str:
        session = self.around.conversation.session
        return session.session_id if session is not None else ""

    @on(Rows.Moved)
    def _preview(self) -> None:
        """Show the last words of the session under the cursor, or say what there is to do."""
        if self.has_class("working"):
            text = "Enter watches a run, x cancels it, w goes back to the sessions."
            self._write(Text(text if self._under_way else "Nothing is running. w goes back to the sessions."))
        elif (summary := self._chosen) is not None:
            self._fetch_words(summary)
        elif self._sessions:
            self._write(Text("Nothing passes the filter. Esc in the filter clears it."))
        else:
            self._write(Text("No conversation has been kept yet. Alt+1 leads to the chat: say something there."))

    @work(exclusive=True, group="words")
    async def _fetch_words(self, summary: SessionSummary) -> None:
        key = (summary.session_id, summary.last_used)
        if key not in self._words:
            try:
                self._words[key] = await self.around.shelf.last_words(summary.session_id)
            except ShelfError as error:
                self._write(Text(safe_line(str(error)), self.ink.bad))
                return
        self._write(_quoted(summary, self._words[key], self))

    def _write(self, text: Text) -> None:
        self.write("#words", text)

    @on(FilterLine.Filtered)
    def _filter(self) -> None:
        self._show()

    @on(FilterLine.Left)
    def _to_the_list(self) -> None:
        self._listed.focus()

    @on(Rows.Picked, "#sessions")
    def take_up(self) -> None:
        summary = self._chosen
        if summary is None:
            return
        if summary.session_id == self._here:
            self.call_later(self.run_action, "app.open_place('chat')")
        elif summary.holder and summary.holder != os.getpid():
            self.tell(f"This conversation is open in another terminal (process {summary.holder}). Close it there.")
        else:
            self.tell("Taking it up …")
            self.around.conversation.take_up(summary.session_id)

    @on(Rows.Picked, "#jobs")
    def _watch(self, event: Rows.Picked) -> None:
        self.around.open_run(event.key)

    def action_filter(self) -> None:
        self.query_one(FilterLine).open()

    def action_work(self) -> None:
        """Change between the sessions and all runs that are under way."""
        self.toggle_class("working")
        self._listed.focus()
        self._show()
        self.refresh_bindings()

    def action_rename(self) -> None:
        summary = self._chosen
        if summary is not None:
            title = self.query_one("#title", Input)
            title.display, title.value = True, safe_line(summary.title, 80)
            title.focus()

    @on(Input.Submitted, "#title")
    def _renamed(self, event: Input.Submitted) -> None:
        self._leave_title()
        summary = self._chosen
        if summary is not None:
            self._rename(summary, event.value)

    @work(group="change")
    async def _rename(self, summary: SessionSummary, title: str) -> None:
        session = self.around.conversation.session
        try:
            if session is not None and session.session_id == summary.session_id:
                await session.rename(title)
            else:
                await self.around.shelf.rename(summary.session_id, title)
        except (ShelfError, SessionError) as error:
            self.tell(str(error), bad=True)
        self.look_again()

    def _leave_title(self) -> None:
        self.query_one("#title", Input).display = False
        self._listed.focus()

    async def action_back(self) -> None:
        """Out of the title, or from the runs to the sessions, or to the chat."""
        if self.query_one("#title", Input).display:
            self._leave_title()
        elif self.has_class("working"):
            self.action_work()
        else:
            await super().action_back()

    @work(group="change")
    async def action_fork(self) -> None:
        summary, session = self._chosen, self.around.conversation.session
        if summary is None:
            return
        self.tell("Forking …")
        try:
            if session is not None and session.session_id == summary.session_id:
                forked = await session.fork()
            else:
                forked = await self.around.shelf.fork(summary.session_id)
        except (ShelfError, SessionError) as error:
            self.tell(str(error), bad=True)
            return
        self._sessions = await self.around.shelf.sessions()
        self._show()
        self.query_one("#sessions", Rows).go_to(forked)
        self.tell("Forked. Enter takes the copy up.")

    @work(group="change")
    async def action_delete(self) -> None:
        summary = self._chosen
        if summary is None:
            return
        if summary.session_id == self._here:
            self.tell("This conversation is open here. Take up another one first.")
            return
        try:
            await self.around.shelf.delete(summary.session_id)
        except ShelfError as error:
            self.tell(str(error), bad=True)
            return
        self._deleted.append((summary.session_id, summary.title))
        self.tell(f"Deleted “{safe_line(summary.title, 50)}”. u brings it back.")
        self.refresh_bindings()
        self.look_again()

    @work(group="change")
    async def action_restore(self) -> None:
        """Bring back what was deleted last."""
        session_id, title = self._deleted.pop()
        try:
            await self.around.shelf.restore(session_id)
        except ShelfError as error:
            self.tell(str(error), bad=True)
            return
        self._sessions = await self.around.shelf.sessions()
        self._show()
        self.query_one("#sessions", Rows).go_to(session_id)
        self.tell(f"“{safe_line(title, 50)}” is back.")
        self.refresh_bindings()

    @work(group="change")
    async def action_cancel(self) -> None:
        run_id = self.query_one("#jobs", Rows).key
        if not run_id:
            return
        self.tell("Cancelling …")
        try:
            await (await self.around.desk()).cancel(run_id)
        except DeskError as error:
            self.tell(str(error), bad=True)
            return
        self.tell("Cancelled; what it had cost is billed.")
        self.look_again()


def _row(summary: SessionSummary, now_ns: int, running: Collection[str], *, here: bool) -> list[Cell]:
    jobs = sum(run_id in running for run_id in summary.runs)
    state = [
        "here" if here else "",
        "open elsewhere" if summary.holder and not here else "",
        "interrupted" if summary.crashed else "",
        f"{summary.approvals} to decide" if summary.approvals else "",
        f"{jobs} running" if jobs else "",
    ]
    return [
        Cell(safe_line(summary.title, 200)),
        Cell(ago(int(summary.last_used * _NANOS), now_ns), "muted"),
        Cell(str(summary.turns), "muted"),
        Cell(cost(Money(settled=summary.settled, unknown=summary.unknown)), "muted"),
        Cell(", ".join(part for part in state if part), "warning" if summary.approvals else "accent"),
    ]


def _job(run: Run, owner: str, now_ns: int) -> list[Cell]:
    return [
        Cell(safe_line(run.title or run.run_id, 200)),
        Cell(ago(run.created_ns, now_ns), "muted"),
        Cell(safe_line(owner, 80) or "(no session of this machine)", "" if owner else "muted"),
        Cell(run.run_id, "muted"),
    ]


def _quoted(summary: SessionSummary, words: LastWords, screen: PlaceScreen) -> Text:
    ink = screen.ink
    begun = ago(int(summary.created * _NANOS), screen.around.now_ns()) if summary.created else ""
    head = " · ".join(part for part in (summary.session_id, f"begun {begun}" if begun else "") if part)
    text = Text(safe_line(head), ink.muted)
    if words.person:
        text.append("\n❯ " + safe(words.person[:_QUOTED]), ink.you)
    return text.append("\n" + safe(words.answer[:_QUOTED]), "") if words.answer else text
