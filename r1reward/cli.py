"""The command `r1reward`: from running the paper to judging a pair; each command is a function below."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from r1reward import __version__

if TYPE_CHECKING:
    from r1reward.pipeline.staleness import Context

DEFAULT_PROFILE = "mini"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status. Errors of use are one message, not a traceback."""
    options = _parser().parse_args(arguments)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="r1reward", description="Re-run the R1-Reward paper.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = _command(commands, "run", _run, "run what is stale of the notebooks and of what they read")
    run.add_argument(
        "names", nargs="*", metavar="NAME", help="notebooks (03 is enough); all when none is named"
    )
    _add_run_options(run)
    run.add_argument("--jobs", type=int, default=1, help="independent notebooks run at the same time")
    run.add_argument("--force", action="store_true", help="run the named notebooks even when up to date")
    run.add_argument("--alone", action="store_true", help="only the named ones, on inputs as they lie there")

    _add_run_options(_command(commands, "status", _status, "where every notebook stands"))
    why = _command(
        commands, "why", _why, "why a notebook would run again, or what is behind a row: table_05:wo_filter"
    )
    why.add_argument("name", metavar="NAME", help="a notebook, a table, or TABLE:ROW")
    _add_run_options(why)
    finished = _command(commands, "publish", _publish, "put a finished run into results/ and figures/")
    finished.add_argument(
        "names", nargs="*", metavar="NAME", help="only what these notebooks measured; the rest stays"
    )
    finished.add_argument("--partial", action="store_true", help="also when notebooks have not been run")
    _add_run_options(finished)
    _add_run_options(
        _command(commands, "keep", _keep, "put finished runs of an unfinished grid into results/")
    )
    for name, action, text in (
        ("verify", _verify, "check committed results and redraw their tables and figures"),
        ("figures", _figures, "redraw the committed tables and figures from the committed records"),
        ("page", _page, "say where the page with every table, figure and claim is, drawn again"),
    ):
        command = _command(commands, name, action, text)
        command.add_argument("--profile", default="", help="only this profile; all published ones by default")

    _add_judge(_command(commands, "judge", _judge, "say which of two responses is better"))

    launch = commands.add_parser("launch", help="training on a cluster")
    launch = launch.add_subparsers(required=True, metavar="COMMAND")
    _add_launch(_command(launch, "sft", _launch_sft, "the cold start on several GPUs: DeepSpeed"))
    rl = _command(launch, "rl", _launch_rl, "RL on OpenRLHF: Ray, DeepSpeed and vLLM")
    _add_launch(rl)
    rl.add_argument("--judges", type=Path, help="folder of trained consistency judges (no server)")
    rl.add_argument("--address", help="Ray cluster to join; RAY_ADDRESS, or this machine alone")

    data = commands.add_parser("data", help="the training data")
    data = data.add_subparsers(required=True, metavar="COMMAND")
    check = _command(data, "check", _check_data, "what is there of the original data sets, what is missing")
    fetch = _command(data, "fetch", _fetch_data, "download a data set from the Hugging Face hub")
    fetch.add_argument("source", metavar="SOURCE", help="name of a source, as `data check` prints it")
    for command in (check, fetch):
        command.add_argument("--root", type=Path, required=True, help="folder of all data sets")
    _add_export(_command(data, "export", _export, "write pairs in the form of another trainer"))
    budget = _command(
        data, "picture-budget", _picture_budget, "limit the pictures of a checkpoint's processor"
    )
    budget.add_argument(
        "--model", type=Path, required=True, help="folder of the checkpoint; changed in place"
    )
    budget.add_argument("--min-pixels", type=int, help="smallest picture area (784)")
    budget.add_argument("--max-pixels", type=int, help="largest picture area (501760)")

    mini = commands.add_parser("mini", help="the tiny model").add_subparsers(required=True, metavar="COMMAND")
    build = _command(mini, "build-base", _build_base, "train the shipped base checkpoint again")
    build.add_argument("--out", type=Path, default=Path("runs/base"), help="folder of the build (runs/base)")
    build.add_argument("--seed", type=int, default=0, help="seed of weights and lessons (0)")
    build.add_argument("--steps", type=int, help="updates; fewer than all for a trial")
    return parser


