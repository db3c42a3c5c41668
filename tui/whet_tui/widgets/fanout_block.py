"""A fan-out in the chat: lanes and the growing draft while it runs, the final answer with its sources afterwards, every
branch in full on demand.
"""

from itertools import groupby
from typing import Final

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from whet_tui.entries import Dispute, Fanout, FanoutState, Lane, LaneState, SoleClaim, Synthesis, money_line
from whet_tui.marks import NOBODY, mark, marked_text
from whet_tui.safe import safe, safe_line
from whet_tui.widgets.ink import Ink
from whet_tui.widgets.lane_table import GLYPHS, few_rows, lane_name, lane_rows, seconds, voice_of
from whet_tui.widgets.prose import Flow, laid_out, marked, plain_lines

_FINDINGS: Final = 3
"""Contradictions and sole claims told while the block is folded: the answer above them must stay in view."""
_FINDINGS_UNFOLDED: Final = 12
"""The same unfolded; with hundreds of branches there are thousands."""
_NAME: Final = 36
"""Letters of a branch's name where the sources are listed; the branch itself says the rest."""
_NAMED: Final = 6
"""Branches that are listed as sources while the block is folded."""
_AROUND_SIDES: Final = 38
"""Letters of such a line that are not quoted."""
_LEAST_SIDE: Final = 14
"""Letters of each side of a contradiction that are quoted however narrow it is."""
_CLAIM: Final = 90
"""Letters of a claim that are quoted."""


class FanoutLines:
    """Lays one fan-out out, again and again while it grows."""

    def __init__(self) -> None:
        self._flow = Flow()

    def lines(self, fanout: Fanout, width: int, ink: Ink, *, unfolded: bool, now_ns: int) -> list[Strip]:
        answered = fanout.ended and (
            _only_answer(fanout) is not None or bool(fanout.synthesis and fanout.synthesis.text)
        )
        lines = [] if answered or unfolded else few_rows(fanout, width, ink, now_ns)
        if unfolded:
            lines = lane_rows(fanout, width, ink, now_ns)
            lines += [line for lane in fanout.lanes.values() for line in branch_lines(lane, width, ink)]
        return lines + self.answer_lines(fanout, width, ink, unfolded=unfolded)

    def answer_lines(self, fanout: Fanout, width: int, ink: Ink, *, unfolded: bool) -> list[Strip]:
        """The answer or the draft, and what was found about it; nothing of the single branches."""
        lines = self._answer(fanout, width, ink)
        if fanout.failure:
            lines += plain_lines(safe(fanout.failure), width, ink.bad)
        if fanout.left:
            lines += plain_lines(safe_line(f"How it ended is told by: /get_fanout {fanout.run_id}"), width, ink.muted)
        if fanout.ended:
            lines += _verdict(fanout, width, ink, unfolded=unfolded)
            lines += plain_lines(safe_line(_account(fanout)), width, ink.muted)
        return lines

    def _answer(self, fanout: Fanout, width: int, ink: Ink) -> list[Strip]:
        synthesis = fanout.synthesis
        if synthesis is not None and not synthesis.text and synthesis.failure == fanout.failure:
            return []  # there is nothing to show, and why is told once
        if synthesis is not None:
            return _final(fanout, synthesis, width, ink)
        if fanout.ended and (only := _only_answer(fanout)) is not None:
            return laid_out(safe(only.text), width, ink)
        draft = fanout.draft
        if draft is None:
            return []
        heading = f"draft {draft.revision}{' (final)' if draft.final else ''}"
        sees = mark([fanout.number(branch_id) for branch_id in draft.branch_ids]) if draft.branch_ids else ""
        told = [heading, f"of {sees}" if sees else "", f"by {draft.model}" if draft.model else "", str(draft.state)]
        lines = [_rule(" · ".join(part for part in told if part), width, ink, simulated=draft.simulated)]
        text = draft.text or draft.earlier
        lines += self._flow.lines(safe(text), width, ink)
        if draft.failure:
            lines += plain_lines(safe(draft.failure), width, ink.bad)
        return lines


