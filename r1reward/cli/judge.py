"""The command `judge`: which of two responses is better, for one pair or a file of pairs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from r1reward.cli.command import Commands, add_command, natural, positive

STATUS = (
    "Exit status: 0 where every pair has a verdict, 1 where one has none or could not be judged, "
    "2 where nothing could be asked; the same command goes on, and asks again what failed."
)


def add_commands(commands: Commands) -> None:
    """Add `judge`."""
    command = add_command(commands, "judge", action=_judge, text="say which of two responses is better")
    command.epilog = STATUS
    command.add_argument("--model", required=True, help="checkpoint folder, hub id, or name at a server")
    command.add_argument("--profile", default="paper", help="prompt, sizes, engine: paper, or mini (paper)")
    command.add_argument("--engine", choices=("transformers", "vllm", "openai"), help="not the profile's")
    command.add_argument("--base-url", help="address of a server; implies --engine openai")
    command.add_argument("--votes", type=positive, default=1, help="answers whose majority decides (1)")
    command.add_argument("--both-orders", action="store_true", help="ask with the responses exchanged, too")
    command.add_argument("--seed", type=natural, default=0, help="seed of the votes (0)")
    one = command.add_argument_group("one pair")
    one.add_argument("--image", action="append", default=[], help="a picture; may be given several times")
    one.add_argument("--question")
    one.add_argument("--response-1")
    one.add_argument("--response-2")
    many = command.add_argument_group("many pairs")
    many.add_argument(
        "--file", type=Path, help="JSON lines: question, response_1, response_2; images or frames, id"
    )
    many.add_argument("--out", type=Path, help="gets a line for each row; goes on where it was stopped")
    many.add_argument(
        "--root", type=Path, help="folder that all pictures must lie below (the folder of the file)"
    )


def _judge(options: argparse.Namespace) -> int:
    from r1reward.judge.generative import R1Reward
    from r1reward.judge.judge_file import check_places
    from r1reward.pictures import PictureFault, check_picture, short_name

    _check_what(options)
    for picture in options.image:
        try:
            check_picture(picture)
        except PictureFault as fault:
            raise ValueError(f"{short_name(picture)} {fault}") from fault
    server = {"engine": {"openai": {"base_url": options.base_url}}} if options.base_url else None
    engine = options.engine or ("openai" if server else None)
    if server and engine != "openai":
        raise ValueError(f"--base-url is the address of a server, but --engine is {engine}")
    if options.file:
        check_places(options.file, options.out)
    judge = R1Reward.from_pretrained(
        options.model, engine=engine, profile=options.profile, overrides=server, seed=options.seed
    )
    asked = {"votes": options.votes, "both_orders": options.both_orders}
    return _judge_file(judge, options, asked) if options.file else _judge_one(judge, options, asked)


def _check_what(options: argparse.Namespace) -> None:
    """Refuse what belongs neither to one pair nor to a file, and what belongs to both."""
    one = [options.question, options.response_1, options.response_2]
    many = [options.file, options.out]
    of_one = [*one, options.image or None]
    of_many = [*many, options.root]
    complete = None not in one if of_many == [None] * 3 else None not in many and of_one == [None] * 4
    if not complete:
        raise ValueError(
            "give --question, --response-1 and --response-2 (and --image), or --file and --out (and --root)"
        )


def _judge_file(judge: Any, options: argparse.Namespace, asked: dict[str, Any]) -> int:
    from r1reward.judge.judge_file import judge_file
    from r1reward.progress import Progress

    progress = Progress("judging")
    counts = judge_file(judge, options.file, options.out, root=options.root, progress=progress, **asked)
    print(
        f"{options.out}: {counts['judged']} judged ({counts['unparsed']} without a verdict), "
        f"{counts['failed']} with an error"
    )
    return 1 if counts["failed"] or counts["unparsed"] else 0


def _judge_one(judge: Any, options: argparse.Namespace, asked: dict[str, Any]) -> int:
    from r1reward.texts import quoted
    from r1reward.types import Verdict

    one = (options.question, options.image, options.response_1, options.response_2)
    judgment = judge.compare(*one, **asked)
    if judgment.swapped:
        print("(the responses were exchanged for this vote)")
    # A model may write anything, a line that looks like the next one too.
    print(quoted(judgment.reasoning))
    print(f"verdict {judgment.verdict}, confidence {judgment.confidence:.3f}, {len(judgment.votes)} votes")
    return 1 if judgment.verdict is Verdict.UNPARSED else 0