def _command(
    commands: argparse._SubParsersAction, name: str, action: object, text: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(command=action)
    return command


def _add_run_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--profile", default=DEFAULT_PROFILE, help="name, name+preset or TOML file (mini)")
    command.add_argument("--preset", default="", help="preset laid over the profile, for example released")
    command.add_argument("--seed", type=int, default=0, help="first seed (0)")
    command.add_argument("--seeds", type=int, default=0, help="number of seeds (the profile's)")
    command.add_argument("--out", default="", help="folder of the runs (runs)")


def _add_launch(command: argparse.ArgumentParser) -> None:
    command.add_argument("--profile", default="paper", help="name, name+preset or TOML file (paper)")
    command.add_argument("--start", required=True, help="folder of the checkpoint to start from")
    command.add_argument("--data", type=Path, required=True, help="sft.jsonl or rl.jsonl of notebook 01")
    command.add_argument("--out", type=Path, required=True, help="folder of the run, seen by all machines")
    command.add_argument("--seed", type=int, default=0, help="of the order of examples, or of rollouts (0)")
    command.add_argument("--dry-run", action="store_true", help="write everything and print what would run")


def _add_export(command: argparse.ArgumentParser) -> None:
    forms = "trl, llama_factory, openrlhf, authors or arrow"
    command.add_argument("--format", required=True, metavar="FORM", help=forms)
    command.add_argument("--pairs", type=Path, required=True, help="pairs.jsonl, rl.jsonl or sft.jsonl")
    command.add_argument("--out", type=Path, required=True, help="folder of the export")
    command.add_argument("--prompt", choices=("paper", "mini"), default="paper", help="judge prompt (paper)")


def _add_judge(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", required=True, help="checkpoint folder, hub id, or name at a server")
    command.add_argument("--profile", default="paper", help="prompt, sizes, engine: paper, or mini (paper)")
    command.add_argument("--engine", choices=("transformers", "vllm", "openai"), help="not the profile's")
    command.add_argument("--base-url", help="address of a server; implies --engine openai")
    command.add_argument("--votes", type=int, default=1, help="answers of which the majority decides (1)")
    command.add_argument("--both-orders", action="store_true", help="ask with the responses exchanged, too")
    command.add_argument("--seed", type=int, default=0, help="seed of the votes (0)")
    one = command.add_argument_group("one pair")
    one.add_argument("--image", action="append", default=[], help="a picture; may be given several times")
    one.add_argument("--question")
    one.add_argument("--response-1")
    one.add_argument("--response-2")
    many = command.add_argument_group("many pairs")
    many.add_argument("--file", type=Path, help="JSON lines: question, images, response_1, response_2")
    many.add_argument("--out", type=Path, help="gets a line for each row; goes on where it was stopped")


def _context(options: argparse.Namespace) -> Context:
    from r1reward.pipeline.places import find_places
    from r1reward.pipeline.staleness import Parameters, make_context

    is_file = options.profile.endswith(".toml")
    profile = str(Path(options.profile).resolve()) if is_file else options.profile
    profile = f"{profile}+{options.preset}" if options.preset else profile
    out = str(Path(options.out).resolve()) if options.out else ""
    parameters = Parameters(profile=profile, seed=options.seed, seeds=options.seeds, out=out)
    return make_context(find_places(), parameters)


def _run(options: argparse.Namespace) -> int:
    from r1reward.pipeline.runner import run_notebooks

    context = _context(options)
    print(f"profile {context.profile.name}: {context.profile.sentence}")
    if options.alone and not options.names:
        raise ValueError("--alone needs the names of notebooks")
    how = {"jobs": options.jobs, "force": options.force, "alone": options.alone}
    done = run_notebooks(context, options.names, **how)
    return 0 if done else 1


def _status(options: argparse.Namespace) -> int:
    from r1reward.pipeline.staleness import examine_all

    context = _context(options)
    standings = examine_all(context)
    for notebook in context.notebooks:
        state = standings[notebook.name].state if notebook.name in standings else "on request"
        manifest = context.manifest(notebook) or {}
        finished = manifest.get("finished", "")
        seconds = f"{manifest['wall_seconds']:.0f} s" if manifest else ""
        print(f"{notebook.name:<28} {state:<12} {finished:<26} {seconds}")
    return 0


def _why(options: argparse.Namespace) -> int:
    from r1reward.pipeline.dag import find_notebook
    from r1reward.pipeline.staleness import examine_all

    context = _context(options)
    if options.name.startswith("table_"):
        return _why_row(context, options.name)
    name = find_notebook(options.name, context.notebooks).name
    standing = examine_all(context).get(name)
    if standing is None:
        print(f"{name} runs on request: r1reward run {name}")
        return 0
    print(f"{name} is {standing.state}")
    for reason in standing.reasons:
        print(f"  {reason}")
    return 0


def _why_row(context: Context, name: str) -> int:
    """The newest run, or the committed results where there is none."""
    from r1reward.report.why import explain

    run, results = context.folder, context.places.results(context.profile.name)
    root = run if (run / "manifests").is_dir() else results
    print(f"from {root}")
    print(explain(root, name))
    return 0


def _publish(options: argparse.Namespace) -> int:
    from r1reward.pipeline.dag import find_notebook
    from r1reward.pipeline.merge import publish_notebooks
    from r1reward.pipeline.publish import publish

    context = _context(options)
    chosen = [find_notebook(name, context.notebooks) for name in options.names]
    folders = publish_notebooks(context, chosen) if chosen else publish(context, partial=options.partial)
    for folder in folders:
        print(f"wrote {folder}")
    return 0


def _keep(options: argparse.Namespace) -> int:
    from r1reward.pipeline.places import KEPT
    from r1reward.pipeline.publish import keep_grid_runs

    context = _context(options)
    kept = keep_grid_runs(context)
    print(f"{len(kept)} finished runs are kept in {context.places.results(context.profile.name) / KEPT}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from r1reward.pipeline.places import find_places
    from r1reward.pipeline.verify import published_profiles, verify

    places = find_places()
    faults = 0
    for profile in [options.profile] if options.profile else published_profiles(places):
        found = verify(places, profile)
        faults += len(found)
        print("\n".join([f"{profile}: {'as committed' if not found else 'NOT as committed'}", *found]))
    return 1 if faults else 0


def _figures(options: argparse.Namespace) -> int:
    from r1reward.pipeline.places import find_places
    from r1reward.pipeline.verify import published_profiles, redraw_published

    places = find_places()
    for profile in [options.profile] if options.profile else published_profiles(places):
        for folder in redraw_published(places, profile):
            print(f"drew {folder}")
    return 0


def _page(options: argparse.Namespace) -> int:
    from r1reward.pipeline.places import find_places
    from r1reward.pipeline.verify import published_profiles, redraw_published
    from r1reward.report.page import PAGE

    places = find_places()
    for profile in [options.profile] if options.profile else published_profiles(places):
        redraw_published(places, profile)
        print(places.results(profile) / PAGE)
    return 0


def _judge(options: argparse.Namespace) -> int:
    from r1reward.judge.file import judge_file
    from r1reward.judge.r1_reward import R1Reward
    from r1reward.progress import Progress

    one = [options.question, options.response_1, options.response_2]
    if not (options.file and options.out) and None in one:
        raise ValueError("give --question, --response-1 and --response-2, or --file and --out")
    server = {"engine": {"openai": {"base_url": options.base_url}}} if options.base_url else None
    engine = options.engine or ("openai" if server else None)
    if server and engine != "openai":
        raise ValueError(f"--base-url is the address of a server, but --engine is {engine}")
    judge = R1Reward.from_pretrained(
        options.model, engine=engine, profile=options.profile, overrides=server, seed=options.seed
    )
    asked = {"votes": options.votes, "both_orders": options.both_orders}
    if options.file and options.out:
        counts = judge_file(judge, options.file, options.out, progress=Progress("judging"), **asked)
        print(f"{options.out}: {counts['judged']} judged, {counts['failed']} with an error")
        return 1 if counts["failed"] else 0
    judgment = judge.compare(options.question, options.image, *one[1:], **asked)
    if judgment.swapped:
        print("(the responses were exchanged for this vote)")
    print(judgment.reasoning)
    print(f"verdict {judgment.verdict}, confidence {judgment.confidence:.3f}, {len(judgment.votes)} votes")
    return 0


def _launch_sft(options: argparse.Namespace) -> int:
    from r1reward.cluster.sft import command, launch
    from r1reward.config import load_profile

    words = command(
        load_profile(options.profile),
        start=options.start,
        examples=options.data,
        out=options.out,
        seed=options.seed,
    )
    print(" ".join(words))
    if not options.dry_run:
        launch(words)
        print(f"the trained model is in {options.out / 'model'}")
    return 0


def _launch_rl(options: argparse.Namespace) -> int:
    from r1reward.cluster.launch import prepare, run
    from r1reward.config import load_profile

    launch = prepare(
        load_profile(options.profile),
        start=options.start,
        pairs=options.data,
        out=options.out,
        seed=options.seed,
        judges=options.judges,
    )
    print(launch.command())
    if not options.dry_run:
        print(f"the trained model is in {run(launch, address=options.address)}")
    return 0


def _check_data(options: argparse.Namespace) -> int:
    from r1reward.data.check import examine, report

    states = examine(options.root)
    print("\n".join(report(states)))
    missing = [state.spec.name for state in states if state.needed and state.missing]
    print(f"files are missing of {', '.join(missing)}" if missing else "all eight sources are there")
    return 1 if missing else 0


def _fetch_data(options: argparse.Namespace) -> int:
    from r1reward.data.check import fetch

    print(f"{options.source} is in {fetch(options.source, options.root)}")
    return 0


def _export(options: argparse.Namespace) -> int:
    from r1reward.data.exports import export_items
    from r1reward.data.items import iterate_items

    items = iterate_items(options.pairs.resolve())
    folder = export_items(items, options.out.resolve(), form=options.format, prompt=options.prompt)
    print(f"wrote {folder}")
    return 0


def _picture_budget(options: argparse.Namespace) -> int:
    from r1reward.engines.loading import write_picture_budget
    from r1reward.settings import ModelSettings

    given = {"min_pixels": options.min_pixels, "max_pixels": options.max_pixels}
    settings = ModelSettings(**{name: value for name, value in given.items() if value is not None})
    write_picture_budget(options.model, settings)
    print(f"pictures have {settings.min_pixels} to {settings.max_pixels} pixels in {options.model}")
    return 0


def _build_base(options: argparse.Namespace) -> int:
    import torch

    from r1reward.train.pretrain import TOTAL_STEPS, build_base

    # The other core draws the pictures, and one thread gives the same weights on any machine of its kind.
    torch.set_num_threads(1)
    final = build_base(options.out, seed=options.seed, steps=options.steps or TOTAL_STEPS)
    print(f"the base model is in {final}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
