"""The colours and styles that the transcript is drawn with, taken from the terminal's theme once."""

from dataclasses import dataclass
from io import StringIO
from typing import Final

from rich.console import Console
from rich.style import Style
from rich.theme import Theme as RichTheme
from textual.color import Color
from textual.theme import Theme

from whet_tui.entries import LaneState

_MUTED: Final = 0.72
"""How much of the foreground is left in what is said beside the point: still 4.5:1 on every theme we offer."""

_TINT: Final = 0.08
"""How much of the foreground is mixed into the ground under code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ink:
    """Styles by what they mean. State is never told by colour alone: each has its word or its glyph."""

    base: Style
    muted: Style
    you: Style
    accent: Style
    good: Style
    warning: Style
    bad: Style
    simulated: Style
    code_theme: str
    code_ground: str
    console: Console

    def lane(self, state: LaneState) -> Style:
        if state is LaneState.DONE:
            return self.good
        if state in {LaneState.FAILED, LaneState.PARTIAL}:
            return self.bad
        return self.accent if state is LaneState.STREAMING else self.muted


def ink_of(theme: Theme) -> Ink:
    """Mix the ink of a theme. Its text colours are taken from Textual's own derivation, which keeps their contrast."""
    colours = theme.to_color_system().generate()
    ground, front = Color.parse(colours["background"]), Color.parse(colours["foreground"])

    def text(name: str, *, bold: bool = False) -> Style:
        return Style(color=Color.parse(colours[name]).rich_color, bold=bold or None)

    code_ground = ground.blend(front, _TINT)
    accent, muted = text("text-accent"), Style(color=ground.blend(front, _MUTED).rich_color)
    return Ink(
        base=Style(color=front.rich_color, bgcolor=ground.rich_color),
        muted=muted,
        you=text("text-primary", bold=True),
        accent=accent,
        good=text("text-success"),
        warning=text("text-warning"),
        bad=text("text-error"),
        simulated=text("text-warning") + Style(italic=True),
        code_theme="monokai" if theme.dark else "xcode",
        code_ground=code_ground.hex6,
        console=_console(accent, muted, Style(bgcolor=code_ground.rich_color)),
    )


def _console(accent: Style, muted: Style, code: Style) -> Console:
    """A console that writes nowhere: it only knows how to lay out, in our styles."""
    bold = Style(bold=True)
    styles = {
        "markdown.code": code,
        "markdown.code_block": code,
        "markdown.block_quote": muted + Style(italic=True),
        "markdown.list": Style.null(),
        "markdown.item.bullet": accent,
        "markdown.item.number": accent,
        "markdown.hr": muted,
        "markdown.h1": bold + Style(underline=True),
        "markdown.h2": bold,
        "markdown.h3": bold,
        "markdown.h4": bold + Style(italic=True),
        "markdown.h5": Style(italic=True),
        "markdown.h6": Style(italic=True),
        "markdown.link": Style(underline=True),
        "markdown.link_url": muted,
        "markdown.table.border": muted,
        "markdown.table.header": bold,
    }
    return Console(file=StringIO(), force_terminal=True, color_system="truecolor", theme=RichTheme(styles), emoji=False)
