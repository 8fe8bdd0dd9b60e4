"""What a notebook needs is asked for before it starts."""

from __future__ import annotations

import os

import pytest

from r1reward.files import read_json, write_atomic, write_json
from r1reward.pipeline import MissingInputError, NotReadyError, ready
from r1reward.pipeline.dag import read_notebooks, with_sources
from r1reward.pipeline.notebook import begin
from r1reward.pipeline.places import Places, find_places, move_aside
from r1reward.pipeline.ready import (
    StaleWorkError,
    refuse_stale_work,
    seconds_spent,
    start_afresh,
    why_afresh,
)
from r1reward.pipeline.staleness import Parameters, compute_lock, make_context
from r1reward.settings import Profile, setting_names


@pytest.fixture
def chain(tmp_path):
    """A run of the project's own notebooks of which nothing is there."""

    def make(text="", **parameters):
        file = write_atomic(tmp_path / "my own.toml", f'extends = "smoke"\nname = "own"\n{text}')
        places = Places(find_places().root, tmp_path / "runs")
        return make_context(places, Parameters(profile=str(file), **parameters))

    return make


def named(context, start):
    return next(notebook for notebook in context.notebooks if notebook.name.startswith(start))


def test_a_checkpoint_of_another_seed_is_missed_before_anything_is_trained(chain, tmp_path):
    context = chain(seed=3, seeds=2, out=str(tmp_path / "my disk"))
    for seed in (0, 3):
        (context.folder / f"work/rl/stable_reinforce/seed_{seed}/model").mkdir(parents=True)
    with pytest.raises(MissingInputError) as caught:
        begin(context.places, "07", context.parameters)
    wanted = context.folder / "work/rl/stable_reinforce/seed_4/model"
    options = f"--profile '{tmp_path}/my own.toml' --seed 3 --seeds 2 --out '{tmp_path}/my disk'"
    assert str(caught.value) == (
        f"07_downstream_grpo: {wanted} is missing. "
        f"03_stable_reinforce makes it: r1reward run 03_stable_reinforce {options}"
    )
    assert not (context.folder / "work/downstream").exists()


def test_inputs_of_several_makers_are_named_together(chain):
    context = chain()
    with pytest.raises(MissingInputError, match=r"data is missing\. 01_.*\n.*sft and 1 more are missing"):
        ready.check_ready(context, named(context, "03"))
    assert ready.missing_inputs(context, named(context, "02")) == ["work/data"]
    write_json(context.folder / "work/data/sft.jsonl", 1)
    assert ready.missing_inputs(context, named(context, "02")) == ["work/data/validation.jsonl"]


@pytest.mark.parametrize(
    ("notebook", "text", "fault"),
    [
        ("01", '[data]\nannotator = "openai"', "variable OPENAI_API_KEY is not set"),
        (
            "02",
            '[data]\nannotator = "openai"\n[annotators.openai]\nkey_variable = "WEAK"',
            "variable WEAK is not set",
        ),
        ("03", '[judges]\nname = "server"\n[judges.server]\nkey_variable = "JUDGE"', "variable JUDGE is not"),
        (
            "04",
            '[engine]\nname = "openai"\n[engine.openai]\nkey_variable = "ENGINE"',
            "variable ENGINE is not",
        ),
        ("06", '[engine]\nname = "vllm"', "engine.name: the extra vllm is missing"),
        ("01", '[data]\nroot = "/no/such"', "data.root: there is no folder /no/such"),
        ("05", '[model]\nbase = "/no/such"', "model.base: there is no folder /no/such"),
        ("07", '[downstream]\nroot = "/no/such"', "downstream.root: there is no folder /no/such"),
        ("07", '[downstream]\npolicy = "./no/such"', "downstream.policy: there is no folder ./no/such"),
    ],
)
def test_surroundings_are_asked_for_of_the_notebooks_that_use_them(chain, monkeypatch, notebook, text, fault):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(ready, "find_spec", lambda name: None if name == "vllm" else True)
    context = chain(text)
    with pytest.raises(NotReadyError, match=fault):
        ready.check_surroundings(context, [named(context, notebook)])
    ready.check_surroundings(context, [named(context, "08"), named(context, "09")])


def test_released_data_need_no_annotator(chain, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    context = chain('[data]\nannotator = "openai"\nsources = ["r1_reward_rl"]')
    ready.check_surroundings(context, [named(context, "01")])


def test_every_server_of_a_profile_is_known():
    """A new section of a server has to say when it is asked."""
    servers = {name.rpartition(".")[0] for name in setting_names(Profile) if name.endswith(".key_variable")}
    assert servers == set(ready._SERVERS)


def test_a_key_is_missed_before_the_first_notebook_runs(checkout, monkeypatch):
    table = checkout.root / "notebooks/pipeline.toml"
    write_atomic(table, table.read_text().replace('["rl"]', '["rl", "data"]'))
    checkout.setting("[rl]", '[data]\nannotator = "openai"\n[rl]')
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(NotReadyError, match="OPENAI_API_KEY"):
        checkout.run()
    assert not (checkout.context.folder / "work").exists()


def test_sources_are_followed_to_the_first():
    notebooks = read_notebooks(find_places())
    chosen = [notebook for notebook in notebooks if notebook.name.startswith("08")]
    assert [one.name[:2] for one in with_sources(chosen, notebooks)] == ["01", "02", "03", "04", "08"]


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


def test_force_goes_on_with_an_attempt_that_was_cut_short(checkout):
    context = took(checkout, HOURS)
    notebook = context.notebooks[1]
    lock = compute_lock(context, notebook)
    assert why_afresh(context, notebook, lock, force=True) == ["--force"]
    write_json(context.attempt_file(notebook), {"lock": lock, "outcome": "was cut short"})
    assert why_afresh(context, notebook, lock, force=True) == []
