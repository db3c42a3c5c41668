"""Values of data sets; `proto/whet/v1/dataset.proto` documents each field under its name."""

from enum import StrEnum
from typing import Any, Final, TypeAlias

from whet_server.judging import Item
from whet_server.values import Value

RowFields: TypeAlias = dict[str, Any]
"""A row: columns to JSON values."""


class Split(StrEnum):
    TRAIN = "train"
    DEV = "dev"
    HOLDOUT = "holdout"


class DataFormat(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


class ColumnType(StrEnum):
    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    JSON = "json"


DEFAULT_SHARES: Final = (0.6, 0.2, 0.2)
"""Train, dev and hold-out, as the contract says."""


class SplitPolicy(Value):
    """How rows come into splits; see `split.filled` for what is not said."""

    train: float = 0.0
    dev: float = 0.0
    holdout: float = 0.0
    group: str = ""
    column: str = ""
    salt: str = ""


class Column(Value):
    name: str
    type: ColumnType
    optional: bool = False


class SplitCount(Value):
    split: Split
    rows: int


class Dataset(Value):
    """One version, as it is kept and shown. Only tags and the seal ever change."""

    name: str
    version: int
    description: str = ""
    columns: tuple[Column, ...] = ()
    row_schema: str = ""
    rows: int = 0
    splits: tuple[SplitCount, ...] = ()
    policy: SplitPolicy = SplitPolicy()
    key: str = ""
    tags: tuple[str, ...] = ()
    digest: str = ""
    source: str = ""
    create_ns: int = 0
    role: str = ""
    sealed: bool = True
    open_ns: int | None = None
    open_run_id: str = ""
    open_reason: str = ""
    seen_rows: int = 0
    run_id: str = ""

    def count(self, split: Split) -> int:
        """Return how many rows the split has."""
        return next((count.rows for count in self.splits if count.split is split), 0)

    @property
    def sealed_rows(self) -> int:
        return self.count(Split.HOLDOUT) if self.sealed else 0


class Row(Value):
    row_id: str
    number: int
    split: Split
    json: str


class Header(Value):
    """What is stored: the first message of an upload."""

    name: str
    format: DataFormat | None = None
    source: str = ""
    sha256: str = ""
    description: str = ""
    key: str = ""
    policy: SplitPolicy | None = None
    row_schema: str = ""
    new_columns: bool = False
    append: bool = False
    tags: tuple[str, ...] = ()

    @property
    def file_format(self) -> DataFormat:
        """The format that was said, else by the ending of the source's name, else JSONL."""
        ending = self.source.lower().rpartition(".")[2]
        by_name = DataFormat(ending) if ending in frozenset(DataFormat) else DataFormat.JSONL
        return self.format or by_name


class DatasetRef(Value):
    """Rows of a data set, and which column means what. No split: every row that is not under seal."""

    name: str = ""
    version: int = 0
    split: Split | None = None
    limit: int = 0
    input: str = ""
    candidates: tuple[str, ...] = ()
    reference: str = ""
    writer: str = ""


class Selection(Value):
    """What a reference stands for. `sealed_rows` were left out because they are under seal."""

    items: tuple[Item, ...]
    name: str
    version: int
    split: Split | None
    sealed_rows: int


class Readable(Value):
    """Rows that were given out, in the order of the file."""

    dataset: Dataset
    rows: tuple[Row, ...]
    sealed_rows: int
