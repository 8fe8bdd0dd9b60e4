"""What must hold before a notebook runs: its inputs, what it needs around it, and no long work lost by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from r1reward.pipeline.dag import Notebook, maker_of, sources_of
from r1reward.pipeline.places import move_aside, resolve, walk
from r1reward.pipeline.staleness import (
    Context,
    State,
    can_resume,
    compare_locks,
    compute_lock,
    examine,
    measuring_lock,
)
from r1reward.progress import clock
from r1reward.settings import ConnectionSettings, Profile


class MissingInputError(FileNotFoundError):
    """An input that an earlier notebook has to make first."""


class NotReadyError(RuntimeError):
    """Something outside the run is not there: a folder, a server's key, an extra of the package."""


def check_ready(context: Context, notebook: Notebook) -> None:
    """Raise MissingInputError or NotReadyError, each with what to do, where a notebook lacks something."""
    if missing := missing_inputs(context, notebook):
        raise MissingInputError(f"{notebook.name}: {say_missing(context, missing)}")
    check_surroundings(context, [notebook])


def check_surroundings(context: Context, notebooks: Iterable[Notebook]) -> None:
    """Raise NotReadyError where what the notebooks need outside the run is not there."""
    faults = dict.fromkeys(fault for notebook in notebooks for fault in _faults(context.profile, notebook))
    if faults:
        raise NotReadyError("\n".join(faults))


def missing_inputs(context: Context, notebook: Notebook) -> list[str]:
    """Declared inputs, and what the notebook needs of them for each seed, that are not there."""
    seeds = context.parameters.seed_list(context.profile)
    needs = dict.fromkeys(path.replace("{seed}", str(seed)) for path in notebook.needs for seed in seeds)
    missing = [path for path in notebook.inputs if not resolve(context.folder, path)]
    whole = tuple(f"{path}/" for path in missing)
    return missing + [
        path for path in needs if not path.startswith(whole) and not resolve(context.folder, path)
    ]


def say_missing(context: Context, paths: Sequence[str]) -> str:
    """Which inputs are missing, and the commands that make them, each at the end of its line."""
    makers: dict[str, list[str]] = {}
    for path in paths:
        maker = maker_of(path, context.notebooks)
        makers.setdefault(maker.name if maker else "", []).append(path)
    return "\n".join(
        f"{_named(context, found)} missing. "
        + (f"{maker} makes {_it(found)}: {context.command(maker)}" if maker else "No notebook makes it.")
        for maker, found in makers.items()
    )


def _named(context: Context, paths: Sequence[str]) -> str:
    first = str(context.folder / paths[0])
    return f"{first} is" if len(paths) == 1 else f"{first} and {len(paths) - 1} more are"


def _it(paths: Sequence[str]) -> str:
    return "it" if len(paths) == 1 else "them"


def _faults(profile: Profile, notebook: Notebook) -> Iterator[str]:
    def uses(name: str) -> bool:
        return any(name == own or name.startswith(f"{own}.") for own in notebook.settings)

    for section, is_asked in _SERVERS.items():
        if uses(section) and is_asked(profile):
            yield from _server_faults(profile, section)
    if uses("engine.name") and profile.engine.name == "vllm" and not find_spec("vllm"):
        yield _extra("vllm", "engine.name")
    if uses("model.lora.rank") and profile.model.lora.rank and not find_spec("peft"):
        yield _extra("lora", "model.lora.rank")
    for name, folder in _folders(profile, uses):
        if folder and not Path(folder).expanduser().is_dir():
            yield f"{name}: there is no folder {folder}"


