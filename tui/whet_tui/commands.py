"""The screen's own commands: what can be typed after a slash and never leaves the screen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from whet_tui.places import PLACES, Place

if TYPE_CHECKING:
    from whet_tui.screens.chat import ChatScreen

MODES: Final = {"ask": "ask", "allowance": "allowance", "read_only": "read only"}
"""The approval modes in the order in which they are gone through, in the words that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """A command. `run` is given the screen and what was typed behind the name."""

    summary: str
    run: Callable[["ChatScreen", str], object]
    choices: tuple[str, ...] = ()
    """What may follow, where it is one of a few words."""


def _opener(place: Place) -> Callable[["ChatScreen", str], object]:
    return lambda chat, _: chat.open_place(place.place_id)


OWN: Final[Mapping[str, Own]] = {
    "help": Own(summary="Show the keys and commands", run=lambda chat, _: chat.action_help()),
    "allowance": Own(
        summary="Let what only spends pass until the session has cost so much: /allowance $1",
        run=lambda chat, rest: chat.set_allowance(rest),
        choices=("$1", "$5", "$20"),
    ),
    "compact": Own(summary="Let the mind read a summary in place of early turns", run=lambda chat, _: chat.compact()),
    "copy": Own(summary="Copy the last answer as Markdown", run=lambda chat, _: chat.copy_answer()),
    "edit": Own(summary="Write the message in your editor", run=lambda chat, _: chat.action_edit_outside()),
    "expand": Own(summary="Undo /compact", run=lambda chat, _: chat.read_whole()),
    "find": Own(summary="Find words in the conversation: /find WORDS", run=lambda chat, rest: chat.find(rest)),
    "fork": Own(summary="Go on in a copy of this conversation", run=lambda chat, _: chat.fork(0)),
    "mode": Own(
        summary="How calls that need a yes are answered: ask, allowance or read-only",
        run=lambda chat, rest: chat.set_mode(rest),
        choices=("ask", "allowance", "read-only"),
    ),
    "rename": Own(summary="Give this conversation a title: /rename TITLE", run=lambda chat, rest: chat.rename(rest)),
    "rewind": Own(summary="Go back to before an earlier message", run=lambda chat, _: chat.action_rewind()),
    "save": Own(summary="Write the conversation to a file: /save FILE", run=lambda chat, rest: chat.save(rest)),
    "steer": Own(summary="Say something into the running turn: /steer WORDS", run=lambda chat, rest: chat.steer(rest)),
    "theme": Own(
        summary="Change the colours: dark, light, the terminal's own", run=lambda chat, _: chat.change_theme()
    ),
    "new": Own(
        summary="Begin a new conversation; this one can be taken up again", run=lambda chat, _: chat.begin_anew()
    ),
    "quit": Own(summary="Leave; the session can be taken up again", run=lambda chat, _: chat.action_leave()),
    **{place.command: Own(summary=place.summary, run=_opener(place)) for place in PLACES},
}


def summaries() -> Mapping[str, str]:
    """Every command with its summary. Loads the contract: call it when the agent has been loaded anyway."""
    from whet_agent.catalogue import tools  # after the first frame

    own = {name: command.summary for name, command in OWN.items()}
    return {**own, **{name: tool.summary for name, tool in tools().items()}}
