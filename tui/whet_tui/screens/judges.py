"""Judges: the judgements of the workspace and what they come to; the items of one, to read and to rate by keys."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from whet_tui.desk import DeskError
from whet_tui.judging_values import JudgedItem, Mode, Rating, Rubric
from whet_tui.ratings import Given, Mark, Ratings, Spot
from whet_tui.safe import safe_line
from whet_tui.screens.judged_items import JudgedItemsScreen
from whet_tui.widgets.in_order import Line
from whet_tui.widgets.item_rows import KEPT, OTHERS, UNRATED
from whet_tui.widgets.item_text import rating_words
from whet_tui.widgets.rows import Rows

if TYPE_CHECKING:
    from whet_tui.around import Around
    from whet_tui.judging_desk import JudgingDesk
    from whet_tui.places import Place

_WHOLE: Final = ("",)
"""What is rated when dimensions are not: the whole."""
_TALL: Final = 34
"""Rows from which each level's meaning has a line of its own."""
_LONGEST_NOTE: Final = 2_000
"""Characters that the server takes."""
_LEVEL_TEN: Final = 10
"""What the key 0 gives on a scale that goes so far."""


class JudgesScreen(JudgedItemsScreen):
    """Rates the item in view: a key gives a level and goes on. A rating is marked as kept when the server has it."""

    DEFAULT_CSS = """
    JudgesScreen #note-line { height: 1; border: none; padding: 0 1; display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *[Binding(f"{n}", f"level({n})", f"Level {n}", show=False, id=f"judges.level_{n}") for n in range(10)],
        Binding("a", "prefer(0)", "A is better", id="judges.first"),
        Binding("b", "prefer(1)", "B is better", id="judges.second"),
        Binding("t", "prefer(-1)", "Tie", id="judges.tie"),
        Binding("s", "skip", "Skip", id="judges.skip"),
        Binding("u", "undo", "Undo", id="judges.undo"),
        Binding("n", "note", "Note", id="judges.note"),
        Binding("x", "drop", "Drop what was refused", id="judges.drop"),
        Binding("d", "dimensions", "Dimensions", id="judges.dimensions"),
        Binding("left", "target(-1)", "Dimension before", show=False, id="judges.before"),
        Binding("right", "target(1)", "Dimension after", show=False, id="judges.after"),
    ]

    def __init__(self, place: "Place", around: "Around") -> None:
        super().__init__(place, around)
        self._ratings = Ratings(around.rater)
        self._sending = asyncio.Lock()
        self._rubrics: dict[str, Rubric] = {}
        self._by_dimension = False
        self._target = 0
        """Which of the targets the next key rates."""
        self._target_of = ""
        """The item that this is about: on another one it begins anew."""
        self._notes: dict[Spot, str] = {}
        """Notes for ratings that are still to be given."""

    def body(self) -> ComposeResult:
        yield from super().body()
        yield Line(
            id="note-line",
            placeholder="why; Enter keeps it, Esc leaves it",
            select_on_focus=False,
            max_length=_LONGEST_NOTE,
        )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what the judge's way of judging allows is offered."""
        items, mode = self.has_class("items"), self._mode
        if action == "prefer":
            return items and (mode is Mode.PAIRWISE or (mode is Mode.LISTWISE and parameters == (-1,)))
        if action in {"dimensions", "target"}:
            return items and mode is Mode.POINTWISE and len(self._dimensions) > 1
        if action == "drop":
            return items and bool(self._ratings.refused)
        if action in {"level", "skip", "undo", "note"}:
            return items and mode is not None
        return super().check_action(action, parameters)

    async def action_back(self) -> None:
        """From a note to the item."""
        if self.query_one("#note-line").display:
            self._leave_note()
        else:
            await super().action_back()

    async def prepare(self, desk: "JudgingDesk") -> None:
        name = self._rubric_name
        if name and name not in self._rubrics:
            self._rubrics[name] = await desk.rubric(name)

    def keys_shown(self) -> list[tuple[str, str]]:
        shown = super().keys_shown()
        rubric = self._rubric
        if self.has_class("items"):
            shown = [each for each in shown if each[0] != "Tab"]  # Enter reads, and the line is full
        if self.has_class("items") and self._mode is Mode.POINTWISE and rubric is not None:
            shown.insert(1 if self.picks else 0, (f"{rubric.lowest}-{rubric.highest}", "Rate"))
        elif self.has_class("items") and self._mode is Mode.LISTWISE:
            shown.insert(1 if self.picks else 0, ("1-9", "Best"))
        return shown

    # What is rated

    @property
    def _mode(self) -> Mode | None:
        """In which way items are rated; None when there is no judge and so no rubric."""
        criterion = self._compared
        return criterion.judge.mode if criterion is not None and criterion.judge is not None else None

    @property
    def _rubric_name(self) -> str:
        criterion = self._compared
        return criterion.judge.rubric if criterion is not None and criterion.judge is not None else ""

    @property
    def _rubric(self) -> Rubric | None:
        return self._rubrics.get(self._rubric_name)

    @property
    def _dimensions(self) -> tuple[str, ...]:
        rubric = self._rubric
        return tuple(each.name for each in rubric.dimensions) if rubric is not None else ()

    @property
    def _targets(self) -> tuple[str, ...]:
        """What is gone through on one item."""
        return self._dimensions if self._by_dimension and self._mode is Mode.POINTWISE else _WHOLE

    def _spot(self, judged: JudgedItem, dimension: str) -> Spot:
        rubric = self._rubric_name.partition("@")[0]
        return Spot(run_id=self._run_id, item_id=judged.item.item_id, rubric=rubric, dimension=dimension)

    def mark(self, judged: JudgedItem) -> str:
        mark = self._ratings.of_item(self._run_id, judged.item.item_id)
        if mark is not None:
            return mark[0]
        raters = {each.rater for each in judged.ratings}
        return KEPT if self.around.rater in raters else OTHERS if raters else UNRATED

    def rating_text(self, judged: JudgedItem) -> Text:
        """Who rates by what, what is given, what is asked for next."""
        ink = self.ink
        if self._mode is None:
            return Text("This judgement has no judge, and so no rubric to rate by.", ink.muted)
        text = Text(f"Rate as {safe_line(self.around.rater, 40)} by {safe_line(self._rubric_name, 60)}", ink.accent)
        seen = "blind: v shows the verdicts" if self._blind else "the verdicts are shown and may lead you: v hides them"
        text.append(f" · {seen}", ink.muted if self._blind else ink.warning)
        text.append("\n")
        for place, dimension in enumerate(self._targets):
            text.append_text(self._target_text(judged, place, dimension))
        text.append(self._last_words(), ink.accent)
        return text.append("\n" + self._asked(), ink.muted)

    def _last_words(self) -> str:
        """What became of the last key that rated."""
        last = self._ratings.last
        if last is None or last.spot.run_id != self._run_id:
            return ""
        return f"· {safe_line(last.spot.item_id, 20)}: {rating_words(last.rating)} {last.mark}"

    def _target_text(self, judged: JudgedItem, place: int, dimension: str) -> Text:
        ink, spot = self.ink, self._spot(judged, dimension)
        here = place == self._at
        name = safe_line(dimension, 40) or "the whole"
        text = Text(f"{'›' if here else ' '}{name} ", ink.you if here else "")
        rating, mark = self._ratings.at(spot, judged), self._ratings.mark(spot, judged)
        if rating is not None and mark is not None:
            colour = {Mark.KEPT: ink.good, Mark.SENDING: ink.accent}.get(mark, ink.bad)
            shown = mark if len(self._targets) == 1 or mark in {Mark.WAITING, Mark.REFUSED} else mark[0]
            text.append(f"{rating_words(rating)} {shown}", colour)
            text.append(f" “{safe_line(rating.note, 60)}”" if rating.note else "", ink.muted)
        elif spot in self._notes:
            text.append(f"with the note “{safe_line(self._notes[spot], 60)}”", ink.muted)
        else:
            text.append("–", ink.muted)
        return text.append("  ")

    def _asked(self) -> str:
        """What the keys mean for the target."""
        rubric, dimension = self._rubric, self._targets[self._at]
        if self._mode is Mode.PAIRWISE:
            return "a: answer A is better, b: answer B is better, t: they are equally good"
        if self._mode is Mode.LISTWISE:
            return "1, 2, …: the best answer, counted from A; t: the best are equally good"
        if rubric is None:
            return "The rubric is being read …"
        anchors = next((each.anchors for each in rubric.dimensions if each.name == dimension), ())
        if anchors:
            lines = [safe_line(f"{each.level} {each.description}", 200) for each in anchors]
            return ("\n" if self.app.size.height >= _TALL else " · ").join(lines)
        return f"{rubric.lowest} is the worst, {rubric.highest} the best"

    # Rating

    def action_level(self, digit: int) -> None:
        """Give a level, or in a list the best answer. A key that is no level of the scale skips."""
        judged, rubric = self.chosen, self._rubric
        if judged is None or self._mode is Mode.PAIRWISE:
            return
        if self._mode is Mode.LISTWISE:
            if 0 < digit <= len(judged.item.candidates):
                self._give(judged, preferred=digit - 1)
        elif rubric is not None:
            level = _LEVEL_TEN if digit == 0 and rubric.lowest > 0 and rubric.highest == _LEVEL_TEN else digit
            if rubric.lowest <= level <= rubric.highest:
                self._give(judged, level=level)
            elif digit == 0:
                self.action_skip()
            else:
                self.tell(f"{level} is no level of this rubric: it goes from {rubric.lowest} to {rubric.highest}.")

    def action_prefer(self, candidate: int) -> None:
        judged = self.chosen
        if judged is not None:
            self._give(judged, preferred=candidate)

    def _give(self, judged: JudgedItem, *, level: int = 0, preferred: int | None = None) -> None:
        spot = self._spot(judged, self._targets[self._at])
        before = self._ratings.at(spot, judged)
        note = self._notes.pop(spot, before.note if before is not None else "")
        rating = Rating(
            rubric=spot.rubric,
            dimension=spot.dimension,
            level=level,
            preferred=preferred,
            rater=self.around.rater,
            note=note,
        )
        self._ratings.give(spot, rating, before)
        self.clear_hint()
        self._send_soon()
        self._on()

    def action_skip(self) -> None:
        """Leave it unrated and go on."""
        self._on()

    def _on(self) -> None:
        """Go to the next dimension, else to the next item."""
        rows = self.query_one("#items", Rows)
        more, last = self._at + 1 < len(self._targets), rows.key in rows.keys[-1:]
        if more:
            self._stand(self._at + 1)
        else:
            rows.action_move(1)  # which tells that the cursor has moved, and the item is drawn
        if more or last:
            self.draw_item()
        self.draw_items_soon()
        if last and not more:
            self.tell("That was the last item." if self._found.complete else "The next items are being read …")

    @property
    def _at(self) -> int:
        """Which of the targets is asked for: the first one on an item that one has just come to."""
        here = self._target_of == self.query_one("#items", Rows).key
        return self._target % len(self._targets) if here else 0

    def _stand(self, target: int) -> None:
        """Let a target of the item under the cursor be asked for."""
        self._target, self._target_of = target, self.query_one("#items", Rows).key

    def action_target(self, step: int) -> None:
        self._stand((self._at + step) % len(self._targets))
        self.clear_hint()
        self.draw_item()

    def action_dimensions(self) -> None:
        """Rate each dimension, or the whole alone."""
        self._by_dimension = not self._by_dimension
        self._stand(0)
        self.draw_item()

    def action_drop(self) -> None:
        """Forget what the server will never take."""
        self._ratings.drop()
        self.draw_items()
        self.tell("Dropped. r reads what the server has.")

    def action_undo(self) -> None:
        """Go back to what was rated last; what had stood there before is put back."""
        step = self._ratings.undo()
        if step is None:
            self.tell("There is nothing to undo.")
            return
        spot, rows = step.spot, self.query_one("#items", Rows)
        if step.before is not None:
            self._send_soon()
        told = ["What stood there before is put back." if step.before is not None else "The next key replaces it."]
        if spot.run_id == self._run_id and spot.item_id in self._found.items:
            self._by_dimension = bool(spot.dimension)
            rows.go_to(spot.item_id)
            self._stand(self._targets.index(spot.dimension) if spot.dimension in self._targets else 0)
        else:
            told.append(f"Item {spot.item_id} is not in this list.")
        self.draw_items()
        self.tell(" ".join(told))

    @work(group="send")
    async def _send_soon(self) -> None:
        """Send what the server does not have, in order, until it has it all. One sends for all."""
        if self._sending.locked():
            return
        async with self._sending:
            while unsent := self._ratings.unsent:
                failure = ""
                for given in unsent:
                    failure = await self._send(given) or failure
                    self.draw_items_soon()
                if failure:
                    count = len(self._ratings.unsent)
                    what = "Your last rating is" if count == 1 else f"{count} ratings are"
                    self.tell(
                        f"{what} not kept yet: {failure} They stay here and are sent again while Whet runs.", bad=True
                    )
                    await asyncio.sleep(self.EVERY)

    async def _send(self, given: Given) -> str:
        """Send one rating; return why it is not kept, empty when it is or when another stands for it."""
        if not self._ratings.is_latest(given):
            return ""
        try:
            await (await self.judging()).rate(given.spot.run_id, given.spot.item_id, given.rating, given.request_id)
        except DeskError as error:
            given.failure = str(error)
            if error.lasting:
                given.mark = Mark.REFUSED
                self.tell(f"Item {given.spot.item_id}: the rating was refused. {error} Rate it again, or x drops it.")
                return ""
            given.mark = Mark.WAITING
            return given.failure
        self._keep(given)
        return ""

    def _keep(self, given: Given) -> None:
        judged = self._found.items.get(given.spot.item_id)
        new = self._ratings.keep(given)
        if new and given.spot.run_id == self._run_id and judged is not None and not judged.ratings:
            self._rated += 1
        self._found.has_rated()

    @property
    def unsaved(self) -> str:
        """What would be lost with the program, in words."""
        count = len(self._ratings.unsent)
        return f"{count} {'rating is' if count == 1 else 'ratings are'} not kept yet" if count else ""

    # Notes

    def action_note(self) -> None:
        """Write why."""
        judged = self.chosen
        if judged is not None:
            spot, line = self._spot(judged, self._targets[self._at]), self.query_one("#note-line", Input)
            rating = self._ratings.at(spot, judged)
            line.display = True
            line.value = self._notes.get(spot, "") if rating is None else rating.note
            line.focus()

    @on(Input.Submitted, "#note-line")
    def _noted_down(self, event: Input.Submitted) -> None:
        """Put the note onto the rating that stands there, else keep it for the one that comes."""
        event.stop()
        judged = self.chosen
        self._leave_note()
        if judged is None:
            return
        spot = self._spot(judged, self._targets[self._at])
        rating = self._ratings.at(spot, judged)
        if rating is None:
            self._notes[spot] = event.value.strip()
        else:
            self._ratings.put(spot, replace(rating, note=event.value.strip()))
            self._send_soon()
        self.draw_items()

    def _leave_note(self) -> None:
        self.query_one("#note-line").display = False
        self.query_one("#reading" if self.has_class("reading") else "#items").focus()
