"""The commands `data ...`: original data sets, exports, the picture budget of a checkpoint."""

from __future__ import annotations

import argparse
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from r1reward.cli.command import Commands, add_command

if TYPE_CHECKING:
    from r1reward.settings import Profile


def add_commands(commands: Commands) -> None:
    """Add `data` with what belongs to it."""
    data = commands.add_parser("data", help="the training data")
    data = data.add_subparsers(required=True, metavar="COMMAND")
    text = "what is there of the data sets, what is missing"
    check = add_command(data, "check", action=_check_data, text=text)
    fetch = add_command(data, "fetch", action=_fetch_data, text="download data sets from the hub")
    fetch.add_argument("names", nargs="+", metavar="NAME", help="data sets, as `data check` prints them")
    for command in (check, fetch):
        command.add_argument("--root", type=Path, help="folder of all data sets; the profile's, if not given")
        command.add_argument("--profile", default="", help="name or TOML file: its folders and its sources")
    export = add_command(data, "export", action=_export, text="write pairs in the form of another trainer")
    forms = "trl, llama_factory (either with _preference: DPO, reward models), openrlhf, authors or arrow"
    export.add_argument("--format", required=True, metavar="FORM", help=forms)
    export.add_argument("--pairs", type=Path, required=True, help="pairs.jsonl, rl.jsonl or sft.jsonl")
    export.add_argument("--out", type=Path, required=True, help="folder of the export")
    prompts = ("paper", "mini", "paper_fenced", "mini_fenced")
    export.add_argument("--prompt", choices=prompts, default="paper", help="judge prompt (paper)")
    text = "limit the pictures of a checkpoint's processor"
    budget = add_command(data, "picture-budget", action=_picture_budget, text=text)
    budget.add_argument("--model", type=Path, required=True, help="folder of a checkpoint; changed in place")
    budget.add_argument("--min-pixels", type=int, help="smallest picture area (784)")
    budget.add_argument("--max-pixels", type=int, help="largest picture area (501760)")


def _profile(options: argparse.Namespace) -> Profile | None:
    from r1reward.config import load_profile

    return load_profile(options.profile) if options.profile else None


def _check_data(options: argparse.Namespace) -> int:
    from r1reward.data.catalogue import examine, find_roots, report

    profile = _profile(options)
    states = examine(find_roots(options.root, profile), sources=profile.data.sources if profile else ())
    print("\n".join(report(states)))
    needed = [state for state in states if state.needed]
    missing = [state.spec.name for state in needed if state.missing]
    names = ", ".join(missing or [state.spec.name for state in needed])
    print(f"files are missing of {names}" if missing else f"all that is needed is there: {names}")
    return 1 if missing else 0


def _fetch_data(options: argparse.Namespace) -> int:
    from r1reward.data.catalogue import fetch, find_roots

    for name, folder in fetch(options.names, find_roots(options.root, _profile(options))):
        print(f"{name} is in {folder}")
    return 0


def _export(options: argparse.Namespace) -> int:
    from r1reward.data.exports import export_items
    from r1reward.data.storage import iterate_items

    items = iterate_items(options.pairs.resolve())
    first = next(items, None)
    if first is None:
        raise ValueError(f"{options.pairs} holds no row: there is nothing to export")
    items = chain([first], items)
    folder = export_items(items, options.out.resolve(), form=options.format, prompt=options.prompt)
    print(f"wrote {folder}")
    return 0


def _picture_budget(options: argparse.Namespace) -> int:
    from pydantic import ValidationError

    from r1reward.engines.loading import write_picture_budget
    from r1reward.settings import ModelSettings

    given = {"min_pixels": options.min_pixels, "max_pixels": options.max_pixels}
    try:
        settings = ModelSettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        faults = (f"{' '.join(map(str, fault['loc']))} {fault['msg']}".strip() for fault in error.errors())
        raise ValueError("; ".join(faults)) from error
    write_picture_budget(options.model, settings)
    print(f"pictures have {settings.min_pixels} to {settings.max_pixels} pixels in {options.model}")
    return 0
