"""The first words: what this is, who answers, what to type."""

from collections.abc import Sequence
from typing import Final

_WHAT: Final = "Whet asks several models at once and drafts one answer from theirs."
_TRY: Final = "Ask, for example: What is a hash table good for?  (/ commands, F1 keys)"
_LOCAL: Final = "local/"


def greeting(panel: Sequence[str], mind: str) -> str:
    """What a new user should know; of who answers nothing before the session has said it."""
    if not mind:
        return f"{_WHAT}\n{_TRY}"
    return "\n".join([_WHAT, *_who(panel), _TRY])


def _who(panel: Sequence[str]) -> Sequence[str]:
    if not panel:
        return ["No model is in the panel yet: /models lists those that can be asked by name."]
    if all(model.startswith(_LOCAL) for model in panel):
        return [
            f"Here {', '.join(panel)} answers, in several voices: free, small, often wrong.",
            "Set OPENAI_API_KEY to ask better models.",
        ]
    return [f"The panel that answers: {', '.join(panel)}."]
