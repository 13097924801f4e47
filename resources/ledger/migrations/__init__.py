"""Migrations of the ledger, by Alembic. `migrate.upgrade` runs them."""
