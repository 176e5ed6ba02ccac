"""The truth, in PostgreSQL: tables, migrations, repositories behind `hotswap.ports`, and the recorder."""
