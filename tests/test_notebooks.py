"""The notebooks keep their contract, and run on the smoke profile through the users' own command."""

import html
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import chain

from r1reward.config import load_profile
from r1reward.data.storage import SFTExample, write_pairs
from r1reward.files import read_json
from r1reward.pipeline.dag import read_notebooks
from r1reward.pipeline.execute import check_parameters
from r1reward.pipeline.places import RUNS_VARIABLE, find_places
from r1reward.pipeline.staleness import Parameters
from r1reward.train.grid import VARIANTS
from r1reward.train.stress import COMPARED
from r1reward.types import PreferencePair

PLACES = find_places()
NOTEBOOKS = [notebook.name for notebook in read_notebooks(PLACES)]
CHAIN = [notebook.name for notebook in read_notebooks(PLACES) if not notebook.on_request]
MOST_LINES = 18


def cells_of(name: str, kind: str) -> list:
    content = nbformat.read(PLACES.notebooks / f"{name}.ipynb", as_version=4)
    nbformat.validate(content)
    return [cell for cell in content.cells if cell.cell_type == kind]


def run_smoke(folder: Path, *names: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, RUNS_VARIABLE: str(folder)}
    command = [sys.executable, "-m", "r1reward", "run", *names, "--profile", "smoke"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_table_lists_the_notebooks():
    assert sorted(file.stem for file in PLACES.notebooks.glob("*.ipynb")) == ["00_start", *NOTEBOOKS]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_contract(name):
    code = [cell.source for cell in cells_of(name, "code")]
    assert cells_of(name, "markdown")[0].source.startswith("# ")
    assert all(not cell.outputs and cell.execution_count is None for cell in cells_of(name, "code"))
    check_parameters(PLACES.notebooks / f"{name}.ipynb", Parameters(profile="smoke").model_dump())
    assert max(len(source.splitlines()) for source in code) <= MOST_LINES
    assert f'start("{name}"' in code[1] and code[-1].strip().splitlines()[-1].startswith("run.finish(")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of a finished smoke run."""
    folder = tmp_path_factory.mktemp("runs")
    first = run_smoke(folder)
    assert first.returncode == 0, first.stdout[-5000:] + first.stderr[-5000:]
    return folder


@pytest.mark.parametrize("part", chain.PARTS, ids=[part.__name__ for part in chain.PARTS])
def test_the_records_of_the_smoke_run_are_what_the_profile_asks_for(runs, part):
    part(runs / "smoke")


def test_the_smoke_profile_runs_once_and_publishes_nothing_by_itself(runs):
    folder = runs / "smoke"
    assert sorted(file.stem for file in (folder / "executed").glob("*.ipynb")) == CHAIN
    assert {"table_02.csv", "table_03.md", "table_05.tex"} <= {p.name for p in (folder / "tables").iterdir()}
    assert {"figure_1.svg", "figure_2.png"} <= {path.name for path in (folder / "figures").iterdir()}

    second = run_smoke(runs)
    assert second.returncode == 0
    assert second.stdout.count("is up to date") == len(CHAIN)
    assert "cell 1" not in second.stdout


class Finished:
    """In place of a run whose folder is there, with seed 0."""

    seed = 0
    profile = load_profile("smoke")

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def input(self, place: str) -> Path:
        return self.folder / place


def test_consistency_judges_are_tested_on_answers_about_other_pairs(tmp_path, monkeypatch):
    """The cells of notebook 03, with a policy that always comes to a conclusion."""
    pairs = {
        name: [PreferencePair(f"{name}-{n}", "povid", "which ?", ("a", "b"), 1) for n in range(4)]
        for name in ("rl", "validation", "sft")
    }
    for name in ("rl", "validation"):
        write_pairs(tmp_path / f"work/data/{name}.jsonl", pairs[name])
    text = "<think>response 1 is better .</think><answer>1</answer>"
    write_pairs(tmp_path / "work/data/sft.jsonl", [SFTExample(pair, text) for pair in pairs["sft"]])
    asked = []

    def sample(start: Path, some: list[PreferencePair], **_: object) -> list[tuple[str, str]]:
        asked.append(start)
        return [(pair.pair_id, text) for pair in some]

    monkeypatch.setattr("r1reward.train.consistency.sample_answers", sample)
    sources = [cell.source for cell in cells_of("03_stable_reinforce", "code")]
    names = {"run": Finished(tmp_path)}
    for code in (code for word in ("sample_answers(", "make_opinions(") for code in sources if word in code):
        exec(code, names)
    ids = {name: {one.pair_id for one in names[name]} for name in ("opinions", "held_out")}
    assert ids["held_out"] == {pair.pair_id for pair in pairs["validation"]}
    assert ids["opinions"] == {pair.pair_id for pair in pairs["rl"] + pairs["sft"]}
    assert set(asked) == {tmp_path / "work/sft/seed_0/model"}


@pytest.mark.parametrize("name", ["00_start"])
def test_a_notebook_runs_by_hand_with_papermill(tmp_path, name):
    """As the guide says: from the folder of the notebooks, with parameters."""
    command = [Path(sys.executable).with_name("papermill"), f"{name}.ipynb", tmp_path / "out.ipynb"]
    command += ["-p", "profile", "smoke", "-p", "out", tmp_path]
    done = subprocess.run(
        list(map(str, command)), cwd=PLACES.notebooks, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-5000:]
    written = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    texts = [output for cell in written.cells for output in cell.get("outputs", [])]
    assert any("01_data_construction" in str(output) for output in texts)
    for notebook in read_notebooks(PLACES):
        assert any(html.escape(notebook.question, quote=False) in str(output) for output in texts), (
            "whole sentences"
        )


@pytest.mark.full
def test_notebooks_on_request_run_when_they_are_named(tmp_path):
    done = run_smoke(tmp_path, "05b")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    found = read_json(tmp_path / "smoke/records/stress.json")
    assert (len(found["tried"]), found["fresh_seeds"]) == (1, 1)
    assert set(found["fresh"]) == set(COMPARED)
    beyond = {variant.name for variant in VARIANTS.values() if not variant.core}
    assert {path.name for path in (tmp_path / "smoke/records/full_grid").iterdir()} == beyond
    assert "not run" not in (tmp_path / "smoke/tables/extra_stress.csv").read_text()
