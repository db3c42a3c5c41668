"""Measure everything that is promised: `python -m whet_eval.bench [NAME ...]`. Exits 1 when a figure is short."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from whet_eval.bench import calls, experiments, interaction, judging, racing, report, screen, sweeping
from whet_eval.bench.children import provider, resident_mb, server
from whet_eval.bench.figure import Figure

AT_REST_BAR_MB: Final = 120.0


async def at_rest(base: Path) -> AsyncIterator[Figure]:
    """Memory of a server that nobody has called."""
    async with server(base / "rest") as running:
        await asyncio.sleep(2.0)  # start-up work such as recovery settles
        yield Figure(name="server at rest, resident", value=resident_mb(running.pid), unit="MB", bar=AT_REST_BAR_MB)


async def call_figures(base: Path) -> AsyncIterator[Figure]:
    """Fan-outs, single calls and the first draft, on one server."""
    async with provider() as url, server(base / "calls", calls.config(url)) as running:
        async for figure in calls.fanouts(url, running):
            yield figure
        async for figure in calls.single_call(url, running):
            yield figure
        async for figure in calls.first_draft(running):
            yield figure


async def interaction_figures(base: Path) -> AsyncIterator[Figure]:
    """What only helps together, found by searching all at once."""
    del base
    figures = interaction.figures()
    while (figure := await asyncio.to_thread(next, figures, None)) is not None:
        yield figure


async def judging_figures(base: Path) -> AsyncIterator[Figure]:
    """Judgements, on one server."""
    async with provider() as url, server(base / "judging", judging.config(url)) as running:
        async for figure in judging.judging(running):
            yield figure


async def sweeping_figures(base: Path) -> AsyncIterator[Figure]:
    """Sweeps: through a server, and what thousands of trials take."""
    async with provider() as url, server(base / "sweeping", sweeping.config(url)) as running:
        async for figure in sweeping.sweeping(running):
            yield figure
    async for figure in sweeping.overhead(base / "overhead"):
        yield figure


async def screen_figures(base: Path) -> AsyncIterator[Figure]:
    """The chat through a real terminal."""
    async with provider() as url:
        figures = screen.figures(base / "screen", url)
        while (figure := await asyncio.to_thread(next, figures, None)) is not None:
            yield figure


async def experiment_figures(base: Path) -> AsyncIterator[Figure]:
    """A large sweep, watched in a real terminal."""
    figures = experiments.figures(base)
    while (figure := await asyncio.to_thread(next, figures, None)) is not None:
        yield figure


async def racing_figures(base: Path) -> AsyncIterator[Figure]:
    """Simulated sweeps: false winners, and what racing saves. No server."""
    for figure in racing.figures():
        yield figure


MEASURES: Final[Mapping[str, Callable[[Path], AsyncIterator[Figure]]]] = {
    "calls": call_figures,
    "experiments": experiment_figures,
    "interaction": interaction_figures,
    "judging": judging_figures,
    "racing": racing_figures,
    "rest": at_rest,
    "screen": screen_figures,
    "sweeping": sweeping_figures,
}


async def measure(names: Sequence[str]) -> list[Figure]:
    """Measure one after the other, printing each figure as it comes."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="whet-bench-") as base:
        for name in names:
            async for figure in MEASURES[name](Path(base)):
                print(figure.line(), f"  {figure.note}" if figure.note else "", flush=True)
                figures.append(figure)
    return figures


def main() -> int:
    """Measure what is named, or everything."""
    names = sys.argv[1:] or list(MEASURES)
    if unknown := sorted(set(names) - set(MEASURES)):
        print(f"There is no measure called {', '.join(unknown)}. There are: {', '.join(MEASURES)}.", file=sys.stderr)
        return 2
    figures = asyncio.run(measure(names))
    path = report.write(figures, Path("results"), name="bench")
    short = [figure.name for figure in figures if figure.short]
    print(f"report: {path}" + (f"; short: {', '.join(short)}" if short else ""))
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
