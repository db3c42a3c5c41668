"""The second half of the Judges place: the items of a judgement, one of them to read."""

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Static

from whet_tui.desk import DeskError
from whet_tui.item_list import ItemList
from whet_tui.judging_values import ItemOrder, ItemQuery, JudgedItem, Outcome
from whet_tui.safe import safe_line
from whet_tui.screens.judgements import JudgementsScreen
from whet_tui.widgets.item_rows import ItemRows
from whet_tui.widgets.item_text import item_text
from whet_tui.widgets.rows import Rows

if TYPE_CHECKING:
    from whet_tui.around import Around
    from whet_tui.judging_desk import JudgingDesk
    from whet_tui.places import Place

_AHEAD: Final = 20
"""Rows before the end of what was read at which the next page is fetched."""
_FRAME: Final = 0.1
"""Seconds between two drawings of the marks."""
_ORDERS: Final = {
    ItemOrder.DISAGREEMENT: "disagreements first",
    ItemOrder.SCORE: "lowest scores first",
    ItemOrder.GIVEN: "as given",
}


class JudgedItemsScreen(JudgementsScreen):
    """Enter goes from a judgement to its items and from an item to its text; Esc goes back."""

    DEFAULT_CSS = """
    JudgedItemsScreen #room { display: none; height: 1fr; }
    JudgedItemsScreen.items #judging { display: none; }
    JudgedItemsScreen.items #room { display: block; }
    JudgedItemsScreen #item-head { height: 1; padding: 0 1; }
    JudgedItemsScreen #pair { layout: vertical; height: 1fr; }
    JudgedItemsScreen #items { height: 6; }
    JudgedItemsScreen #reading { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    JudgedItemsScreen #reading-text { height: auto; }
    JudgedItemsScreen #rating { height: auto; max-height: 45%; padding: 0 1; }
    JudgedItemsScreen.wide #pair { layout: horizontal; }
    JudgedItemsScreen.wide #items { width: 50; height: 1fr; border-right: solid $surface; }
    JudgedItemsScreen.wide #reading { width: 1fr; }
    JudgedItemsScreen.reading #items { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "blind", "Verdicts", id="judges.blind"),
        Binding("o", "order", "Order", id="judges.order"),
        Binding("f", "filter", "Filter", id="judges.filter"),
        Binding("r", "renew", "Read anew", id="judges.renew"),
    ]

    def __init__(self, place: "Place", around: "Around") -> None:
        super().__init__(place, around)
        self._found = ItemList(ItemQuery(run_id=""))
        self._rated = 0
        """Items of the judgement that somebody has rated."""
        self._items_pending = False
        self._blind = True
        """Whether what others say is hidden, so that it does not lead the person who rates."""

    def body(self) -> ComposeResult:
        yield from super().body()
        with Container(id="room"):
            yield Static(id="item-head")
            with Container(id="pair"):
                yield Rows(id="items")
                with VerticalScroll(id="reading"):
                    yield Static(id="reading-text")
            yield Static(id="rating")

    def mark(self, judged: JudgedItem) -> str:
        """Who has rated the item, in a glyph of `item_rows`."""
        raise NotImplementedError

    def rating_text(self, judged: JudgedItem) -> Text:
        """What stands below the item."""
        raise NotImplementedError

    async def prepare(self, desk: "JudgingDesk") -> None:
        """Fetch what the items need beside themselves. May raise `DeskError`."""
        raise NotImplementedError

    @property
    def picks(self) -> str:
        if self.has_class("reading"):
            return ""
        return "Read" if self.has_class("items") else "Items" if self.judgement is not None else ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What is done with items is offered where they are, and what is done with judgements where those are."""
        items, judgement = self.has_class("items"), self.judgement
        if action in {"blind", "order", "filter", "renew"}:
            return items
        offered = {
            "calibrations": not items,
            "audits": not items,
            "plot": not items and judgement is not None,
            "criterion": not items and len(self._criteria) > 1,
            "cancel": not items and judgement is not None and not judgement.ended,
            "calibrate": judgement is not None and judgement.ended and judgement.rated_by is not None,
        }
        if action in offered:
            return offered[action]
        return super().check_action(action, parameters)

    @property
    def chosen(self) -> JudgedItem | None:
        """The item under the cursor."""
        return self._found.items.get(self.query_one("#items", Rows).key)

    @on(Rows.Picked, "#judgements")
    def _open_items(self) -> None:
        if self.judgement is not None:
            self.add_class("items")
            self.clear_hint()
            self.query_one("#items", Rows).focus()
            self._blind |= self._found.query.run_id != self._run_id
            self._begin(ItemQuery(run_id=self._run_id))

    def _begin(self, query: ItemQuery) -> None:
        """Read items from the first page on."""
        self._found = ItemList(query)
        self.draw_items()
        self._grow()

    @on(Rows.Picked, "#items")
    def _open_item(self) -> None:
        self.add_class("reading")
        self.query_one("#reading").focus()
        self._keys()

    async def action_back(self) -> None:
        """From an item to the items, from there to the judgements, then to the chat."""
        if self.has_class("reading"):
            self.remove_class("reading")
            self.query_one("#items", Rows).focus()
            self._keys()
        elif self.has_class("items"):
            self.remove_class("items")
            self.clear_hint()
            self.query_one("#judgements", Rows).focus()
            self.draw()
            self.look_again()
        else:
            await super().action_back()

    @work(group="items", exclusive=True)
    async def _grow(self) -> None:
        """Read a page more."""
        found = self._found
        try:
            desk = await self.judging()
            page = await found.grow(desk)
            self._sums[found.query.run_id] = page.judgement
            self._rated = page.rated_items
            await self.prepare(desk)
        except DeskError as error:
            self.tell(f"{error} r tries again.", bad=True)
        if found is self._found:
            self.draw_items()

    @on(Rows.Moved, "#items")
    def _item_chosen(self) -> None:
        self.query_one("#reading", VerticalScroll).scroll_home(animate=False)
        self.draw_item()
        rows = self.query_one("#items", Rows)
        if not (self._found.complete or self._found.growing) and rows.key in rows.keys[-_AHEAD:]:
            self._grow()

    def draw(self) -> None:
        super().draw()
        if self.has_class("items"):
            self.draw_items()

    def draw_items_soon(self) -> None:
        """Draw the items with the next frame: marks come in faster than anybody sees."""
        if not self._items_pending:
            self._items_pending = True
            self.set_timer(_FRAME, self.draw_items)

    def draw_items(self) -> None:
        self._items_pending = False
        found = self._found
        painter = ItemRows(list(found.items.values()), self.mark, blind=self._blind)
        self.query_one("#items", Rows).show(found.keys, painter)
        self.draw_item()

    def draw_item(self) -> None:
        ink, judged = self.ink, self.chosen
        self.write("#item-head", self._head())
        if judged is None:
            words = "No item passes the filter. f changes it." if self._found.complete else "Looking …"
            self.write("#reading-text", Text(words))
            self.write("#rating", Text())
        else:
            text = item_text(judged, ink, blind=self._blind, rater=self.around.rater)
            self.write("#reading-text", text)
            self.write("#rating", self.rating_text(judged))
        self.refresh_bindings()

    def _head(self) -> Text:
        judgement, query = self.judgement, self._found.query
        text = Text(no_wrap=True, overflow="ellipsis")
        if judgement is not None:
            text.append(safe_line(judgement.title or judgement.run_id, 30), self.ink.you)
            told = [f"rated {self._rated:,} of {judgement.plan.items:,}", _ORDERS[query.order]]
            told += ["only unrated"] if query.unrated else []
            told += [f"only {query.outcome.words}"] if query.outcome is not None else []
            told += ["still running: r reads it anew"] if not judgement.ended else []
            text.append(" · " + " · ".join(told), self.ink.muted)
        return text

    def action_blind(self) -> None:
        """Show what judges, scorers and others say, or hide it."""
        self._blind = not self._blind
        self.draw_items()

    def action_order(self) -> None:
        orders = list(ItemOrder)
        query = self._found.query
        self._begin(replace(query, order=orders[(orders.index(query.order) + 1) % len(orders)]))

    def action_filter(self) -> None:
        """All items, those that nobody has rated, then those with each outcome that came."""
        judgement, query = self.judgement, self._found.query
        came = {each.outcome for criterion in judgement.criteria for each in criterion.outcomes} if judgement else set()
        outcomes = [each for each in Outcome if each in came and each is not Outcome.SCORED]
        filters: list[tuple[Outcome | None, bool]] = [
            (None, False),
            (None, True),
            *((outcome, False) for outcome in outcomes),
        ]
        place = (filters.index((query.outcome, query.unrated)) + 1) % len(filters)
        outcome, unrated = filters[place]
        self._begin(replace(query, outcome=outcome, unrated=unrated))

    def action_renew(self) -> None:
        """Read the items anew, in the order as it is now."""
        self._begin(self._found.query)
