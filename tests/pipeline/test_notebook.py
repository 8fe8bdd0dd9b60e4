from __future__ import annotations

import json
import pickle
import sys
from types import SimpleNamespace

import ipywidgets
import pytest

from r1reward.config import ProfileError
from r1reward.files import write_json
from r1reward.pipeline import MissingInputError, notebook, start, turn
from r1reward.pipeline.notebook import RUNNER_VARIABLE, begin, ran_as_saved
from r1reward.pipeline.places import ROOT_VARIABLE
from r1reward.pipeline.staleness import ParameterError, Parameters, State, examine
from r1reward.settings import UndeclaredSettingError


@pytest.fixture
def begun(checkout, monkeypatch):
    """Begins a notebook of the temporary checkout as its first cell does."""
    monkeypatch.setenv(ROOT_VARIABLE, str(checkout.root))

    def begin_now(name):
        if name != "01_make":
            write_json(checkout.context.folder / "work/made/number.txt", 1)
        return start(name, profile=str(checkout.root / "tiny.toml"), seed=0)

    return begin_now


def test_unknown_parameters_are_refused_with_the_nearest_name(begun, checkout):
    with pytest.raises(ParameterError, match=r"unknown parameter sedes; did you mean seeds\?"):
        start("01_make", profile="mini", seed=0, sedes=1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"profile": "", "seed": 0}, "profile: String should have at least 1 character"),
        ({"profile": "mini", "seed": "0"}, "seed: Input should be a valid integer"),
        ({"profile": "mini", "seed": 0, "seeds": -1}, "seeds: Input should be greater than or equal to 0"),
    ],
)
def test_wrong_values_are_refused(values, message):
    with pytest.raises(ParameterError, match=message):
        start("01_make", **values)


def test_an_unknown_profile_or_notebook_is_refused(begun):
    with pytest.raises(ProfileError, match="there is no profile"):
        start("01_make", profile="nothing", seed=0)
    with pytest.raises(ValueError, match="no notebook is called 07; there are: 01_make, 02_use"):
        begun("07")


def test_a_missing_file_of_an_input_names_its_maker(begun):
    run = begun("02_use")
    with pytest.raises(MissingInputError, match="01_make makes it: r1reward run 01_make --profile"):
        run.input("work/made/other.txt")


def test_undeclared_settings_are_refused(begun):
    run = begun("02_use")
    assert (run.profile.rl.epochs, run.profile.name) == (3, "tiny")
    for read, name in (
        (lambda profile: profile.sft.epochs, "sft"),
        (lambda profile: profile.model_dump(), "model"),
        (lambda profile: getattr(profile, "bench", None), "bench"),
        (lambda profile: pickle.loads(pickle.dumps(profile)).judges, "judges"),
        (lambda profile: profile.model_copy(update={"rl": 1}).data, "data"),
    ):
        with pytest.raises(
            UndeclaredSettingError, match=f"02_use does not declare the setting {name} in pip"
        ):
            read(run.profile)
    partial_section = begun("01_make").profile.sft
    assert partial_section.epochs == 1.0
    for read in (lambda: partial_section.batch_size, partial_section.model_dump_json):
        with pytest.raises(
            UndeclaredSettingError, match=r"01_make does not declare the setting sft\.[a-z_]+ in"
        ):
            read()
    assert partial_section.model_dump(include={"epochs"}) == {"epochs": 1.0}


def test_answers_that_cost_money_lie_outside_of_what_a_run_moves_aside(begun):
    run = begun("01_make")
    assert run.paid == run.folder.parent / "paid" / "tiny"
    assert not run.paid.is_relative_to(run.folder) and not run.notebook.writes("paid")


def test_undeclared_paths_are_refused(begun):
    run = begun("02_use")
    with pytest.raises(ValueError, match=r"does not declare the input records/made\.json"):
        run.input("records/made.json")
    with pytest.raises(ValueError, match="does not declare the output work/made"):
        run.work("made")
    with pytest.raises(ValueError, match="does not declare the output records/other"):
        run.record("other")


def test_finish_refuses_a_missing_output(begun):
    run = begun("01_make")
    run.work("made")
    with pytest.raises(FileNotFoundError, match=r"did not write records/made\.json"):
        run.finish()


