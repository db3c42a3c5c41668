"""Data sets as the terminal draws them. Fields have the names of the contract, see proto/whet/v1/dataset.proto."""

from dataclasses import dataclass, field
from enum import StrEnum


class Split(StrEnum):
    TRAIN = "train"
    DEV = "dev"
    HOLDOUT = "holdout"

    @property
    def words(self) -> str:
        return "hold-out" if self is Split.HOLDOUT else self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    name: str
    type: str
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCount:
    split: Split
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPolicy:
    """How rows came into splits: by shares, or by a column that says it."""

    train: float = 0.0
    dev: float = 0.0
    holdout: float = 0.0
    group: str = ""
    column: str = ""
    salt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One version of a data set."""

    name: str
    version: int
    rows: int = 0
    description: str = ""
    columns: tuple[Column, ...] = ()
    row_schema: str = ""
    splits: tuple[SplitCount, ...] = ()
    policy: SplitPolicy = field(default_factory=SplitPolicy)
    key: str = ""
    tags: tuple[str, ...] = ()
    digest: str = ""
    source: str = ""
    create_ns: int = 0
    role: str = ""
    sealed: bool = False
    open_ns: int = 0
    open_run_id: str = ""
    open_reason: str = ""
    seen_rows: int = 0
    run_id: str = ""

    def rows_of(self, split: Split | None) -> int:
        """The rows of a split; without a split, all that are not under seal."""
        if split is None:
            return self.rows - (self.rows_of(Split.HOLDOUT) if self.sealed else 0)
        return sum(count.rows for count in self.splits if count.split is split)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    row_id: str
    number: int
    split: Split = Split.TRAIN
    json: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPage:
    """Some rows in their order."""

    rows: tuple[Row, ...] = ()
    next_page_token: str = ""
    """Asks for the next page; empty on the last."""
    sealed_rows: int = 0
    """Rows that are left out because they are under seal."""
