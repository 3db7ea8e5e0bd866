"""The command `platelet-em`, also as `python -m _platelet_em`: it can be stopped from the start.

Importing what the command needs takes seconds, in which Ctrl-C is no error either.
"""

import sys

__all__ = ["run"]


def run() -> int:
    """Run the command line; returns its exit code."""
    try:
        from _platelet_em.commands.cli import main  # noqa: PLC0415  # that is what takes so long
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201  # as the command itself says it
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(run())
