"""Environments of the peers, each its own: their versions of shared packages exclude each other."""

import subprocess
import sys
from pathlib import Path
from typing import Final

FOLDER: Final = Path(".venv-peers")


def prepare(name: str, *more: str, maker: str = sys.executable) -> str:
    """Make the environment of a peer if it is missing; return its interpreter. `more` are packages beside it, `maker`
    is the Python it is made with.

    Raises `CalledProcessError` when the package cannot be installed.
    """
    folder = FOLDER.absolute() / name
    python = str(folder / "bin" / "python")
    if not (folder / ".ready").exists():
        print(f"Installing {name} into {folder} ...", flush=True)
        subprocess.run([maker, "-m", "venv", str(folder)], check=True)  # noqa: S603 -- Python's own module
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", name, *more]
        subprocess.run(install, check=True)  # noqa: S603 -- our own list of packages
        (folder / ".ready").touch()
    return python
