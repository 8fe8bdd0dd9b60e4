"""The command `r1reward`: from running the paper to judging a pair; its commands lie here by subject."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from r1reward import __version__
from r1reward.cli import data, judge, pipeline, training

# What a shell reports of a program that wrote to a closed pipe: 128 and SIGPIPE.
CLOSED_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status. What a user can cause is one message, not a traceback."""
    options = make_parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a model may write what a terminal cannot show
    try:
        status = options.command(options)
        _flush()
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on where it can", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has seen enough
        _drop_output()
        return CLOSED_PIPE
    except (ValueError, OSError, RuntimeError, ImportError, MemoryError) as error:
        if options.traceback:
            raise
        print(f"r1reward: {_explain(error)}", file=sys.stderr)
        try:
            _flush()
        except OSError:
            _drop_output()
        return 2
    return status


def _flush() -> None:
    """Write what is buffered; there is no stream where the caller closed it."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _drop_output() -> None:
    """Forget what is still buffered: it has no reader, or no room."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain(error: Exception) -> str:
    """The error in words; the system's name what could not be opened or written."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or ("out of memory" if isinstance(error, MemoryError) else type(error).__name__)


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; `command` of what it returns is the function to call."""
    parser = argparse.ArgumentParser(prog="r1reward", description="Re-run the R1-Reward paper.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for subject in (pipeline, judge, training, data):
        subject.add_commands(commands)
    return parser
