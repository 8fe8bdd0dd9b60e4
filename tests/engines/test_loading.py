from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from r1reward.config import load_profile
from r1reward.engines import identify
from r1reward.engines.loading import (
    CheckpointError,
    checkpoint_hash,
    load_model,
    load_processor,
    require_whole,
    save_model,
    weights_hash,
    write_picture_budget,
)
from r1reward.engines.transformers import TransformersEngine
from r1reward.files import read_json, sha256_file
from r1reward.judge.scalar_model import load_reward_model, new_reward_model
from r1reward.settings import ModelSettings


def test_hash_follows_the_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"one")
    first = weights_hash(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert weights_hash(tmp_path) != first
    assert weights_hash("Qwen/some-model") == "Qwen/some-model"


def test_saved_model_comes_back_with_the_picture_size_of_the_settings(
    tiny: tuple[Any, Any], tmp_path: Path
) -> None:
    save_model(*tiny, tmp_path)
    settings = ModelSettings(min_pixels=4 * 28 * 28, max_pixels=12544)
    model, processor = load_model(tmp_path, settings=settings)
    for name, tensor in tiny[0].state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name].cpu())
    for part in (processor.image_processor, processor.video_processor):
        assert (part.size["shortest_edge"], part.size["longest_edge"]) == (3136, 12544)


def test_a_picture_budget_is_in_both_files_and_limits_pictures(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    save_model(*tiny, tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    write_picture_budget(tmp_path, ModelSettings(min_pixels=3136, max_pixels=12544))
    older = read_json(tmp_path / "preprocessor_config.json")
    assert (older["min_pixels"], older["max_pixels"]) == (3136, 12544)
    newer = read_json(tmp_path / "processor_config.json")["image_processor"]["size"]
    assert older["size"] == newer == {"shortest_edge": 3136, "longest_edge": 12544}
    processor = load_processor(tmp_path)
    for width, tokens in ((28, 4), (56, 4), (1120, 16)):
        picture = Image.new("RGB", (width, width))
        grid = processor.image_processor([picture], return_tensors="pt")["image_grid_thw"]
        assert int(grid.prod()) // 4 == tokens
    assert (tmp_path / "model.safetensors").read_bytes() == before


def change_weights(folder: Path, change: Callable[[str], str | None]) -> None:
    """Rename or, for None, drop each weight of a checkpoint."""
    file = folder / "model.safetensors"
    named = ((change(name), value) for name, value in load_file(file).items())
    save_file({name: value for name, value in named if name}, file, {"format": "pt"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda name: None if "visual" in name else name,
         r"lacks \d+ weights: model\.visual\..* and \d+ more"),
        (lambda name: None if name == "model.norm.weight" else name,
         r"lacks 1 weights: model\.language_model\.norm\.weight$"),
        (lambda name: f"base_model.model.{name}", r"lacks .*unknown to its model,.*merge the adapters"),
        (lambda name: name.replace("layers.3.mlp", "layers.4.mlp"),
         r"lacks .*layers\.3\..* has, .*layers\.4\."),
    ],
    ids=["no vision", "one missing", "adapters", "another layer"],
)  # fmt: skip
def test_missing_and_surplus_weights_are_an_error_that_lists_them(
    tiny: tuple[Any, Any], tmp_path: Path, change: Callable[[str], str | None], said: str
) -> None:
    save_model(*tiny, tmp_path)
    change_weights(tmp_path, change)
    new_scalar = partial(new_reward_model, kind="scalar", seed=0)
    for load in (load_model, require_whole, TransformersEngine.from_pretrained, new_scalar):
        with pytest.raises(CheckpointError, match=said) as error:
            load(tmp_path)
        assert str(error.value).startswith(f"{tmp_path} ") and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_truncated_file_is_named(tiny: tuple[Any, Any], tmp_path: Path, name: str) -> None:
    save_model(*tiny, tmp_path)
    file = tmp_path / name
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(CheckpointError) as error:
        load_model(tmp_path)
    assert str(error.value).startswith(f"{file} cannot be read: ") and "\n" not in str(error.value)


def test_a_truncated_head_of_a_reward_model_is_named(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    save_model(*tiny, tmp_path / "backbone")
    model, processor = new_reward_model(tmp_path / "backbone", kind="scalar", seed=0)
    save_model(model, processor, tmp_path / "judge")
    file = tmp_path / "judge/reward_head.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match=r"judge/reward_head\.safetensors cannot be read"):
        load_reward_model(tmp_path / "judge")


def test_a_checkpoint_is_known_by_all_of_its_content(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    """Each file by itself, weights of either format, and nothing that has no part in the answers."""
    save_model(*tiny, tmp_path)
    weights = tmp_path / "model.safetensors"
    whole = checkpoint_hash(tmp_path)
    assert weights_hash(tmp_path) == sha256_file(weights) and whole.startswith(weights_hash(tmp_path))
    assert identify(tmp_path, load_profile("mini")).startswith(whole)
    known = {whole}
    names = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
             "generation_config.json", "processor_config.json", "model.safetensors")  # fmt: skip
    for name in names:
        content = bytearray((tmp_path / name).read_bytes())
        content[-1] ^= 1
        (tmp_path / name).write_bytes(bytes(content))
        known.add(checkpoint_hash(tmp_path))
    assert len(known) == 1 + len(names)
    before = checkpoint_hash(tmp_path)
    (tmp_path / "README.md").write_text("about it")
    assert checkpoint_hash(tmp_path) == before
    weights.unlink()
    for content in (b"one", b"two"):
        (tmp_path / "pytorch_model.bin").write_bytes(content)
        known.add(checkpoint_hash(tmp_path))
    assert len(known) == 3 + len(names)
    assert checkpoint_hash("Qwen/some-model") == "Qwen/some-model"


def test_a_path_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint in .*gone"):
        load_model(str(tmp_path / "gone"))
