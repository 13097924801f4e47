"""What Alembic runs around the migrations: on the connection and in the transaction of whoever asks."""

from alembic import context

from resources.ledger.schema import METADATA


def run() -> None:
    """Run the migrations on the connection in `attributes`."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=METADATA, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


if __name__ == "env_py":  # so Alembic names this file; under any other name it is only read
    run()
