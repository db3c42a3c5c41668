"""How a simulated classifier answers: right as often as its name plants it, for sweeps with a known optimum.

A text carries its true label in square brackets, as in `Where is my parcel? [shipping]`: the last such label of the
last message counts. The answer is right with a chance that is made of the model's skill, a cue in the prompt that
lifts it (while the model is cool enough to follow it), the temperature, and the solved cases before the question. Each
text has its own difficulty, the same for all prompts, as texts have; a share of luck is drawn for each request anew.
"""

import random
import re
from collections.abc import Sequence
from typing import Final

from whet_server.values import Message, Parameters, Speaker, Value

_BRACKETS: Final = re.compile(r"\[([^\[\]\n]{1,100})\]")
_MOST_SHOTS: Final = 4
"""Solved cases from which on more do not help."""


class Classifier(Value):
    """How a simulated classifier classifies. `skill`, `lift`, `heat` and `shot` are shares of accuracy: with neither
    cue nor examples, what the cue adds up to the temperature `cool`, what a degree takes, what a solved case adds.
    """

    labels: tuple[str, ...] = ("yes", "no")
    skill: float = 0.7
    cue: str = ""
    lift: float = 0.2
    cool: float = 2.0
    heat: float = 0.0
    shot: float = 0.0
    luck: float = 0.2


def label(by: Classifier, seed: int, messages: Sequence[Message], parameters: Parameters) -> str:
    """Return the label that the classifier gives."""
    asked = next((message.content for message in reversed(messages) if message.role is Speaker.USER), "")
    said = [found.lower() for found in _BRACKETS.findall(asked)]
    known = {each.lower(): each for each in by.labels}
    truth = next((known[each] for each in reversed(said) if each in known), by.labels[0])
    text = _text(asked, truth)
    whole = f"{seed}/{parameters.seed}/{parameters.temperature}/{[message.content for message in messages]}"
    chance = random.Random(whole)  # noqa: S311 -- nothing is kept secret with it; the same request has the same answer
    of_text = random.Random(f"{seed}/{text}")  # noqa: S311 -- as above
    hardness = chance.random() if chance.random() < by.luck else of_text.random()
    wrong = [each for each in by.labels if each != truth]
    return truth if hardness < accuracy(by, messages, parameters) or not wrong else of_text.choice(wrong)


def accuracy(by: Classifier, messages: Sequence[Message], parameters: Parameters) -> float:
    """Return how often the classifier is right under this prompt and these parameters, 0 to 1."""
    temperature = parameters.temperature or 0.0
    prompt = "\n".join(message.content for message in messages if message.role is not Speaker.ASSISTANT).lower()
    cued = bool(by.cue) and by.cue.lower() in prompt and temperature <= by.cool
    shots = min(_MOST_SHOTS, sum(message.role is Speaker.ASSISTANT for message in messages))
    return min(1.0, max(0.0, by.skill + by.lift * cued + by.shot * shots - by.heat * temperature))


def _text(asked: str, truth: str) -> str:
    """Return the line in which the true label stands: by it a text is known again under another prompt."""
    lines = [line for line in asked.splitlines() if f"[{truth.lower()}]" in line.lower()]
    return lines[-1].strip() if lines else asked
