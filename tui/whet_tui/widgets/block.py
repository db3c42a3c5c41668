"""One entry of the transcript as lines."""

import re
from collections.abc import Iterator
from typing import Final

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from whet_tui import swept
from whet_tui.entries import Answer, Call, CallState, Entry, Judging, Note, Said
from whet_tui.judged import opening_words, progress_words
from whet_tui.marks import marked_text
from whet_tui.safe import exact_json, safe, safe_line
from whet_tui.widgets.fanout_block import FanoutLines, headline
from whet_tui.widgets.ink import Ink
from whet_tui.widgets.prose import Flow, plain_lines
from whet_tui.widgets.sweep_block import sweep_lines

_INDENT: Final = 2
_BLANK: Final = Segment(" " * _INDENT)
_GAP: Final = Strip.blank(0)
"""The line between two blocks."""

_CALL_GLYPHS: Final = {
    CallState.RUNNING: "▸",
    CallState.DECIDING: "?",
    CallState.DONE: "✓",
    CallState.FAILED: "✗",
    CallState.REJECTED: "✗",
    CallState.CANCELLED: "–",
}

_NOTE_GLYPHS: Final = {"info": "·", "warning": "!", "error": "✗"}

_SAID_LINES: Final = 12
"""Lines of a person's message that are shown: who pasted a file knows it."""

_GIST: Final = 2_000
"""Characters of a result that are looked at for one line of it."""
_TABLE_RULE: Final = re.compile(r"[|\s:-]*")

_NOTHING: Final = ("", "{}")
"""Arguments that tell nothing."""

_RESULT_LINES: Final = 400
"""Lines of a tool's result that are shown unfolded; the rest is in the run or in the answer that the mind makes of it.
"""


