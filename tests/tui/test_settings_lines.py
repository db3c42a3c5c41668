"""The plain conversation against the scripted session: what a server cannot be made to do on demand."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from whet_agent.events import ApprovalAsked, ApprovalDecided, AssistantSaid, TurnEnded
from whet_tui.bridge import arrange
from whet_tui.cli.lines import Behind, Lines
from whet_tui.schema import ChatTable
from whet_tui.scripted import ScriptedSession


class Stage:
    """A person whose lines are written down, and a session that answers when something is told."""

    def __init__(self, behind: Behind, typed: list[str], **more: object) -> None:
        self.behind = behind
        self.session = behind.wait(self._session())
        self.told: list[str] = []
        self.react: Callable[[str], None] = lambda _: None
        self._typed = iter(typed)
        stage = self

        class Told(Lines):
            def _tell(self, line: str) -> None:
                super()._tell(line)
                stage.told.append(line)
                stage.react(line)

        self.lines = Told(self.session, behind, read=self._read, **more)  # type: ignore[arg-type]  # names of Lines

    async def _session(self) -> ScriptedSession:
        session = ScriptedSession()
        await session.open()
        return session

    def _read(self, prompt: str) -> str:
        try:
            return next(self._typed)
        except StopIteration:
            raise EOFError from None

    def converse(self) -> None:
        with pytest.raises(EOFError):
            self.lines.converse()


@pytest.fixture
def behind() -> Iterator[Behind]:
    behind = Behind()
    yield behind
    behind.close()


async def answered(session: ScriptedSession, *, after: int = 1) -> None:
    await session.until_asked(after, "sent")
    await session.tell(
        AssistantSaid(turn=after, step=1, text="Yes.", author="scripted mind"), TurnEnded(turn=after, state="done")
    )


def test_silence_is_broken_by_a_milestone(behind: Behind) -> None:
    stage = Stage(behind, ["hello"], editor="vi", milestone=0.05)
    stage.react = lambda line: behind.start(answered(stage.session)) if "still working" in line else None
    stage.converse()
    assert stage.session.sent == ["hello"]
    assert "... still working, $0" in stage.told
    assert stage.told[-2:] == ["Yes.", "-- scripted mind"]
    assert "> hello" not in stage.told


async def asked(session: ScriptedSession) -> None:
    await session.until_asked(1, "sent")
    await session.tell(
        ApprovalAsked(
            turn=1,
            key="k",
            approval_id="apr_1",
            tool="fanout",
            summary="Ask many",
            effect="spends",
            arguments_json='{"prompt": "tea"}',
            digest="d",
            worst_cost_nanos=1,
            expires_at="12:00",
        )
    )
    await session.until_asked(1, "decisions")
    await session.tell(
        ApprovalDecided(turn=1, key="k", approval_id="apr_1", granted=False), TurnEnded(turn=1, state="done")
    )


def test_only_a_whole_word_decides_and_a_reason_is_passed_on(behind: Behind) -> None:
    typed = ["hello", "", "1", "y", "approve now", "reject too dear"]
    stage = Stage(behind, typed, editor="vi")
    behind.start(asked(stage.session))
    stage.converse()
    assert stage.session.decisions == [("apr_1", False)]
    assert stage.session.reasons == {"apr_1": "too dear"}
    assert stage.told.count("Nothing is decided.") == 4


def test_arguments_are_changed_in_the_persons_editor(behind: Behind, tmp_path: Path) -> None:
    script = tmp_path / "edit.py"
    script.write_text(
        "import sys, pathlib as p; f = p.Path(sys.argv[1]); f.write_text(f.read_text().replace('tea', 'milk'))"
    )
    stage = Stage(behind, ["hello", "edit"], editor=f"{sys.executable} {script}")
    behind.start(asked(stage.session))
    stage.converse()
    assert json.loads(stage.session.edits["apr_1"]) == {"prompt": "milk"}


def test_a_new_session_begins_in_the_mode_of_the_settings(behind: Behind) -> None:
    stage = Stage(behind, [], editor="vi")
    behind.wait(arrange(stage.session, ChatTable(approval_mode="allowance", allowance=0.25)))
    stage.converse()
    assert (stage.lines._view.status.mode, stage.lines._view.status.allowance_nanos) == ("allowance", 250_000_000)