def _only_answer(fanout: Fanout) -> Lane | None:
    """The branch whose answer is the run's own, because it was the only one and nothing was made of it."""
    done = [lane for lane in fanout.lanes.values() if lane.state is LaneState.DONE]
    return done[0] if fanout.synthesis is None and len(done) == 1 else None


def headline(fanout: Fanout, now_ns: int) -> str:
    """How far the fan-out is, in words."""
    parts = [f"{fanout.finished} of {len(fanout.lanes)} in"] if fanout.lanes else ["starting"]
    if fanout.ended:
        parts = [
            f"{sum(lane.state is LaneState.DONE for lane in fanout.lanes.values())} of {len(fanout.lanes)} answered"
        ]
        if fanout.state is not FanoutState.SUCCEEDED:
            parts.append(str(fanout.state))
    if fanout.left:
        parts.append("not followed to its end")
    running = not fanout.ended and not fanout.left and fanout.opened_ns
    time = max(0, now_ns - fanout.opened_ns) if running else fanout.latency_ns
    return " · ".join([*parts, seconds(time)] if time else parts)


def _rule(text: str, width: int, ink: Ink, *, simulated: bool) -> Strip:
    segments = [Segment("── ", ink.muted), Segment(safe_line(text, width), ink.accent)]
    if simulated:
        segments += [Segment(" · ", ink.muted), Segment("simulated", ink.simulated)]
    return Strip([*segments, Segment(" " + "─" * width, ink.muted)]).crop(0, width)


def branch_lines(lane: Lane, width: int, ink: Ink) -> list[Strip]:
    """One branch in full."""
    title = f"{lane.number} {lane_name(lane)} · {GLYPHS[lane.state]} {lane.state}"
    if lane.first_token_ns:
        title += f" · first token after {seconds(lane.first_token_ns)}"
    if lane.retries:
        title += f" · {lane.retries} failed attempt{'s' * (lane.retries > 1)} before"
    lines = [_rule(title, width, ink, simulated=lane.simulated), *laid_out(safe(lane.text), width, ink)]
    if lane.failure:
        lines += plain_lines(safe(lane.failure), width, ink.bad)
    return lines


def _final(fanout: Fanout, synthesis: Synthesis, width: int, ink: Ink) -> list[Strip]:
    title = "answer" if synthesis.state is LaneState.DONE else f"answer, {synthesis.state}"
    if fanout.draft is not None:
        title += f" · drafted from {len(fanout.draft.branch_ids)} of {len(fanout.lanes)} by {fanout.draft.model}"
    elif fanout.mode:
        title += f" · {fanout.mode}"
    lines = [_rule(title, width, ink, simulated=synthesis.simulated)]
    lines += marked(laid_out(safe(marked_text(fanout)), width, ink), ink.accent)
    if synthesis.failure:
        lines += plain_lines(safe(synthesis.failure), width, ink.bad)
    for vote in synthesis.votes:
        numbers = mark([fanout.number(branch_id) for branch_id in vote.branch_ids])
        lines += plain_lines(
            safe_line(f"{vote.votes} vote{'s' * (vote.votes != 1)}{numbers} {vote.answer}"), width, Style.null()
        )
    return lines


