"""Imports run one way. The rules are read from the source, nothing is imported for them."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import r1reward

PACKAGE = Path(r1reward.__file__).parent
# A part may import from its own group and from the groups before it.
GROUPS = (
    (
        "types",
        "stats",
        "benchmarks",
        "scoring",
        "settings",
        "config",
        "files",
        "texts",
        "pictures",
        "locks",
        "progress",
        "parallel",
        "torchvision_ops",
    ),
    ("prompts", "parsing", "algo"),
    ("engines", "mini", "servers"),
    ("data", "judge"),
    ("train", "bench"),
    ("downstream", "cluster", "rating"),
    ("pipeline", "cli", "__main__"),
)
REPORT_MAY_IMPORT = {
    "types",
    "stats",
    "benchmarks",
    "scoring",
    "settings",
    "config",
    "files",
    "texts",
    "report",
}
HEAVY = {"torch", "torchvision", "transformers", "accelerate", "vllm", "openrlhf", "deepspeed", "ray"}
# Parts that must load without the heavy libraries. Inside a function they may import them late.
LIGHT = ("__init__", "types", "stats", "settings", "config", "files", "locks", "texts", "pictures",
         "parallel", "parsing", "prompts", "data/sources", "report", "scoring", "bench/vl_rewardbench",
         "pipeline", "cli")  # fmt: skip


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(file: Path) -> str:
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(tree: ast.AST, *, top_only: bool) -> set[str]:
    """Absolute names that a module imports; relative imports are forbidden by a test of their own."""
    nodes = _outside_functions(tree) if top_only else ast.walk(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def _outside_functions(tree: ast.AST):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _outside_functions(node)


def parts_imported(file: Path, *, top_only: bool = False) -> set[str]:
    names = imported(ast.parse(file.read_text(encoding="utf-8")), top_only=top_only)
    own = {name.split(".")[1] for name in names if name.startswith("r1reward.")}
    return own - {"__version__", "EXPORTS"}


def level_of(part: str) -> int | None:
    return next((level for level, group in enumerate(GROUPS) if part in group), None)


@pytest.mark.parametrize("file", modules(), ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_imports_run_one_way(file):
    part = part_of(file)
    used = parts_imported(file)
    if part == "__init__":
        assert not parts_imported(file, top_only=True)
    elif part == "report":
        assert used <= REPORT_MAY_IMPORT
    else:
        level = level_of(part)
        assert level is not None, f"{part} belongs to no group"
        late = {"report"} if part in ("pipeline", "cli") else set()
        for other in used - late:
            reached = level_of(other)
            assert reached is not None and reached <= level, f"{part} must not import {other}"


@pytest.mark.parametrize("file", modules(), ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_imports_are_absolute(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]


@pytest.mark.parametrize("file", modules(), ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_light_parts_import_nothing_heavy(file):
    name = file.relative_to(PACKAGE).with_suffix("").as_posix()
    if not any(name == light or name.startswith(f"{light}/") for light in LIGHT):
        return
    top = {
        found.split(".")[0] for found in imported(ast.parse(file.read_text(encoding="utf-8")), top_only=True)
    }
    assert not top & HEAVY


def test_algorithms_do_no_input_or_output():
    for file in (PACKAGE / "algo").glob("*.py"):
        names = {
            name.split(".")[0]
            for name in imported(ast.parse(file.read_text(encoding="utf-8")), top_only=False)
        }
        assert not names & {"os", "pathlib", "io", "json", "logging", "transformers"}, file


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import r1reward", {"torch", "transformers", "pandas", "numpy", "matplotlib", "pydantic"}),
        ("import r1reward.config, r1reward.types, r1reward.files", {"torch", "transformers", "pandas"}),
        ("import r1reward.pipeline, r1reward.cli", {"torch", "transformers", "pandas", "papermill"}),
        (
            "import r1reward.data.annotate, r1reward.data.annotators",
            {"torch", "transformers", "pandas", "sklearn"},
        ),
        ("import r1reward.report.render", {"torch", "transformers", "datasets"}),
    ],
)
def test_what_an_import_loads(code, absent):
    script = (
        f"import json, sys; {code}; print(json.dumps(sorted(set(sys.modules) & set({sorted(absent)!r}))))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
