"""Prepares what the parts of a stack need before they start: directories, keys, bucket, database, Envoy's files.

Each task is a process of its own, `python -m hotswap.bootstrap TASK`, so what it imports is gone when it is done. Each
may be run again.

- `keys`: the keys and tokens under `HOTSWAP_DATA_DIR`.
- `bucket`: the bucket that the settings name.
- `database`: the application's role and database, then the migrations.
- `envoy`: Envoy's bootstrap configuration, and empty resources where there are none, so that Envoy can start before its
  agent has ever run.
"""
