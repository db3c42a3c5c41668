"""Whet's own colours: dark, light, and the terminal's own sixteen."""

from collections.abc import Collection
from typing import Final

from textual.theme import Theme

DARK: Final = Theme(
    name="whet-dark",
    primary="#6cb6ff",
    secondary="#9fb4c7",
    accent="#f2b45c",
    warning="#f2b45c",
    error="#ff8a80",
    success="#7ccf8f",
    foreground="#e4e6eb",
    background="#14171c",
    surface="#1b1f26",
    panel="#232831",
    variables={
        "block-cursor-background": "#2f5d8a",
        "block-cursor-foreground": "#ffffff",
        "input-selection-background": "#2f5d8a",
        "screen-selection-background": "#2f5d8a",
        "screen-selection-foreground": "#ffffff",
    },
)
LIGHT: Final = Theme(
    name="whet-light",
    primary="#0a5aa8",
    secondary="#3f566b",
    accent="#7a4a00",
    warning="#7a4a00",
    error="#b3261e",
    success="#1d6b34",
    foreground="#1b1f24",
    background="#fbfaf7",
    surface="#f1efe9",
    panel="#e7e4dc",
    dark=False,
    variables={
        "block-cursor-background": "#0a5aa8",
        "block-cursor-foreground": "#ffffff",
        "input-selection-background": "#b9d7f5",
        "screen-selection-background": "#b9d7f5",
        "screen-selection-foreground": "#1b1f24",
    },
)
ANSI: Final = Theme(
    name="whet-ansi",
    ansi=True,
    # Not blue, which cannot be read on black in many terminals, nor bright black, which cannot on several grounds.
    primary="ansi_cyan",
    secondary="ansi_default",
    accent="ansi_magenta",
    warning="ansi_yellow",
    error="ansi_red",
    success="ansi_green",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    variables={
        "ansi-background": "ansi_default",
        "ansi-foreground": "ansi_default",
        "border": "ansi_cyan",
        "border-blurred": "ansi_default",
        "scrollbar": "ansi_cyan",
        "scrollbar-hover": "ansi_cyan",
        "scrollbar-active": "ansi_cyan",
        "scrollbar-background": "ansi_default",
        "scrollbar-background-hover": "ansi_default",
        "scrollbar-background-active": "ansi_default",
        "block-cursor-background": "ansi_cyan",
        "block-cursor-foreground": "ansi_black",
        "input-selection-background": "ansi_cyan",
        "input-selection-foreground": "ansi_black",
        "screen-selection-background": "ansi_cyan",
        "screen-selection-foreground": "ansi_black",
    },
)
OWN: Final = (DARK, LIGHT, ANSI)
_SHORT: Final = {"dark": DARK.name, "light": LIGHT.name, "ansi": ANSI.name}


def named(name: str, available: Collection[str]) -> str:
    """The theme that is meant, or empty when there is none of that name."""
    found = _SHORT.get(name, name)
    return found if found in available else ""


def after(name: str) -> str:
    """The next of Whet's own themes, for the command that changes them in turn."""
    names = [theme.name for theme in OWN]
    return names[(names.index(name) + 1) % len(names)] if name in names else names[0]
