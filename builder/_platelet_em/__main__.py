"""Starts the command `platelet-em`, also as `python -m _platelet_em`.

Importing the command takes seconds; Ctrl-C during that time is handled as later on.
"""

import sys

from _platelet_em import __version__

__all__ = ["run"]


def run() -> int:
    """Run the command line; returns its exit code."""
    if sys.argv[1:] == ["--version"]:
        print(f"platelet-em {__version__}")  # noqa: T201  # without the imports
        return 0
    try:
        from _platelet_em.commands.cli import main  # noqa: PLC0415  # takes seconds
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201  # a command's output
        return 130
    except Exception as error:  # too little memory shows in many ways
        if "--debug" in sys.argv:
            raise
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        print(  # noqa: T201
            f"platelet-em: cannot be started ({reason}): this process has too little memory, or "
            "the installation is damaged, see --debug",
            file=sys.stderr,
        )
        return 1
    return main()


if __name__ == "__main__":
    sys.exit(run())
