"""A small checkout with two real notebooks, run by the real pipeline in a temporary folder."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from r1reward.files import write_atomic, write_json
from r1reward.pipeline import dag, runner, staleness
from r1reward.pipeline.places import Places
from r1reward.pipeline.staleness import Context, Parameters, make_context
from r1reward.report.packing import RecordFiles

TABLE = """
[[notebook]]
name = "01_make"
question = "Is something made?"
outputs = ["work/made", "records/made.json"]
settings = ["sft.epochs"]

[[notebook]]
name = "02_use"
question = "Is it used?"
inputs = ["work/made"]
outputs = ["work/used", "records/used"]
settings = ["rl"]
"""
PROFILE = 'name = "tiny"\nsentence = "A test."\nseeds = 2\n[rl]\nepochs = 3\n[sft]\nepochs = 1.0\n'
PARAMETERS = 'profile = "mini"\nseed = 0\nseeds = 0\nout = ""'
START = """
from r1reward.pipeline import start
run = start("{name}", profile=profile, seed=seed, seeds=seeds, out=out)
"""
NUMBER = """
(run.work("made") / "number.txt").write_text(str(run.profile.sft.epochs))
print("made", run.seed)
"""
MADE = """
from r1reward.files import append_jsonl, write_json
write_json(run.record("made.json"), {"made": 1})
append_jsonl("calls.jsonl", {"called": "01"})
"""
CALLED = """
from pathlib import Path
from r1reward.files import append_jsonl
append_jsonl("calls.jsonl", {"called": "02"})
"""
KEPT = """
kept = run.work("used") / "kept.txt"
kept.write_text(kept.read_text() + "again" if kept.exists() else "once")
"""
FAIL = """
if Path("fail").exists():
    print("before the error")
    raise KeyError("on purpose")
"""
USED = """
for seed in run.seeds:
    text = run.input("work/made/number.txt").read_text()
    row = {"text": text, "value": run.profile.rl.epochs}
    append_jsonl(run.record("used") / f"seed_{seed}.jsonl", row)
"""
MAKE = (PARAMETERS, START.format(name="01_make"), NUMBER, MADE, 'run.finish(reason="test")')
USE = (PARAMETERS, START.format(name="02_use"), CALLED, KEPT, FAIL, USED, "run.finish()")


def write_notebook(file: Path, cells: Sequence[str]) -> None:
    """A stripped notebook whose first code cell holds the parameters."""
    content = [{"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# Title"}]
    for number, cell in enumerate(cells):
        metadata = {"tags": ["parameters"]} if number == 0 else {}
        content.append(
            {"cell_type": "code", "id": f"cell-{number}", "metadata": metadata, "source": cell,
             "execution_count": None, "outputs": []}
        )  # fmt: skip
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    notebook = {"cells": content, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    file.write_text(json.dumps(notebook), encoding="utf-8")


@dataclass
class Checkout:
    """The temporary checkout and what was drawn in it."""

    root: Path
    drawn: int = 0
    succeeded: bool = False
    make: tuple[str, ...] = MAKE
    use: tuple[str, ...] = USE

    @property
    def context(self) -> Context:
        """A run of the profile `tiny` as things are now."""
        staleness._hash_cache.cache_clear()
        places = Places(self.root, self.root / "runs")
        return make_context(places, Parameters(profile=str(self.root / "tiny.toml")))

    def write(self, name: str, cells: Sequence[str]) -> None:
        """Replace a notebook."""
        write_notebook(self.root / "notebooks" / f"{name}.ipynb", cells)

    def setting(self, old: str, new: str) -> None:
        """Edit the profile."""
        file = self.root / "tiny.toml"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))

    def run(self, *names: str, **options) -> list[str]:
        """Run the chain; returns the numbers of the notebooks that were really executed."""
        calls = self.root / "calls.jsonl"
        calls.unlink(missing_ok=True)
        self.succeeded = runner.run_notebooks(self.context, names, render=self.render, **options)
        lines = calls.read_text().splitlines() if calls.exists() else []
        return [json.loads(line)["called"] for line in lines]

    def render(self, root: Path) -> list[Path]:
        """Stands in for the report: one table and two pictures drawn from the records."""
        self.drawn += 1
        files = RecordFiles(root / "records")
        rows = sorted((name.rpartition("/")[2], files.content(name).decode()) for name in files.names)
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), (len(rows), 100, 100)).save(buffer, "PNG")
        text = "".join(f"{name},{len(content)}\n" for name, content in rows)
        return [
            write_atomic(root / "tables" / "table_01.csv", text),
            write_atomic(root / "figures" / "figure_1.png", buffer.getvalue()),
            write_atomic(root / "figures" / "figure_1.svg", f"<svg><dc:date>now</dc:date>{len(rows)}</svg>"),
        ]

    def fake_finished_run(self, *, made: int = 2, used: int = 4) -> Context:
        """A complete run without executing anything, for tests of what comes after it."""
        context = self.context
        for name, value in (("work/made/number.txt", 1), ("records/made.json", made),
                            ("work/used/kept.txt", 3), ("records/used/seed_0.json", used)):  # fmt: skip
            write_json(context.folder / name, value)
        for notebook in context.notebooks:
            manifest = {
                "notebook": notebook.name,
                "outputs": staleness.output_hashes(context, notebook),
                "lock": staleness.compute_lock(context, notebook),
                "cell_seconds": [],
            }
            write_json(context.manifest_file(notebook), manifest)
        runner.refresh_drawing(context, render=self.render)
        return self.context


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    """A checkout whose two notebooks have not run yet."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "pipeline.toml").write_text(TABLE)
    (tmp_path / "tiny.toml").write_text(PROFILE)
    made = Checkout(tmp_path)
    made.write("01_make", MAKE)
    made.write("02_use", USE)
    return made


@pytest.fixture
def own_package(tmp_path, monkeypatch) -> Path:
    """A copy of the package's source whose modules a test may edit."""
    folder = tmp_path / "package" / "r1reward"
    for name in ("__init__.py", "files.py", "types.py"):
        write_atomic(folder / name, (dag.PACKAGE_FOLDER / name).read_text(encoding="utf-8"))

    def imported(tree):
        return dag.imported_files(tree, folder)

    monkeypatch.setattr(staleness, "imported_files", imported)
    return folder


class OtherProcess:
    """Another process that holds a lock until it is killed."""

    pid = 0

    def hold(self, lock: Path) -> None:
        """Return when the other process has the lock."""
        code = (
            "import pathlib, sys; from r1reward.locks import acquire;"
            "acquire(pathlib.Path(sys.argv[1]), what='it'); print('held', flush=True); sys.stdin.read()"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid
        assert self._process.stdout and self._process.stdout.readline() == "held\n"

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def other_process() -> Iterator[OtherProcess]:
    """A process that can hold a lock."""
    process = OtherProcess()
    yield process
    if process.pid:
        process.kill()
