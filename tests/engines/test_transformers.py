import logging
from typing import Any

import pytest
import torch

from r1reward.engines import EngineError, PictureError, Sampling, transformers
from r1reward.engines.inputs import encode
from r1reward.engines.log_probs import answer_log_probs, vision_token_ids
from r1reward.engines.transformers import TransformersEngine
from r1reward.types import Request

SAMPLED = Sampling(max_new_tokens=16, temperature=1.0, samples=2, seed=7)


def test_same_seed_and_call_same_answers(engine: TransformersEngine, requests_: list[Request]) -> None:
    first, second = engine.generate(requests_, SAMPLED), engine.generate(requests_, SAMPLED)
    assert first == second
    other = engine.generate(requests_, Sampling(16, 1.0, samples=2, seed=8))
    assert [row[0].token_ids for row in first] != [row[0].token_ids for row in other]
    assert all(row[0].token_ids != row[1].token_ids for row in first)


def test_sampling_that_is_stored_with_a_checkpoint_changes_no_answer(
    engine: TransformersEngine, requests_: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = (SAMPLED, Sampling(8, temperature=0))
    expected = [engine.generate(requests_, sampling) for sampling in asked]
    stored = {"repetition_penalty": 5.0, "top_k": 1, "top_p": 0.1, "temperature": 9.0, "max_new_tokens": 1}
    for name, value in stored.items():
        monkeypatch.setattr(engine.model.generation_config, name, value)
    assert [engine.generate(requests_, sampling) for sampling in asked] == expected


def test_answers_do_not_depend_on_what_shares_their_batch(
    tiny: tuple[Any, Any], requests_: list[Request]
) -> None:
    wide = TransformersEngine(*tiny, batch_size=64).generate(requests_, SAMPLED)
    narrow = TransformersEngine(*tiny, batch_size=1).generate(requests_, SAMPLED)
    tokens = [[[c.token_ids for c in row] for row in answers] for answers in (wide, narrow)]
    assert tokens[0] == tokens[1]


@pytest.mark.parametrize("sampling", [SAMPLED, Sampling(16, temperature=0)], ids=["sampled", "greedy"])
def test_answers_do_not_depend_on_what_is_read_once(
    tiny: tuple[Any, Any], sharing: list[Request], sampling: Sampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TransformersEngine(*tiny, batch_size=64)
    shared = engine.generate(sharing, sampling)
    monkeypatch.setattr(transformers, "encode_shared", lambda *_, **__: None)
    for row, other in zip(shared, engine.generate(sharing, sampling), strict=True):
        for one, alone in zip(row, other, strict=True):
            assert one.token_ids == alone.token_ids
            assert one.log_probs == pytest.approx(alone.log_probs, abs=1e-4)


def test_greedy_answers_are_those_of_the_library(
    tiny: tuple[Any, Any], engine: TransformersEngine, requests_: list[Request]
) -> None:
    model, processor = tiny
    banned = vision_token_ids(model.config)
    for request, (completion,) in zip(
        requests_, engine.generate(requests_, Sampling(12, temperature=0)), strict=True
    ):
        batch = encode(processor, [request])
        expected = model.generate(**batch, max_new_tokens=12, do_sample=False, suppress_tokens=banned)
        assert list(completion.token_ids) == expected[0, batch["input_ids"].shape[1] :].tolist()


def test_finish_reason_text_and_progress(
    tiny: tuple[Any, Any], requests_: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One token of 16 ends an answer, so that answers leave the batch at different times."""
    engine = TransformersEngine(*tiny, batch_size=8)
    stops = list(range(0, 1024, 16))
    monkeypatch.setattr(engine, "_stop_ids", lambda: stops)
    seen: list[tuple[int, int]] = []
    answers = engine.generate(
        requests_, Sampling(20, 1.0, samples=4, seed=1), progress=lambda *c: seen.append(c)
    )
    flat = [completion for row in answers for completion in row]
    assert seen == [(8, 24), (16, 24), (24, 24)]
    assert {completion.finish_reason for completion in flat} == {"stop", "length"}
    for completion in flat:
        assert len(completion.token_ids) == len(completion.log_probs)
        ended = completion.token_ids[-1] in stops
        assert ended == (completion.finish_reason == "stop")
        assert not set(completion.token_ids[:-1]) & set(stops)
        kept = completion.token_ids[:-1] if ended else completion.token_ids
        assert completion.text == engine.processor.tokenizer.decode(kept, clean_up_tokenization_spaces=False)
    alone = TransformersEngine(*tiny, batch_size=1)
    monkeypatch.setattr(alone, "_stop_ids", lambda: stops)
    again = alone.generate(requests_, Sampling(20, 1.0, samples=4, seed=1))
    assert [[c.token_ids for c in row] for row in again] == [[c.token_ids for c in row] for row in answers]


def test_vision_tokens_are_never_sampled(
    engine: TransformersEngine, requests_: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even for a policy that wants nothing else."""
    banned = vision_token_ids(engine.model.config)
    head = engine.model.lm_head

    def wants_pictures(hidden: torch.Tensor) -> torch.Tensor:
        logits = torch.nn.functional.linear(hidden, head.weight)
        logits[..., banned] += 50.0
        return logits

    monkeypatch.setattr(head, "forward", wants_pictures)
    for sampling in (Sampling(24, 1.0, samples=4), Sampling(24, 0.0)):
        for row in engine.generate(requests_, sampling):
            assert not {token for completion in row for token in completion.token_ids} & set(banned)


def test_sampling_follows_the_distribution(engine: TransformersEngine, pictures: list[str]) -> None:
    """First tokens of many samples against their probabilities (chi-squared-like bound on the counts)."""
    request = Request("say yes .", (pictures[0],))
    answers = engine.generate([request], Sampling(1, temperature=0.25, samples=4000, seed=5))[0]
    batch = encode(engine.processor, [request])
    with torch.no_grad():
        logits = engine.model(**batch).logits[:, -1]
    banned = vision_token_ids(engine.model.config)
    probs = answer_log_probs(logits, vision_ids=banned, temperature=0.25).exp()[0]
    counts = torch.bincount(torch.tensor([answer.token_ids[0] for answer in answers]), minlength=len(probs))
    deviation = (counts - 4000 * probs) / (4000 * probs * (1 - probs)).clamp(min=1e-9).sqrt()
    likely = probs > 0.01
    assert int(likely.sum()) >= 2
    assert float(deviation[likely].abs().max()) < 4.5


def test_out_of_memory_halves_the_batch_and_says_so_once(
    tiny: tuple[Any, Any],
    requests_: list[Request],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = TransformersEngine(*tiny, batch_size=64).generate(requests_, SAMPLED)
    engine = TransformersEngine(*tiny, batch_size=64)
    answer = engine._answer

    def small_machine(requests: Any, part: Any, sampling: Sampling) -> Any:
        if len(part) > 6:
            raise torch.OutOfMemoryError("out of memory")
        return answer(requests, part, sampling)

    monkeypatch.setattr(engine, "_answer", small_machine)
    with caplog.at_level(logging.WARNING):
        answers = engine.generate(requests_, SAMPLED)
    assert [[c.token_ids for c in row] for row in answers] == [[c.token_ids for c in row] for row in expected]
    assert engine.batch_size == 6
    assert [record.message for record in caplog.records] == [
        "out of memory with 12 answers at once; going on with 6"
    ]


def test_out_of_memory_with_one_answer_is_an_error(
    tiny: tuple[Any, Any], requests_: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: Any) -> Any:
        raise MemoryError

    engine = TransformersEngine(*tiny, batch_size=4)
    monkeypatch.setattr(engine, "_answer", no_memory)
    with pytest.raises(EngineError, match="single answer"):
        engine.generate(requests_, SAMPLED)


def test_other_errors_are_not_taken_for_memory(engine: TransformersEngine) -> None:
    with pytest.raises(PictureError, match="nowhere"):
        engine.generate([Request("x", ("/nowhere.png",), origin="row 1")], SAMPLED)


def test_no_requests_no_answers(engine: TransformersEngine) -> None:
    assert engine.generate([], SAMPLED) == []


@pytest.mark.parametrize("arguments", [{"max_new_tokens": 0}, {"max_new_tokens": 1, "temperature": -1.0}])
def test_impossible_sampling_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="sampling needs"):
        Sampling(**arguments)
