import subprocess
import sys
from pathlib import Path

from whet_server.llm.local.openmp import carried, openmp


def test_the_carried_runtime_is_the_one_that_a_child_loads() -> None:
    with openmp() as environment:
        code = "import ctypes; ctypes.CDLL('libgomp.so.1'); print(open('/proc/self/maps').read())"
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    library = carried()
    assert library is not None
    assert str(library) in run.stdout


def test_the_link_is_gone_once_the_library_is_loaded() -> None:
    with openmp() as environment:
        folder = Path(environment["LD_LIBRARY_PATH"])
        assert folder.is_dir()
    assert not folder.exists()


def test_a_system_without_the_carrier_uses_its_own_runtime() -> None:
    assert carried("no_such_package") is None
