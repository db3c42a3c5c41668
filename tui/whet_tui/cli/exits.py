"""How a command ends: exit codes, and errors in the words that a person needs."""

import tempfile
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from whet_tui.safe import safe

if TYPE_CHECKING:
    from whet_agent.client import CallError

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
"""The command line or a field of the request is wrong: the same call will never work."""
NEEDS_DECISION: Final = 3
"""A person must decide first."""
REFUSED: Final = 4
"""A gate refuses to decide: what was measured, or who measured it, is not good enough to decide by."""
TRY_AGAIN: Final = 75
"""EX_TEMPFAIL: the same command may work later."""
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141
"""What a shell shows for a program that a closed pipe ended."""

_TRANSIENT: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED"})
_USAGE: Final = frozenset({"INVALID_ARGUMENT", "OUT_OF_RANGE"})


class Stopped(Exception):
    """A command ends early for a reason that it explains itself. `advice` says what to do."""

    def __init__(self, message: str, *, advice: str = "", code: int = FAILED) -> None:
        super().__init__(message)
        self.advice = advice
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What is printed to stderr, and the exit code."""

    lines: tuple[str, ...]
    code: int


def explain(error: Exception, decider: str = "whet") -> Explained:
    """Put an error in a line that says what was wrong and one that says what to do. `decider` is the command line with
    which a person reaches the same server.
    """
    # Loaded only now: a command that works needs none of these by name.
    from whet_agent.catalogue import BadArguments
    from whet_agent.client import CallError
    from whet_agent.connect import ServerMisconfigured, ServerUnavailable
    from whet_tui.settings import SettingsError

    match error:
        case Stopped():
            return _told(str(error), error.advice, error.code)
        case CallError():
            return _refused(error, decider)
        case SettingsError() | BadArguments() | ServerMisconfigured():
            return _told(str(error), "", USAGE)
        case ServerUnavailable():
            return _told(str(error), "", FAILED)
        case OSError():
            named = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            return _told(named, "Check the path, the permissions and the free space.", FAILED)
        case _:
            return _bug(error)


def exit_code(error: "CallError") -> int:
    """Return the code for a call that the server refused."""
    if error.reason == "APPROVAL_REQUIRED":
        return NEEDS_DECISION
    if error.code in _USAGE:
        return USAGE
    return TRY_AGAIN if error.retry_after is not None or error.code in _TRANSIENT else FAILED


def _refused(error: "CallError", decider: str) -> Explained:
    code = exit_code(error)
    if code == NEEDS_DECISION:
        from whet_agent.granting import decide_command  # as above: only a command that is refused needs it

        approval_id, digest = error.metadata.get("approval_id", "ID"), error.metadata.get("digest", "DIGEST")
        advice = f"Decide it with: {decide_command(approval_id, digest, program=decider)}"
    elif error.retry_after is not None:
        advice = f"Try again in {error.retry_after:g} seconds."
    elif error.reason == "INTERNAL":
        advice = f"This is a bug; server.log has the details under {error.metadata.get('correlation_id', 'its id')}."
    else:
        advice = f"Reason {error.reason}, see docs/api.md." if error.reason else ""
    return _told(str(error), advice, code)


def _told(message: str, advice: str, code: int) -> Explained:
    lines = (f"Error: {safe(message)}", safe(advice)) if advice else (f"Error: {safe(message)}",)
    return Explained(lines=lines, code=code)


def _bug(error: Exception) -> Explained:
    """A traceback is for a report, not for the terminal."""
    with tempfile.NamedTemporaryFile("w", prefix="whet-error-", suffix=".txt", delete=False, encoding="utf-8") as file:
        traceback.print_exception(error, file=file)
    return _told(f"This is a bug in whet: {type(error).__name__}.", f"Please report it with {file.name}.", FAILED)
