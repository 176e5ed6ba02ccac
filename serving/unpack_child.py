"""The process that unpacks an untrusted archive: `python -m serving.unpack_child ARCHIVE DIRECTORY`.

Prints one line of JSON: {}, or {"problem"} for an archive that is refused. Any other trouble, such as a full disk, is
told by its exit status. Its memory is bounded: a zip's list of members alone may be as large as the archive.
"""

import json
import resource
import sys
from pathlib import Path

from hotswap.domain.errors import ValidationFailed
from serving.artifacts import refused, unpack

MOST_MEMORY_BYTES = 1024**3
"""Of its address space, of which Python and its libraries take a tenth."""


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(json.dumps(look(Path(sys.argv[1]), Path(sys.argv[2]))))  # noqa: T201 - this is its answer


def look(archive: Path, into: Path) -> dict[str, str]:
    """Unpack the archive, and return what is wrong with it, if anything is."""
    try:
        unpack(archive, into)
    except ValidationFailed as error:
        problem = error
    except MemoryError:
        problem = refused(f"to unpack it takes more than {MOST_MEMORY_BYTES} bytes of memory")
    else:
        return {}
    return {"problem": problem.details[0].message}


if __name__ == "__main__":
    main()
