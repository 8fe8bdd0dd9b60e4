"""The command `mini build-base`: the tiny model."""

from __future__ import annotations

import argparse
from pathlib import Path

from r1reward.cli.command import Commands, add_command, natural, positive


def add_commands(commands: Commands) -> None:
    """Add `mini` with its build."""
    mini = commands.add_parser("mini", help="the tiny model").add_subparsers(required=True, metavar="COMMAND")
    build = add_command(
        mini, "build-base", action=_build_base, text="train the shipped base checkpoint again"
    )
    build.add_argument("--out", type=Path, default=Path("runs/base"), help="folder of the build (runs/base)")
    build.add_argument("--seed", type=natural, default=0, help="seed of weights and lessons (0)")
    build.add_argument("--steps", type=positive, help="updates; fewer than all for a trial")


def _build_base(options: argparse.Namespace) -> int:
    import torch

    from r1reward.train.pretrain import TOTAL_STEPS, build_base

    # The other core draws the pictures, and one thread gives the same weights on any machine of its kind.
    torch.set_num_threads(1)
    final = build_base(options.out, seed=options.seed, steps=options.steps or TOTAL_STEPS)
    print(f"the base model is in {final}")
    return 0
