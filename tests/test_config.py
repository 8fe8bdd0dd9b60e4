import json
import typing

import pytest

from r1reward import config
from r1reward.config import ProfileError, load_profile
from r1reward.files import write_atomic
from r1reward.settings import Profile
from r1reward.settings.base import Settings

MINIMAL = 'name = "own"\nsentence = "A test."\n'


@pytest.mark.parametrize("name", config.profile_names())
def test_shipped_profiles_load_and_are_called_as_their_file(name):
    profile = load_profile(name)
    assert profile.name == name
    assert profile.sentence.endswith(".")


def test_every_preset_fits_every_profile():
    presets = [path.stem for path in (config.PROFILE_FOLDER / "presets").glob("*.toml")]
    assert "released" in presets
    for preset in presets:
        for name in config.profile_names():
            assert load_profile(f"{name}+{preset}").name == f"{name}+{preset}"


def test_the_released_preset_holds_the_values_of_the_released_script():
    rl = load_profile("paper+released").rl
    assert (rl.learning_rate, rl.kl_coef, rl.epochs) == (3e-7, 1e-3, 1)
    assert rl.rollout_batch_size == load_profile("paper").rl.rollout_batch_size


def test_overrides_win_and_leave_the_rest(tmp_path):
    path = write_atomic(tmp_path / "own.toml", MINIMAL + "[rl]\nepochs = 2\nclip_eps = 0.1\n")
    profile = load_profile(f"{path}+released", overrides={"seeds": 4, "rl": {"epochs": 7}})
    assert (profile.seeds, profile.rl.epochs) == (4, 7)
    assert profile.rl.clip_eps == 0.2
    assert profile.name == "own+released"


