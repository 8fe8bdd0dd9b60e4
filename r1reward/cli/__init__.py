"""The command `r1reward`: from running the paper to judging a pair; its commands lie here by subject."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from r1reward import __version__
from r1reward.cli import data, judge, launch, mini, pipeline


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status. Errors of use are one message, not a traceback."""
    options = make_parser().parse_args(arguments)
    try:
        return options.command(options)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on where it can", file=sys.stderr)
        return 130
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        if options.traceback:
            raise
        print(f"r1reward: {error}", file=sys.stderr)
        return 2


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; `command` of what it returns is the function to call."""
    parser = argparse.ArgumentParser(prog="r1reward", description="Re-run the R1-Reward paper.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for subject in (pipeline, judge, launch, data, mini):
        subject.add_commands(commands)
    return parser
