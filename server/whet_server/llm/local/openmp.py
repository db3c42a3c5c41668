"""The OpenMP runtime that llama.cpp is linked to, for systems that have none: small images leave libgomp out.

It is carried by a package of which nothing else is used, under a file name of that package's own. The child finds it
through a folder that holds a link of the right name while the library is loaded.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

CARRIER: Final = "pykdtree"
_NEEDED: Final = "libgomp.so.1"


@contextmanager
def openmp() -> Iterator[Mapping[str, str]]:
    """Yield the environment in which the child finds the runtime; empty, where the carrier is not installed and the
    system's own must do.
    """
    library = carried()
    if library is None:
        yield {}
        return
    with TemporaryDirectory(prefix="whet-openmp-") as folder:
        (Path(folder) / _NEEDED).symlink_to(library)
        yield {"LD_LIBRARY_PATH": folder}


def carried(package: str = CARRIER) -> Path | None:
    """Return the runtime that the package carries, which is found and not imported; None when there is none."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    beside = Path(spec.origin).parent.parent / f"{package}.libs"
    return next(iter(sorted(beside.glob("libgomp*.so*"))), None)
