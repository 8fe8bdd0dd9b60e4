"""The reward head against numbers computed by hand."""

import pytest
import torch

from r1reward.engines import PromptTooLongError
from r1reward.engines.inputs import encode
from r1reward.engines.log_probs import pad_responses
from r1reward.engines.transformers import TransformersEngine
from r1reward.judge.scalar import Kind, RewardHead, new_reward_model, score_request, score_responses
from r1reward.types import Completion, PreferencePair


def make_head() -> RewardHead:
    head = RewardHead(2)
    with torch.no_grad():
        head.hidden.weight.copy_(torch.tensor([[1.0, 2.0], [-1.0, 0.5]]))
        head.hidden.bias.copy_(torch.tensor([0.5, 0.0]))
        head.output.weight.copy_(torch.tensor([[2.0, 3.0]]))
    return head


def test_a_score_is_a_relu_between_two_linear_layers() -> None:
    # (1, 1): hidden (3.5, -0.5) -> (3.5, 0) -> 7. (-1, 2): hidden (3.5, 2) -> 7 + 6.
    assert make_head()(torch.tensor([[1.0, 1.0], [-1.0, 2.0]])).tolist() == [7.0, 13.0]


def test_the_gradient_flows_through_active_units_only() -> None:
    head = make_head()
    state = torch.tensor([1.0, 1.0], requires_grad=True)
    head(state).backward()
    gradients = [head.output.weight.grad, head.hidden.weight.grad, head.hidden.bias.grad, state.grad]
    assert [gradient.tolist() for gradient in gradients if gradient is not None] == [
        [[3.5, 0.0]],
        [[2.0, 2.0], [0.0, 0.0]],
        [2.0, 0.0],
        [2.0, 4.0],
    ]


def test_half_precision_states_are_scored_in_float32() -> None:
    assert make_head()(torch.ones(3, 2, dtype=torch.bfloat16)).dtype == torch.float32


def test_a_new_head_follows_from_its_generator() -> None:
    first, again, other = (RewardHead(8, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(first.hidden.weight, again.hidden.weight)
    assert torch.equal(first.output.weight, again.output.weight)
    assert not torch.equal(first.hidden.weight, other.hidden.weight)


def test_a_score_is_read_at_the_last_token_of_the_critique() -> None:
    """Every token changes it, the end token too; what stands beside it in the batch does not."""
    pair = PreferencePair("p", "s", "what is red ?", ("red .", "blue ."), 1)
    model, processor = new_reward_model("mini", kind="critique", seed=0)
    end = processor.tokenizer.eos_token_id
    critiques = [[40, 50, end], [41, 50, end], [40, 51, end], [40, 50, 51], [40, end], []]

    def scores(chosen: list[list[int]]) -> list[float]:
        ids, mask = pad_responses(chosen)
        batch = encode(processor, [score_request(pair, 1, prompt="mini")] * len(chosen))
        with torch.inference_mode():
            return model(batch, responses=ids, mask=mask)[0].tolist()

    together = scores(critiques)
    assert len({round(score, 4) for score in together}) == len(critiques)
    alone = [score for critique in critiques for score in scores([critique])]
    assert together == pytest.approx(alone, abs=1e-4)


def test_every_critique_is_read_at_one_end_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's own, or one that is put there where the critique was cut."""
    model, processor = new_reward_model("mini", kind="critique", seed=0)
    end, read = processor.tokenizer.eos_token_id, []
    ended = Completion("red", (40, end), (0.0, 0.0), "stop")
    cut = Completion("red blue", (40, 50), (0.0, 0.0), "length")

    def forward(_: object, *, responses: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, None]:
        read.extend(row[kept].tolist() for row, kept in zip(responses, mask, strict=True))
        return torch.zeros(len(responses)), None

    monkeypatch.setattr(TransformersEngine, "generate", lambda *_: [(ended,), (cut,)])
    monkeypatch.setattr(model, "forward", forward)
    pair = PreferencePair("p", "s", "what is red ?", ("red .", "blue ."), 1)
    score_responses(model, processor, [score_request(pair, place, prompt="mini") for place in (1, 2)])
    assert read == [[40, end], [40, 50, end]]


@pytest.mark.parametrize("kind", ["scalar", "critique"])
def test_a_prompt_may_be_as_long_as_the_limit_and_no_longer(kind: Kind) -> None:
    """One of more than the 1024 tokens that are allowed where no limit is named."""
    pair = PreferencePair("p", "s", "what is red ? " * 280, ("red .", "blue ."), 1)
    model, processor = new_reward_model("mini", kind=kind, seed=0)
    asked = [score_request(pair, 1, prompt="mini")]
    length = len(processor.tokenizer(asked[0].text)["input_ids"])
    assert length > 1024
    with pytest.raises(PromptTooLongError, match=f"the limit is {length // 2}"):
        score_responses(model, processor, asked, max_prompt_tokens=length // 2, max_new_tokens=2)
    (scored,) = score_responses(model, processor, asked, max_prompt_tokens=2 * length, max_new_tokens=2)
    assert abs(scored.score) < float("inf") and (scored.tokens > 0) == (kind == "critique")
