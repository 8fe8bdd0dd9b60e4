"""The chain executed for real: papermill, kernels and doit in a temporary checkout."""

import io
import json
import os
import re
import subprocess
import sys

import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from r1reward.files import read_json, write_json
from r1reward.locks import BusyError, acquire, release
from r1reward.pipeline import runner
from r1reward.pipeline.execute import NotebookFailedError, execute
from r1reward.pipeline.places import ROOT_VARIABLE
from r1reward.pipeline.ready import NotReadyError
from r1reward.pipeline.staleness import State, examine_all


def test_the_chain_runs_once_and_then_only_what_changed(checkout, capfd):
    assert checkout.run() == ["01", "02"]
    assert checkout.succeeded and checkout.drawn == 1
    folder = checkout.context.folder
    printed = capfd.readouterr().out
    assert re.search(r"\[01_make \d+:\d\d\] made 0\n", printed) and "cell 3" in printed
    rows = (folder / "records/used/seed_1.jsonl").read_text()
    assert json.loads(rows) == {"text": "1.0", "value": 3}
    executed = json.loads((folder / "executed/02_use.ipynb").read_text())
    assert any(cell["metadata"].get("tags") == ["injected-parameters"] for cell in executed["cells"])

    assert checkout.run() == [] and checkout.drawn == 1
    assert "01_make is up to date\n02_use is up to date" in capfd.readouterr().out

    assert not list(folder.glob(".doit*")), "no state beside the manifests"
    os.utime(folder / "work/made/number.txt")
    assert checkout.run() == []

    checkout.setting("epochs = 3", "epochs = 4")
    assert checkout.run() == ["02"] and checkout.drawn == 2
    assert json.loads((folder / "records/used/seed_1.jsonl").read_text())["value"] == 4
    assert (folder / "work/used/kept.txt").read_text() == "once"

    (folder / "work/made/number.txt").write_text("tampered")
    assert checkout.run("1") == ["01"]
    assert checkout.run("02") == []
    assert checkout.run("02", force=True) == ["02"]


def test_a_notebook_on_request_runs_when_it_is_named_and_is_kept_fresh_from_then_on(checkout):
    table = checkout.root / "notebooks" / "pipeline.toml"
    table.write_text(table.read_text() + "on_request = true\n")
    assert checkout.run() == ["01"]
    assert list(examine_all(checkout.context)) == ["01_make"]
    assert checkout.run("02") == ["02"]
    assert {standing.state for standing in examine_all(checkout.context).values()} == {State.FRESH}
    checkout.setting("epochs = 3", "epochs = 4")
    assert checkout.run() == ["02"]


def test_a_notebook_runs_alone_on_what_lies_there(checkout):
    checkout.run()
    (checkout.context.folder / "work/made/number.txt").write_text("5")
    assert checkout.run("02", alone=True) == ["02"] and checkout.succeeded
    standings = examine_all(checkout.context)
    assert standings["01_make"].state is State.STALE
    assert all("01_make" in reason for reason in standings["02_use"].reasons)


def test_surroundings_are_checked_before_a_fresh_notebook_is_forced(checkout, monkeypatch):
    def refuse(context, notebooks):
        raise NotReadyError(", ".join(notebook.name for notebook in notebooks))

    checkout.fake_finished_run()
    monkeypatch.setattr(runner, "check_surroundings", refuse)
    with pytest.raises(NotReadyError, match=r"^02_use$"):
        checkout.run("02", force=True)


def test_the_manifest_says_what_was_run(checkout):
    checkout.run("01")
    context = checkout.context
    manifest = context.manifest(context.notebooks[0])
    assert set(manifest["outputs"]) == {"work/made", "records/made.json"}
    assert manifest["notes"] == {"reason": "test"} and manifest["seeds"] == [0, 1]
    assert manifest["versions"]["papermill"] and manifest["peak_memory_mb"] > 1
    assert manifest["device"]["cores"] >= 1 and manifest["settings"]["rl"]["epochs"] == 3
    assert len(manifest["cell_seconds"]) == len(checkout.make) + 1
    assert str(checkout.root) not in json.dumps(manifest)


def test_what_changes_while_a_notebook_runs_leaves_it_stale(checkout, capfd):
    """The manifest names what the notebook was started with, not what lies there when it ends."""
    change = '(run.folder / "work/made/number.txt").write_text("7")'
    checkout.write("02_use", (*checkout.use[:-1], change, checkout.use[-1]))
    assert checkout.run() == ["01", "02"] and checkout.succeeded
    assert "02_use: code, settings or inputs changed while it ran; it stays stale" in capfd.readouterr().out
    standing = examine_all(checkout.context)["02_use"]
    assert standing.state is State.STALE and "input work/made changed (made by 01_make)" in standing.reasons


def test_the_time_left_is_judged_by_the_last_run_here(checkout, capfd):
    """Another machine's, which is published, only where there is none."""
    published = checkout.root / "results/tiny/manifests/01_make.json"
    write_json(published, {"cell_seconds": [3600.0] + [0.0] * 4})
    checkout.run("01")
    assert "cell 1, about 1:00:00 left" in capfd.readouterr().out
    file = checkout.context.manifest_file(checkout.context.notebooks[0])
    write_json(file, {**read_json(file), "cell_seconds": [60.0] + [0.0] * 4})
    checkout.run("01", force=True)
    assert "cell 1, about 1:00 left" in capfd.readouterr().out


