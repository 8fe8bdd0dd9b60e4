from typing import Any

import pytest
import torch

from r1reward.engines import speed
from r1reward.engines.inputs import encode
from r1reward.engines.speed import GROUPED, last_token_only, speed_up
from r1reward.mini.tiny import build_tiny
from r1reward.types import Request


@pytest.mark.parametrize("some", [slice(None), slice(0, 1)], ids=["sizes differ", "one size"])
def test_a_faster_model_computes_the_same(requests_: list[Request], some: slice) -> None:
    plain, processor = build_tiny(1)
    faster, _ = build_tiny(1)
    assert speed_up(faster).config._attn_implementation == GROUPED
    batch = encode(processor, requests_[some] * 2)
    outputs: list[Any] = []
    for model in (plain, faster):
        model.zero_grad()
        loss = model(**batch, labels=batch["input_ids"]).loss
        loss.backward()
        outputs.append((loss.detach(), [p.grad for p in model.parameters()]))
    torch.testing.assert_close(outputs[0][0], outputs[1][0], atol=1e-5, rtol=0)
    for one, other in zip(outputs[0][1], outputs[1][1], strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_feed_forward_by_parts_and_of_the_last_token_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = build_tiny(1)
    layer = model.model.language_model.layers[-1].mlp
    states = torch.randn(3, 10, layer.gate_proj.in_features)
    with torch.inference_mode():
        expected = layer(states)
        speed_up(model)
        monkeypatch.setattr(speed, "TOKENS_AT_ONCE", 4)
        torch.testing.assert_close(layer(states), expected)
        with last_token_only(model):
            torch.testing.assert_close(layer(states)[:, -1], expected[:, -1])
            assert not layer(states)[:, :-1].any()
            torch.testing.assert_close(layer(states[:, :1]), expected[:, :1])
        torch.testing.assert_close(layer(states), expected)


def test_a_faster_model_decodes_the_same(requests_: list[Request]) -> None:
    model, processor = build_tiny(2)
    batch = encode(processor, requests_)
    expected = model.generate(**batch, max_new_tokens=10, do_sample=False)
    assert torch.equal(speed_up(model).generate(**batch, max_new_tokens=10, do_sample=False), expected)
