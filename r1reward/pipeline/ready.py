"""Whether everything is there that a notebook needs, asked before it starts and not hours later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from r1reward.pipeline.dag import Notebook, maker_of
from r1reward.pipeline.hashing import resolve
from r1reward.pipeline.staleness import Context
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
