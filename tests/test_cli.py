import json
import os
import shlex
import subprocess
import sys

import pytest
import torch

from r1reward import cli
from r1reward.data.storage import write_pairs
from r1reward.engines import loading
from r1reward.files import read_jsonl, write_atomic, write_json
from r1reward.pipeline import staleness
from r1reward.pipeline.places import ROOT_VARIABLE, RUNS_VARIABLE, find_places
from r1reward.settings import ModelSettings
from r1reward.train import pretrain
from r1reward.types import PreferencePair


@pytest.fixture
def empty_runs(tmp_path, monkeypatch):
    """The real checkout with an empty folder for runs."""
    monkeypatch.setenv(RUNS_VARIABLE, str(tmp_path))
    return tmp_path


def test_status_and_why_of_nothing(empty_runs, capsys):
    assert cli.main(["status", "--profile", "smoke"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines and all("not run yet" in line or "on request" in line for line in lines)
    assert cli.main(["why", "05b"]) == 0
    assert "r1reward run 05b_full_grid" in capsys.readouterr().out
    assert cli.main(["why", "3"]) == 0
    assert "03_stable_reinforce is not run yet" in capsys.readouterr().out


def test_why_explains_a_row_of_the_committed_results(empty_runs, capsys):
    assert cli.main(["why", "table_03:stable_reinforce"]) == 0
    shown = capsys.readouterr().out
    assert "records/rl/stable_reinforce/seed_0/metrics.jsonl" in shown and "commit" in shown
    assert cli.main(["why", "table_05:stable_reinforc"]) == 2
    assert "did you mean stable_reinforce?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "--profile", "smok"], "there is no profile"),
        (["why", "03_stable_reinforc_"], "did you mean 03_stable_reinforce?"),
        (["run", "--seed", "-1"], "seed: Input should be greater than or equal to 0 (got -1)\n"),
        (
            ["why", "table_05:wo_filter", "--profile", "smoke"],
            "holds records of table_05:wo_filter; this makes",
        ),
        (["publish", "--profile", "smoke"], "01_data_construction is not run yet"),
    ],
)
def test_errors_of_use_are_messages(empty_runs, capsys, arguments, message):
    assert cli.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_why_says_that_a_run_which_has_begun_holds_no_such_row(empty_runs, capsys):
    (empty_runs / "mini/manifests").mkdir(parents=True)
    (empty_runs / "mini/records").mkdir()
    assert cli.main(["why", "table_05:wo_filter"]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    published = find_places().results("mini")
    assert first == f"from the published {published}; {empty_runs}/mini holds nothing of table_05:wo_filter"
    assert rest[0].startswith("table_05, ") and any("  record    records/" in line for line in rest)
    record = {"status": "finished", "step": 1, "weights": "abc"}
    write_json(empty_runs / "mini/records/grid/wo_filter/seed_0/status.json", record)
    write_json(empty_runs / "mini/records/grid/wo_filter/seed_0/run.json", {"status": "finished"})
    assert cli.main(["why", "table_05:wo_filter"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"from {empty_runs}/mini\n") and "abc" in shown


@pytest.mark.parametrize("steps", ["0", "-1", "x", "1.5"])
def test_a_build_of_no_steps_is_refused(steps, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["mini", "build-base", "--steps", steps])
    assert caught.value.code == 2
    assert f"{steps} is not a whole number of 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "/out"), "/out: Permission denied"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (MemoryError(), "out of memory"),
        (ModuleNotFoundError("No module named 'vllm'"), "No module named 'vllm'"),
        (RecursionError("too deep"), "too deep"),
    ],
)
def test_what_a_user_can_cause_is_one_line(empty_runs, monkeypatch, capsys, error, said):
    def fail(context):
        raise error

    monkeypatch.setattr(staleness, "examine_all", fail)
    assert cli.main(["status", "--profile", "smoke"]) == 2
    assert capsys.readouterr().err == f"r1reward: {said}\n"
    with pytest.raises(type(error)):
        cli.main(["--traceback", "status", "--profile", "smoke"])


