import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1reward.files import write_atomic, write_json
from r1reward.pipeline import staleness
from r1reward.pipeline.dag import find_notebook, read_notebooks
from r1reward.pipeline.places import Places, find_places
from r1reward.pipeline.staleness import (
    Parameters,
    State,
    can_resume,
    compare_locks,
    compute_lock,
    examine,
    examine_all,
    make_context,
)

names = st.sampled_from(["a", "r1reward.report.tables", "b/c.txt"])
flat = st.dictionaries(names, st.sampled_from(["x", "y"]), max_size=3)
locks = st.fixed_dictionaries(
    {
        "cells": st.lists(st.sampled_from(["1", "2"]), max_size=3),
        "settings": flat,
        "seeds": st.lists(st.integers(0, 2), max_size=2),
        "inputs": flat,
        "checkpoints": flat,
        "modules": flat,
    }
)


@given(locks, locks)
def test_a_reason_is_given_exactly_where_locks_differ(old, new):
    assert bool(compare_locks(old, new, ())) == (old != new)


def test_a_finished_run_is_fresh_and_stays_so(checkout):
    context = checkout.fake_finished_run()
    assert [standing.state for standing in examine_all(context).values()] == [State.FRESH, State.FRESH]


def test_the_lock_is_about_code_cells_only(checkout):
    context = checkout.context
    lock = compute_lock(context, context.notebooks[0])
    file = checkout.root / "notebooks/01_make.ipynb"
    write_atomic(file, file.read_text().replace("# Title", "# Another title"))
    assert compute_lock(context, context.notebooks[0]) == lock
    checkout.write("01_make", [*checkout.make, "1"])
    assert compute_lock(context, context.notebooks[0]) != lock


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda c: c.write("02_use", [*c.use[:-1], "run.finish( )"]), "code cell 7 changed"),
        (lambda c: c.write("02_use", [*c.use, "1"]), "the notebook has 8 code cells instead of 7"),
        (
            lambda c: c.setting("[rl]\nepochs = 3", "[rl]\nepochs = 5"),
            "setting rl.epochs changed from 3 to 5",
        ),
        (lambda c: c.setting("seeds = 2", "seeds = 3"), "seeds changed from [0, 1] to [0, 1, 2]"),
        (
            lambda c: write_json(c.context.folder / "work/made/number.txt", 9),
            "input work/made changed (made by 01_make)",
        ),
        (
            lambda c: (c.context.folder / "records/used/seed_0.json").unlink(),
            "output records/used/seed_0.json is missing",
        ),
        (
            lambda c: write_json(c.context.folder / "work/used/kept.txt", 9),
            "output work/used changed since the run",
        ),
        (
            lambda c: write_json(c.context.folder / "records/used/extra.json", 9),
            "output records/used/extra.json is not of the run",
        ),
    ],
)
def test_what_makes_a_notebook_stale_is_said(checkout, edit, reason):
    checkout.fake_finished_run()
    edit(checkout)
    context = checkout.context
    assert examine(context, context.notebooks[1]).reasons == (reason,)


def test_settings_that_a_notebook_does_not_declare_do_not_matter(checkout):
    checkout.fake_finished_run()
    checkout.setting("[sft]\nepochs = 1.0", "[sft]\nepochs = 2.0")
    checkout.setting("A test.", "Another sentence.")
    context = checkout.context
    assert examine(context, context.notebooks[1]).state is State.FRESH
    assert examine(context, context.notebooks[0]).reasons == ("setting sft.epochs changed from 1.0 to 2.0",)
    waiting = examine_all(context)["02_use"]
    assert waiting.state is State.STALE
    assert waiting.reasons == ("it reads what 01_make writes, which is stale",)


