"""The places of the application: one row each. A further place is a further row and a module with its screen."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from whet_tui.screens.place import PlaceScreen


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One place, and how people come to it."""

    place_id: str
    title: str
    key: str
    command: str
    """What is typed after a slash, without anything behind it."""
    summary: str
    screen: str = ""
    """`module:Class` of a `PlaceScreen`, loaded when somebody goes there; empty for the chat, which is always there."""

    def load(self) -> "type[PlaceScreen]":
        """The class of the screen."""
        module, _, name = self.screen.partition(":")
        return cast("type[PlaceScreen]", getattr(import_module(module), name))


CHAT: Final = Place(place_id="chat", title="Chat", key="alt+1", command="chat", summary="Go back to the conversation")

PLACES: Final = (
    CHAT,
    Place(
        place_id="fanout",
        title="Fan-out",
        key="alt+2",
        command="runs",
        summary="Watch fan-outs: lanes, draft, sources, agreement and dissent; cancel or pin a branch",
        screen="whet_tui.screens.fanout:FanoutScreen",
    ),
    Place(
        place_id="sessions",
        title="Sessions",
        key="alt+3",
        command="sessions",
        summary="Take up, rename, fork or delete a conversation; attach to running work",
        screen="whet_tui.screens.sessions:SessionsScreen",
    ),
    Place(
        place_id="models",
        title="Models",
        key="alt+4",
        command="models",
        summary="See endpoints, their health, limits and prices; test a connection",
        screen="whet_tui.screens.models:ModelsScreen",
    ),
    Place(
        place_id="spending",
        title="Spending",
        key="alt+5",
        command="spending",
        summary="See caps, what was spent, what is reserved and what is unknown",
        screen="whet_tui.screens.spending:SpendingScreen",
    ),
    Place(
        place_id="settings",
        title="Settings",
        key="alt+6",
        command="settings",
        summary="See and change settings, colours and keys",
        screen="whet_tui.screens.settings:SettingsScreen",
    ),
    Place(
        place_id="judges",
        title="Judges",
        key="alt+7",
        command="judges",
        summary="See judgements: scores, what was not scored, disagreements first; rate answers by keys",
        screen="whet_tui.screens.judges:JudgesScreen",
    ),
    Place(
        place_id="datasets",
        title="Data sets",
        key="alt+8",
        command="datasets",
        summary="Look through data sets: versions, splits, rows; open the seal of a hold-out",
        screen="whet_tui.screens.datasets:DatasetsScreen",
    ),
    Place(
        place_id="experiments",
        title="Experiments",
        key="alt+9",
        command="experiments",
        summary="See sweeps: live trials, figures, the verdict, cases side by side; pause, stop, retune, export",
        screen="whet_tui.screens.experiments:ExperimentsScreen",
    ),
)

BY_COMMAND: Final[Mapping[str, Place]] = {place.command: place for place in PLACES}
BY_ID: Final[Mapping[str, Place]] = {place.place_id: place for place in PLACES}
