"""Layout of the embedded stack's files: one data directory, and nothing outside it but Ray's short socket path.

Invariants: secrets lie in a directory that only their owner may enter; PostgreSQL's files belong to the user that its
server runs as, which is `nobody` when we are root, since PostgreSQL refuses root. What would fail a minute later with
an obscure message (a parent directory that `nobody` can't traverse, a path that SQLite reads as a query) is refused
here with a clear one.
"""

import hashlib
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

ADMIN_URL = "HOTSWAP_STACK_ADMIN_URL"
"""Names the variable with a URL that may make roles and databases."""


class StackError(Exception):
    """The stack can't do what was asked; the message is for a person and says what would help."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one stack; `data` is absolute."""

    data: Path

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def run(self) -> Path:
        return self.data / "run"

    @property
    def secrets(self) -> Path:
        return self.data / "secrets"

    @property
    def shell(self) -> Path:
        """The directory for `CURL_HOME`, with the `.curlrc` that holds the development token."""
        return self.data / "shell"

    @property
    def lock(self) -> Path:
        return self.run / "lock"

    @property
    def processes(self) -> Path:
        return self.run / "processes.json"

    @property
    def state(self) -> Path:
        """The state file of the running stack: supervisor, ports, readiness."""
        return self.run / "stack.json"

    @property
    def holds(self) -> Path:
        """The parts that are to stay down."""
        return self.run / "holds.json"

    @property
    def options(self) -> Path:
        """The options that the next start takes over from this one if it has none: the ports."""
        return self.data / "options.json"

    @property
    def postgres(self) -> Path:
        return self.data / "postgres"

    @property
    def valkey(self) -> Path:
        return self.data / "valkey"

    @property
    def s3(self) -> Path:
        return self.data / "s3"

    @property
    def temporal(self) -> Path:
        return self.data / "temporal"

    @property
    def ray_state(self) -> Path:
        return self.data / "ray"

    @property
    def ray_temp(self) -> Path:
        """A directory for Ray outside of the data directory: its sockets' paths there may have 107 bytes.

        Only its owner may enter it.
        """
        return Path("/tmp") / f"hs-{_digest(self.data)}"  # noqa: S108  its owner is checked in `create`

    @property
    def ray_sessions(self) -> Path:
        """The directory of Ray's sessions; Ray opens it to every user, and so it lies in one that is closed."""
        return self.ray_temp / "r"

    @property
    def ray_last_logs(self) -> Path:
        """The logs of Ray's last session, once the stack has ended."""
        return self.logs / "ray.last"

    @property
    def envoy(self) -> Path:
        return self.data / "envoy"

    @property
    def cache(self) -> Path:
        return self.data / "cache"

    @property
    def spool(self) -> Path:
        return self.data / "spool"

    def log(self, part: str) -> Path:
        return self.logs / f"{part}.log"

    def ready_file(self, part: str) -> Path:
        return self.run / f"{part}.ready"


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def default_data_dir() -> Path:
    """Return `HOTSWAP_DATA_DIR`, or the user's XDG data directory; for root one that PostgreSQL's user can reach."""
    if chosen := os.environ.get("HOTSWAP_DATA_DIR"):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/lib/hotswap")
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "hotswap"


def locate(data_dir: Path | None) -> Layout:
    """Return the layout of a data directory, which need not exist."""
    return Layout((data_dir or default_data_dir()).expanduser().absolute())


def server_user() -> pwd.struct_passwd | None:
    """Return the user of PostgreSQL: nobody when we are root, otherwise ourselves (None)."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def traversable_by_others(path: Path) -> Path | None:
    """Return the first directory on the way to `path` that other users can't enter, or None."""
    for directory in reversed((path / "x").parents):
        if directory.exists() and not directory.stat().st_mode & stat.S_IXOTH:
            return directory
    return None


def create(layout: Layout) -> None:
    """Make the directories, with the modes that keep secrets secret.

    Raises:
        StackError: the place can't hold a stack.
    """
    if "?" in str(layout.data) or "\n" in str(layout.data):
        raise StackError(f"the data directory {layout.data} has a character that SQLite can't open; choose another")
    as_root = os.geteuid() == 0
    try:
        layout.data.mkdir(mode=0o711 if as_root else 0o700, parents=True, exist_ok=True)
        for open_to_owner in (layout.logs, layout.run, layout.secrets, layout.shell, layout.valkey, layout.s3):
            _private(open_to_owner)
        for open_to_owner in (layout.temporal, layout.ray_state, layout.envoy, layout.cache, layout.spool):
            _private(open_to_owner)
    except OSError as error:
        raise StackError(f"can't use the data directory {layout.data}: {error.strerror}; choose --data-dir") from None
    if as_root and (closed := traversable_by_others(layout.data)):
        raise StackError(
            f"PostgreSQL runs as 'nobody' here (it refuses root), who can't pass {closed}; "
            f"choose a --data-dir that ordinary users can reach, such as /var/lib/hotswap"
        )
    _own_temp(layout.ray_temp)


def _private(directory: Path) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    directory.chmod(0o700)


def _own_temp(directory: Path) -> None:
    """Check that we own a directory under the shared /tmp: somebody else could have made it first."""
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise StackError(f"{directory} belongs to another user; remove it")
    directory.chmod(0o700)