def test_a_file_lays_its_settings_over_a_profile_that_it_extends(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text('extends = "paper"\nname = "own"\n[data]\nroot = "/data"\n')
    own, paper = load_profile(file), load_profile("paper")
    assert (own.name, own.data.root, own.rl) == ("own", "/data", paper.rl)
    assert own.data.annotator == paper.data.annotator == "openai"
    file.write_text('extends = "papper"\nname = "own"\n')
    with pytest.raises(ProfileError, match="extends = 'papper'; known: gpu, mini, paper"):
        load_profile(file)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "name is missing"),
        ('name = "mini"', "is the name of a profile of the package"),
        ('name = "Paper"', "is the name of a profile of the package"),
        ('name = "ratings"', "is the name of another folder of the runs"),
        ('name = "own+released"', "what follows a \\+ is the name of a preset"),
        *((f'name = "{name}"', "name: String should match") for name in ("..", "/abs", "a/b", "", ".own")),
        (f'name = "{"long" * 100}"', "name: String should have at most 80"),
        ("name = 3", "name: Input should be a valid string"),
    ],
)
@pytest.mark.parametrize("below", ['extends = "smoke"\n', 'sentence = "A test."\n'])
def test_a_file_needs_a_name_of_its_own(tmp_path, below, line, message):
    path = write_atomic(tmp_path / "own.toml", below + line)
    with pytest.raises(ProfileError, match=message) as caught:
        load_profile(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_file_of_the_package_may_be_named_by_its_path():
    assert load_profile(config.PROFILE_FOLDER / "mini.toml") == load_profile("mini")


def test_a_section_given_in_part_keeps_the_rest_of_its_default(tmp_path):
    path = write_atomic(tmp_path / "own.toml", MINIMAL + "[downstream.rl]\nepochs = 9\n")
    rl = load_profile(path).downstream.rl
    assert (rl.epochs, rl.algorithm, rl.samples_per_prompt) == (9, "grpo", 8)


def test_a_fault_inside_a_list_is_blamed_on_the_file_that_holds_it(tmp_path):
    path = write_atomic(
        tmp_path / "own.toml", 'extends = "mini"\nname = "own"\n[data]\nsources = ["rlaifv"]\n'
    )
    with pytest.raises(ProfileError, match=r"own\.toml: data\.sources\.0: Input should be 'rlaif_v'"):
        load_profile(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('name = "größe"'.encode("latin-1"), "not UTF-8: .* at byte 10"),
        (b"a = " + b"[" * 100_000, "nested too deeply|not TOML"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, message):
    path = write_atomic(tmp_path / "own.toml", content)
    with pytest.raises(ProfileError, match=rf"own\.toml: {message}"):
        load_profile(path)
    with pytest.raises(ProfileError, match="there is no profile"):
        load_profile(f"{tmp_path}/folder.toml")


def test_a_plus_in_the_name_of_a_file_is_no_preset(tmp_path):
    path = write_atomic(tmp_path / "a+b.toml", MINIMAL)
    assert load_profile(path).name == "own"
    assert load_profile(f"{path}+released").name == "own+released"


def test_unknown_keys_name_file_key_and_near_match(tmp_path):
    faults = "seds = 2\n[rl]\nlerning_rate = 1.0\n[data.openai]\nmodle = 1\n"
    path = write_atomic(tmp_path / "own.toml", MINIMAL + faults)
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    message = str(caught.value)
    assert f"{path}: unknown key seds; did you mean seeds?" in message
    assert f"{path}: unknown key rl.lerning_rate; did you mean learning_rate?" in message
    assert f"{path}: unknown key data.openai.modle; did you mean model?" in message


def test_a_fault_in_the_overrides_is_not_blamed_on_the_file(tmp_path):
    path = write_atomic(tmp_path / "own.toml", MINIMAL)
    with pytest.raises(ProfileError, match=r"overrides: unknown key sft\.zzz; known here: epochs"):
        load_profile(path, overrides={"sft": {"zzz": 1}})


def test_bounds_and_missing_keys_are_named(tmp_path):
    path = write_atomic(tmp_path / "own.toml", 'name = "own"\n[rl]\nclip_eps = 3.0\n')
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    assert "rl.clip_eps: Input should be less than 1 (got 3.0)" in str(caught.value)
    assert "sentence: Field required" in str(caught.value)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_numbers_that_are_not_finite_are_refused_in_every_setting(value):
    """Each float of each settings class in turn, wherever it stands in a profile."""
    numbers = [path for path, kind in setting_types(Profile) if kind is float]
    assert {
        ("rl", "learning_rate"),
        ("bench", "sampled_temperature"),
        ("downstream", "rl", "clip_eps"),
    } <= set(numbers)
    for path in numbers:
        overrides = float(value)
        for key in reversed(path):
            overrides = {key: overrides}
        with pytest.raises(ProfileError, match=r"finite number|[Ii]nput should be"):
            load_profile("mini", overrides=overrides)


def setting_types(settings, above=()):
    """Path and type of every setting, through the nested ones; each member of a union by itself."""
    for name, field in settings.model_fields.items():
        for kind in typing.get_args(field.annotation) or (field.annotation,):
            if isinstance(kind, type) and issubclass(kind, Settings):
                yield from setting_types(kind, (*above, name))
            else:
                yield (*above, name), kind


@pytest.mark.parametrize(
    ("setting", "value"),
    [("advantage_limit", 0), ("advantage_limit", -3), ("pre_clip", 1), ("pre_clip", 0.5), ("pre_clip", "of")],
)
def test_bounds_that_leave_nothing_to_learn_are_refused(setting, value):
    with pytest.raises(ProfileError, match=f"rl.{setting}"):
        load_profile("mini", overrides={"rl": {setting: value}})
    for fine in ("default", "off", 1.5):
        assert getattr(load_profile("mini", overrides={"rl": {setting: fine}}).rl, setting) == fine


WRONG = {bool: ("no", 0, "true"), int: (True, "3", 3.0), float: (True, "1e-6"), str: (1, True)}


def test_values_of_another_type_are_refused_in_every_setting():
    """Each setting in turn; `true` as a learning rate of 1.0 would train, and nobody would notice."""
    kinds = [(path, kind) for path, kind in setting_types(Profile) if kind in WRONG]
    assert {kind for _, kind in kinds} == set(WRONG) and len(kinds) > 100
    for path, kind in kinds:
        for value in WRONG[kind]:
            overrides = value
            for key in reversed(path):
                overrides = {key: overrides}
            with pytest.raises(ProfileError, match=r"overrides: "):
                load_profile("mini", overrides=overrides)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"seeds": 10**6}, "seeds: Input should be less than or equal to 1000"),
        ({"model": {"base": ""}}, "model.base: "),
        ({"model": {"min_pixels": 2000, "max_pixels": 1000}}, "min_pixels = 2000 is above max_pixels = 1000"),
        ({"data": {"sources": ["rlaif_v", "rlaif_v"]}}, "names a data set twice"),
        ({"downstream": {"policy": ""}}, "downstream.policy: "),
        ({"downstream": {"right_answers": [5, 2]}}, "two counts, the smaller one first"),
        ({"downstream": {"right_answers": [-1, 2]}}, "two counts, the smaller one first"),
        ({"downstream": {"layers": []}}, "different layers, counted from 0"),
        ({"downstream": {"layers": [-1]}}, "different layers, counted from 0"),
        ({"downstream": {"layers": [1, 1]}}, "different layers, counted from 0"),
        ({"rl": {"algorithm": "grpo", "samples_per_prompt": 1}}, "samples_per_prompt must be above 1"),
        ({"downstream": {"rl": {"samples_per_prompt": 1}}}, "samples_per_prompt must be above 1"),
        ({"rl": {"rollout_batch_size": 1}}, "nothing to compare it with"),
    ],
)
def test_values_that_contradict_each_other_are_refused_when_they_are_read(settings, said):
    with pytest.raises(ProfileError) as caught:
        load_profile("mini", overrides=settings)
    assert said in str(caught.value) and "Traceback" not in str(caught.value)


def test_a_plus_without_a_preset_is_refused():
    with pytest.raises(ProfileError, match="known here: released"):
        load_profile("mini+")


def test_unknown_profile_and_broken_toml(tmp_path):
    with pytest.raises(ProfileError, match=r"there is no profile .*known here: .*mini"):
        load_profile("minni")
    path = write_atomic(tmp_path / "own.toml", "name = ")
    with pytest.raises(ProfileError, match=r"own\.toml: not TOML"):
        load_profile(path)


def test_a_profile_as_json_holds_defaults_and_reads_back():
    profile = load_profile("mini")
    values = json.loads(profile.model_dump_json())
    assert values["rl"]["clip_eps"] == 0.2
    assert Profile.model_validate(values) == profile
