"""The evidence beside a text: what supports it, what only one branch says, where branches contradict each other."""

import asyncio
from collections.abc import Mapping
from typing import Final

from whet_server.fanout.align import Corpus, support
from whet_server.fanout.dissent import contradictions, sole_claims
from whet_server.log.events import Contradiction, SoleClaim, SupportedSentence
from whet_server.values import BranchId, Value

INLINE_CHARACTERS: Final = 4_000
"""Up to here the comparison takes a few milliseconds; above it, a thread does it and the event loop goes on."""


class Evidence(Value):
    """Data beside a final text, computed from the branches' texts alone."""

    sentences: tuple[SupportedSentence, ...] = ()
    sole_claims: tuple[SoleClaim, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()


def compare(final: str, texts: Mapping[BranchId, str]) -> Evidence:
    """Return the evidence for a final text. Pure; the work is bounded as `align` says."""
    corpus = Corpus(texts)
    return Evidence(
        sentences=support(final, corpus),
        sole_claims=sole_claims(corpus, final),
        contradictions=contradictions(corpus),
    )


async def gather(final: str, texts: Mapping[BranchId, str]) -> Evidence:
    """Return the evidence without holding up the event loop."""
    if len(final) + sum(map(len, texts.values())) <= INLINE_CHARACTERS:
        return compare(final, texts)
    return await asyncio.to_thread(compare, final, texts)
