"""The first words: what this is, who answers, what to type."""

from collections.abc import Sequence
from typing import Final

from whet_tui.safe import safe_line

_WHAT: Final = "Whet asks several models at once and drafts one answer from theirs."
_TRY: Final = "Try: What is a hash table good for?  (/ commands, F1 keys, Ctrl+D quits)"
_LOCAL: Final = "local/"


def greeting(panel: Sequence[str], mind: str, crashed: str = "") -> str:
    """What a new user should know; of who answers nothing before the session has said it. `crashed` is the title of a
    conversation that was cut short.
    """
    who = _who(panel) if mind else []
    cut = [f"“{safe_line(crashed, 60)}” was cut short; nothing of it is lost: Ctrl+R takes it up."] if crashed else []
    return "\n".join([_WHAT, *who, *cut, _TRY])


def _who(panel: Sequence[str]) -> Sequence[str]:
    if not panel:
        return ["No model is in the panel yet: /models lists those that can be asked by name."]
    if all(model.startswith(_LOCAL) for model in panel):
        return [
            f"Here {', '.join(panel)} answers, in several voices: free, small, often wrong.",
            "Set OPENAI_API_KEY to ask better models.",
        ]
    return [f"The panel that answers: {', '.join(panel)}."]
