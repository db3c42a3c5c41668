"""The part of the chat that decides: chords that answer what the agent asks for, and nothing else that does."""

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import Binding, BindingType

from whet_tui.bridge import ChatSession
from whet_tui.keymap import spelled
from whet_tui.screens.arguments import ArgumentsScreen
from whet_tui.screens.conversing import ConversingScreen
from whet_tui.widgets.approval_tray import GRACE, ApprovalTray

if TYPE_CHECKING:
    from whet_tui.entries import Card

_CHORDS = frozenset({"decide", "reject_saying", "approve_all", "edit_card", "scroll_card", "other_card"})
"""Actions that there are while a card is open; else their keys belong to the composer."""


class DecidingScreen(ConversingScreen):
    """Passes decisions on. A chord that was pressed before the grace of the tray is over is swallowed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+y", "decide(True)", "Approve", id="card.approve", priority=True, show=False),
        Binding("ctrl+n", "decide(False)", "Reject", id="card.reject", priority=True, show=False),
        Binding("ctrl+t", "reject_saying", "Reject, saying why", id="card.reason", show=False),
        Binding("ctrl+e", "edit_card", "Change the arguments", id="card.edit", priority=True, show=False),
        Binding(
            "f8,ctrl+right_square_bracket",
            "approve_all",
            "Approve all of this tool",
            id="card.approve_all",
            priority=True,
            show=False,
        ),
        Binding("ctrl+up", "scroll_card(-3)", "Scroll the card up", id="card.up", priority=True, show=False),
        Binding("ctrl+down", "scroll_card(3)", "Scroll the card down", id="card.down", priority=True, show=False),
        Binding("alt+up", "other_card(-1)", "Previous card", id="card.previous", priority=True, show=False),
        Binding("alt+down", "other_card(1)", "Next card", id="card.next", priority=True, show=False),
    ]

    _tray: ApprovalTray
    _keys: Mapping[str, str]
    _back_at: float = 0.0

    def on_mount(self) -> None:
        # The event itself reaches the application alone.
        self.watch(self.app, "app_focus", self._tray.deafen, init=False)

    def on_screen_resume(self) -> None:
        self._tray.deafen()
        if self._session is not None:  # else it is the beginning, and nothing lay over the chat
            self._back_at = time.monotonic()

    @property
    def _meant_elsewhere(self) -> bool:
        """Whether the last key came so soon after the screen that it may have been meant for the one before."""
        return self._key_came - self._back_at < GRACE

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in _CHORDS:
            return self._tray.card is not None
        return super().check_action(action, parameters)

    def take_keys(self, changed: Mapping[str, str]) -> None:
        """Say the keys that the person has given to actions, by the id of their binding."""
        self._keys = self._chords(changed)

    def _chords(self, changed: Mapping[str, str] = MappingProxyType({})) -> Mapping[str, str]:
        """What the tray says about keys, by what they do."""
        keys = {binding.id: binding.key for _, binding in reversed(list(self._bindings)) if binding.id}
        keys |= {name: several.split(",")[0] for name, several in changed.items()}
        names = {part: spelled(keys.get(f"card.{part}", "")) for part in _TOLD}
        return names | {"scroll": _pair(keys, "up", "down"), "other": _pair(keys, "previous", "next")}

    def _hears(self) -> bool:
        """Whether the tray hears the key; if it does not yet, say so, or the key would seem broken."""
        hears = self._tray.hears(max(0.0, time.monotonic() - self._key_came) if self._key_came else 0.0)
        if not hears and not self._tray.pending:
            self._status.hint("That came too soon after the card to be meant for it: press it again.")
        return hears

    def action_decide(self, grant: bool) -> None:  # noqa: FBT001 -- the argument of an action
        """Decide the card in view."""
        if (card := self._tray.card) is not None and self._hears():
            self._decide([card], grant=grant)

    def action_reject_saying(self) -> None:
        """Reject the card in view; what is typed is the reason."""
        card = self._tray.card
        if card is None or not self._hears():
            return
        reason = self._composer.whole.strip()
        if not reason:
            self._status.hint("Type the reason first; Ctrl+N rejects without one.")
            return
        self._composer.write("")
        self._decide([card], grant=False, reason=reason)

    def action_approve_all(self) -> None:
        """Approve every open card of the tool in view."""
        if self._hears():
            self._decide(self._tray.alike, grant=True)

    def action_scroll_card(self, lines: int) -> None:
        self._tray.scroll_arguments(lines)

    def action_other_card(self, step: int) -> None:
        self._tray.move(step)

    @work(group="edit-card", exclusive=True)
    async def action_edit_card(self) -> None:
        """Let the person change the arguments; the changed call asks anew."""
        card = self._tray.card
        if card is None or not self._hears():
            return
        changed = await self.app.push_screen_wait(ArgumentsScreen(card))
        if changed:
            self._decide([card], grant=False, arguments_json=changed)
        else:
            self._status.hint("The arguments are as they were; nothing is decided.")

    def _decide(self, cards: Sequence["Card"], *, grant: bool, reason: str = "", arguments_json: str = "") -> None:
        if self._session is None:
            return
        self._tray.deafen()
        for card in cards:
            self._tray.sent(card.approval_id)
        self._send_decisions(self._session, cards, grant=grant, reason=reason, arguments_json=arguments_json)

    @work(group="decide")
    async def _send_decisions(
        self, session: ChatSession, cards: Sequence["Card"], *, grant: bool, reason: str, arguments_json: str
    ) -> None:
        from whet_agent.client import CallError  # loaded with the session

        for card in cards:
            try:
                await session.decide(card.approval_id, grant=grant, reason=reason, arguments_json=arguments_json)
            except (CallError, LookupError, ValueError) as error:
                if not self._tray.failed(card.approval_id, str(error)):
                    lost = f"\nYour changes: {arguments_json}" if arguments_json else ""
                    self._tell("warning", f"The decision came too late: {error}{lost}")


_TOLD = ("approve", "reject", "reason", "edit", "approve_all")


def _pair(keys: Mapping[str, str], one: str, other: str) -> str:
    first, second = spelled(keys.get(f"card.{one}", "")), spelled(keys.get(f"card.{other}", ""))
    before, _, last = second.rpartition("+")
    return f"{first}/{last}" if first.startswith(f"{before}+") else f"{first}/{second}"