def run_cells(checkout, monkeypatch, *, executed):
    shell = SimpleNamespace(history_manager=SimpleNamespace(input_hist_raw=["", *executed]))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    context = checkout.context
    run = begin(context.places, "01_make", Parameters(profile=str(checkout.root / "tiny.toml")))
    (run.work("made") / "number.txt").write_text("1")
    run.record("made.json").write_text("{}")
    run.finish()
    return examine(checkout.context, context.notebooks[0])


def test_all_cells_by_hand_in_order_count_as_a_run(checkout, monkeypatch):
    assert run_cells(checkout, monkeypatch, executed=checkout.make).state is State.FRESH


@pytest.mark.parametrize(
    ("injected", "counts"),
    [('profile = "tiny"\nseeds = 3', True), ("run = None", False), ("seed = print()", False)],
)
def test_the_parameters_of_papermill_do_not_stand_in_the_way(checkout, monkeypatch, injected, counts):
    first, *others = checkout.make
    cells = [first, f"# Parameters\n{injected}", *others]
    state = run_cells(checkout, monkeypatch, executed=cells).state
    assert state is (State.FRESH if counts else State.STALE)


def test_other_cells_by_hand_do_not(checkout, monkeypatch):
    standing = run_cells(checkout, monkeypatch, executed=[*checkout.make[:-1], "seed = 7", checkout.make[-1]])
    assert "by hand" in standing.reasons[0]


def test_by_hand_over_other_files_does_not(checkout, monkeypatch, capsys):
    context = checkout.context
    write_json(context.folder / "work/made/older.json", 1)
    standing = run_cells(checkout, monkeypatch, executed=checkout.make)
    assert "by hand" in standing.reasons[0]
    command = f"r1reward run 01_make --force --profile {checkout.root / 'tiny.toml'}"
    assert command in capsys.readouterr().out


def test_folders_that_a_failed_attempt_left_empty_do_not_stand_in_the_way(checkout, monkeypatch):
    (checkout.context.folder / "work/made").mkdir(parents=True)
    assert run_cells(checkout, monkeypatch, executed=checkout.make).state is State.FRESH


def test_without_a_kernel_nothing_ran_as_saved(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not ran_as_saved(["1"])


def test_what_is_printed_and_written(begun, capsys):
    run = begun("01_make")
    assert (run.seed, run.seeds, run.profile.name) == (0, [0, 1], "tiny")
    (run.work("made") / "a.txt").write_text("1")
    run.record("made.json").write_text("{}")
    manifest = json.loads(run.finish(answer=42).read_text())
    assert manifest["notes"] == {"answer": 42}
    assert manifest["git"].keys() == {"commit", "modified"}
    printed = capsys.readouterr().out
    assert "01_make, profile tiny: A test." in printed
    assert "  records/made.json\n  work/made\n" in printed or "  work/made\n  records/made.json\n" in printed


def test_a_notebook_that_another_kernel_runs_is_refused(begun, checkout, other_process, monkeypatch):
    monkeypatch.setattr(notebook, "ORPHAN_SECONDS", 0.0)
    other_process.hold(checkout.context.folder / ".01_make.lock")
    with pytest.raises(
        RuntimeError, match=f"01_make of profile tiny is in use .*process {other_process.pid}"
    ):
        begun("01_make")


def test_a_run_of_the_chain_shows_the_first_value(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[int, float]] = []
    monkeypatch.setenv(RUNNER_VARIABLE, "1")
    turn(
        lambda wrong, bound: shown.append((wrong, bound)),
        wrong=ipywidgets.IntSlider(value=3, min=1, max=9),
        bound=ipywidgets.FloatSlider(value=0.5, max=1),
    )
    assert shown == [(3, 0.5)]


def test_moving_a_slider_shows_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    monkeypatch.delenv(RUNNER_VARIABLE, raising=False)
    slider = ipywidgets.IntSlider(value=3, min=1, max=9)
    turn(lambda wrong: shown.append(wrong), wrong=slider)
    slider.value = 5
    assert shown[0] == 3 and shown[-1] == 5
