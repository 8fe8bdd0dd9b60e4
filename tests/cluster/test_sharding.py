"""The arithmetic of a cold start in several processes, each of them asked alone; `test_sft` runs them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from r1reward.settings import ClusterSettings, SFTSettings
from r1reward.train.sft import ResponseTrainer
from r1reward.train.trainer import MAX_GRAD_NORM, _arguments, deepspeed_config

SETTINGS = SFTSettings(batch_size=24, micro_batch_size=2)


@pytest.mark.parametrize(("processes", "micro_batches"), [(1, 12), (2, 6), (4, 3)])
def test_an_update_is_one_batch_whatever_the_processes(
    processes: int, micro_batches: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    made: dict[str, Any] = {}
    monkeypatch.setattr("r1reward.train.trainer.TrainingArguments", lambda **given: made.update(given))
    _arguments(tmp_path, SETTINGS, 0, 10, {"zero_optimization": {"stage": 3}})
    assert made["gradient_accumulation_steps"] == micro_batches
    assert made["per_device_train_batch_size"] * micro_batches * processes == SETTINGS.batch_size
    _arguments(tmp_path, SETTINGS, 0, 10, None)
    assert made["gradient_accumulation_steps"] == 12, "without DeepSpeed there is one process"


def test_a_batch_that_does_not_divide_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "5")
    with pytest.raises(ValueError, match="batch_size 24 is no multiple of micro_batch_size 2 x 5 processes"):
        _arguments(tmp_path, SETTINGS, 0, 10, {"zero_optimization": {"stage": 3}})


def loss_of(log_probs: list[list[float]], labels: list[list[int]], *, tokens: int, processes: int) -> float:
    """The loss that one process hands to DeepSpeed for its micro-batch, given the tokens of all."""
    trainer: Any = ResponseTrainer.__new__(ResponseTrainer)
    trainer.is_deepspeed_enabled = True
    trainer.accelerator = SimpleNamespace(num_processes=processes)
    inputs = {"batch": None, "responses": None, "labels": torch.tensor(labels)}
    said = torch.tensor(log_probs)
    loss = trainer.compute_loss(lambda **_: said, inputs, num_items_in_batch=tokens)
    return float(loss)


def test_the_mean_of_the_processes_is_the_mean_of_the_tokens() -> None:
    """Process 1 has one answer token of -6, process 2 three of -1, -2 and -3: the mean of all four is 3."""
    one = loss_of([[-6.0, 0.0, 0.0]], [[7, -100, -100]], tokens=4, processes=2)
    two = loss_of([[-1.0, -2.0, -3.0]], [[7, 7, 7]], tokens=4, processes=2)
    assert (one, two) == (3.0, 3.0)
    assert (one + two) / 2 == 3.0, "DeepSpeed averages over processes"


@pytest.mark.parametrize(
    ("changes", "path", "value"),
    [
        ({"zero_stage": 2}, ("zero_optimization", "stage"), 2),
        ({"zero_stage": 3}, ("zero_optimization", "stage"), 3),
        ({"offload_optimizer": True}, ("zero_optimization", "offload_optimizer"), {"device": "cpu"}),
        ({"offload_optimizer": False}, ("zero_optimization", "offload_optimizer"), None),
        ({}, ("gradient_clipping",), MAX_GRAD_NORM),
        ({}, ("bf16", "enabled"), True),
    ],
)
def test_deepspeed_is_told(changes: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    found: Any = deepspeed_config(ClusterSettings(**changes), "bfloat16")
    for name in path:
        found = found.get(name)
    assert found == value
