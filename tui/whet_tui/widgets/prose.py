"""Markdown as lines for the screen, also while it still grows.

While a text grows, every block of it but the last is finished: it is laid out once and kept. Only the last block is
laid out again, so that the cost of a token does not depend on how long the answer already is.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import ClassVar, Final

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, ImageItem, Markdown, MarkdownElement, TableElement
from rich.segment import Segment
from rich.style import Style
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from textual.strip import Strip

from whet_tui.safe import Safe, safe
from whet_tui.widgets.ink import Ink

_PARSER: Final = MarkdownIt("commonmark", {"html": False}).enable("strikethrough").enable("table")
"""Tags are words here: a terminal has no use for HTML, and what is left out would be hidden."""

_NARROWEST: Final = 16
"""Columns below which a list in a quote has no place left for a letter."""

_LONGEST: Final = 40_000
"""Code points of one block above which it is shown as it was written: Markdown's parsers take seconds for such blocks.
"""

_MARKS: Final = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹]+(?:·[⁰¹²³⁴⁵⁶⁷⁸⁹]+)*⁺?")


class _Code(CodeBlock):
    """A code block without blank lines around it, on a ground that is only a little different."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        ground = console.get_style("markdown.code_block").bgcolor
        colour = ground.get_truecolor().hex if ground is not None and not ground.is_default else "default"
        yield Syntax(
            str(self.text).rstrip(),
            self.lexer_name,
            theme=self.theme,
            word_wrap=True,
            padding=(0, 1),
            background_color=colour,
        )


class _Heading(Heading):
    """A heading at the left, like everything else."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text("#" * int(self.tag.removeprefix("h")) + " ", console.get_style("markdown.hr"), end="") + self.text


class _Image(ImageItem):
    """A picture's words and where it would come from; nothing is fetched."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text.assemble("[picture: ", self.text or self.destination, "] ", end="")


class _Table(TableElement):
    """A table whose cells break where they must: half an id is of no use. The first column, which names the row, gives
    way last.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            if isinstance(table, Table):
                for place, column in enumerate(table.columns):
                    column.overflow = "fold"
                    column.no_wrap = place == 0 and self._short(options.max_width // 2)
            yield table

    def _short(self, width: int) -> bool:
        rows = self.body.rows if self.body is not None else []
        return all(row.cells[0].content.cell_len <= width for row in rows if row.cells)


class _Markdown(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "fence": _Code,
        "code_block": _Code,
        "heading_open": _Heading,
        "image": _Image,
        "table_open": _Table,
    }

    def __init__(self, source: Safe, ink: Ink) -> None:
        # Links are written out: what looks like a link leads where it says.
        super().__init__("", code_theme=ink.code_theme, hyperlinks=False)
        self.parsed = _PARSER.parse(source)
        for token in self._flatten_tokens(self.parsed):
            token.content = safe(token.content)  # once more: `&#x202e;` has only now become what it means


def laid_out(source: Safe, width: int, ink: Ink) -> list[Strip]:
    """Lay out a whole text, block by block."""
    return Flow().lines(source, width, ink)


def _block(source: str, width: int, ink: Ink) -> list[Strip]:
    """Lay out one top-level block."""
    if not source.strip():
        return []
    width = max(width, _NARROWEST)
    renderable = _Markdown(Safe(source), ink) if len(source) <= _LONGEST else Text(source)
    segments = ink.console.render(renderable, ink.console.options.update(width=width, height=None))
    lines = Segment.split_and_crop_lines(segments, width, pad=False, include_new_lines=False)
    return [Strip(line).simplify() for line in _without_margins([list(line) for line in lines])]


def plain_lines(text: Safe, width: int, style: Style) -> list[Strip]:
    """Lay out text as it is, wrapped."""
    wrapped = Text(text.expandtabs(4)).wrap(_WRAPPER, max(width, 1), overflow="fold")
    return [Strip([Segment(line.plain, style)]) for line in wrapped]


_WRAPPER: Final = Console(width=80, color_system=None, emoji=False, markup=False, highlight=False)


def _without_margins(lines: list[list[Segment]]) -> list[list[Segment]]:
    """Drop blank lines before and after, which Markdown's blocks bring along."""
    filled = [
        place for place, line in enumerate(lines) if any(segment.text.strip() or _ground(segment) for segment in line)
    ]
    return lines[filled[0] : filled[-1] + 1] if filled else []


def _ground(segment: Segment) -> bool:
    return segment.style is not None and segment.style.bgcolor is not None


def marked(strips: Iterable[Strip], style: Style) -> Iterator[Strip]:
    """Colour the source marks."""
    for strip in strips:
        if _MARKS.search(strip.text) is None:
            yield strip
            continue
        yield Strip([piece for segment in strip for piece in _split(segment, style)])


def _split(segment: Segment, style: Style) -> Iterator[Segment]:
    text, base = segment.text, segment.style or Style.null()
    place = 0
    for found in _MARKS.finditer(text):
        if found.start() > place:
            yield Segment(text[place : found.start()], base)
        yield Segment(found.group(), base + style)
        place = found.end()
    if place < len(text):
        yield Segment(text[place:], base)


class Flow:
    """The lines of one text that grows."""

    def __init__(self) -> None:
        self._key: tuple[int, int] = (0, 0)
        self._kept_source = ""
        self._kept: list[Strip] = []

    def lines(self, source: Safe, width: int, ink: Ink) -> list[Strip]:
        """The lines of the text as it is now. A text that does not continue the last one begins anew."""
        key = (width, id(ink))
        if key != self._key or not source.startswith(self._kept_source):
            self._key, self._kept_source, self._kept = key, "", []
        *finished, last = _blocks(source[len(self._kept_source) :])
        for block in finished:
            self._kept = _stacked(self._kept, _block(block, width, ink))
        self._kept_source = source[: len(source) - len(last)]
        return _stacked(self._kept, _block(last, width, ink))


_BLANK: Final = Strip.blank(0)


def _stacked(above: list[Strip], below: list[Strip]) -> list[Strip]:
    """Put blocks under each other with a blank line between them."""
    return [*above, _BLANK, *below] if above and below else [*above, *below]


def _blocks(source: str) -> list[str]:
    """Cut a text into its top-level blocks. Nothing that comes after the text can change any but the last."""
    if "\n" not in source or len(source) > 4 * _LONGEST:
        return [source]
    tokens = _PARSER.parse(source)
    starts = [token.map[0] for token in tokens if token.level == 0 and token.map is not None and token.nesting >= 0]
    lines = source.splitlines(keepends=True)
    cuts = [0, *starts[1:], len(lines)]
    return ["".join(lines[start:end]) for start, end in pairwise(cuts)]
