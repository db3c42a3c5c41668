"""The colours and styles that the transcript is drawn with, taken from the terminal's theme once."""

from collections.abc import Mapping
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

_CONTRAST: Final = 4.6
"""What WCAG asks of body text is 4.5; a little more, because colours are rounded."""
_STEPS: Final = 20

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
    """Mix the ink of a theme. Its text colours are taken from Textual's own derivation and made readable."""
    colours = theme.to_color_system().generate()
    if theme.ansi:
        return _ansi_ink(colours)
    ground, front = Color.parse(colours["background"]), Color.parse(colours["foreground"])

    def text(name: str, *, bold: bool = False) -> Style:
        return Style(color=_readable(Color.parse(colours[name]), ground, front).rich_color, bold=bold or None)

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


def _ansi_ink(colours: Mapping[str, str]) -> Ink:
    """Ink of the terminal's own sixteen colours, which nobody can mix: what is beside the point is not paler then."""

    def text(name: str, *, bold: bool = False) -> Style:
        return Style(color=Color.parse(colours[name]).rich_color, bold=bold or None)

    plain = Style(color="default")
    return Ink(
        base=Style(color="default", bgcolor="default"),
        muted=plain,
        you=text("text-primary", bold=True),
        accent=text("text-accent"),
        good=text("text-success"),
        warning=text("text-warning"),
        bad=text("text-error"),
        simulated=text("text-warning") + Style(italic=True),
        code_theme="ansi_dark",
        code_ground="default",
        console=_console(text("text-accent"), plain, Style(bgcolor="default")),
    )


def _readable(colour: Color, ground: Color, front: Color) -> Color:
    """Move a colour towards the foreground until it stands out enough from the ground."""
    steps = (colour.blend(front, step / _STEPS) for step in range(_STEPS + 1))
    return next((step for step in steps if _contrast(step, ground) >= _CONTRAST), front)


def _contrast(one: Color, other: Color) -> float:
    """The contrast ratio as WCAG 2 defines it, from 1 to 21."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: Color) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    parts = (part / 255 for part in colour.rgb)
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


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


def paint(style: Style) -> tuple[int, int, int] | int | str:
    """A style's colour in the words of plots."""
    colour = style.color
    if colour is None or colour.is_default:
        return "default"
    return (*colour.triplet,) if colour.triplet is not None else colour.number or 0
