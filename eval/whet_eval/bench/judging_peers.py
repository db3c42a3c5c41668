"""The same thousand answers graded by others in the same run: Inspect's model-graded scorer and promptfoo's llm-rubric.

All ask the same loopback provider, which takes 0.2 seconds for an answer, with a hundred calls in flight. promptfoo is
timed as a whole, because it is a program and no library; what it says of its own time is in the note.
"""

import asyncio
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from whet_eval.bench import judging
from whet_eval.bench.children import provider, server
from whet_eval.bench.figure import Figure, median
from whet_eval.bench.venvs import FOLDER, prepare

BAR: Final = 3.0
"""How many times faster we have to be: what promptfoo and Inspect took when they were first measured was 4 and 13
times the ideal, and ours may be 1.3 times it."""
Measured: TypeAlias = tuple[str, float | None, str]
"""A peer, its wall seconds (None: it was not measured), and what else is to be said."""
_CHILD: Final = Path(__file__).with_name("judging_peer.py")
_DURATION: Final = re.compile(r"Duration: (\S+)")


async def figures() -> list[Figure]:
    """Measure everybody whose package is there."""
    found = []
    with tempfile.TemporaryDirectory(prefix="whet-judging-peers-") as base:
        async with provider() as url, server(Path(base) / "data", judging.config(url)) as running:
            mine = await _ours(running)
            graded = await inspect(url, judging.MODEL, judging.ITEMS, "graded")
            for measured in (graded, await _promptfoo(url, Path(base))):
                found += compared(f"{judging.ITEMS} judged items", measured, mine, BAR)
    return found


def compared(what: str, measured: Measured, mine: float, bar: float) -> list[Figure]:
    """Return how many times longer a peer took than we did, and print it; nothing for one that was not measured."""
    name, theirs, told = measured
    if theirs is None:
        print(f"{name} was not measured: {told}", flush=True)
        return []
    note = f"{name} {theirs:.2f} s{told}, whet {mine:.2f} s"
    figure = Figure(name=f"{what}, {name} / whet", value=theirs / mine, unit="x", bar=bar, better="higher", note=note)
    print(figure.line(), f"  {figure.note}", flush=True)
    return [figure]


async def _ours(running: Any) -> float:
    client = judging.Client(running)
    try:
        walls = [
            (await client.judge(judging.spec(judging.ITEMS, number))).seconds for number in range(judging.ROUNDS + 1)
        ]
    finally:
        await client.close()
    return median(walls[1:])


async def inspect(url: str, model: str, size: int, what: str) -> Measured:
    """Have Inspect grade or answer `size` items: `what` is `graded` or `answered`."""
    python = prepare("inspect-ai", "openai")
    told = await _output(python, str(_CHILD), url, model, str(size), what)
    return "inspect", float(json.loads(told.splitlines()[-1])[0]), ""


async def _promptfoo(url: str, base: Path) -> Measured:
    rubric = {"id": f"openai:chat:{judging.MODEL}", "config": {"apiBaseUrl": url, "apiKey": "none"}}
    tests = [
        {"vars": {"answer": f"Answer {at}"}, "assert": [{"type": "llm-rubric", "value": f"Answers question {at}"}]}
        for at in range(judging.ITEMS)
    ]
    config = {
        "prompts": ["{{answer}}"],
        "providers": ["echo"],
        "defaultTest": {"options": {"provider": rubric}},
        "tests": tests,
    }
    return await promptfoo(config, base, in_flight=judging.IN_FLIGHT)


async def promptfoo(config: Mapping[str, Any], base: Path, *, in_flight: int) -> Measured:
    """Have promptfoo evaluate a configuration whose tests must all pass."""
    folder = FOLDER.absolute() / "promptfoo"
    program = folder / "node_modules" / ".bin" / "promptfoo"
    if not program.exists():
        npm = shutil.which("npm")
        if npm is None:
            return "promptfoo", None, "npm is not installed."
        print(f"Installing promptfoo into {folder} (two gigabytes) ...", flush=True)
        install = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", "promptfoo"]
        await _output(*install)
    (base / "promptfoo.json").write_text(json.dumps(config), encoding="utf-8")
    quiet = {"PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1"}
    start = time.perf_counter()
    told = await _output(
        *(str(program), "eval", "-c", str(base / "promptfoo.json"), "-j", str(in_flight)),
        *("--no-cache", "--no-table", "--no-progress-bar", "-o", str(base / "out.json")),
        environment=quiet | {"PROMPTFOO_CONFIG_DIR": str(base / "promptfoo")},
    )
    wall = time.perf_counter() - start
    passed = json.loads((base / "out.json").read_text(encoding="utf-8"))["results"]["stats"]["successes"]
    if passed != len(config["tests"]):
        raise RuntimeError(f"{passed} of promptfoo's {len(config['tests'])} tests passed")
    own = _DURATION.search(told)
    return "promptfoo", wall, f" (by its own clock {own[1]})" if own else ""


async def _output(*command: str, environment: dict[str, str] | None = None) -> str:
    """Return what a peer printed. Raises `RuntimeError` when it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env=os.environ | (environment or {})
    )
    told, _ = await asyncio.wait_for(process.communicate(), 600)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with code {process.returncode}")
    return told.decode()
