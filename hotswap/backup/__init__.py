"""`hotswap backup` and `hotswap restore`: one archive with the database, and with the artifacts and keys if asked for.

Temporal's histories are not in it: they can't be read at the same moment as the rows. After a restore the rows say what
was under way, and the reconciler ends those deployments (docs/decisions/0040-backup-by-rows.md).
"""
