from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from r1reward.config import load_profile
from r1reward.engines import NonFiniteError, Sampling, identify
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
from r1reward.files import read_json, sha256_file, write_json
from r1reward.judge.scalar import load_reward_model, new_reward_model
from r1reward.settings import ModelSettings
from r1reward.types import Request


def test_hash_follows_the_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"one")
    first = weights_hash(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert weights_hash(tmp_path) != first
    assert weights_hash("Qwen/some-model") == "Qwen/some-model"


def test_a_checkpoint_that_was_used_and_saved_again_has_the_same_identity(
    tiny: tuple[Any, Any], tmp_path: Path
) -> None:
    model, processor = tiny
    for name in ("first", "second", "third"):
        processor.tokenizer.init_kwargs["local_files_only"] = name == "second"
        save_model(model, processor, tmp_path / name)
        processor = load_processor(tmp_path / name)
        processor.tokenizer(["red", "red blue"], padding="max_length", truncation=True, max_length=3)
    assert len({checkpoint_hash(tmp_path / name) for name in ("first", "second", "third")}) == 1


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
    for load in (load_model, require_whole, new_scalar):
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


def rewrite(file: str, **values: Any) -> Callable[[Path], None]:
    return lambda folder: write_json(folder / file, {**read_json(folder / file), **values}) and None


def template(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "chat_template.jinja").write_text(text) and None


def index(*names: str) -> Callable[[Path], None]:
    weight_map = dict(zip("abc", names, strict=False))
    return lambda folder: write_json(folder / "x.index.json", {"weight_map": weight_map}) and None


def of_pictures(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        known = read_json(folder / "processor_config.json")
        rewrite("processor_config.json", image_processor={**known["image_processor"], **values})(folder)

    return change


SHOWS = "{% for part in messages[0].content %}{{ part.text if part.type == 'text' else '<|image_pad|>' }}"
FOREIGN = {"AutoConfig": "code.C", "AutoModelForImageTextToText": "code.M"}
UNFIT: dict[str, tuple[Callable[[Path], None], str]] = {
    "template without pictures": (template("{{ messages[0].content[-1].text }}"), "does not show pictures"),
    "template without text": (template("<|image_pad|>"), "does not show the text"),
    "template that repeats": (template(SHOWS + "{% endfor %}" + SHOWS + "{% endfor %}"), "pictures and the"),
    "template for texts": (template("{{ 'say ' + messages[0].content }}"), "template .* cannot be used"),
    "template that breaks off": (template("{% for"), "template .* cannot be used"),
    "template that reaches out": (template("{{ ''.__class__.__mro__ }}"), "template .* cannot be used"),
    "template without end": (template("{% for a in range(10**9) %}x{% endfor %}"), "cannot be used"),
    "another token of pictures": (rewrite("config.json", image_token_id=3), "token of pictures .* 3 to its"),
    "no tokenizer": (
        lambda folder: [*map(Path.unlink, folder.glob("tokenizer*"))] and None,
        "token of pictures",
    ),
    "another patch": (of_pictures(patch_size=16), "size of a patch .* is 16 to its processor, 14 to"),
    "another merging": (of_pictures(merge_size=1), "merging of patches .* is 1 to its processor, 2 to"),
    "a shard that is not there": (index("model.safetensors", "b.safetensors"), "'b.safetensors', which are"),
    "a shard elsewhere": (index("../model.safetensors"), "'../model.safetensors', which are not in its"),
    "an index that is none": (lambda folder: write_json(folder / "x.index.json", []) and None, "no index"),
    "a config of another kind": (lambda folder: write_json(folder / "config.json", []) and None, "cannot"),
    "a type that is none": (rewrite("config.json", dtype="float99"), "cannot be read"),
    "foreign code": (rewrite("config.json", model_type="none-such", auto_map=FOREIGN), "cannot be read"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_what_does_not_fit_together_is_found_before_anything_is_judged(
    tiny: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    save_model(*tiny, tmp_path)
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("asks whether to run foreign code"))
    UNFIT[kind][0](tmp_path)
    with pytest.raises(CheckpointError, match=UNFIT[kind][1]) as error:
        load_model(tmp_path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(
    tiny: tuple[Any, Any], tmp_path: Path
) -> None:
    save_model(*tiny, tmp_path)
    tokenizer = tiny[1].tokenizer.__class__.from_pretrained(tmp_path)
    tokenizer.add_tokens([f"new{number}" for number in range(tiny[0].config.get_text_config().vocab_size)])
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="its model only"):
        load_model(tmp_path)


def test_adapters_alone_are_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="merge them into their model"):
        load_model(tmp_path)


def test_weights_that_are_not_numbers_judge_nothing(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    save_model(*tiny, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    engine = TransformersEngine(*load_model(tmp_path))
    for temperature in (0.0, 1.0):
        with pytest.raises(NonFiniteError, match="not finite"):
            engine.generate([Request("say yes .")], Sampling(2, temperature))


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
