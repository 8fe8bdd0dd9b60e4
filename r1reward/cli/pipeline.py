"""Commands of the pipeline: run, status, why, publish, keep, verify, figures, page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from r1reward.cli.command import Commands, add_command, positive

if TYPE_CHECKING:
    from r1reward.pipeline.staleness import Context

DEFAULT_PROFILE = "mini"


def add_commands(commands: Commands) -> None:
    """Add the commands of the pipeline."""
    run = add_command(
        commands, "run", action=_run, text="run what is stale of the notebooks and of what they read"
    )
    run.add_argument(
        "names", nargs="*", metavar="NAME", help="notebooks (03 is enough); all when none is named"
    )
    _add_run_options(run)
    run.add_argument("--jobs", type=positive, default=1, help="independent notebooks run at the same time")
    run.add_argument(
        "--force",
        action="store_true",
        help="run the named ones even when up to date; what they made moves aside",
    )
    run.add_argument("--alone", action="store_true", help="only the named ones, on inputs as they lie there")

    _add_run_options(add_command(commands, "status", action=_status, text="where every notebook stands"))
    why = add_command(
        commands,
        "why",
        action=_why,
        text="why a notebook would run again, or what is behind a row: table_05:wo_filter",
    )
    why.add_argument("name", metavar="NAME", help="a notebook, a table, or TABLE:ROW")
    _add_run_options(why)
    finished = add_command(
        commands, "publish", action=_publish, text="put a finished run into results/ and figures/"
    )
    finished.add_argument(
        "names", nargs="*", metavar="NAME", help="only what these notebooks measured; the rest stays"
    )
    finished.add_argument("--partial", action="store_true", help="also when notebooks have not been run")
    _add_run_options(finished)
    _add_run_options(
        add_command(
            commands, "keep", action=_keep, text="put finished runs of an unfinished grid into results/"
        )
    )
    for name, action, text in (
        ("verify", _verify, "check committed results and redraw their tables and figures"),
        ("figures", _figures, "redraw the committed tables and figures from the committed records"),
        ("page", _page, "say where the page with every table, figure and claim is, drawn again"),
    ):
        command = add_command(commands, name, action=action, text=text)
        command.add_argument("--profile", default="", help="only this profile; all published ones by default")


def _add_run_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--profile", default=DEFAULT_PROFILE, help="name, name+preset or TOML file (mini)")
    command.add_argument("--preset", default="", help="preset laid over the profile, for example released")
    command.add_argument("--seed", type=int, default=0, help="first seed (0)")
    command.add_argument("--seeds", type=int, default=0, help="number of seeds (the profile's)")
    command.add_argument("--out", default="", help="folder of the runs (runs)")


def make_context_of(options: argparse.Namespace) -> Context:
    """The run that the options of a command name; files and folders are made absolute."""
    from r1reward.pipeline.places import find_places
    from r1reward.pipeline.staleness import make_context, make_parameters

    name, plus, preset = options.profile.rpartition("+")
    file, rest = (name, plus + preset) if name.endswith(".toml") else (options.profile, "")
    profile = f"{Path(file).resolve()}{rest}" if file.endswith(".toml") else options.profile
    profile = f"{profile}+{options.preset}" if options.preset else profile
    out = str(Path(options.out).resolve()) if options.out else ""
    parameters = make_parameters(profile=profile, seed=options.seed, seeds=options.seeds, out=out)
    return make_context(find_places(), parameters)


def _run(options: argparse.Namespace) -> int:
    from r1reward.pipeline.runner import run_notebooks

    context = make_context_of(options)
    print(f"profile {context.profile.name}: {context.profile.sentence}")
    if options.alone and not options.names:
        raise ValueError("--alone needs the names of notebooks")
    how = {"jobs": options.jobs, "force": options.force, "alone": options.alone}
    done = run_notebooks(context, options.names, **how)
    return 0 if done else 1


def _status(options: argparse.Namespace) -> int:
    from r1reward.pipeline.staleness import examine_all

    context = make_context_of(options)
    standings = examine_all(context)
    for notebook in context.notebooks:
        state = standings[notebook.name].state if notebook.name in standings else "on request"
        manifest = context.manifest(notebook) or {}
        finished = manifest.get("finished", "")
        seconds = f"{manifest['wall_seconds']:.0f} s" if "wall_seconds" in manifest else ""
        print(f"{notebook.name:<28} {state:<12} {finished:<26} {seconds}")
    return 0


def _why(options: argparse.Namespace) -> int:
    from r1reward.pipeline.dag import find_notebook
    from r1reward.pipeline.staleness import examine_all

    context = make_context_of(options)
    if ":" in options.name or options.name.lower().startswith("tab"):
        return _why_row(context, options.name)
    name = find_notebook(options.name, context.notebooks).name
    standing = examine_all(context).get(name)
    if standing is None:
        print(f"{name} runs on request: {context.command(name)}")
        return 0
    print(f"{name} is {standing.state}")
    for reason in standing.reasons:
        print(f"  {reason}")
    return 0


def _why_row(context: Context, name: str) -> int:
    """The newest run, or the committed results where it has not come to that row."""
    from r1reward.report.why import explain, is_measured

    run, results = context.folder, context.places.results(context.profile.name)
    if is_measured(run, name):
        print(f"from {run}")
        print(explain(run, name, options=context.parameters.options()))
    elif is_measured(results, name):
        print(f"from the published {results}; {run} holds nothing of {name}")
        print(explain(results, name))
    else:
        raise FileNotFoundError(
            f"neither {run} nor {results} holds records of {name}; this makes them: {context.command()}"
        )
    return 0


def _publish(options: argparse.Namespace) -> int:
    from r1reward.pipeline.dag import find_notebook
    from r1reward.pipeline.merge import publish_notebooks
    from r1reward.pipeline.publish import publish

    context = make_context_of(options)
    chosen = [find_notebook(name, context.notebooks) for name in options.names]
    folders = publish_notebooks(context, chosen) if chosen else publish(context, partial=options.partial)
    for folder in folders:
        print(f"wrote {folder}")
    return 0


def _keep(options: argparse.Namespace) -> int:
    from r1reward.pipeline.places import KEPT
    from r1reward.pipeline.publish import keep_grid_runs

    context = make_context_of(options)
    kept = keep_grid_runs(context)
    print(f"{len(kept)} finished runs are kept in {context.places.results(context.profile.name) / KEPT}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from r1reward.pipeline.places import find_places
    from r1reward.pipeline.verify import published_profiles, verify

    places = find_places()
    faults = 0
    for profile in published_profiles(places, options.profile):
        found = verify(places, profile)
        faults += len(found)
        print("\n".join([f"{profile}: {'as committed' if not found else 'NOT as committed'}", *found]))
    return 1 if faults else 0


def _figures(options: argparse.Namespace) -> int:
    from r1reward.pipeline.places import find_places
    from r1reward.pipeline.verify import published_profiles, redraw_published

    places = find_places()
    for profile in published_profiles(places, options.profile):
        for folder in redraw_published(places, profile):
            print(f"drew {folder}")
    return 0


def _page(options: argparse.Namespace) -> int:
    from r1reward.pipeline.places import find_places
    from r1reward.pipeline.verify import published_profiles, redraw_published
    from r1reward.report.layout import PAGE

    places = find_places()
    for profile in published_profiles(places, options.profile):
        redraw_published(places, profile)
        print(places.results(profile) / PAGE)
    return 0