def test_a_failure_is_shown_and_the_next_run_continues_the_work(checkout, capfd):
    (checkout.root / "fail").touch()
    assert checkout.run() == ["01", "02"]
    printed = capfd.readouterr().out
    assert not checkout.succeeded
    assert "02_use failed" in printed and "KeyError" in printed and "on purpose" in printed
    assert printed.index("End of") < printed.rindex("before the error")
    standing = examine_all(checkout.context)["02_use"]
    assert standing.state is State.UNFINISHED and "KeyError" in standing.reasons[0]

    (checkout.root / "fail").unlink()
    assert checkout.run() == ["02"] and checkout.succeeded
    kept = checkout.context.folder / "work/used/kept.txt"
    assert kept.read_text() == "onceagain"
    assert examine_all(checkout.context)["02_use"].state is State.FRESH


def test_work_made_under_other_settings_is_not_continued(checkout):
    (checkout.root / "fail").touch()
    checkout.run()
    (checkout.root / "fail").unlink()
    checkout.setting("epochs = 3", "epochs = 4")
    assert checkout.run() == ["02"]
    assert (checkout.context.folder / "work/used/kept.txt").read_text() == "once"


def test_a_full_disk_is_one_line_and_the_next_run_goes_on(checkout, monkeypatch, capfd):
    def fail(context, notebook, **options):
        raise OSError(28, "No space left on device", "/disk/file")

    checkout.fake_finished_run()
    checkout.setting("epochs = 3", "epochs = 4")
    checkout.write("02_use", checkout.use)
    with monkeypatch.context() as patch:
        patch.setattr(runner, "execute", fail)
        patch.setattr(runner, "refuse_stale_work", lambda *given, **options: None)
        checkout.run("02")
    printed = capfd.readouterr().out
    assert not checkout.succeeded and "Traceback" not in printed
    assert "02_use failed\n[Errno 28] No space left on device: '/disk/file'\n" in printed


def test_state_of_an_older_version_that_is_half_written_does_not_matter(checkout):
    context = checkout.fake_finished_run()
    (context.folder / ".doit.db.json").write_text('{"half')
    (context.folder / ".hashes.json").write_text('["half"]')
    assert checkout.run() == [] and checkout.succeeded


@pytest.mark.parametrize(
    ("name", "is_code"), [("ValueError", False), ("FileNotFoundError", False), ("KeyError", True)]
)
def test_only_errors_of_code_show_their_traceback(checkout, monkeypatch, name, is_code):
    def fail(*given, **options):
        raise PapermillExecutionError(4, 4, "cell", name, "a.jsonl, row 3: bad", ["Traceback of it"])

    monkeypatch.setattr(papermill, "execute_notebook", fail)
    context = checkout.context
    with pytest.raises(NotebookFailedError) as caught:
        execute(context, context.notebooks[0], terminal=io.StringIO())
    message = str(caught.value)
    assert message.startswith(f"{name}: a.jsonl, row 3: bad")
    assert ("Traceback of it" in message) is ("\n" in message) is is_code
    assert context.attempt(context.notebooks[0])["outcome"] == f"failed: {name}: a.jsonl, row 3: bad"


def test_a_dead_kernel_is_named(checkout, capfd):
    checkout.write("01_make", [*checkout.make[:2], "import os\nos._exit(9)", *checkout.make[2:]])
    assert checkout.run("01") == []
    assert not checkout.succeeded
    assert "the kernel died" in capfd.readouterr().out


def test_a_notebook_that_does_not_finish_is_not_done(checkout, capfd):
    checkout.write("01_make", checkout.make[:-1])
    checkout.run("01")
    assert not checkout.succeeded
    assert "01_make ended without run.finish()" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (
            'profile = "mini"\nseed = 0\nseeds = 0\nout = ""\nsede = 1',
            "parameters cell: unknown parameter sede; did you mean seed?",
        ),
        (
            'profile = "mini"\nseed = 0\nout = ""',
            "01_make.ipynb: unknown parameter seeds; did you mean seed?",
        ),
    ],
)
def test_parameters_of_the_cell_must_be_those_of_the_pipeline(checkout, capfd, cell, message):
    checkout.write("01_make", [cell, *checkout.make[1:]])
    assert checkout.run("01") == []
    assert message in capfd.readouterr().out


def test_a_failing_notebook_stops_what_reads_it(checkout):
    checkout.write("01_make", [*checkout.make[:3], "raise SystemError", *checkout.make[3:]])
    assert checkout.run() == []
    assert not checkout.succeeded


def test_parallel_jobs_give_the_same(checkout):
    assert checkout.run(jobs=2) == ["01", "02"]
    assert checkout.succeeded
    assert checkout.run(jobs=2) == []


def test_two_runs_of_one_profile_do_not_meet(checkout, other_process):
    lock = checkout.context.folder / ".lock"
    other_process.hold(lock)
    with pytest.raises(BusyError, match=rf"in use by another process \(process {other_process.pid} since"):
        checkout.run()
    other_process.kill()
    acquire(lock, what="the run")
    release(lock)


def test_after_kill_9_the_same_command_goes_on(checkout):
    pipe = checkout.root / "pipe"
    os.mkfifo(pipe)
    wait = "if Path('pipe').exists():\n    open('pipe').read()"
    checkout.write("02_use", [*checkout.use[:4], wait, *checkout.use[4:]])
    arguments = ["run", "--profile", str(checkout.root / "tiny.toml")]
    environment = {**os.environ, ROOT_VARIABLE: str(checkout.root)}
    process = subprocess.Popen(
        [sys.executable, "-m", "r1reward", *arguments], env=environment, stdout=subprocess.DEVNULL
    )
    with pipe.open("w"):  # opens when the kernel reads: it is in the middle of the notebook
        process.kill()
        process.wait()
        pipe.unlink()
        standing = examine_all(checkout.context)["02_use"]
        assert (standing.state, standing.reasons) == (State.UNFINISHED, ("the last attempt was cut short",))
        assert checkout.run() == ["02"] and checkout.succeeded
    assert (checkout.context.folder / "work/used/kept.txt").read_text() == "onceagain"
