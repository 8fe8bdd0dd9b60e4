"""Training: on a cluster (`launch sft` and `launch rl`), and of the tiny base model (`mini build-base`)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from r1reward.cli.command import Commands, add_command, natural, positive


def add_commands(commands: Commands) -> None:
    """Add `launch` with its two trainings, and `mini` with its build."""
    launch = commands.add_parser("launch", help="training on a cluster")
    launch = launch.add_subparsers(required=True, metavar="COMMAND")
    _add_launch(
        add_command(launch, "sft", action=_launch_sft, text="the cold start on several GPUs: DeepSpeed")
    )
    rl = add_command(launch, "rl", action=_launch_rl, text="RL on OpenRLHF: Ray, DeepSpeed and vLLM")
    _add_launch(rl)
    rl.add_argument("--judges", type=Path, help="folder of trained consistency judges (no server)")
    rl.add_argument("--address", help="Ray cluster to join; RAY_ADDRESS, or this machine alone")
    mini = commands.add_parser("mini", help="the tiny model").add_subparsers(required=True, metavar="COMMAND")
    build = add_command(
        mini, "build-base", action=_build_base, text="train the shipped base checkpoint again"
    )
    build.add_argument("--out", type=Path, default=Path("runs/base"), help="folder of the build (runs/base)")
    build.add_argument("--seed", type=natural, default=0, help="seed of weights and lessons (0)")
    build.add_argument("--steps", type=positive, help="updates; fewer than all for a trial")


def _add_launch(command: argparse.ArgumentParser) -> None:
    command.add_argument("--profile", default="paper", help="name, name+preset or TOML file (paper)")
    command.add_argument("--start", required=True, help="folder of the checkpoint to start from")
    command.add_argument("--data", type=Path, required=True, help="sft.jsonl or rl.jsonl of notebook 01")
    command.add_argument("--out", type=Path, required=True, help="folder of the run, seen by all machines")
    command.add_argument("--seed", type=natural, default=0, help="of the order of examples, of rollouts (0)")
    command.add_argument("--dry-run", action="store_true", help="write everything and print what would run")


def _common(options: argparse.Namespace) -> dict[str, Any]:
    return {"start": options.start, "out": options.out, "seed": options.seed}


def _launch_sft(options: argparse.Namespace) -> int:
    from r1reward.cluster.sft import command, launch
    from r1reward.config import load_profile

    words = command(load_profile(options.profile), examples=options.data, **_common(options))
    print(" ".join(words))
    if not options.dry_run:
        launch(words)
        print(f"the trained model is in {options.out / 'model'}")
    return 0


def _launch_rl(options: argparse.Namespace) -> int:
    from r1reward.cluster.launch import prepare, run
    from r1reward.config import load_profile

    profile = load_profile(options.profile)
    launch = prepare(profile, pairs=options.data, judges=options.judges, **_common(options))
    print(launch.command())
    if not options.dry_run:
        print(f"the trained model is in {run(launch, address=options.address)}")
    return 0


def _build_base(options: argparse.Namespace) -> int:
    import torch

    from r1reward.train.pretrain import TOTAL_STEPS, build_base

    # The other core draws the pictures, and one thread gives the same weights on any machine of its kind.
    torch.set_num_threads(1)
    final = build_base(options.out, seed=options.seed, steps=options.steps or TOTAL_STEPS)
    print(f"the base model is in {final}")
    return 0
