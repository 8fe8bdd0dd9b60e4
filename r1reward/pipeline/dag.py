"""The table of notebooks, read from `notebooks/pipeline.toml`: what each reads and what it writes."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from r1reward.pipeline.places import Places
from r1reward.settings import Profile, setting_names


class Notebook(BaseModel):
    """One notebook. Paths are relative to `runs/<profile>/`: files, whole folders or patterns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^\d\d[a-z]?_\w+$", description="File name without .ipynb.")
    question: str = Field(description="The question that it answers.")
    inputs: tuple[str, ...] = Field(default=(), description="Outputs of earlier notebooks that it reads.")
    needs: tuple[str, ...] = Field(
        default=(),
        description="What must lie in the inputs before it starts; `{seed}` stands for each seed.",
    )
    outputs: tuple[str, ...] = Field(default=(), description="What it writes, and nobody else.")
    settings: tuple[str, ...] = Field(
        default=(), description="Settings and whole sections of the profile that it reads, and no others."
    )
    on_request: bool = Field(default=False, description="Runs only when it is named, for it takes long.")

    def reads(self, path: str) -> bool:
        """Whether `path` is one of the declared inputs or lies below one."""
        return any(covers(declared, path) for declared in self.inputs)

    def writes(self, path: str) -> bool:
        """Whether `path` is one of the declared outputs or lies below one."""
        return any(covers(declared, path) for declared in self.outputs)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    notebook: tuple[Notebook, ...]


def read_notebooks(places: Places) -> tuple[Notebook, ...]:
    """The notebooks in order. Raises ValueError where the table contradicts itself."""
    file = places.notebooks / "pipeline.toml"
    try:
        table = _Table.model_validate(tomllib.loads(file.read_text(encoding="utf-8"))).notebook
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise ValueError(f"{file}: {'; '.join(faults)}") from error
    except ValueError as error:
        raise ValueError(f"{file}: not TOML: {error}") from error
    _check(table, file)
    return table


def covers(declared: str, path: str) -> bool:
    """Whether a declared path, folder or pattern covers `path`."""
    return path == declared or path.startswith(f"{declared}/") or fnmatchcase(path, declared)


def maker_of(path: str, notebooks: Sequence[Notebook]) -> Notebook | None:
    """The notebook that writes `path`, or None."""
    return next((notebook for notebook in notebooks if notebook.writes(path)), None)


def sources_of(notebook: Notebook, notebooks: Sequence[Notebook]) -> list[Notebook]:
    """The notebooks whose outputs this one reads, in order."""
    return [other for other in notebooks if any(other.writes(path) for path in notebook.inputs)]


def with_sources(chosen: Sequence[Notebook], notebooks: Sequence[Notebook]) -> list[Notebook]:
    """The chosen notebooks and all that they read from, directly or through others, in order."""
    wanted = {notebook.name for notebook in chosen}
    for notebook in reversed(notebooks):
        if notebook.name in wanted:
            wanted.update(source.name for source in sources_of(notebook, notebooks))
    return [notebook for notebook in notebooks if notebook.name in wanted]


def find_notebook(name: str, notebooks: Sequence[Notebook]) -> Notebook:
    """A notebook by its name, its number ("03" or "3") or any unique beginning (else ValueError)."""
    wanted = name.removesuffix(".ipynb")
    wanted = f"{wanted.zfill(2)}_" if wanted.isdigit() else wanted
    matches = [notebook for notebook in notebooks if notebook.name.startswith(wanted)]
    if len(matches) == 1:
        return matches[0]
    names = [notebook.name for notebook in notebooks]
    near = difflib.get_close_matches(wanted, names, n=1)
    advice = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}"
    raise ValueError(f"no notebook is called {name}; {advice}")


def _check(notebooks: Sequence[Notebook], file: Path) -> None:
    known = list(setting_names(Profile))
    for index, notebook in enumerate(notebooks):
        for name in notebook.settings:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                advice = f"did you mean {near[0]}?" if near else "see docs/guide.md for those there are"
                raise ValueError(f"{file}: {notebook.name} declares the unknown setting {name}; {advice}")
        for path in notebook.inputs:
            if not any(earlier.writes(path) for earlier in notebooks[:index]):
                raise ValueError(f"{file}: {notebook.name} reads {path}, which no earlier notebook writes")
        for path in notebook.needs:
            if not notebook.reads(path):
                raise ValueError(f"{file}: {notebook.name} needs {path}, which is none of its inputs")
        for path in notebook.outputs:
            other = next((n for n in notebooks[:index] if any(_meet(path, old) for old in n.outputs)), None)
            if other:
                raise ValueError(f"{file}: {path} is written by {other.name} and by {notebook.name}")


def _meet(one: str, other: str) -> bool:
    return covers(one, other) or covers(other, one)
