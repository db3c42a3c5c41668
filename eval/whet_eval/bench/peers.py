"""The same fan-out with other libraries, installed beside us and measured in the same run: `make bench-peers`.

Each peer runs as a child process of its own in `.venv-peers`, as its documentation says it is used, against the same
loopback provider. Whet runs as it always does: through gRPC, with the ledger and the log durable.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from whet_eval.bench import calls, judging_peers, report, sweeping_peers, whet
from whet_eval.bench.children import Server, provider, server
from whet_eval.bench.figure import Figure, median
from whet_eval.bench.venvs import prepare

PEERS: Final = ("openai", "litellm", "tensorzero")
SIZES: Final = (200, 1000)
ROUNDS: Final = 3
BARS: Final[Mapping[str, float]] = {"openai": 8.0, "litellm": 8.0, "tensorzero": 1.0}
"""How many times faster we have to be."""
_CHILD: Final = Path(__file__).with_name("peer.py")


async def peer(name: str, url: str, size: int) -> float:
    """Return the median wall seconds of a peer's fan-outs, measured inside its own process after a first one."""
    arguments = (str(_CHILD), name, url, calls.MODEL, str(size), str(ROUNDS))
    process = await asyncio.create_subprocess_exec(prepare(name), *arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await asyncio.wait_for(process.communicate(), 600)
    if process.returncode:
        raise RuntimeError(f"{name} ended with code {process.returncode}")
    return median(json.loads(output.splitlines()[-1]))


async def ours(url: str, running: Server, size: int) -> float:
    """Return the median wall seconds of our fan-outs."""
    client = whet.Client(running)
    try:
        walls = []
        for number in range(ROUNDS + 1):
            outcome = await client.run(whet.spec(f"stub/{calls.MODEL}", f"Say twenty words. {size} {number}", size))
            walls.append(outcome.seconds)
    finally:
        await client.close()
    return median(walls[1:])


async def measure(sizes: Sequence[int]) -> list[Figure]:
    """Measure everybody at every size."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="whet-peers-") as base:
        async with provider() as url, server(Path(base) / "data", calls.config(url)) as running:
            for size in sizes:
                mine = await ours(url, running, size)
                for name in PEERS:
                    theirs = await peer(name, url, size)
                    note = f"{name} {theirs:.2f} s, whet {mine:.2f} s"
                    title = f"{size} streaming branches, {name} / whet"
                    bar = BARS[name]
                    figure = Figure(name=title, value=theirs / mine, unit="x", bar=bar, better="higher", note=note)
                    print(figure.line(), f"  {note}", flush=True)
                    figures.append(figure)
    return figures


def main() -> int:
    """Measure, write the report, and return 1 when a figure is short."""
    for name in PEERS:
        prepare(name)
    figures = [
        *asyncio.run(measure(SIZES)),
        *asyncio.run(judging_peers.figures()),
        *asyncio.run(sweeping_peers.figures()),
    ]
    print(f"report: {report.write(figures, Path('results'), name='bench-peers')}")
    return int(any(figure.short for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
