"""Keys in the order in which they were pressed, where text is written."""

from textual import events
from textual.widget import Widget
from textual.widgets import Input, TextArea


class InOrder(Widget):
    """Does at once what a key is bound to. Textual lets such a key wander up to the application first, and letters that
    were pressed after it overtake it: Backspace and a letter that come in one piece would change places.
    """

    async def _on_key(self, event: events.Key) -> None:
        active = None if event.is_printable else self.screen.active_bindings.get(event.key)
        if active is not None and active.enabled and not active.binding.priority:
            event.stop()
            event.prevent_default()
            await self.app.run_action(active.binding.action, active.node)


class Line(Input, InOrder):
    """A line to write in."""


class Page(TextArea, InOrder):
    """Lines to write in."""
