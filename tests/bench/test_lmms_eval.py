"""The plug-in for lmms-eval: its task files name functions that exist, and these do what they say."""

import importlib.util
from pathlib import Path

import pytest
import yaml
from datasets import Dataset, load_dataset
from PIL import Image

import r1reward.bench.lmms_eval as plug_in
from r1reward.benchmarks import GROUP_COUNTS
from r1reward.data.storage import write_pairs
from r1reward.prompts import judge_prompt
from r1reward.settings import ModelSettings
from r1reward.types import PreferencePair

FOLDER = Path(plug_in.__file__).parent


@pytest.fixture(scope="module")
def utils():
    """Loaded by its path, as the harness does."""
    spec = importlib.util.spec_from_file_location("utils", FOLDER / "utils.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", GROUP_COUNTS)
def test_a_task_file_is_whole(utils, name):
    named = []

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: named.append(node.value))
    task = yaml.load((FOLDER / f"r1_reward_{name}.yaml").read_text(), Loader)
    assert task["task"] == f"r1_reward_{name}"
    assert task["dataset_kwargs"]["data_files"]["test"] == f"{name}.jsonl"
    assert all(value.startswith("utils.") and callable(getattr(utils, value[6:])) for value in named)
    metrics = {metric["metric"] for metric in task["metric_list"]}
    doc = {"preferred": 1, "category": "general"}
    assert metrics == set(utils.process_results(doc, ["<answer>1</answer>"]))


def test_every_pair_is_asked_about_in_both_orders(utils, tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    pair = PreferencePair("p", "s", "which ?", ("x", "y"), 2, (str(tmp_path / "a.png"),), category="general")
    path = write_pairs(tmp_path / "pairs.jsonl", [pair, pair])
    monkeypatch.chdir(tmp_path)
    docs = load_dataset("json", data_files={"test": str(path)}, split="test", cache_dir=str(tmp_path / "c"))
    assert isinstance(docs, Dataset)
    asked = list(utils.both_orders(docs))
    assert [(doc["responses"], doc["preferred"]) for doc in asked[:2]] == [(["x", "y"], 2), (["y", "x"], 1)]
    assert len(asked) == 4
    for doc, shown in zip(asked, [pair, pair.swapped()] * 2, strict=True):
        assert utils.doc_to_text(doc) == judge_prompt(shown, name="paper")
        assert utils.doc_to_target(doc) == str(shown.preferred)
    assert [picture.size for picture in utils.doc_to_visual(asked[1])] == [(8, 8)]


def test_pictures_are_opened_as_everywhere(utils, tmp_path):
    Image.new("RGBA", (8, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "turned.jpg", exif=exif)
    doc = {"images": [str(tmp_path / "clear.png")], "frames": [str(tmp_path / "turned.jpg")]}
    clear, turned = utils.doc_to_visual(doc)
    assert clear.getpixel((0, 0)) == (255, 255, 255) and turned.size == (4, 8)


def test_the_guides_command_has_the_judges_budget(repository):
    settings = ModelSettings()
    budget = f"min_pixels={settings.min_pixels},max_pixels={settings.max_pixels}"
    assert f"--model_args pretrained=CHECKPOINT,{budget} " in (repository / "docs/guide.md").read_text()


def test_results(utils):
    doc = {"preferred": 2, "category": "general"}
    right = utils.process_results(doc, ["<think>so</think><answer>2</answer>"])
    silent = utils.process_results(doc | {"category": "vqa"}, ["2"])
    assert (right["accuracy"], silent["accuracy"], silent["unparsed"]) == (1.0, 0.0, 1.0)
    assert utils.macro([right["macro_accuracy"]] * 3 + [silent["macro_accuracy"]]) == 0.5
