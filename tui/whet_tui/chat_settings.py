"""What the chat is told at start."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMind:
    """A tool-calling model behind an OpenAI-compatible API, as `whet_agent.session.MindSettings` wants it."""

    base_url: str
    api_key: str = field(repr=False)
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings:
    """Plain values only: the agent's own classes are loaded after the first frame, and this module must not load them
    before it.
    """

    data: Path
    """The data directory. Sessions live in its `agent/`, stray output of libraries goes to its `chat.log`."""
    config: Path | None = None
    address: str = ""
    """Empty: the embedded server of `data`."""
    token: str = field(default="", repr=False)
    agent_token: str = field(default="", repr=False)
    mind: ChatMind | None = None
    """None: the offline planner thinks."""
    resume: str = ""
    """The session to take up; empty for a new one."""
    theme: str = "dark"
    """`dark`, `light`, or the name of a Textual theme."""

    @property
    def sessions(self) -> Path:
        return self.data / "agent"

    @property
    def log(self) -> Path:
        return self.data / "chat.log"