def test_a_folder_that_cannot_be_made_is_named(tmp_path, capsys):
    file = write_json(tmp_path / "file", 1)
    assert cli.main(["run", "09", "--profile", "smoke", "--out", str(file)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"r1reward: {file}") and said.count("\n") == 1


@pytest.mark.parametrize("content", ["[" * 100_000, "{", "[]", '{"outputs": 1'])
def test_a_damaged_manifest_is_named_with_a_remedy(empty_runs, capsys, content):
    file = write_atomic(empty_runs / "smoke/manifests/01_data_construction.json", content)
    assert cli.main(["status", "--profile", "smoke"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"r1reward: {file}: ") and "move it away" in said and said.count("\n") == 1


def test_a_reader_that_has_seen_enough_is_no_error(empty_runs):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "r1reward", "status", "--profile", "smoke"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (cli.CLOSED_PIPE, "")


def test_a_preset_gets_its_own_folder(empty_runs):
    options = cli.make_parser().parse_args(["run", "--profile", "smoke", "--preset", "released"])
    context = cli.pipeline.make_context_of(options)
    assert context.folder == empty_runs / "smoke+released"
    assert context.profile.rl.learning_rate == 3e-7


def test_runs_may_lie_elsewhere_under_the_name_of_the_profile(tmp_path):
    options = cli.make_parser().parse_args(["run", "--profile", "smoke", "--out", str(tmp_path / "disk")])
    assert cli.pipeline.make_context_of(options).folder == tmp_path / "disk" / "smoke"


def test_build_base_takes_its_options(tmp_path, monkeypatch, capsys):
    asked = {}
    monkeypatch.setattr(pretrain, "build_base", lambda out, **given: asked.update(given, out=out) or out)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: asked.update(threads=count))
    assert cli.main(["mini", "build-base", "--out", str(tmp_path), "--seed", "3"]) == 0
    assert asked == {"out": tmp_path, "seed": 3, "steps": pretrain.TOTAL_STEPS, "threads": 1}
    assert str(tmp_path) in capsys.readouterr().out


def test_pairs_are_exported(tmp_path, capsys):
    pair = PreferencePair("p-1", "p", "q", ("a", "b"), 2)
    write_pairs(tmp_path / "pairs.jsonl", [pair])
    arguments = ["data", "export", "--pairs", str(tmp_path / "pairs.jsonl"), "--out", str(tmp_path / "out")]
    assert cli.main([*arguments, "--format", "openrlhf"]) == 0
    (row,) = read_jsonl(tmp_path / "out" / "data.jsonl")
    assert row["label"] == "2" and json.loads(row["pair"])["pair_id"] == "p-1"
    assert str(tmp_path / "out") in capsys.readouterr().out
    assert cli.main([*arguments, "--format", "csv"]) == 2
    assert "there are trl" in capsys.readouterr().err


def test_a_picture_budget_keeps_what_is_not_given(tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(
        loading, "write_picture_budget", lambda folder, settings: asked.update({folder: settings})
    )
    assert cli.main(["data", "picture-budget", "--model", str(tmp_path), "--max-pixels", "12544"]) == 0
    assert asked == {tmp_path: ModelSettings(max_pixels=12544)}


@pytest.mark.parametrize("command", ["verify", "figures", "page"])
def test_nothing_published_is_one_line(command, capsys):
    assert cli.main([command, "--profile", "never_published"]) == 2
    said = capsys.readouterr().err
    assert "nothing is published for never_published" in said and "mini" in said and said.count("\n") == 1


@pytest.mark.parametrize("command", ["verify", "status"])
def test_a_mistyped_checkout_is_not_replaced_by_another(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    assert cli.main([command]) == 2
    assert f"{ROOT_VARIABLE}: {tmp_path} is no checkout" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["judge", "--model", "m", "--seed", "-1"],
        ["judge", "--model", "m", "--seed", str(2**31)],
        ["judge", "--model", "m", "--votes", "0"],
        ["mini", "build-base", "--seed", "-1"],
        ["launch", "sft", "--start", "s", "--data", "d", "--out", "o", "--seed", "1.5"],
        ["launch", "rl", "--start", "s", "--data", "d", "--out", "o", "--seed", "-1"],
    ],
)
def test_seeds_and_counts_are_refused_before_anything_runs(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2 and f"{arguments[-1]} is not a whole number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--min-pixels", "0"], "min_pixels Input should be greater than or equal to 784"),
        (["--max-pixels", "-5"], "max_pixels Input should be greater than or equal to 784"),
        (["--min-pixels", "9000", "--max-pixels", "1000"], "min_pixels = 9000 is above max_pixels = 1000"),
    ],
)
def test_a_budget_that_is_none_is_one_line(given, said, tmp_path, capsys):
    assert cli.main(["data", "picture-budget", "--model", str(tmp_path), *given]) == 2
    shown = capsys.readouterr().err
    assert said in shown and shown.count("\n") == 1 and "pydantic" not in shown


def test_a_file_without_pairs_is_said(tmp_path, capsys):
    empty = write_atomic(tmp_path / "pairs.jsonl", "\n\n")
    out = tmp_path / "out"
    assert cli.main(["data", "export", "--pairs", str(empty), "--out", str(out), "--format", "trl"]) == 2
    assert f"{empty} holds no row" in capsys.readouterr().err and not out.exists()


@pytest.mark.parametrize("name", ["tabel_05", "table5", "Table_05", "tab_05:wo_filter"])
def test_a_mistyped_table_is_suggested(name, empty_runs, capsys):
    assert cli.main(["why", name]) == 2
    assert "did you mean table_05?" in capsys.readouterr().err


@pytest.mark.parametrize("profile", ["own.toml", "own.toml+released"])
def test_a_file_of_a_profile_is_found_from_any_folder(profile, empty_runs, tmp_path, monkeypatch):
    (tmp_path / "own.toml").write_text('extends = "smoke"\nname = "own"\n')
    monkeypatch.chdir(tmp_path)
    context = cli.pipeline.make_context_of(cli.make_parser().parse_args(["run", "--profile", profile]))
    assert context.parameters.profile == str(tmp_path / profile)


RUN = "import sys; from r1reward.cli import main; sys.exit(main(['status', '--profile', 'smoke']))"


def test_output_without_a_place_is_no_traceback(empty_runs):
    """Standard output that is closed, on a full disk, or in a coding without the signs that are shown."""
    shell = {"closed": ">&-", "full": ">/dev/full"}
    for name, to in shell.items():
        command = f"exec {sys.executable} -c {shlex.quote(RUN)} {to}"
        done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
        assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, name
        assert done.returncode == (0 if name == "closed" else 2), name
    code = "from r1reward import cli; cli.pipeline._status = lambda options: print('\u2192') or 0; "
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", code + RUN], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "\\u2192\n", "")


@pytest.mark.parametrize("arguments", [["status"], ["data", "check", "--root", "nowhere"]])
def test_the_command_stays_light(empty_runs, arguments):
    code = (
        f"import json, sys; from r1reward.cli import main; main({arguments});"
        "print(json.dumps(sorted(set(sys.modules) & {'torch', 'transformers', 'pandas', 'papermill'})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []
