"""The notebooks as a graph, by `pipeline.toml`, and what the code of each depends on, found by reading it.

Nothing is imported. The modules that only carry parameters to a notebook (`settings`, `config`,
`pipeline`, `cli`) are left out: what they carry is compared by value.
"""

from __future__ import annotations

import ast
import difflib
import json
import tomllib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from r1reward import EXPORTS
from r1reward.pipeline.places import PACKAGE_FOLDER, Places
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


PACKAGE = "r1reward"
_CARRIERS = ("r1reward.settings", "r1reward.config", "r1reward.pipeline", "r1reward.cli")
_DATA_SUFFIXES_LEFT_OUT = (".py", ".pyc")


def code_cells(notebook: Path) -> list[str]:
    """Sources of the code cells, without outputs and metadata."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]


def parse_cells(cells: Iterable[str]) -> ast.Module:
    """Syntax tree of the cells together; lines for IPython (% and !) are blanked."""
    lines = "\n".join(cells).splitlines()
    return ast.parse("\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in lines))


def uses_seeds(tree: ast.Module) -> bool:
    """Whether the cells use the seeds of the run; passing the run on as a whole counts."""
    runs = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _calls(node.value, "start")
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    bases = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return any(
        (isinstance(node, ast.Attribute) and node.attr in ("seed", "seeds"))
        or (
            isinstance(node, ast.Name)
            and isinstance(node.ctx, ast.Load)
            and node.id in runs
            and id(node) not in bases
        )
        for node in ast.walk(tree)
    )


def imported_files(tree: ast.Module, package_folder: Path = PACKAGE_FOLDER) -> dict[str, Path]:
    """Files of the package that the code imports, directly or through other modules.

    Keys are module names, and folder-relative names for the data files (prompts, checkpoint) that lie
    in an imported sub-package.
    """
    found: dict[str, Path] = {}
    queue = sorted(_imports(tree, PACKAGE))
    while queue:
        module = queue.pop()
        file = _module_file(module, package_folder)
        if file is None or module in found or module.startswith(_CARRIERS):
            continue
        found[module] = file
        queue.extend(_parents(module))
        is_package = file.name == "__init__.py"
        if is_package and module != PACKAGE:
            found.update(_data_files(file.parent, package_folder))
        if module == PACKAGE:
            continue  # what it exports is loaded only where it is named
        inside = module if is_package else module.rpartition(".")[0]
        queue.extend(_imports(ast.parse(file.read_text(encoding="utf-8")), inside))
    return found


def _imports(tree: ast.AST, inside: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = inside.split(".")
            above = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
            if base == PACKAGE:
                names.update(EXPORTS[alias.name] for alias in node.names if alias.name in EXPORTS)
    return {name for name in names if name == PACKAGE or name.startswith(f"{PACKAGE}.")}


def _module_file(module: str, package_folder: Path) -> Path | None:
    path = package_folder.joinpath(*module.split(".")[1:])
    candidates = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in candidates if file.is_file()), None)


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def _data_files(folder: Path, package_folder: Path) -> dict[str, Path]:
    files = (file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return {
        file.relative_to(package_folder).as_posix(): file
        for file in files
        if file.suffix not in _DATA_SUFFIXES_LEFT_OUT
    }


def _calls(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