@pytest.mark.parametrize(
    ("declared", "section", "change", "reason"),
    [
        ("downstream", "downstream.rl", "clip_eps = 0.1", "downstream.rl.clip_eps changed from 0.2 to 0.1"),
        ("downstream.rl", "downstream.rl", "epochs = 9", "downstream.rl.epochs changed from 1 to 9"),
        ("data", "data.openai", 'model = "x"', "data.openai.model changed from 'gpt-4o' to 'x'"),
        ("judges.server", "judges.server", "max_tokens = 3", "judges.server.max_tokens changed from 16 to 3"),
    ],
)
def test_settings_count_on_every_level(checkout, declared, section, change, reason):
    table = checkout.root / "notebooks/pipeline.toml"
    write_atomic(table, table.read_text().replace('["rl"]', f'["{declared}"]'))
    checkout.fake_finished_run()
    checkout.setting("[rl]", f"[{section}]\n{change}\n[rl]")
    context = checkout.context
    assert examine(context, context.notebooks[1]).reasons == (f"setting {reason}",)


@pytest.mark.parametrize(
    ("declared", "section", "field"),
    [
        ("model", "model", "base"),
        ("model.base", "model", "base"),
        ("downstream", "downstream", "policy"),
        ("downstream.policy", "downstream", "policy"),
    ],
)
def test_another_checkpoint_at_the_same_path_is_noticed(checkout, declared, section, field):
    table = checkout.root / "notebooks/pipeline.toml"
    write_atomic(table, table.read_text().replace('["rl"]', f'["{declared}"]'))
    weights = write_atomic(checkout.root / "base/model.safetensors", "one")
    checkout.setting("[rl]", f'[{section}]\n{field} = "{weights.parent}"\n[rl]')
    checkout.fake_finished_run()
    context = checkout.context
    assert {examine(context, notebook).state for notebook in context.notebooks} == {State.FRESH}
    write_atomic(weights, "two")
    context = checkout.context
    assert examine(context, context.notebooks[1]).reasons == (f"the files of {section}.{field} changed",)
    assert examine(context, context.notebooks[0]).state is State.FRESH
    assert not can_resume(context, context.notebooks[1], compute_lock(context, context.notebooks[1]))


@pytest.mark.parametrize("name", ["data.root", "downstream.root", "downstream.harness"])
def test_other_data_at_the_same_path_are_noticed(checkout, name):
    """A row file of another content, a picture that is there now: the notebook that declares the folder."""
    section, _, field = name.partition(".")
    table = checkout.root / "notebooks/pipeline.toml"
    write_atomic(table, table.read_text().replace('["rl"]', f'["{section}"]'))
    rows = write_atomic(checkout.root / "files/set/rows.jsonl", "one")
    checkout.setting("[rl]", f'[{section}]\n{field} = "{checkout.root / "files"}"\n[rl]')
    checkout.fake_finished_run()
    for file, text in ((rows, "another"), (rows.with_name("a.png"), "new")):
        context = checkout.context
        assert {examine(context, notebook).state for notebook in context.notebooks} == {State.FRESH}
        write_atomic(file, text)
        context = checkout.context
        assert examine(context, context.notebooks[1]).reasons == (f"the files of {name} changed",)
        assert examine(context, context.notebooks[0]).state is State.FRESH
        checkout.fake_finished_run()


def test_how_a_server_is_reached_does_not_matter(checkout):
    table = checkout.root / "notebooks/pipeline.toml"
    write_atomic(table, table.read_text().replace('["rl"]', '["data"]'))
    checkout.fake_finished_run()
    fields = 'concurrency = 2\nmax_retries = 1\nprice_input = 1.0\nkey_variable = "X"\nfolder = "f"\n'
    checkout.setting("[rl]", f"[data.openai]\ntimeout_seconds = 9\nprice_output = 2\n{fields}[rl]")
    context = checkout.context
    assert examine(context, context.notebooks[1]).state is State.FRESH


