"""Adding a command to the parser."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Commands = argparse._SubParsersAction


def add_command(
    commands: Commands, name: str, *, action: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    """A command that calls `action` with its options; `action` returns the exit status."""
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(command=action)
    return command


def positive(text: str) -> int:
    """A number of things, for an option (else ArgumentTypeError)."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of 1 or more")
    return int(text)


def natural(text: str) -> int:
    """A seed, for an option (else ArgumentTypeError)."""
    if not text.isascii() or not text.isdigit() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 to {2**31 - 1}")
    return int(text)
