"""Spending: the caps and what is left of them, what was spent on what, and on which day."""

from collections.abc import Sequence
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from whet_tui.desk_values import Cap, Grouping, Spending, UsageLine
from whet_tui.entries import Money, dollars, money_line
from whet_tui.safe import safe_line
from whet_tui.screens.place import PlaceScreen
from whet_tui.widgets.figure import Figure
from whet_tui.widgets.ink import Ink, paint
from whet_tui.widgets.rows import Rows
from whet_tui.widgets.sheet import Cell, Column, Sheet

if TYPE_CHECKING:
    from whet_tui.around import Around
    from whet_tui.places import Place

_BAR: Final = 30
"""Cells of a cap's bar."""
_DAYS: Final = 14
"""Days that a plot shows: two weeks fit any terminal."""
_NANOS: Final = 1e9


class SpendingScreen(PlaceScreen):
    """Caps and totals, the table, the days as a plot or as text."""

    DEFAULT_CSS = """
    SpendingScreen #sums { height: auto; max-height: 40%; padding: 0 1; }
    SpendingScreen #lines { height: 2fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "group('model')", "By model", id="spending.model"),
        Binding("r", "group('run')", "By run", id="spending.run"),
        Binding("d", "group('day')", "By day", id="spending.day"),
        Binding("t", "plot", "Plot or text", id="spending.plot"),
    ]

    def __init__(self, place: "Place", around: "Around") -> None:
        super().__init__(place, around)
        self._grouping: Grouping = "model"
        self._spending: Spending | None = None

    def body(self) -> ComposeResult:
        with VerticalScroll(id="sums", can_focus=False):
            yield Static(id="sums-text")
        yield Rows(id="lines")
        yield Figure(id="days", pictures=self.around.pictures)

    async def look(self) -> None:
        grouping = self._grouping
        spending = await (await self.around.desk()).spending(grouping)
        if grouping == self._grouping and spending != self._spending:
            self._spending = spending
            self._show(spending)

    def action_group(self, grouping: str) -> None:
        self._grouping, self._spending = cast("Grouping", grouping), None
        self.look_again()

    def action_plot(self) -> None:
        self.query_one(Figure).turn()

    @property
    def picks(self) -> str:
        return "Open run" if self._grouping == "run" else ""

    def on_resize(self, event: events.Resize) -> None:
        if self._spending is not None:
            self._show(self._spending)

    def draw_anew(self) -> None:
        super().draw_anew()
        if self._spending is not None:
            self._show(self._spending)

    @on(Rows.Picked)
    def _open_run(self, event: Rows.Picked) -> None:
        """A line of a run leads to the run."""
        if self._grouping == "run":
            self.around.open_run(event.key)

    def _show(self, spending: Spending) -> None:
        ink = self.ink
        self.write("#sums-text", _sums(spending, ink, self.size.width - 2))
        rows = self.query_one(Rows)
        cells = [_row(line) for line in spending.lines]
        rows.show([line.key for line in spending.lines], Sheet(_columns(self._grouping), cells))
        paid = any(day.money.settled or day.money.unknown for day in spending.days)
        draw = partial(_draw, days=_last_days(spending.days), ink=ink) if paid else None
        self.query_one(Figure).show(_days(spending.days, ink), draw)


def _columns(grouping: Grouping) -> Sequence[Column]:
    return (
        Column(title=f"by {grouping}", grows=True),
        Column(title="settled", right=True),
        Column(title="unknown", right=True),
        Column(title="reserved", right=True, rank=1),
        Column(title="requests", right=True, rank=2),
        Column(title="tokens in", right=True, rank=4),
        Column(title="tokens out", right=True, rank=3),
    )


def _row(line: UsageLine) -> list[Cell]:
    money = line.money
    settled = dollars(money.settled) + (" + ?" if money.unpriced else "")
    return [
        Cell(safe_line(f"{line.title} · {line.key}" if line.title else line.key, 200)),
        Cell(settled, "warning" if money.unpriced else ""),
        Cell(dollars(money.unknown) if money.unknown else "", "warning"),
        Cell(dollars(money.reserved) if money.reserved else "", "accent"),
        Cell(f"{line.attempts:,}", "muted"),
        Cell(f"{line.input_tokens:,}", "muted"),
        Cell(f"{line.output_tokens:,}", "muted"),
    ]


def _sums(spending: Spending, ink: Ink, room: int) -> Text:
    """The caps with their bars, the totals, and in words what is not in them."""
    lines = [_cap(cap, ink, room) for cap in spending.caps]
    if not lines:
        lines.append(Text("No cap is set. Set one: /cap --period day --limit $5", ink.muted))
    total = spending.total
    tokens = f"{total.input_tokens:,} + {total.output_tokens:,} tokens in {total.attempts:,} requests"
    lines.append(Text(f"In all {_amounts(total.money)} · {tokens}"))
    if total.money.unknown:
        words = "may have been spent: the provider never said how those calls ended. It counts against every cap."
        lines.append(Text(f"{dollars(total.money.unknown)} {words}", ink.warning))
    if total.money.unpriced:
        count = total.money.unpriced
        words = f"request{'s' * (count != 1)} to models without a known price: what they cost stands in no amount here."
        lines.append(Text(f"{count:,} {words}", ink.warning))
    if not total.attempts:
        lines.append(Text("Nothing has been spent yet. Ask something in the chat (Alt+1).", ink.muted))
    return Text("\n").join(lines)


def _amounts(money: Money) -> str:
    return money_line(Money(settled=money.settled, unknown=money.unknown, reserved=money.reserved)) or "$0"


def _cap(cap: Cap, ink: Ink, room: int) -> Text:
    """A bar with a letter for each kind of money, so that it needs no colour, and the same in words."""
    money, text = cap.money, Text(f"{safe_line(cap.period, 10):<6}[")
    bar = _BAR
    for nanos, letter, style in (
        (money.settled, "█", ink.good),
        (money.unknown, "?", ink.warning),
        (money.reserved, "▒", ink.accent),
    ):
        cells = min(bar, -(-nanos * _BAR // cap.limit) if cap.limit else bar)
        text.append(letter * cells, style)
        bar -= cells
    text.append("·" * bar + "] ", ink.muted)
    told = [f"{dollars(cap.left)} of {dollars(cap.limit)} left", f"settled {dollars(money.settled)}"]
    told += [f"unknown {dollars(money.unknown)}"] * bool(money.unknown)
    told += [f"reserved {dollars(money.reserved)}"] * bool(money.reserved)
    fits = text.cell_len + len(", ".join(told)) <= room
    words = ", ".join(told) if fits else f"{told[0]}\n{'':<7}{', '.join(told[1:])}"
    return text.append(words, ink.bad if not cap.left else "")


def _days(days: Sequence[UsageLine], ink: Ink) -> Text:
    """The days as text: newest first, each with a bar as long as its share of the dearest."""
    most = max((line.money.settled + line.money.unknown for line in days), default=0)
    told = [(line, _amounts(line.money)) for line in reversed(days[-_DAYS:])]
    room = max((len(amounts) for _, amounts in told), default=0)
    text = Text("Spending by day", ink.muted)
    for line, amounts in told:
        nanos = line.money.settled + line.money.unknown
        text.append(f"\n{safe_line(line.key, 10)}  {amounts:>{room}}  ")
        text.append("█" * (-(-nanos * _BAR // most) if most else 0), ink.accent)
    return text


def _last_days(days: Sequence[UsageLine]) -> Sequence[UsageLine]:
    """The last days up to the latest, those without any spending too."""
    if not days:
        return ()
    known, last = {line.key: line for line in days}, date.fromisoformat(days[-1].key)
    keys = [(last - timedelta(days=back)).isoformat() for back in reversed(range(_DAYS))]
    return [known.get(key) or UsageLine(key=key, money=Money()) for key in keys]


def _draw(plt: Any, days: Sequence[UsageLine], ink: Ink) -> None:
    """Draw the days with the letters and colours of the caps' bars."""
    plt.title("Spending by day, US dollars")
    plt.stacked_bar(
        [line.key[len("2026-") :] for line in days],
        [[line.money.settled / _NANOS for line in days], [line.money.unknown / _NANOS for line in days]],
        marker=["█", "?"],
        color=[paint(ink.good), paint(ink.warning)],
        labels=["settled", "unknown"],
        width=0.4,
    )
