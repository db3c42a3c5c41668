"""The first tables: runs and their events, request ids, the ledger, endpoints, the cache, approvals."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _runs()
    _ledger()
    op.create_table(
        "endpoint",
        sa.Column("workspace", sa.Text, primary_key=True, nullable=False),
        sa.Column("name", sa.Text, primary_key=True, nullable=False),
        sa.Column("settings", sa.LargeBinary, nullable=False),
        sa.Column("sealed_key", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "cached_answer",
        sa.Column("workspace", sa.Text, primary_key=True, nullable=False),
        sa.Column("key", sa.LargeBinary, primary_key=True, nullable=False),
        sa.Column("expire_ns", sa.Integer, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("cached_answer_by_expiry", "cached_answer", ["expire_ns"])
    op.create_table(
        "approval",
        sa.Column("workspace", sa.Text, primary_key=True, nullable=False),
        sa.Column("approval_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("approval_by_digest", "approval", ["workspace", "digest", "approval_id"])
    op.create_index("approval_by_state", "approval", ["workspace", "state", "approval_id"])


def _runs() -> None:
    op.create_table(
        "run",
        sa.Column("run_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("run_by_workspace", "run", ["workspace", "run_id"])
    op.create_index("run_by_state", "run", ["state", "run_id"])
    op.create_table(
        "event",
        sa.Column("run_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("sequence", sa.Integer, primary_key=True, nullable=False, autoincrement=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "request",
        sa.Column("workspace", sa.Text, primary_key=True, nullable=False),
        sa.Column("request_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )


def _ledger() -> None:
    op.create_table(
        "reservation",
        sa.Column("workspace", sa.Text, primary_key=True, nullable=False),
        sa.Column("reservation_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("billing", sa.Text, nullable=False),
        sa.Column("reserved", sa.Integer, nullable=False),
        sa.Column("settled", sa.Integer, nullable=False),
        sa.Column("input_tokens", sa.Integer, nullable=False),
        sa.Column("output_tokens", sa.Integer, nullable=False),
        sa.Column("estimated", sa.Integer, nullable=False),
        sa.Column("input_price", sa.Integer, nullable=False),
        sa.Column("output_price", sa.Integer, nullable=False),
        sa.Column("create_ns", sa.Integer, nullable=False),
        sa.Column("end_ns", sa.Integer),
        sa.Column("expire_ns", sa.Integer),
    )
    op.create_index("reservation_by_run", "reservation", ["workspace", "run_id"])
    op.create_index("reservation_by_time", "reservation", ["workspace", "create_ns"])
    op.create_index("reservation_by_billing", "reservation", ["billing", "reservation_id"])
    op.create_table(
        "cap",
        sa.Column("workspace", sa.Text, primary_key=True, nullable=False),
        sa.Column("period", sa.Text, primary_key=True, nullable=False),
        sa.Column("limit_nanos", sa.Integer, nullable=False),
    )


def downgrade() -> None:
    for table in ("approval", "cached_answer", "endpoint", "cap", "reservation", "request", "event", "run"):
        op.drop_table(table)
