from typing import Any

import pytest
import torch

from r1reward.engines import Sampling
from r1reward.engines.inputs import encode
from r1reward.engines.log_probs import answer_log_probs, pad_responses, policy_forward, vision_token_ids
from r1reward.engines.transformers import TransformersEngine
from r1reward.types import Request

RESPONSES = [[300, 301, 302], [40], [50, 51, 52, 53, 54], [60, 61], [70, 71, 72], [80, 81]]


def test_padding_changes_no_log_prob(tiny: tuple[Any, Any], requests_: list[Request]) -> None:
    model, processor = tiny
    responses, mask = pad_responses(RESPONSES)
    together = policy_forward(model, encode(processor, requests_), responses=responses, mask=mask)
    for row, (request, answer) in enumerate(zip(requests_, RESPONSES, strict=True)):
        ids, alone_mask = pad_responses([answer])
        alone = policy_forward(model, encode(processor, [request]), responses=ids, mask=alone_mask)
        torch.testing.assert_close(
            together.log_probs[row, : len(answer)], alone.log_probs[0], atol=1e-5, rtol=0
        )
        torch.testing.assert_close(together.entropy[row, : len(answer)], alone.entropy[0], atol=1e-5, rtol=0)
    assert bool((together.log_probs[~mask] == 0).all()) and bool((together.entropy[~mask] == 0).all())


def test_agrees_with_the_plain_model_on_an_unpadded_prompt(
    tiny: tuple[Any, Any], requests_: list[Request]
) -> None:
    """The library's own forward, with its own M-RoPE positions, is the oracle."""
    model, processor = tiny
    for request in (requests_[0], requests_[4]):
        batch = encode(processor, [request])
        answer = torch.tensor([RESPONSES[2]])
        ids = torch.cat([batch["input_ids"], answer], dim=1)
        kinds = torch.cat([batch["mm_token_type_ids"], torch.zeros_like(answer)], dim=1)
        inputs = {
            **batch,
            "input_ids": ids,
            "mm_token_type_ids": kinds,
            "attention_mask": torch.ones_like(ids),
        }
        with torch.no_grad():
            logits = model(**inputs).logits[0, -6:-1]
            ours = policy_forward(
                model, batch, responses=answer, mask=torch.ones_like(answer, dtype=torch.bool)
            )
        logits[:, vision_token_ids(model.config)] = -torch.inf
        expected = logits.log_softmax(-1).gather(1, answer[0][:, None])[:, 0]
        torch.testing.assert_close(ours.log_probs[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
def test_engine_and_policy_agree(
    engine: TransformersEngine, requests_: list[Request], temperature: float
) -> None:
    sampling = Sampling(max_new_tokens=12, temperature=temperature, seed=3)
    completions = [row[0] for row in engine.generate(requests_, sampling)]
    responses, mask = pad_responses([completion.token_ids for completion in completions])
    batch = encode(engine.processor, requests_)
    output = policy_forward(engine.model, batch, responses=responses, mask=mask, temperature=temperature)
    for row, completion in enumerate(completions):
        sampled = torch.tensor(completion.log_probs)
        torch.testing.assert_close(output.log_probs[row, mask[row]], sampled, atol=1e-4, rtol=0)


def test_pictures_reach_the_gradient_of_the_vision_tower(
    tiny: tuple[Any, Any], requests_: list[Request]
) -> None:
    model, processor = tiny
    responses, mask = pad_responses(RESPONSES[:1])
    model.zero_grad()
    output = policy_forward(model, encode(processor, requests_[:1]), responses=responses, mask=mask)
    output.log_probs.sum().backward()
    assert float(model.model.visual.patch_embed.proj.weight.grad.abs().sum()) > 0
    assert not output.entropy.requires_grad
    model.zero_grad()


def test_suppressed_tokens_have_no_probability_and_the_rest_sums_to_one() -> None:
    logits = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    log_probs = answer_log_probs(logits, vision_ids=[2, 7], temperature=2.0)
    assert bool(torch.isneginf(log_probs[:, [2, 7]]).all())
    kept = [index for index in range(12) if index not in (2, 7)]
    torch.testing.assert_close(log_probs[:, kept], (logits[:, kept] / 2).log_softmax(-1))


def test_entropy_of_a_uniform_policy(tiny: tuple[Any, Any], requests_: list[Request]) -> None:
    model, processor = tiny
    responses, mask = pad_responses(RESPONSES[:1])
    output = policy_forward(
        model, encode(processor, requests_[:1]), responses=responses, mask=mask, temperature=1e9
    )
    size = torch.tensor(float(model.config.text_config.vocab_size - len(vision_token_ids(model.config))))
    torch.testing.assert_close(output.entropy, size.log().expand(1, 3), atol=1e-4, rtol=0)


def test_a_prompt_that_stands_once_changes_no_log_prob_and_no_gradient(
    tiny: tuple[Any, Any], requests_: list[Request]
) -> None:
    """Six answers to three prompts, of different length and in mixed order, against a prompt for each."""
    model, processor = tiny
    prompts = torch.tensor([2, 0, 1, 0, 2, 0])
    responses, mask = pad_responses(RESPONSES)
    weights = torch.linspace(-1, 1, mask.numel()).view(mask.shape)

    def run(batch: Any, **given: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
        model.zero_grad()
        output = policy_forward(model, batch, responses=responses, mask=mask, **given)
        (weights * output.log_probs).sum().backward()
        return output.log_probs.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]

    own, own_grads = run(encode(processor, [requests_[index] for index in prompts.tolist()]))
    shared, shared_grads = run(encode(processor, requests_[:3]), prompts=prompts)
    torch.testing.assert_close(shared, own, atol=1e-5, rtol=0)
    for one, other in zip(shared_grads, own_grads, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-3)
    # Three prompts that nobody answers change nothing, though there are as many prompts as answers then.
    spare, _ = run(encode(processor, requests_[:6]), prompts=prompts)
    torch.testing.assert_close(spare, own, atol=1e-5, rtol=0)
    model.zero_grad()
