"""What a notebook needs is asked for before it starts."""

import pytest

from r1reward.files import write_atomic, write_json
from r1reward.pipeline import MissingInputError, NotReadyError, ready
from r1reward.pipeline.dag import read_notebooks, with_sources
from r1reward.pipeline.notebook import begin
from r1reward.pipeline.places import Places, find_places
from r1reward.pipeline.staleness import Parameters, make_context
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
