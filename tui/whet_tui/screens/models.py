"""Models: where they are asked, how that goes, what they cost."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from whet_tui.desk import DeskError
from whet_tui.desk_values import Endpoint, Model
from whet_tui.entries import dollars
from whet_tui.safe import safe_line
from whet_tui.screens.place import PlaceScreen
from whet_tui.spans import ago, duration
from whet_tui.widgets.filter_line import FilterLine
from whet_tui.widgets.rows import Rows
from whet_tui.widgets.sheet import Cell, Column, Sheet

if TYPE_CHECKING:
    from whet_tui.around import Around
    from whet_tui.places import Place

_COLUMNS: Final = (
    Column(title="endpoint", most=20),
    Column(title="kind", most=8, rank=5),
    Column(title="breaker", most=11),
    Column(title="in flight", right=True, rank=2),
    Column(title="key", rank=4),
    Column(title="models", right=True, rank=3),
    Column(title="health", grows=True),
)
_MODEL_COLUMNS: Final = (
    Column(title="model", most=44),
    Column(title="in / 1M", right=True),
    Column(title="out / 1M", right=True),
    Column(title="panel"),
    Column(title="about", grows=True, rank=1),
)


_MARGIN: Final = 4
"""Padding and the scroll bar."""
_LEAST: Final = 20


class ModelsScreen(PlaceScreen):
    """Endpoints above, the one under the cursor with its models below."""

    DEFAULT_CSS = """
    ModelsScreen #endpoints { height: 2fr; }
    ModelsScreen #endpoint { height: 3fr; padding: 0 1; scrollbar-size-vertical: 1; }
    ModelsScreen #about { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "test", "Test connection", id="models.test"),
        Binding("slash", "filter", "Filter", id="models.filter"),
    ]

    def __init__(self, place: "Place", around: "Around") -> None:
        super().__init__(place, around)
        self._endpoints: Sequence[Endpoint] = ()
        self._tests: dict[str, tuple[str, bool]] = {}

    def body(self) -> ComposeResult:
        yield Rows(id="endpoints")
        with VerticalScroll(id="endpoint"):
            yield Static(id="about")
        yield FilterLine("endpoint, model or state")

    async def look(self) -> None:
        self._endpoints = await (await self.around.desk()).endpoints()
        self._show()

    def _show(self) -> None:
        """Draw what was fetched, as far as it passes the filter."""
        words = self.query_one(FilterLine).words
        shown = [endpoint for endpoint in self._endpoints if words <= _found(endpoint, words)]
        now = self.around.now_ns()
        sheet = Sheet(_COLUMNS, [_row(endpoint, now) for endpoint in shown])
        self.query_one(Rows).show([endpoint.name for endpoint in shown], sheet)
        self._show_about()

    @on(Rows.Moved)
    def _show_about(self) -> None:
        name = self.query_one(Rows).key
        endpoint = next((each for each in self._endpoints if each.name == name), None)
        if endpoint is not None:
            text = self._about(endpoint)
        elif self._endpoints:
            text = Text("Nothing passes the filter. Esc in the filter clears it.", self.ink.muted)
        else:
            text = Text("No endpoint is configured. Add one: /endpoint NAME --base-url URL, or in config.toml.")
        self.write("#about", text)

    def _about(self, endpoint: Endpoint) -> Text:
        ink, now = self.ink, self.around.now_ns()
        lines = [Text(line, ink.muted) for line in _facts(endpoint, now)]
        if endpoint.failure:
            lines.append(Text(f"Last failure: {safe_line(endpoint.failure)}", ink.bad))
        if endpoint.name in self._tests:
            words, ok = self._tests[endpoint.name]
            lines.append(Text(words, ink.good if ok else ink.bad))
        if endpoint.models:
            sheet = Sheet(_MODEL_COLUMNS, [_model_row(model) for model in endpoint.models])
            lines += [Text(), sheet.text(max(_LEAST, self.size.width - _MARGIN), ink)]
        return Text("\n").join(lines)

    @on(FilterLine.Filtered)
    def _filter(self) -> None:
        self._show()

    @on(FilterLine.Left)
    def _leave_filter(self) -> None:
        self.query_one(Rows).focus()

    def action_filter(self) -> None:
        self.query_one(FilterLine).open()

    def action_test(self) -> None:
        name = self.query_one(Rows).key
        if name:
            self._tests[name] = (f"Testing {name} …", True)
            self._show_about()
            self._test(name)

    @work(group="test")
    async def _test(self, name: str) -> None:
        try:
            tested = await (await self.around.desk()).test(name)
        except DeskError as error:
            self._tests[name] = (safe_line(f"Tested: {error}"), False)
        else:
            told = f"it answers, and names {tested.models} models" if tested.ok else tested.failure
            self._tests[name] = (safe_line(f"Tested in {duration(tested.latency_ns)}: {told}."), tested.ok)
        self._show()


