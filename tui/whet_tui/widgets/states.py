"""How a run stands, as every list shows it: a glyph and a colour."""

from typing import Final

from whet_tui.entries import FanoutState
from whet_tui.widgets.sheet import InkName

RUNS: Final[dict[FanoutState, tuple[str, InkName]]] = {
    FanoutState.RUNNING: ("▸", "accent"),
    FanoutState.SUCCEEDED: ("✓", "good"),
    FanoutState.PARTIAL: ("◐", "warning"),
    FanoutState.FAILED: ("✗", "bad"),
    FanoutState.CANCELLED: ("–", "muted"),
}