@pytest.mark.parametrize(
    ("section", "change", "stale"),
    [
        ("downstream", 'harness = "folder"', ["07_downstream_grpo"]),
        ("rating", "items = 7", ["08_reasoning_quality"]),
        ("scaling", "samples = 5", ["06_test_time_scaling"]),
        ("bench", "steered_pairs = 9", ["04b_prompt_injection"]),
        ("stress", "steps = 9", ["05b_full_grid"]),
    ],
)
def test_a_setting_of_one_notebook_leaves_the_others_alone(tmp_path, section, change, stale):
    """By the table of the project: the locks differ of those notebooks alone that read the setting."""
    places = Places(find_places().root, tmp_path)
    file = tmp_path / "own.toml"
    locks = []
    for text in ("", f"[{section}]\n{change}\n"):
        write_atomic(file, f'extends = "mini"\nname = "own"\n{text}')
        context = make_context(places, Parameters(profile=str(file)))
        locks.append({notebook.name: compute_lock(context, notebook) for notebook in context.notebooks})
    assert [name for name in locks[0] if locks[0][name] != locks[1][name]] == stale


def test_only_modules_that_a_notebook_imports_matter(checkout, own_package):
    checkout.fake_finished_run()
    context = checkout.context
    write_atomic(own_package / "types.py", "# edited")
    assert examine(context, context.notebooks[1]).state is State.FRESH
    write_atomic(own_package / "files.py", "# edited")
    assert examine(context, context.notebooks[1]).reasons == ("module r1reward.files changed",)


def test_a_run_by_hand_does_not_count(checkout):
    context = checkout.fake_finished_run()
    file = context.manifest_file(context.notebooks[0])
    write_json(file, {**context.manifest(context.notebooks[0]), "lock": None})
    assert "by hand" in examine(context, context.notebooks[0]).reasons[0]
    assert not can_resume(context, context.notebooks[0], compute_lock(context, context.notebooks[0]))


def test_work_is_kept_when_only_drawing_code_changed(checkout):
    context = checkout.fake_finished_run()
    notebook = context.notebooks[1]
    lock = compute_lock(context, notebook)
    restyled, retrained = copy.deepcopy(lock), copy.deepcopy(lock)
    restyled["modules"] |= {"r1reward.report.figures": "new", "report/tables.toml": "new"}
    retrained["modules"]["r1reward.algo.losses"] = "new"
    assert can_resume(context, notebook, restyled)
    assert not can_resume(context, notebook, retrained)
    write_json(context.folder / "work/used/kept.txt", 9)
    assert not can_resume(checkout.context, notebook, restyled)


def test_hashes_are_remembered_but_never_stale(checkout):
    context = checkout.fake_finished_run()
    file = context.folder / "work/made/number.txt"
    before = context.hashes.file(file)
    file.write_text("7")
    assert context.hashes.file(file) != before
    assert context.hashes.tree(context.folder / "nothing") is None


def test_the_table_of_the_project_is_sound():
    notebooks = read_notebooks(find_places())
    chain = [notebook.name[:3] for notebook in notebooks if not notebook.on_request]
    assert chain == ["01_", "02_", "03_", "04_", "04b", "05_", "06_", "07_", "08_", "09_"]
    assert [notebook.name for notebook in notebooks if notebook.on_request] == ["05b_full_grid"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('inputs = ["work/made"]', 'inputs = ["work/other"]', "02_use reads work/other, which no earlier"),
        ('"records/used"', '"work/made/x"', "work/made/x is written by 01_make and by 02_use"),
        ("question", "qestion", "Extra inputs are not permitted"),
        ('"rl"', '"rl.epoch"', r"02_use declares the unknown setting rl\.epoch; did you mean rl\.epochs\?"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(checkout, old, new, message):
    file = checkout.root / "notebooks/pipeline.toml"
    write_atomic(file, file.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        checkout.context  # noqa: B018


def test_parameters_are_checked():
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        staleness.Parameters(profile="mini", seed=-1)
    assert staleness.Parameters(profile="mini", seed=3, seeds=2).seed_list(None) == [3, 4]


def test_a_number_means_the_notebook_without_a_letter(checkout):
    notebooks = read_notebooks(find_places())
    assert find_notebook("5", notebooks).name == "05_ablations"
    assert find_notebook("05b", notebooks).name == "05b_full_grid"
