"""What a run of a notebook hands on, and where each value of a manifest is from."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import papermill
import pytest
from wires import Wires

from r1reward.files import write_json
from r1reward.pipeline import execute, notebook, overview, staleness
from r1reward.pipeline.notebook import RUNNER_VARIABLE, begin, start
from r1reward.pipeline.places import ROOT_VARIABLE, RUNS_VARIABLE, Places
from r1reward.pipeline.staleness import Parameters, Standing, State, compute_lock, make_context


@pytest.fixture
def wires(monkeypatch: pytest.MonkeyPatch) -> Wires:
    return Wires(monkeypatch)


@pytest.fixture
def given(checkout, tmp_path: Path) -> Parameters:
    """Parameters of which none is the default."""
    return Parameters(profile=str(checkout.root / "tiny.toml"), seed=5, seeds=3, out=str(tmp_path / "out"))


@pytest.fixture
def places(checkout) -> Places:
    staleness._hash_cache.cache_clear()
    return Places(checkout.root, checkout.root / "runs")


def test_the_first_cell_begins_the_run_that_its_parameters_name(wires: Wires) -> None:
    wires.cut(notebook, "find_places", "places")
    wires.cut(notebook, "begin", "run")
    values: dict[str, Any] = {"profile": "mini", "seed": 5, "seeds": 3, "out": "elsewhere"}
    assert start("03", **values) == "run"
    assert wires.once("begin") == {"places": "places", "notebook": "03", "parameters": Parameters(**values)}
    assert Parameters(**values).options() == "--profile mini --seed 5 --seeds 3 --out elsewhere"


@pytest.mark.parametrize("by_hand", [False, True])
def test_every_value_of_a_manifest_is_what_it_says(
    by_hand: bool, given: Parameters, places: Places, wires: Wires, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    for name in ("peak_memory_mb", "device", "versions", "commit"):
        wires.cut(notebook.environment, name, name)
    wires.cut(notebook, "ran_as_saved", True)
    context = make_context(places, given)
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    if by_hand:
        monkeypatch.delenv(RUNNER_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(RUNNER_VARIABLE, "1")
        write_json(
            context.attempt_file(context.notebooks[0]), {"lock": {}, "outcome": "", "earlier_seconds": 40.0}
        )
    run = begin(places, "1", given)
    assert (run.seed, run.seeds, run.folder) == (5, [5, 6, 7], tmp_path / "out/tiny")
    assert run.records == tmp_path / "out/tiny/records" and run.paid == tmp_path / "out/paid/tiny"
    assert run.kept("grid") == places.root / "results/tiny/runs/grid"
    (run.work("made") / "number.txt").write_text("1")
    run.record("made.json").write_text("{}")
    monkeypatch.setattr(time, "time", lambda: 1061.5)
    found = json.loads(run.finish(answer=42).read_text())
    assert found.pop("settings")["rl"]["epochs"] == 3
    assert found == {
        "notebook": "01_make", "profile": "tiny", "seeds": [5, 6, 7], "notes": {"answer": 42},
        "started": "1970-01-01T00:16:40+00:00", "finished": "1970-01-01T00:17:41+00:00",
        "wall_seconds": 61.5, "work_seconds": 61.5 if by_hand else 101.5,
        "peak_memory_mb": "peak_memory_mb", "device": "device", "versions": "versions", "git": "commit",
        "outputs": staleness.output_hashes(context, context.notebooks[0]),
        "lock": json.loads(json.dumps(compute_lock(context, context.notebooks[0]))) if by_hand else None,
    }  # fmt: skip
    assert wires.once("commit") == {"root": places.root}


def test_a_kernel_gets_the_parameters_and_folders_of_the_run(
    given: Parameters, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def run(source: str, target: str, **how: Any) -> None:
        asked.update(how, source=source, target=target)
        for number, text in enumerate(("# a comment\nfirst = 1", "second = 2")):
            clock[0] = 10.0 * (number + 1)
            how["on_cell_start"](cell=SimpleNamespace(cell_type="markdown", source="text"), cell_index=0)
            how["on_cell_start"](cell=SimpleNamespace(cell_type="code", source=text), cell_index=1)
        clock[0] = 25.0

    clock = [0.0]
    context = make_context(places, given)
    monkeypatch.setattr(papermill, "execute_notebook", run)
    monkeypatch.setattr(execute.LiveOutput, "seconds", property(lambda self: clock[0]))
    terminal, log = io.StringIO(), io.StringIO()
    live = execute.LiveOutput(terminal, log, "01_make")
    executed = tmp_path / "executed.ipynb"
    seconds = execute._papermill(
        context, context.notebooks[0], executed=executed, live=live, earlier=[20.0, 4.0]
    )
    assert seconds == [10.0, 5.0], "of each cell"
    assert "cell 1" in terminal.getvalue() and "first = 1" in terminal.getvalue()
    assert (asked["source"], asked["target"]) == (str(places.notebooks / "01_make.ipynb"), str(executed))
    assert asked["parameters"] == given.model_dump() and asked["cwd"] == str(places.root)
    kernel = asked["kernel_manager_class"].environment
    assert (kernel[ROOT_VARIABLE], kernel[RUNS_VARIABLE]) == (str(places.root), str(places.runs))
    assert kernel[RUNNER_VARIABLE]


def test_the_overview_shows_each_notebook_here_and_as_published(
    given: Parameters, places: Places, wires: Wires
) -> None:
    wires.cut(overview, "find_places", places)
    wires.cut(overview, "examine_all", {"01_make": Standing(State.STALE)})
    manifest = places.results("tiny") / "manifests/02_use.json"
    write_json(manifest, {"wall_seconds": 180, "seeds": [0, 1, 2, 3]})
    wires.cut(overview, "make_context", make_context(places, given))
    found = overview.notebooks("tiny", out="elsewhere")
    assert wires.once("make_context") == {
        "places": places, "parameters": Parameters(profile="tiny", out="elsewhere"),
    }  # fmt: skip
    assert found.to_dict("records") == [
        {
            "notebook": "01_make",
            "question": "Is something made?",
            "here": "stale",
            "minutes": "",
            "seeds": "",
        },
        {"notebook": "02_use", "question": "Is it used?", "here": "on request", "minutes": "3", "seeds": "4"},
    ]