def _folders(profile: Profile, uses: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """Settings that name a folder which must be there, with what they name."""
    # `world` is read where the sources are: whoever only reads `data` may do without the original files.
    if uses("data.root") and uses("world.pairs_per_source"):
        yield "data.root", profile.data.root
    if uses("downstream.root"):
        yield "downstream.root", profile.downstream.root
    for name, model in (("model.base", profile.model.base), ("downstream.policy", profile.downstream.policy)):
        if uses(name) and _is_path(model):
            yield name, model


def _asks_annotator(profile: Profile) -> bool:
    from r1reward.data.sources import RELEASED_FOR_RL

    sources = profile.data.sources
    needs_none = bool(sources) and set(sources) <= set(RELEASED_FOR_RL)
    return profile.data.annotator == "openai" and not needs_none


def _asks_judge(profile: Profile) -> bool:
    return profile.judges.name == "server"


def _asks_engine(profile: Profile) -> bool:
    return profile.engine.name == "openai"


# Sections of servers, and whether a profile asks them.
_SERVERS: dict[str, Callable[[Profile], bool]] = {
    "data.openai": _asks_annotator,
    "annotators.openai": _asks_annotator,
    "judges.server": _asks_judge,
    "judges.weak_server": _asks_judge,
    "engine.openai": _asks_engine,
}


def _server_faults(profile: Profile, section: str) -> Iterator[str]:
    from r1reward.servers.client import ServerError, read_key

    outer, _, inner = section.partition(".")
    settings = getattr(getattr(profile, outer), inner)
    assert isinstance(settings, ConnectionSettings)
    if not find_spec("openai"):
        yield _extra("api", section)
    try:
        read_key(settings, section)
    except ServerError as error:
        yield str(error)


def _extra(name: str, setting: str) -> str:
    return f'{setting}: the extra {name} is missing: pip install -e ".[{name}]" in the checkout'


def _is_path(name: str) -> bool:
    """Whether a model's name is a path for certain; hub ids look like `owner/name`."""
    return name.startswith(("/", "./", "../", "~"))


# What took no longer is started afresh without asking.
SHORT_SECONDS = 60.0


class StaleWorkError(RuntimeError):
    """Work that was made with other code, settings or inputs stands in the way; the message names them."""


def outputs_of(context: Context, notebook: Notebook) -> list[Path]:
    """What there is of a notebook's outputs, folders without any file left out."""
    found = [path for declared in notebook.outputs for path in resolve(context.folder, declared)]
    return [path for path in found if path.is_file() or next(walk(path), None)]


def seconds_spent(context: Context, notebook: Notebook) -> float | None:
    """Seconds that the work in a notebook's outputs took, all attempts together; None where nobody knows."""
    attempt = context.attempt(notebook)
    if attempt is None:
        manifest = context.manifest(notebook) or {}
        return manifest.get("work_seconds", manifest.get("wall_seconds"))
    if "begun" not in attempt:
        return None
    earlier = attempt["earlier_seconds"]
    if earlier is None:
        return None
    return earlier + max(0.0, _last_activity(context, notebook) - attempt["begun"])


def earlier_seconds(context: Context, notebook: Notebook) -> float | None:
    """Seconds behind what a run that begins now goes on from: 0 where nothing is, None where nobody knows."""
    return seconds_spent(context, notebook) if outputs_of(context, notebook) else 0.0


def why_afresh(context: Context, notebook: Notebook, lock: Mapping[str, Any], *, force: bool) -> list[str]:
    """Why what lies in the outputs is not continued under this lock; empty where it is, or is nothing.

    With `force` a finished run is not continued either; an attempt under the same lock always is.
    """
    if not outputs_of(context, notebook):
        return []
    if force and not context.attempt(notebook):
        return ["--force"]
    if can_resume(context, notebook, lock):
        return []
    known = context.attempt(notebook) or context.manifest(notebook) or {}
    if not known.get("lock"):
        return ["it is left over from work by hand, outside `r1reward run`"]
    reasons = compare_locks(measuring_lock(known["lock"]), measuring_lock(lock), context.notebooks)
    return reasons or list(examine(context, notebook).reasons)


def start_afresh(context: Context, notebook: Notebook, reasons: Sequence[str], *, force: bool) -> None:
    """Move a notebook's outputs and its manifest aside.

    Raises StaleWorkError, and moves nothing, where they took more than a minute and nothing `force`s it.
    """
    if not force and (refusal := _refusal(context, notebook, reasons)):
        raise StaleWorkError(f"{refusal}; {_advice(context, [notebook.name])}")
    state = [context.manifest_file(notebook), context.attempt_file(notebook)]
    paths = [*outputs_of(context, notebook), *state]
    target = move_aside(context.folder, {path.relative_to(context.folder).as_posix(): path for path in paths})
    print(f"{notebook.name}: starts afresh ({'; '.join(reasons)}); what was there is in {target}")


def refuse_stale_work(context: Context, wanted: Sequence[Notebook], *, forced: Sequence[Notebook]) -> None:
    """Raise StaleWorkError before anything runs where a run of the `wanted` would start long work afresh.

    For the `forced` ones that is allowed.
    """
    renewed: set[str] = set()
    refusals = {}
    for notebook in wanted:
        force = notebook in forced
        reasons = _reasons_to_renew(context, notebook, renewed, force=force)
        if reasons:
            renewed.add(notebook.name)
        if reasons and not force and (refusal := _refusal(context, notebook, reasons)):
            refusals[notebook.name] = refusal
    if refusals:
        raise StaleWorkError("\n".join([*refusals.values(), _advice(context, list(refusals))]))


def _reasons_to_renew(context: Context, notebook: Notebook, renewed: set[str], *, force: bool) -> list[str]:
    """Why a run would start a notebook afresh, as far as can be known before what it reads has run."""
    lock = compute_lock(context, notebook)
    if not force and examine(context, notebook).state is State.FRESH:
        reasons = []
    else:
        reasons = why_afresh(context, notebook, lock, force=force)
    sources = [source.name for source in sources_of(notebook, context.notebooks) if source.name in renewed]
    if sources and outputs_of(context, notebook):
        reasons.append(f"it reads what {', '.join(sources)} would make afresh")
    return reasons


def _refusal(context: Context, notebook: Notebook, reasons: Sequence[str]) -> str:
    """Why a notebook's work is not set aside without being told to; "" where it is small."""
    seconds = seconds_spent(context, notebook)
    if seconds is not None and seconds <= SHORT_SECONDS:
        return ""
    took = f"work of {clock(seconds)}" if seconds is not None else "work of unknown length"
    return f"{notebook.name}: {took} would be started afresh: {'; '.join(reasons)}"


def _advice(context: Context, names: Sequence[str]) -> str:
    command = context.command(*names, options="--force")
    return f"undo the change, take another profile name or --out, or move the work aside: {command}"


def _last_activity(context: Context, notebook: Notebook) -> float:
    """Time (seconds since 1970) of the newest file that the notebook wrote."""
    files = [file for path in outputs_of(context, notebook) for file in _files(path)]
    files.append(context.folder / "executed" / f"{notebook.name}.log")
    return max((file.stat().st_mtime for file in files if file.exists()), default=0.0)


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for _, file in walk(path)]
