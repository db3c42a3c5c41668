"""What Whet adds to the calls it makes: fan-outs and single calls beside a bare client, in the same run."""

from collections.abc import AsyncIterator
from typing import Final

from whet_eval.bench import bare, whet
from whet_eval.bench.children import Server, priced
from whet_eval.bench.figure import Figure, median, percentile

SIZES: Final = (50, 200, 1000)
"""Branches of a fan-out."""
ROUNDS: Final = 5
"""Each size is measured so often, the two sides in turn, so that a busy moment of the machine meets both."""
SINGLE_CALLS: Final = 200
MODEL: Final = "plain?chunks=20&first_ms=200"
"""The loopback upstream: 20 tokens after 200 ms."""
QUICK: Final = "plain?chunks=20"
WALL_BAR: Final = 1.5
ADDED_BAR_MS: Final = 3.0


def config(url: str) -> str:
    """Return a configuration with what is asked here."""
    return priced(url, MODEL, QUICK)


async def fanouts(url: str, server: Server) -> AsyncIterator[Figure]:
    """Wall time of a fan-out through gRPC, ledger and log over bare aiohttp making and parsing the same calls."""
    client = whet.Client(server)
    try:
        for size in SIZES:
            ratios, walls = [], []
            for number in range(ROUNDS + 1):
                prompt = f"Say twenty words, please. {size} {number}"
                alone, characters = await bare.fanout(url, MODEL, prompt, size)
                ours = await client.run(whet.spec(f"stub/{MODEL}", prompt, size))
                if ours.done != size or ours.characters != characters:
                    raise RuntimeError(
                        f"{size} branches: {ours.done} done, {ours.characters} of {characters} characters"
                    )
                if number:  # the first round warms both sides up
                    ratios.append(ours.seconds / alone)
                    walls.append((ours.seconds, alone))
            seconds, alone = map(median, zip(*walls, strict=True))
            note = f"{seconds:.3f} s, bare {alone:.3f} s; ratios {min(ratios):.2f} to {max(ratios):.2f}"
            yield Figure(
                name=f"fan-out of {size}, wall / bare", value=median(ratios), unit="x", bar=WALL_BAR, note=note
            )
    finally:
        await client.close()


async def single_call(url: str, server: Server) -> AsyncIterator[Figure]:
    """Latency that one call through the server adds to the bare call."""
    client = whet.Client(server)
    try:
        alone, ours, empty = [], [], []
        for number in range(SINGLE_CALLS + 20):
            prompt = f"Say something. {number}"
            first = (await bare.single(url, QUICK, prompt, 2))[-1]
            second = (await client.run(whet.spec(f"stub/{QUICK}", prompt, 1))).seconds
            if number >= 20:
                alone.append(first)
                ours.append(second)
                empty.append(await client.round_trip())
    finally:
        await client.close()
    note = f"p50 {median(ours) * 1e3:.2f} ms, bare {median(alone) * 1e3:.2f} ms"
    yield Figure(name="gRPC call that does nothing, p50", value=median(empty) * 1e3, unit="ms")
    yield Figure(
        name="one call, added at p50",
        value=(median(ours) - median(alone)) * 1e3,
        unit="ms",
        bar=ADDED_BAR_MS,
        note=note,
    )
    added = percentile(ours, 0.99) - percentile(alone, 0.99)
    yield Figure(name="one call, added at p99", value=added * 1e3, unit="ms")


async def first_draft(server: Server) -> AsyncIterator[Figure]:
    """When the synthesis begins on a panel of 50 ms, 200 ms and 5 s: after the first branches, not after the last."""
    from whet.v1 import fanout_pb2

    panel = ["sim/fast?first_ms=50&tokens=20", "sim/fast?first_ms=200&tokens=20", "sim/fast?first_ms=5000&tokens=20"]
    client = whet.Client(server)
    try:
        spec = fanout_pb2.FanoutSpec(
            prompt="Why is the sky blue?",
            models=panel,
            synthesis=fanout_pb2.Synthesis(mode=fanout_pb2.SYNTHESIS_MODE_DRAFT, model="sim/fast?first_ms=50"),
            cache=fanout_pb2.CacheUse(bypass=True),
        )
        outcome = await client.run(spec)
    finally:
        await client.close()
    if outcome.first_draft is None:
        raise RuntimeError("no draft was streamed")
    note = f"the last branch came at about 5 s, the run ended at {outcome.seconds:.2f} s"
    yield Figure(
        name="first draft token of a 50/200/5000 ms panel", value=outcome.first_draft, unit="s", bar=0.6, note=note
    )
