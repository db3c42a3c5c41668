"""Generate the Python of the contract: `python proto/generate.py OUT` writes `OUT/whet/v1/*`.

`make proto` writes to `proto/gen`; `make check` writes to a temporary folder and compares. The tools are those of the
lock file, so the result is the same on every machine.
"""

import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
DOOR = '"""The contract of Whet, generated from `proto/whet/v1`."""\n'


def generate(out: Path) -> int:
    """Generate messages, stubs and types below `out`; return protoc's exit code."""
    out.mkdir(parents=True, exist_ok=True)
    include = Path(protoc.__file__).resolve().parent / "_proto"
    sources = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("whet/**/*.proto"))
    code: int = protoc.main(
        [
            "protoc",
            f"-I{ROOT}",
            f"-I{include}",
            f"--python_out={out}",
            f"--grpc_python_out={out}",
            f"--mypy_out=quiet:{out}",
            f"--mypy_grpc_out=quiet,only_async:{out}",
            *sources,
        ]
    )
    for package in (out / "whet", out / "whet" / "v1"):
        (package / "__init__.py").write_text(DOOR, encoding="utf-8")
        (package / "py.typed").write_text("", encoding="utf-8")
    # Files without a service yield empty stubs that nobody imports.
    for stub in out.glob("whet/v1/*_pb2_grpc.py"):
        source = ROOT / "whet" / "v1" / stub.name.replace("_pb2_grpc.py", ".proto")
        if "\nservice " not in source.read_text(encoding="utf-8"):
            stub.unlink()
            stub.with_suffix(".pyi").unlink(missing_ok=True)
    return code


if __name__ == "__main__":
    sys.exit(generate(Path(sys.argv[1])))
