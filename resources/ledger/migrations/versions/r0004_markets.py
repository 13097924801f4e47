"""What was read of each market up to when; several markets, moments and slots in one home."""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    """
CREATE TABLE market_cuts (
    market TEXT NOT NULL, as_of TEXT NOT NULL, PRIMARY KEY (market, as_of)) STRICT""",
)


def upgrade() -> None:
    """Add columns and tables; every row is kept."""
    for statement in STATEMENTS:
        op.execute(statement)