def _found(endpoint: Endpoint, words: frozenset[str]) -> frozenset[str]:
    """The words of a filter that stand somewhere in the endpoint or in its models."""
    text = " ".join(
        [endpoint.name, endpoint.kind, endpoint.url, endpoint.circuit, *(each.name for each in endpoint.models)]
    )
    return frozenset(word for word in words if word in text.lower())


def _row(endpoint: Endpoint, now: int) -> list[Cell]:
    broken = endpoint.circuit != "closed"
    health = f"answered {ago(endpoint.last_success_ns, now)}" if endpoint.last_success_ns else "not asked yet"
    if endpoint.failure:
        health = f"failed: {safe_line(endpoint.failure)}"
    return [
        Cell(safe_line(endpoint.name, 40), "simulated" if endpoint.kind == "sim" else ""),
        Cell(endpoint.kind, "muted"),
        Cell(f"{'✗' if broken else '✓'} {endpoint.circuit}", "bad" if broken else "good"),
        Cell(f"{endpoint.in_flight} of {endpoint.concurrency}"),
        Cell("yes" if endpoint.has_key else "no", "muted"),
        Cell(str(len(endpoint.models))),
        Cell(health, "bad" if endpoint.failure else "muted"),
    ]


def _facts(endpoint: Endpoint, now: int) -> list[str]:
    limits = [
        f"{endpoint.requests_per_minute:,} requests a minute" if endpoint.requests_per_minute else "",
        f"{endpoint.tokens_per_minute:,} tokens a minute" if endpoint.tokens_per_minute else "",
        f"{endpoint.max_concurrency:,} at once" if endpoint.max_concurrency else "",
    ]
    told = ", ".join(limit for limit in limits if limit) or "none"
    key = "a key is stored" if endpoint.has_key else "no key"
    place = safe_line(endpoint.url, 200) or "on this machine"
    success = f"last success {ago(endpoint.last_success_ns, now)}" if endpoint.last_success_ns else "no success yet"
    return [
        f"{safe_line(endpoint.name, 40)} · {endpoint.kind} · {place} · {key} · from {safe_line(endpoint.source, 20)}",
        f"Limits: {told}. Now {endpoint.in_flight} in flight of {endpoint.concurrency} allowed; {success}.",
    ]


def _model_row(model: Model) -> list[Cell]:
    about: list[str] = [safe_line(model.description, 120)]
    if model.input_price is None:
        about.insert(0, "price unknown")
    elif model.price_source not in {"", "sim", "local"}:
        about.append(f"price from {safe_line(model.price_source, 40)}")
    return [
        Cell(safe_line(model.name, 80), "simulated" if model.simulated else ""),
        Cell(_price(model.input_price)),
        Cell(_price(model.output_price)),
        Cell("✓ yes" if model.in_panel else "", "good"),
        Cell(" · ".join(part for part in about if part), "muted"),
    ]


def _price(nanos: int | None) -> str:
    return "?" if nanos is None else dollars(nanos)
