"""Starts the command `platelet-em`, also as `python -m _platelet_em`."""

import sys

from _platelet_em.commands.cli import main

__all__ = ["run"]


def run() -> int:
    """Run the command line; returns its exit code."""
    return main()


if __name__ == "__main__":
    sys.exit(run())