def _verdict(fanout: Fanout, width: int, ink: Ink, *, unfolded: bool) -> list[Strip]:
    """What the words' alignment says: how far the branches agree, where they contradict each other, what one alone
    says. While it is folded, what the answer's own marks tell is left out.
    """
    synthesis = fanout.synthesis
    if synthesis is None or not synthesis.text:
        return []
    lines = [Strip([]), *_packed(_legend(fanout, synthesis, unfolded=unfolded), width, ink)]
    if synthesis.sentences:
        lines += plain_lines(safe_line(_agreement(synthesis)), width, ink.muted)
    claims = [claim for claim in synthesis.sole_claims if unfolded or not claim.in_final]
    side = _CLAIM if unfolded else max(_LEAST_SIDE, (width - _AROUND_SIDES) // 2)
    found = [(_disputed(fanout, each, side), ink.warning) for each in synthesis.disputes]
    found += [(_claimed(fanout, each), ink.muted) for each in claims]
    limit = _FINDINGS_UNFOLDED if unfolded else _FINDINGS
    for text, style in found[:limit]:
        lines += plain_lines(safe_line(text, 2000 if unfolded else max(1, width - 1)), width, style)
    if len(found) > limit:
        rest = f"/get_fanout {fanout.run_id}" if unfolded else "Ctrl+O"
        lines += plain_lines(safe_line(f"… and {len(found) - limit} more: {rest}"), width, ink.muted)
    return lines


def _disputed(fanout: Fanout, dispute: Dispute, side: int) -> str:
    left, right = mark([fanout.number(dispute.left_id)]), mark([fanout.number(dispute.right_id)])
    sides = f"“{safe_line(dispute.left_text, side)}” – “{safe_line(dispute.right_text, side)}”"
    return f"≠ {left} and {right} differ ({dispute.kind}): {sides}"


def _claimed(fanout: Fanout, claim: SoleClaim) -> str:
    left_out = "" if claim.in_final else ", left out of the answer"
    return f"! only {mark([fanout.number(claim.branch_id)])} says{left_out}: “{safe_line(claim.text, _CLAIM)}”"


def _legend(fanout: Fanout, synthesis: Synthesis, *, unfolded: bool) -> list[str]:
    """What each mark means. Voices of one model are told by what they were told to be. Of a large panel only the
    branches that the answer names are listed while it is folded.
    """
    lanes = list(fanout.lanes.values())
    if len(lanes) > _NAMED and not unfolded:
        cited = {source.branch_id for sentence in synthesis.sentences for source in sentence.sources}
        lanes = [lane for lane in lanes if lane.branch_id in cited]
    models = {lane.model for lane in lanes}
    voices = len(lanes) > 1 and len(models) == 1 and all(lane.persona for lane in lanes)
    head = f"Said by {safe_line(models.pop(), _NAME)} as" if voices else "Said by"
    named = [_source_name(lane, voice=voices) for lane in (lanes if unfolded else lanes[:_NAMED])]
    left = len(fanout.lanes) - len(named)
    return [head, *named, *([f"{left} more: Ctrl+O"] if left else [])]


def _source_name(lane: Lane, *, voice: bool) -> str:
    name = safe_line(voice_of(lane), _NAME) if voice else safe_line(lane_name(lane), _NAME)
    state = "" if lane.state is LaneState.DONE else f" ({lane.state})"
    return f"{mark([lane.number])} {name}{' simulated' * lane.simulated}{state}"


def _packed(parts: list[str], width: int, ink: Ink) -> list[Strip]:
    """Put parts beside each other and break lines only between them, so that a mark stays with its name. The first part
    is their heading.
    """
    lines = [parts[0]]
    for place, part in enumerate(parts[1:]):
        longer = f"{lines[-1]}{' · ' if place else ' '}{part}"
        if cell_len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(part)
    return [strip for line in lines for strip in plain_lines(safe_line(line), width, ink.muted)]


def _agreement(synthesis: Synthesis) -> str:
    """Count the sentences by how many branches say them."""
    counts = sorted(min(len({source.branch_id for source in sentence.sources}), 2) for sentence in synthesis.sentences)
    words = {2: "said by several branches", 1: "by one only", 0: f"by none {NOBODY}"}
    told = {size: len(list(group)) for size, group in groupby(counts)}
    parts = [f"{told[size]} {words[size]}" for size in (2, 1, 0) if told.get(size)]
    return f"{len(counts)} sentence{'s' * (len(counts) != 1)}: {', '.join(parts)}"


def _account(fanout: Fanout) -> str:
    parts = [fanout.author] if fanout.author else []
    parts += [money_line(fanout.money), f"{fanout.input_tokens} + {fanout.output_tokens} tokens"]
    if fanout.cache_hits:
        parts.append(f"{fanout.cache_hits} from the cache")
    return " · ".join([*parts, fanout.run_id])
