"""Take the pictures of the screens anew: `python -m whet_eval.captures` writes docs/screens.md and two in README.md.

The real program runs in a real terminal on a fresh data directory, with the local and the simulated models, which cost
nothing: what is seen is what happened.
"""

import asyncio
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from whet_agent.connect import stop
from whet_eval import judging
from whet_eval.bench.screen import environment
from whet_eval.terminal import Terminal, terminal

ROOT: Final = Path(__file__).parents[2]
SIZE: Final = (100, 30)
QUESTION: Final = "Why is the sky blue?"
SECONDS: Final = 180.0
"""What a small model may take on a busy machine."""
DATASET: Final = "problem-answers"
RUBRIC: Final = "problem-solving"
EXAMPLE: Final = Path(judging.__path__[0]).relative_to(ROOT)
SWEEP: Final = "Longer answers for less"
_MANY: Final = 4
"""Trials that have ended when the picture of a sweep under way is taken."""
CONFIG: Final = "[chat]\nallowance = 0.25\n"
ESCAPE: Final = "\x1b"
HEAD: Final = """# Screens

What Whet looks like in a terminal of 100 columns and 30 rows. The pictures are taken from the running program, on a
model of the machine itself and on simulated ones, by `python -m whet_eval.captures`. Colours are left out; what they
tell stands there as a word or a sign, too.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """One picture, and what is said about it."""

    title: str
    caption: str
    lines: Sequence[str]

    def section(self) -> str:
        picture = "\n".join(self.lines).rstrip("\n")
        return f"\n## {self.title}\n\n{self.caption}\n\n```text\n{picture}\n```\n"


Whet = Callable[..., str]
"""Runs a command on the same server and returns what it prints."""


def captures(chat: Terminal, whet: Whet) -> Iterator[Capture]:
    """Use the program as a person would, and look at each screen."""
    chat.until_shown("offline planner", timeout=60)
    yield Capture(
        title="The chat",
        caption="The panel that answers, an example, the composer, and below it who thinks, where, and what it cost.",
        lines=chat.still(),
    )
    yield from _asking(chat)
    yield from _writing(chat)
    yield from _deciding(chat)
    yield from _places(chat)
    _judge(whet)
    yield from _judges(chat)
    yield from _datasets(chat)
    _sweep(whet)
    yield from _experiments(chat)
    yield from _help(chat)


def _asking(chat: Terminal) -> Iterator[Capture]:
    chat.send(f"{QUESTION}\r")
    lines = chat.until(_streams, timeout=SECONDS)
    yield Capture(
        title="A question under way",
        caption="Each voice has a lane: its state, tokens, seconds, cost and the last lines of what it says.",
        lines=lines,
    )
    chat.until_shown("3 of 3 answered", timeout=SECONDS)
    yield Capture(
        title="The answer",
        caption="Drafted from all voices. ¹ ² ³ mark which of them says a sentence, ⁰ that none does.",
        lines=chat.still(),
    )


def _streams(lines: Sequence[str]) -> bool:
    """Whether all voices have said a few lines and go on."""
    return sum(re.search(r"streaming .* ~\d{3}t ", line) is not None for line in lines) == 3


def _writing(chat: Terminal) -> Iterator[Capture]:
    chat.send("/fan")
    yield Capture(
        title="Commands are offered while one types",
        caption="The same commands, with the same flags, as on the command line. Tab takes one.",
        lines=chat.until_shown("/fanout"),
    )
    chat.send("\x7f" * len("/fan"))
    chat.still()


def _deciding(chat: Terminal) -> Iterator[Capture]:
    chat.send("/fanout --model sim/costly --model sim/fast --model sim/contrarian Are tabs better than spaces?\r")
    chat.until_shown("of 3 answered", timeout=SECONDS)
    chat.until(lambda lines: "working" not in lines[-1])
    chat.send("/cap --period day --limit $5\r")
    chat.until_shown("Ctrl+Y approve", timeout=30)
    yield Capture(
        title="A call that waits for a yes",
        caption="What changes something or costs much is shown whole: the arguments, the effect, the most it can cost."
        " Enter decides nothing.",
        lines=chat.still(),
    )
    chat.send("\x19")
    chat.until(lambda lines: not any("Ctrl+Y approve" in line for line in lines), timeout=30)
    chat.until(lambda lines: "working" not in lines[-1])


PLACES: Final = (
    ("2", "Fan-out", "── answer", "Every run of the workspace: lanes, answer, agreement and dissent."),
    ("3", "Sessions", "conversation", "Earlier conversations and their last words; take one up, rename, fork, delete."),
    ("4", "Models", "model  ", "Endpoints, their health and limits, and what each model costs."),
    ("5", "Spending", "In all", "Caps with what is settled, unknown and reserved, the totals, and the days."),
    ("6", "Settings", "approval_mode", "Each setting with its value, where that came from, and what it does."),
)
"""The digit that leads there with Alt, the title, words that are in view when all is there, what it is."""


def _places(chat: Terminal) -> Iterator[Capture]:
    for digit, title, words, caption in PLACES:
        chat.send(f"{ESCAPE}{digit}")
        chat.until_shown(words, timeout=30)
        yield Capture(title=title, caption=caption, lines=chat.still(timeout=30))


def _judge(whet: Whet) -> None:
    """Store the answers and ratings of the example, judge, calibrate, and audit a judge that is biased on purpose."""
    whet("dataset", "put", DATASET, "--path", str(EXAMPLE / "answers.jsonl"), "--key", "id", "--column", "split")
    judge = ("--dataset", DATASET, "--model", "sim/judge?noise=0.05", "--model", "sim/judge?noise=0.15&garbage=0.4")
    run_id = whet("judge", "run", *judge, "--scorer", "length:20-200").split()[1]
    ratings = EXAMPLE / "ratings.csv"
    whet("calibration", "put-ratings", "--judgement", run_id, "--rubric", RUBRIC, "--csv", f"@{ratings}")
    whet("calibration", "calibrate", run_id)
    audited = ("--dataset", DATASET, "--model", "sim/judge?noise=0.05&bias=injection")
    whet("calibration", "run-audit", *audited, "--items-per-axis", "24")


def _judges(chat: Terminal) -> Iterator[Capture]:
    chat.send(f"{ESCAPE}7")
    chat.until_shown("all together", timeout=30)
    yield Capture(
        title="Judges",
        caption="A judgement with its means, their intervals and denominators, and everything that was not scored.",
        lines=chat.still(timeout=30),
    )
    chat.send("\r")
    chat.until_shown("is hidden while you rate", timeout=30)
    chat.send("4")
    chat.until_shown("✓ ", timeout=30)
    yield Capture(
        title="Rating by keys",
        caption="One answer after another, those first about which judges differ most. What they said is hidden."
        " The key 4 has rated the first answer.",
        lines=chat.still(timeout=30),
    )
    chat.send("v")
    yield Capture(
        title="What was said of an answer",
        caption="Each verdict with its level and its quote, beside the scorers and the people.",
        lines=chat.still(timeout=30),
    )
    chat.send(ESCAPE)
    chat.still(timeout=30)
    chat.send("C")
    chat.until_shown("as people", timeout=30)
    chat.send("t")
    chat.until_shown("weighted kappa  ", timeout=30)
    yield Capture(
        title="Calibrations",
        caption="A judge compared with people: where it stands and why, and each measure with its interval; t shows"
        " plots instead.",
        lines=chat.still(timeout=30),
    )
    chat.send(ESCAPE)
    chat.still(timeout=30)
    chat.send("A")
    chat.until_shown("injection", timeout=30)
    yield Capture(
        title="Audits",
        caption="What moves a judge that should not: this one, simulated, obeys orders that stand in an answer.",
        lines=chat.still(timeout=30),
    )
    chat.send(ESCAPE)
    chat.still(timeout=30)


def _datasets(chat: Terminal) -> Iterator[Capture]:
    chat.send(f"{ESCAPE}8")
    chat.until_shown(DATASET, timeout=30)
    yield Capture(
        title="Data sets",
        caption="Versions, splits, columns, and whether the hold-out is under seal.",
        lines=chat.still(timeout=30),
    )
    chat.send("o")
    yield Capture(
        title="The seal",
        caption="Opening it is for good: it wants a reason and the name.",
        lines=chat.still(timeout=30),
    )
    chat.send(ESCAPE)
    chat.still(timeout=30)


def _sweep(whet: Whet) -> None:
    """Let a small sweep over the example's questions run: two simulated models, how long and how freely they answer."""
    dimensions = (
        {"name": "answer.model", "choices": {"choices": [{"label": "sim/fast"}, {"label": "sim/costly"}]}},
        {"name": "answer.temperature", "float_range": {"low": 0.0, "high": 1.0}},
        {"name": "answer.max_tokens", "int_range": {"low": 20, "high": 120}},
    )
    told = [word for each in dimensions for word in ("--dimension", json.dumps(each))]
    told += ["--objective", json.dumps({"kind": "quality"}), "--objective", json.dumps({"kind": "cost"})]
    told += ["--pipeline-stage", json.dumps({"name": "answer", "model": "sim/costly"}), "--scorer", "length:100-200"]
    whet("sweep", "start", "--title", SWEEP, "--dataset", DATASET, "--budget-trials", "30", *told)


