"""What a run would start afresh: refused, or moved aside, and never deleted."""

import os

import pytest

from r1reward.files import read_json, write_json
from r1reward.pipeline.aside import move_aside
from r1reward.pipeline.cost import (
    StaleWorkError,
    refuse_stale_work,
    seconds_spent,
    start_afresh,
    why_afresh,
)
from r1reward.pipeline.staleness import compute_lock

HOURS = 7200.0


def took(checkout, seconds):
    """A finished run of which each notebook took so long."""
    context = checkout.fake_finished_run()
    for notebook in context.notebooks:
        write_json(context.manifest_file(notebook), {**context.manifest(notebook), "work_seconds": seconds})
    return checkout.context


def check(checkout, *, wanted=(0, 1), forced=()):
    context = checkout.context
    named = [[context.notebooks[index] for index in indices] for indices in (wanted, forced)]
    refuse_stale_work(context, named[0], forced=named[1])


def test_long_work_is_refused_with_the_change_and_a_command_before_anything_runs(checkout):
    took(checkout, HOURS)
    checkout.setting("epochs = 3", "epochs = 4")
    with pytest.raises(StaleWorkError) as caught:
        checkout.run()
    first, advice = str(caught.value).splitlines()
    assert first == ("02_use: work of 2:00:00 would be started afresh: setting rl.epochs changed from 3 to 4")
    assert f"r1reward run 02_use --force --profile {checkout.root / 'tiny.toml'}" in advice
    assert (checkout.context.folder / "work/used/kept.txt").exists()
    assert not (checkout.context.folder / "aside").exists()


def test_what_reads_work_that_starts_afresh_is_refused_with_it(checkout):
    took(checkout, HOURS)
    checkout.setting("[sft]\nepochs = 1.0", "[sft]\nepochs = 2.0")
    both = r"01_make: .* setting sft(.|\n)*02_use: .* it reads what 01_make would make afresh"
    with pytest.raises(StaleWorkError, match=both):
        check(checkout)
    with pytest.raises(StaleWorkError, match=r"^02_use: .* it reads what 01_make would make afresh"):
        check(checkout, forced=(0,))
    check(checkout, forced=(0, 1))
    check(checkout, wanted=(1,))


@pytest.mark.parametrize("seconds", [HOURS, None])
def test_work_is_long_unless_it_is_known_to_be_short(checkout, seconds):
    context = took(checkout, seconds)
    with pytest.raises(StaleWorkError):
        start_afresh(context, context.notebooks[1], ["a reason"], force=False)
    context = took(checkout, 59.0)
    start_afresh(context, context.notebooks[1], ["a reason"], force=False)
    assert not (context.folder / "records/used").exists()


def test_forced_work_moves_aside_with_its_manifest_and_can_be_put_back(checkout):
    took(checkout, HOURS)
    assert checkout.run("02", force=True) == ["02"]
    folder = checkout.context.folder
    [aside] = (folder / "aside").iterdir()
    assert read_json(aside / "records/used/seed_0.json") == 4
    assert read_json(aside / "manifests/02_use.json")["work_seconds"] == HOURS
    assert (folder / "work/used/kept.txt").read_text() == "once"
    assert read_json(folder / "manifests/02_use.json")["work_seconds"] < HOURS


def test_stale_work_of_hours_starts_afresh_where_it_is_forced(checkout):
    took(checkout, HOURS)
    checkout.setting("epochs = 3", "epochs = 4")
    with pytest.raises(StaleWorkError):
        checkout.run("02")
    assert checkout.run("02", force=True) == ["02"] and checkout.succeeded


def test_short_work_moves_aside_without_asking(checkout):
    took(checkout, 1.0)
    checkout.setting("epochs = 3", "epochs = 4")
    assert checkout.run() == ["02"]
    [kept] = checkout.context.folder.glob(os.path.join("aside", "*", "work", "used", "kept.txt"))
    assert read_json(kept) == 3


def test_the_time_of_all_attempts_counts(checkout):
    context = took(checkout, HOURS)
    notebook = context.notebooks[1]
    attempt = {"lock": {}, "outcome": "was cut short", "begun": 1e9, "earlier_seconds": 50.0}
    write_json(context.attempt_file(notebook), attempt)
    log = write_json(context.folder / "executed/02_use.log", "")
    for file in (log, *context.folder.glob("*/used/*")):
        os.utime(file, (1e9, 1e9 + 20))
    os.utime(log, (1e9, 1e9 + 30))
    assert seconds_spent(context, notebook) == 80.0
    write_json(context.attempt_file(notebook), {"lock": {}, "outcome": "of an older version"})
    assert seconds_spent(context, notebook) is None


def test_a_run_that_goes_on_adds_to_the_time_spent(checkout):
    (checkout.root / "fail").touch()
    checkout.run()
    context = checkout.context
    file = context.attempt_file(context.notebooks[1])
    write_json(file, {**read_json(file), "earlier_seconds": HOURS})
    (checkout.root / "fail").unlink()
    assert checkout.run("02") == ["02"]
    assert context.manifest(context.notebooks[1])["work_seconds"] >= HOURS


def test_two_asides_in_one_second_do_not_meet(tmp_path):
    first = move_aside(tmp_path, {"a": write_json(tmp_path / "a", 1)})
    second = move_aside(tmp_path, {"a": write_json(tmp_path / "a", 2), "b": tmp_path / "nothing"})
    assert [read_json(folder / "a") for folder in (first, second)] == [1, 2]
    assert [path.name for path in second.iterdir()] == ["a"]


def test_force_starts_long_work_afresh_that_other_settings_would_stop(checkout):
    took(checkout, HOURS)
    checkout.setting("epochs = 3", "epochs = 4")
    with pytest.raises(StaleWorkError):
        checkout.run("02")
    assert checkout.run("02", force=True) == ["02"] and checkout.succeeded


def test_force_goes_on_with_an_attempt_that_was_cut_short(checkout):
    context = took(checkout, HOURS)
    notebook = context.notebooks[1]
    lock = compute_lock(context, notebook)
    assert why_afresh(context, notebook, lock, force=True) == ["--force"]
    write_json(context.attempt_file(notebook), {"lock": lock, "outcome": "was cut short"})
    assert why_afresh(context, notebook, lock, force=True) == []
