"""One fan-out's answer with its sources, or one of its branches in full, while it grows."""

from rich.segment import Segment
from textual.strip import Strip

from whet_tui.entries import Call, Entry, Fanout
from whet_tui.widgets.block import Block
from whet_tui.widgets.fanout_block import FanoutLines, branch_lines
from whet_tui.widgets.ink import Ink
from whet_tui.widgets.transcript import Transcript


class FanoutView(Transcript):
    """A transcript of one entry."""

    def __init__(self, *, id: str) -> None:  # noqa: A002 -- Textual's own name
        super().__init__()
        self.id = id
        self._shown = _Shown(Call(key="fanout", turn=0, fanout=Fanout()))

    def show(self, fanout: Fanout, branch_id: str = "") -> None:
        """Show the fan-out's answer or one of its branches: what ended from its beginning, the rest at its end."""
        lane = fanout.lanes.get(branch_id)
        ended = fanout.ended if lane is None else lane.state.ended
        self._shown.turn_to(fanout, branch_id)
        self.grow()
        self._following = not ended
        if ended:
            self._move_to(0)

    def grow(self) -> None:
        """Draw what has come since."""
        self.hear([self._shown.entry])

    def _block_of(self, entry: Entry) -> Block:
        return self._shown


class _Shown(Block):
    """Draws a fan-out without its lanes, which stand above."""

    def __init__(self, entry: Call) -> None:
        super().__init__(entry)
        self._of = Fanout()
        self._branch_id = ""
        self._answer_lines = FanoutLines()

    @property
    def foldable(self) -> bool:
        return False

    def turn_to(self, fanout: Fanout, branch_id: str) -> None:
        self._of, self._branch_id = fanout, branch_id

    def source(self) -> str:
        lane = self._of.lanes.get(self._branch_id)
        if lane is not None:
            return lane.text
        self.entry = Call(key=self.entry.key, turn=0, fanout=self._of)
        return super().source()

    def _lay_out(self, width: int, ink: Ink, now_ns: int) -> tuple[Segment, list[Strip]]:
        lane = self._of.lanes.get(self._branch_id)
        if lane is not None:
            return Segment("  "), branch_lines(lane, width, ink)
        lines = self._answer_lines.answer_lines(self._of, width, ink, unfolded=True)
        return Segment("  "), lines or [Strip([])]  # a block without a line is never in view again