def _experiments(chat: Terminal) -> Iterator[Capture]:
    chat.send(f"{ESCAPE}9")
    chat.until_shown(SWEEP, timeout=30)
    chat.send("\r")
    chat.until_shown("▸ running", timeout=30)
    yield Capture(
        title="A sweep under way",
        caption="Each trial with its quality and interval; what is left of money and time; why a trial was stopped.",
        lines=chat.until(lambda lines: sum("✓ complete" in line for line in lines) > _MANY, timeout=SECONDS),
    )
    chat.until(lambda lines: any("✓ succeeded" in line or "◐ partial" in line for line in lines), timeout=SECONDS)
    chat.send("v")
    chat.until_shown("how sure it is", timeout=30)
    yield Capture(
        title="The verdict",
        caption="What was found, how sure that is, what got worse, and what the estimate was worth.",
        lines=chat.still(timeout=30),
    )
    chat.send("vf")
    chat.until_shown("best so far", timeout=30)
    chat.send("fd")
    chat.until_shown("against answer.temperature", timeout=30)
    yield Capture(
        title="A figure",
        caption="An objective against a parameter; p shows the same in words.",
        lines=chat.still(timeout=30),
    )
    chat.send(ESCAPE)
    chat.still(timeout=30)
    chat.send("c")
    chat.until_shown("trial 0 · baseline", timeout=30)
    yield Capture(
        title="Cases side by side",
        caption="What the baseline and the best answered, those first that were scored most differently.",
        lines=chat.still(timeout=30),
    )
    chat.send(ESCAPE)
    chat.still(timeout=30)


