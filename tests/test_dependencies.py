"""What the code imports is declared, and what is declared has one version for every machine."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

OPTIONAL = {"vllm", "openrlhf", "deepspeed", "ray", "verl", "openai", "peft", "flash_attn", "playwright"}


def normal(name: str) -> str:
    return re.split(r"[\[<>=!~ ;]", name, maxsplit=1)[0].lower().replace("_", "-")


@pytest.fixture(scope="module")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def constraints(repository):
    lines = (repository / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def third_party(folder) -> set[str]:
    """Distributions that the Python files below a folder import."""
    names = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    own = {"r1reward", *(file.stem for file in folder.rglob("*.py"))}
    names -= set(sys.stdlib_module_names) | own | OPTIONAL
    known = packages_distributions()
    return {normal(known.get(name, [name])[0]) for name in names}


def test_every_import_of_the_package_is_a_dependency(repository, project):
    assert third_party(repository / "r1reward") <= {normal(name) for name in project["dependencies"]}


def test_every_import_of_the_tests_is_a_dependency(repository, project):
    extras = project["optional-dependencies"]
    # Tests beside TRL are skipped where it is not installed.
    declared = {*project["dependencies"], *extras["dev"], *(name.split("==")[0] for name in extras["bench"])}
    assert third_party(repository / "tests") <= {normal(name) for name in declared}


def test_every_dependency_has_one_version(project, constraints):
    extras = project["optional-dependencies"]
    declared = {*project["dependencies"], *extras["dev"], *extras["api"]}
    assert {normal(name) for name in declared} <= set(constraints)


def test_the_cluster_stack_has_the_versions_of_the_constraints(repository, project, constraints):
    pinned = [
        line for extra in ("vllm", "openrlhf", "bench") for line in project["optional-dependencies"][extra]
    ]
    environment = re.findall(r"- ([\w\-\[\]]+)==([\d.]+)", (repository / "environment.yml").read_text())
    for name, version in [*(line.split("==") for line in pinned), *environment]:
        if normal(name) != "flash-attn":
            assert constraints[normal(name)] == version, name


def test_the_lock_file_of_the_test_cluster_follows_the_constraints(repository, constraints):
    lines = (repository / "tests" / "cluster" / "requirements.lock").read_text().splitlines()
    locked = {normal(line): line.split("==")[1] for line in lines if not line.startswith("#")}
    shared = set(locked) & set(constraints)
    assert len(shared) > 30
    assert {name: locked[name] for name in shared} == {name: constraints[name] for name in shared}
