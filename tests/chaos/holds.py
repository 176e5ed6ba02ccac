"""Holds a deployment inside the work of one of its phases, on the real PostgreSQL, until the test lets it go.

A trigger waits for an advisory lock that the test has, so that whoever writes to the deployment's row in that phase (or
asks for its replicas) is stuck in the middle of a transaction: the worst moment to be killed, frozen or called back.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from hotswap.domain.lifecycle import DeploymentStatus

TRIGGERS = """
CREATE OR REPLACE FUNCTION hold_for_a_test() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE place text;
BEGIN
    IF TG_TABLE_NAME = 'deployments' THEN
        place := (SELECT name FROM models WHERE model_id = NEW.model_id) || ' ' || NEW.status;
    ELSE
        place := NEW.model || ' Deploying';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(place, 0));
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER hold_for_a_test BEFORE UPDATE ON deployments
    FOR EACH ROW WHEN (OLD.status = NEW.status) EXECUTE FUNCTION hold_for_a_test();
CREATE OR REPLACE TRIGGER hold_for_a_test BEFORE INSERT ON desired_applications
    FOR EACH ROW EXECUTE FUNCTION hold_for_a_test();
"""


class Hold:
    """A lock that somebody is to get stuck at; gone with its connection."""

    def __init__(self, url: str, lock: str, *given: str) -> None:
        self._connection = psycopg.connect(url)
        self._connection.execute(lock, given)
        self._backend = self._connection.info.backend_pid

    @property
    def is_reached(self) -> bool:
        """Whether somebody is stuck at it now."""
        stuck = "SELECT count(*) FROM pg_locks WHERE NOT granted AND %s = ANY(pg_blocking_pids(pid))"
        row = self._connection.execute(stuck, [self._backend]).fetchone()
        return row is not None and row[0] > 0

    def release(self) -> None:
        self._connection.close()


def hold_in(phase: DeploymentStatus, url: str, model: str) -> Hold:
    """Whoever works at that phase of the model's deployment, with `triggers`."""
    return Hold(url, "SELECT pg_advisory_lock(hashtextextended(%s, 0))", f"{model} {phase}")


def hold_before_put(url: str) -> Hold:
    """Whoever has seen what Ray Serve was told, and is to tell it something else."""
    return Hold(url, "LOCK TABLE leases IN EXCLUSIVE MODE")


@contextmanager
def triggers(url: str) -> Iterator[None]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TRIGGERS)
        yield
        connection.execute("DROP FUNCTION hold_for_a_test CASCADE")
