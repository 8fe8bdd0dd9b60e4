"""The base model's build: reproducible batches, and a killed build ends like a whole one."""

import torch
from safetensors.torch import load_file

from r1reward.mini import base_folder
from r1reward.mini.lessons import CURRICULUM
from r1reward.mini.tiny import train_tokenizer
from r1reward.train import pretrain


def test_the_shipped_tokenizer_is_the_one_that_the_command_makes(tmp_path):
    train_tokenizer(pretrain.tokenizer_texts()).save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").read_bytes() == (base_folder() / "tokenizer.json").read_bytes()


def test_the_rates_cover_the_curriculum():
    assert pretrain.RATE_STEPS[-1] == pretrain.TOTAL_STEPS == sum(stage.steps for stage in CURRICULUM)


def test_a_build_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain, "BATCH_SIZE", 4)
    whole = pretrain.build_base(tmp_path / "whole", steps=4, save_steps=2)
    pretrain.build_base(tmp_path / "cut", steps=2, save_steps=2)
    resumed = pretrain.build_base(tmp_path / "cut", steps=4, save_steps=2)
    first, second = (load_file(folder / "model.safetensors") for folder in (whole, resumed))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_seed_leaves_the_finished_model(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain, "BATCH_SIZE", 2)
    finished = pretrain.build_base(tmp_path, steps=1, save_steps=1)
    before = (finished / "model.safetensors").read_bytes()
    pretrain.build_base(tmp_path, seed=1, steps=1, save_steps=1)
    (kept,) = (tmp_path / "earlier").iterdir()
    assert (kept / "model/model.safetensors").read_bytes() == before
    assert (tmp_path / "model/model.safetensors").read_bytes() != before
