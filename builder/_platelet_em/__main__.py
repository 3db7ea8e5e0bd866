"""Starts the command `platelet-em`, also as `python -m _platelet_em`.

Importing the command takes seconds; Ctrl-C during that time is handled as later on.
"""

import sys

__all__ = ["run"]


def run() -> int:
    """Run the command line; returns its exit code."""
    try:
        from _platelet_em.commands.cli import main  # noqa: PLC0415  # takes seconds
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201  # a command's output
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(run())