class Block:
    """An entry, whether it is unfolded, and its lines as last drawn."""

    __slots__ = ("_fanout", "_flow", "_key", "_laid", "_long", "entry", "lines", "unfolded")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.unfolded = False
        self._long = False
        self.forget()

    def forget(self) -> None:
        """Let go of all lines: there are thousands of blocks, and a screen shows a few."""
        self.lines: list[Strip] | None = None
        self._key: tuple[int, int, Segment] | None = None
        self._laid: list[Strip] = []
        self._flow: Flow | None = None
        self._fanout: FanoutLines | None = None

    @property
    def foldable(self) -> bool:
        return isinstance(self.entry, Call) or (isinstance(self.entry, Said) and self._long)

    @property
    def open(self) -> bool:
        """Whether a clock in it still runs."""
        return isinstance(self.entry, Call) and self.entry.state is CallState.RUNNING

    def estimate(self, width: int) -> int:
        """How many lines it will probably take; good enough for a scroll bar."""
        entry = self.entry
        if isinstance(entry, Call):
            return 12 if entry.fanout is not None else 3
        if isinstance(entry, Answer) and entry.quoted:
            return 0
        return 2 + sum(1 + len(line) // max(1, width) for line in entry.text.splitlines())

    def draw(self, width: int, ink: Ink, now_ns: int) -> list[Strip]:
        """Lay the entry out and keep the lines. Every line is exactly `width` wide, on the theme's ground.

        Lines that the layout has kept from the last time are not finished again: an answer of a thousand lines grows at
        the cost of its last few.
        """
        glyph, laid = self._lay_out(max(1, width - _INDENT), ink, now_ns)
        key = (width, id(ink), glyph)
        before = self._laid if key == self._key and self.lines is not None else []
        lines = self.lines or []
        kept = min(len(before), len(laid))
        self.lines = [
            lines[place]
            if place < kept and before[place] is line
            else _finished(line, glyph if place == 0 else _BLANK, width, ink)
            for place, line in enumerate(laid)
        ]
        self._key, self._laid = key, laid
        return self.lines

    def _lay_out(self, width: int, ink: Ink, now_ns: int) -> tuple[Segment, list[Strip]]:
        """The glyph that hangs before the first line, and the lines without their indent."""
        match self.entry:
            case Said():
                glyph = Segment("↳ " if self.entry.steering else "❯ ", ink.accent)
                lines = self._said(self.entry, width, ink)
            case Answer():
                glyph, lines = _BLANK, self._answer(self.entry, width, ink)
            case Call():
                style = _call_style(self.entry, ink)
                glyph, lines = (
                    Segment(f"{_CALL_GLYPHS[self.entry.state]} ", style),
                    self._call(self.entry, width, ink, now_ns),
                )
            case Note():
                style = _note_style(self.entry, ink)
                glyph = Segment(f"{_NOTE_GLYPHS[self.entry.level]} ", style)
                lines = plain_lines(safe(self.entry.text), width, style)
        return glyph, [*lines, _GAP] if lines else []

    def source(self) -> str:
        """What copying the whole block gives: the Markdown it was drawn from."""
        match self.entry:
            case Call():
                fanout = self.entry.fanout
                answer = marked_text(fanout) if fanout is not None else ""
                return answer or self.entry.result
            case _:
                return self.entry.text

    def words(self) -> Iterator[str]:
        """Every text in it, folded or not, as it is searched."""
        match self.entry:
            case Call():
                yield from (self.entry.tool, self.entry.arguments_json, self.entry.result)
                fanout = self.entry.fanout
                if fanout is not None:
                    yield fanout.synthesis.text if fanout.synthesis is not None else ""
                    yield from (lane.text for lane in fanout.lanes.values())
            case Answer() if self.entry.quoted:
                return
            case _:
                yield self.entry.text

    def _said(self, said: Said, width: int, ink: Ink) -> list[Strip]:
        """What the person wrote; of something pasted only the beginning, until it is unfolded."""
        lines = plain_lines(safe(said.text), width, ink.you)
        self._long = len(lines) > _SAID_LINES
        if not self._long or self.unfolded:
            return lines
        hidden = len(lines) - _SAID_LINES
        return [*lines[:_SAID_LINES], *plain_lines(safe(f"… and {hidden} lines more: Ctrl+O"), width, ink.muted)]

    def _answer(self, answer: Answer, width: int, ink: Ink) -> list[Strip]:
        if answer.quoted:
            return []  # it stands in the run's own block, with its sources
        text = safe(answer.text)
        flow = self._flow or Flow()  # what it laid out while the answer grew stays as it is when the answer ends
        body = flow.lines(text, width, ink)
        self._flow = None if answer.done else flow
        if not answer.author:
            return body
        segments = [Segment(safe_line(answer.author, width), ink.muted)]
        if answer.simulated:
            segments += [Segment(" · ", ink.muted), Segment("simulated", ink.simulated)]
        return [Strip(segments), *body]

    def _call(self, call: Call, width: int, ink: Ink, now_ns: int) -> list[Strip]:
        style = {CallState.DONE: ink.good, CallState.FAILED: ink.bad, CallState.REJECTED: ink.bad}.get(
            call.state, ink.accent
        )
        told = _headline(call, now_ns)
        segments = [
            Segment(safe_line(call.tool or "watch", 40), style + Style(bold=True)),
            Segment(f" · {told}", ink.muted),
        ]
        run = call.fanout or call.judging or call.sweep
        if run is not None and run.simulated:
            segments += [Segment(" · ", ink.muted), Segment("simulated", ink.simulated)]
        if not self.unfolded and run is None and call.arguments_json not in _NOTHING:
            room = width - sum(cell_len(segment.text) for segment in segments) - 2
            segments.append(Segment("  " + safe_line(call.arguments_json, max(1, room)), ink.muted))
        lines = [Strip(segments).crop(0, width)]
        if self.unfolded:
            lines += plain_lines(exact_json(call.arguments_json), width, ink.muted)
        if call.fanout is not None:
            self._fanout = self._fanout or FanoutLines()
            lines += self._fanout.lines(call.fanout, width, ink, unfolded=self.unfolded, now_ns=now_ns)
        if call.judging is not None:
            lines += _judging(call.judging, width, ink)
        if call.sweep is not None:
            lines += sweep_lines(call.sweep, width, ink)
        followed = call.fanout is None and (call.sweep is None or not call.sweep.left)
        if followed or (call.fanout is not None and call.state is CallState.FAILED and not call.fanout.ended):
            lines += _result(call, width, ink, unfolded=self.unfolded)
        return lines


def _headline(call: Call, now_ns: int) -> str:
    """How far the call's run is, or how the call stands."""
    if call.fanout is not None:
        return headline(call.fanout, now_ns)
    if call.sweep is not None:
        return swept.progress_words(call.sweep)
    return progress_words(call.judging) if call.judging is not None else str(call.state)


def _judging(judging: Judging, width: int, ink: Ink) -> list[Strip]:
    """What is judged, by whom, and what went wrong."""
    lines = plain_lines(safe_line(opening_words(judging)), width, ink.muted) if judging.planned else []
    if judging.failure:
        lines += plain_lines(safe(judging.failure), width, ink.bad)
    if judging.left:
        told = "get_audit" if judging.run_id.startswith("aud_") else "get_judgement"
        lines += plain_lines(safe_line(f"How it ended is told by: /{told} {judging.run_id}"), width, ink.muted)
    return lines


def _result(call: Call, width: int, ink: Ink, *, unfolded: bool) -> list[Strip]:
    """A tool's answer: its first line, or all of it."""
    if not call.result or (call.repeated and not unfolded):
        return []
    style = ink.bad if call.state in {CallState.FAILED, CallState.REJECTED} else ink.muted
    if unfolded:
        return plain_lines(exact_json(call.result), width, style)[:_RESULT_LINES]
    return plain_lines(safe_line(_gist(call.result), max(1, width - 1)), width, style)


def _gist(markdown: str) -> str:
    """A result's words without the marks of Markdown, for one line."""
    lines = (line for line in markdown[:_GIST].splitlines() if not _TABLE_RULE.fullmatch(line))
    return "; ".join(line.strip("| ").replace(" | ", " · ").replace("**", "") for line in lines)


def _call_style(call: Call, ink: Ink) -> Style:
    return {CallState.DONE: ink.good, CallState.FAILED: ink.bad, CallState.REJECTED: ink.bad}.get(
        call.state, ink.accent
    )


def _note_style(note: Note, ink: Ink) -> Style:
    return {"info": ink.muted, "warning": ink.warning, "error": ink.bad}[note.level]


def _finished(line: Strip, before: Segment, width: int, ink: Ink) -> Strip:
    return Strip([before, *line]).apply_style(ink.base).adjust_cell_length(width, ink.base)
