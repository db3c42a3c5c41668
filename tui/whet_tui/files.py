"""The files below a folder that a message can mention, and what of them is sent along."""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

_MOST: Final = 10_000
"""Files that are offered: looking through so many takes a few milliseconds a key."""
_GIT_SECONDS: Final = 5.0
_ATTACHED: Final = 100_000
"""Bytes of a file that is sent along whole. A larger one would fill the mind's window."""
_LEFT_OUT: Final = frozenset({"node_modules", "__pycache__", "target", "venv", "dist", "build"})
"""Folders of things that programs made; looked at only where no repository says what counts."""
_FENCE: Final = re.compile(r"^`{3,}", re.MULTILINE)
_ATTACHMENTS: Final = re.compile(r"\n\nAttached file [^\n]+:\n(`{3,})\n.*\Z", re.DOTALL)


def listed(root: Path) -> Sequence[str]:
    """Paths below the folder, relative to it: those that git knows or would take, else those of a bounded walk."""
    found = _listed_by_git(root)
    return list(_walked(root)) if found is None else found


def _listed_by_git(root: Path) -> list[str] | None:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(  # noqa: S603 -- a fixed command line, without a shell
            command, cwd=root, capture_output=True, timeout=_GIT_SECONDS, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None  # no git, or no repository
    names = done.stdout.decode("utf-8", "replace").split("\0")
    return sorted({name for name in names if name and "\ufffd" not in name})[:_MOST]


def _walked(root: Path) -> Iterator[str]:
    count = 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _LEFT_OUT)
        for name in sorted(names):
            if name.startswith("."):
                continue
            yield os.path.relpath(os.path.join(folder, name), root)  # noqa: PTH118 -- ten thousand Paths take a second
            count += 1
            if count >= _MOST:
                return


def fuzzy(query: str, names: Sequence[str], most: int) -> Sequence[str]:
    """The names that hold the letters of the query in their order, those that are probably meant first."""
    if not query:
        return names[:most]
    pattern = re.compile(".*?".join(re.escape(letter) for letter in query), re.IGNORECASE)
    found = [name for name in names if pattern.search(name)]
    return sorted(found, key=lambda name: _rank(query.lower(), name.lower()))[:most]


def _rank(query: str, name: str) -> tuple[int, int, str]:
    last = name.rpartition("/")[2]
    checks = (name == query, last.startswith(query), query in last, name.startswith(query), query in name)
    return next((place for place, holds in enumerate(checks) if holds), len(checks)), len(name), name


def attached(root: Path, name: str) -> str:
    """What is written behind a message that mentions the file: its text in a fence, or why it is not there."""
    path = root / name
    try:
        if not path.is_file():
            return f"\n\n(The file {name} is not attached: it is no ordinary file.)"
        size = path.stat().st_size
        if size > _ATTACHED:
            return f"\n\n(The file {name} is not attached: {size:,} bytes are more than {_ATTACHED:,}.)"
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return f"\n\n(The file {name} is not attached: it is not text.)"
    except OSError as error:
        return f"\n\n(The file {name} is not attached: {error.strerror}.)"
    if "\0" in text:
        return f"\n\n(The file {name} is not attached: it is not text.)"
    fence = "`" * max(3, 1 + max((len(found) for found in _FENCE.findall(text)), default=0))
    return f"\n\nAttached file {name}:\n{fence}\n{text.rstrip()}\n{fence}"


def without_attachments(text: str) -> str:
    """A message as it was typed: what was attached when it was sent is attached anew when it is sent again."""
    return _ATTACHMENTS.sub("", text)
