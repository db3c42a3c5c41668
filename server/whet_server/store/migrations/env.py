"""What alembic runs: the migrations, on the connection and in the transaction of `store/migrate.py`."""

from alembic import context

from whet_server.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,  # SQLite alters a table by building it anew
    transactional_ddl=True,  # the caller's transaction is a real one
)
with context.begin_transaction():
    context.run_migrations()