def _help(chat: Terminal) -> Iterator[Capture]:
    chat.send(f"{ESCAPE}1")
    chat.until_shown("Ask something")
    chat.send(f"{ESCAPE}OP")
    chat.until_shown("Writing")
    yield Capture(
        title="Help",
        caption="F1: the keys of where one is first, as they are set, then the commands.",
        lines=chat.still(),
    )


def readme_blocks(taken: Sequence[Capture]) -> list[str]:
    """The question under way and the answer, each from the question on; the answer with the composer below."""
    by_title = {capture.title: capture.lines for capture in taken}
    streaming, answered = by_title["A question under way"], by_title["The answer"]
    frame = next(place for place, line in enumerate(streaming) if line.startswith("╭"))
    return [_from_question(streaming[:frame]), _from_question(answered)]


def _from_question(lines: Sequence[str]) -> str:
    start = next(place for place, line in enumerate(lines) if line.startswith(" ❯"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines[start:])).rstrip("\n")


def _commands(around: Mapping[str, str]) -> Whet:
    def whet(*words: str) -> str:
        command = [sys.executable, "-m", "whet_tui", *words]
        done = subprocess.run(  # noqa: S603 -- our own program
            command, cwd=ROOT, env=around, check=True, capture_output=True, text=True, timeout=SECONDS
        )
        return done.stdout

    return whet


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="whet-captures-") as folder:
        data = Path(folder)
        (data / "config.toml").write_text(CONFIG, encoding="utf-8")
        around = {name: value for name, value in environment(data).items() if name not in {"VISUAL", "EDITOR"}}
        try:
            with terminal(
                [sys.executable, "-m", "whet_tui"], environment=around, columns=SIZE[0], rows=SIZE[1], folder=data
            ) as chat:
                taken = list(captures(chat, _commands(around)))
        finally:
            asyncio.run(stop(data))
    page = HEAD + "".join(capture.section() for capture in taken)
    (ROOT / "docs/screens.md").write_text(page, encoding="utf-8")
    blocks = iter(readme_blocks(taken))
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    text = re.sub(r"```text\n.*?```", lambda _: f"```text\n{next(blocks)}\n```", text, count=2, flags=re.DOTALL)
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
