"""Say whether a guard's event log is as it was written: ``python -m bci.safety.verify FILE``."""

from __future__ import annotations

import sys

from bci.safety.eventlog import verify


def main(paths: list[str]) -> int:
    """Verify the logs; return the exit code: 0, 1 for a log that was changed, 2 without a log."""
    code = 0 if paths else 2
    for path in paths:
        try:
            print(f"{path}: {verify(path)} records, as they were written")  # noqa: T201  # a program of its own
        except (OSError, ValueError) as error:
            sys.stderr.write(f"{error}\n")
            code = 1
    if not paths:
        sys.stderr.write("usage: python -m bci.safety.verify FILE [FILE ...]\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
