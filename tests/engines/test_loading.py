from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from r1reward.engines.loading import (
    load_model,
    load_processor,
    save_model,
    weights_hash,
    write_picture_budget,
)
from r1reward.files import read_json
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


def test_a_path_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint in .*gone"):
        load_model(str(tmp_path / "gone"))
