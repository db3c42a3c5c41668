"""Two sweeps from the plan to the report, by the commands that anybody would type: `make sweeping`.

The first looks for a better prompt for the local model on 168 short reviews, the second for an optimum that is planted
in simulated models. Each command is shown, then what it prints; at the end stands what was found, with intervals, on
the rows that it was searched on and on the sealed ones. All is in a data directory of its own, which is removed at the
end unless one is named.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from contextlib import nullcontext
from importlib import resources
from pathlib import Path
from typing import Any, Final

from whet_eval.story import Failed, Story

HERE: Final = Path(str(resources.files(__package__)))
REVIEWS: Final = HERE / "reviews.jsonl"
LOCAL: Final = HERE / "local.yaml"
SIMULATED: Final = HERE / "simulated.yaml"
SHARES: Final = ("--train", "0.2", "--dev", "0.4", "--holdout", "0.4")
"""Few rows to show as examples, many to tell a difference by, and as many that nothing is chosen by."""
PLANTED_TEMPLATE: Final = "cue"
PLANTED_CUE: Final = "cue=only+the+label"
PLANTED_COOL: Final = 0.4
"""The optimum that `simulated.yaml` describes."""


async def sweep(story: Story, spec: Path, reports: Path) -> dict[str, Any]:
    """Plan a sweep, run it, show it, and return it as it stands then."""
    await story.whet("sweep", "plan", "--spec", str(spec))
    await story.whet("sweep", "start", "--spec", str(spec))
    run_id = (await story.told("sweep", "list"))["sweeps"][0]["run_id"]
    await story.whet("sweep", "watch", run_id)
    await story.whet("trial", "list", run_id, "--page-size", "5")
    await story.whet("sweep", "export", run_id, "--format", "yaml")
    await story.whet("sweep", "report", run_id, "--format", "html", "--out", str(reports / f"{spec.stem}.html"))
    found: dict[str, Any] = (await story.told("sweep", "get", run_id))["sweep"]
    return found


def summary(name: str, found: dict[str, Any]) -> list[str]:
    """Say what a sweep found, in words with intervals."""
    result = found["result"]
    holdout = result.get("holdout", {})
    before, after, lift = (_estimate(holdout.get(part, {})) for part in ("baseline", "winner", "lift"))
    return [
        f"{name}: {result['verdict']}. {result['finding']}",
        f"  the score of trial {result['best']} less the baseline's: {_estimate(result['lift'])}",
        f"  on {holdout.get('rows', 0)} sealed rows: {before} before, {after} after, difference {lift}",
    ]


def _estimate(estimate: dict[str, Any]) -> str:
    if "value" not in estimate:
        return "not known"
    interval = f" ({estimate['low']:.3f} to {estimate['high']:.3f})" if "low" in estimate else ""
    return f"{estimate['value']:.3f}{interval}"


def recovered(found: dict[str, Any]) -> bool:
    """Whether the best trial of the simulated sweep is the planted optimum."""
    settings = {each["name"]: each for each in found["best"]["parameters"]}
    return (
        settings["label.template"]["text"] == PLANTED_TEMPLATE
        and PLANTED_CUE in settings["label.model"]["text"]
        and settings["label.temperature"]["number"] <= PLANTED_COOL
    )


def marked(folder: Path) -> Path:
    """Write the reviews with their labels in brackets, by which simulated models know what is right."""
    path = folder / "marked.jsonl"
    rows = [json.loads(line) for line in REVIEWS.read_text(encoding="utf-8").splitlines()]
    lines = (json.dumps(row | {"input": f"{row['input']} [{row['reference']}]"}) for row in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


async def tell(data: Path, *, only_simulated: bool) -> None:
    """Tell the story. Raises `Failed` when a command fails or the planted optimum is not found."""
    story, said = Story(data, HERE), []
    if not only_simulated:
        story.says("168 reviews, 40 of 100 under seal, and a search for a better prompt on the local model")
        await story.whet("dataset", "put", "reviews", "--path", str(REVIEWS), "--key", "id", *SHARES)
        said += summary("On the local model", await sweep(story, LOCAL, data))
    story.says("The same reviews, marked for simulated models, in which an optimum is planted")
    await story.whet("dataset", "put", "marked", "--path", str(marked(data)), "--key", "id", *SHARES)
    found = await sweep(story, SIMULATED, data)
    said += summary("On simulated models", found)
    story.says("What was found")
    print("\n".join(said), flush=True)
    if not recovered(found):
        raise Failed("The planted optimum was not found.")
    print("  the planted optimum was found", flush=True)


def main() -> int:
    """Tell the story; return 1 when it goes another way."""
    parser = argparse.ArgumentParser(prog="python -m whet_eval.sweeping", description=__doc__)
    parser.add_argument("--only-simulated", action="store_true", help="Leave the local model out, which takes minutes.")
    parser.add_argument("--data", type=Path, help="A directory to keep it all in: a hold-out is opened only once.")
    given = parser.parse_args()
    if given.data is not None:
        given.data.mkdir(parents=True, exist_ok=True)
    place = nullcontext(given.data) if given.data else tempfile.TemporaryDirectory(prefix="whet-sweeping-")
    with place as data:
        try:
            asyncio.run(tell(Path(data), only_simulated=given.only_simulated))
        except Failed as failed:
            print(failed, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
