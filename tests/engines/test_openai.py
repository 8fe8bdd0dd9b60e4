"""The engine that asks a server, against one on loopback."""

import base64
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from r1reward.config import load_profile
from r1reward.engines import EngineError, ForgivingEngine, PictureError, Sampling, errors_of, load_engine
from r1reward.engines.inputs import fetch_pictures, load_picture
from r1reward.engines.loading import load_processor
from r1reward.engines.openai import OpenAIEngine
from r1reward.judge.generative import R1Reward, read_vote
from r1reward.servers.client import ServerError
from r1reward.settings import EngineServerSettings
from r1reward.types import Request, Verdict

SAMPLING = Sampling(16, temperature=0.7, samples=2, seed=3)


class Server:
    """Answers "1", with log-probs unless told otherwise; remembers what it was asked."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        self.log_probs: Any = [("<answer>", -0.5), ("1", -0.25), ("</answer>", 0.0)]
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None: ...

            def do_POST(self) -> None:
                owner.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                status = owner.statuses.pop(0) if owner.statuses else 200
                body = json.dumps(owner.answer()).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self) -> dict[str, Any]:
        said = self.log_probs
        content = [{"token": token, "logprob": value} for token, value in said] if said else said
        choice = {"message": {"content": "<answer>1</answer>"}, "finish_reason": "length", "logprobs": None}
        choice["logprobs"] = {"content": content} if content is not None else None
        return {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def make_engine(server: Server, **changes: Any) -> OpenAIEngine:
    settings = EngineServerSettings(model="m", base_url=server.url, max_retries=1, **changes)
    return OpenAIEngine(settings, sleep=lambda _: None)


def test_each_sample_is_a_request_with_a_seed_of_its_own(server: Server, pictures: list[str]) -> None:
    requests = [Request("one", (pictures[0],)), Request("two", frames=(pictures[1], pictures[2]))]
    seen: list[tuple[int, int]] = []
    outputs = make_engine(server).generate(
        requests, SAMPLING, progress=lambda done, total: seen.append((done, total))
    )
    assert [len(samples) for samples in outputs] == [2, 2]
    completion = outputs[0][0]
    assert (completion.text, completion.finish_reason) == ("<answer>1</answer>", "length")
    assert (completion.token_ids, completion.log_probs) == ((-1,) * 3, (-0.5, -0.25, 0.0))
    assert len({body["seed"] for body in server.bodies}) == 4 and seen[-1] == (4, 4)
    assert {(body["temperature"], body["max_tokens"], body["logprobs"]) for body in server.bodies} == {
        (0.7, 16, True)
    }
    parts = {
        body["messages"][0]["content"][-1]["text"]: body["messages"][0]["content"] for body in server.bodies
    }
    assert [part["type"] for part in parts["two"]] == ["image_url", "image_url", "text"]
    asked = {body["seed"] for body in server.bodies}
    make_engine(server).generate(requests, SAMPLING)
    assert {body["seed"] for body in server.bodies} == asked


@pytest.mark.parametrize("said", [None, [], [("1", None)]])
def test_a_server_without_log_probs_still_gives_votes(server: Server, said: Any) -> None:
    server.log_probs = said
    completion = make_engine(server).generate([Request("q")], Sampling(4, 0.0))[0][0]
    assert (len(completion.token_ids), completion.log_probs, completion.tokens) == (3, (), ())
    vote = read_vote(completion)
    assert (vote.verdict, vote.probability) == (Verdict.FIRST, None)


def test_control_tokens_in_a_text_are_broken_up(server: Server) -> None:
    make_engine(server).generate([Request("a <|im_end|> b <think> < | <|x y|>")], Sampling(4))
    assert server.bodies[0]["messages"][0]["content"][0]["text"] == "a < |im_end|> b <think> < | <|x y|>"


def test_a_photograph_is_sent_as_large_as_an_engine_here_sees_it(server: Server, tmp_path: Path) -> None:
    """Turned by EXIF, at the judge's budget: a server of larger budget spends no token more on it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4032, 3024), "red").save(tmp_path / "photo.jpg", exif=exif)
    overrides = {"engine": {"name": "openai", "openai": {"base_url": server.url}}}
    profile = load_profile("paper", overrides=overrides)
    load_engine("judge", profile).generate([Request("q", (str(tmp_path / "photo.jpg"),))], Sampling(4))
    url = server.bodies[0]["messages"][0]["content"][0]["image_url"]["url"]
    sent = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    processor = load_processor("mini", settings=profile.model)
    (here,) = fetch_pictures(processor.image_processor, [load_picture(tmp_path / "photo.jpg")])
    assert sent.size == here.size and sent.height > sent.width
    assert sent.width * sent.height // 28**2 <= profile.model.max_pixels // 28**2 == 640
    assert np.array_equal(np.asarray(sent), np.asarray(here))


def test_other_seeds_draw_other_answers_and_sampling_is_that_of_the_request(server: Server) -> None:
    requests = [Request("one"), Request("two")]
    seeds: list[set[int]] = []
    for seed in range(3):
        server.bodies.clear()
        make_engine(server).generate(requests, Sampling(7, temperature=0.3, samples=3, seed=seed))
        seeds.append({body["seed"] for body in server.bodies})
    assert len(set.union(*seeds)) == 3 * 2 * 3
    # A checkpoint's own repetition_penalty, top_p, top_k and min_p are switched off.
    neutral = {"repetition_penalty": 1.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0}
    for body in server.bodies:
        assert {name: body[name] for name in neutral} == neutral
        assert (body["temperature"], body["max_tokens"], body["logprobs"]) == (0.3, 7, True)
    server.bodies.clear()
    make_engine(server, refused=("logprobs", "top_k")).generate([Request("q")], Sampling(7))
    assert not {"logprobs", "top_k"} & set(server.bodies[0])


def test_a_count_of_tokens_that_cannot_be_costs_no_memory(server: Server) -> None:
    server.log_probs = None
    said = server.answer()
    said["usage"]["completion_tokens"] = 10**7
    server.answer = lambda: said
    completion = make_engine(server).generate([Request("q")], Sampling(4, 0.0))[0][0]
    assert len(completion.token_ids) == 4


def test_faults_are_repeated_and_then_named(server: Server) -> None:
    server.statuses = [500]
    assert make_engine(server).generate([Request("q")], Sampling(4))
    server.statuses = [500, 500]
    with pytest.raises(ServerError, match=r"did not answer row 7: http_500"):
        make_engine(server).generate([Request("q", origin="row 7")], Sampling(4))
    server.statuses = [404]
    with pytest.raises(ServerError, match=r"there is no model 'm' at .*engine\.openai\.model"):
        make_engine(server).generate([Request("q")], Sampling(4))
    with pytest.raises(PictureError, match=r"gone\.png \(row 8\)"):
        make_engine(server).generate([Request("q", ("gone.png",), origin="row 8")], Sampling(4))
    engine = make_engine(server)
    server.statuses = [400]
    with pytest.raises(EngineError):
        engine.generate([Request("q")], Sampling(4))
    assert engine.generate([Request("q")], Sampling(4)), "a failed call does not stop the next one"


def test_what_was_paid_in_a_call_that_failed_is_not_asked_again(server: Server) -> None:
    """One of eight questions is refused: the others' answers are had for one request each."""
    engine = make_engine(server, concurrency=1)
    requests = [Request(f"q{number}", ("gone.png",) if number == 5 else ()) for number in range(8)]
    found = ForgivingEngine(engine).generate(requests, SAMPLING)
    assert [bool(errors_of(answers)) for answers in found] == [number == 5 for number in range(8)]
    asked = [json.dumps(body) for body in server.bodies]
    assert len(asked) == len(set(asked)) == 14
    engine.generate(requests[:1], SAMPLING)
    assert len(server.bodies) == 16, "what was handed out is not kept"


def test_the_profile_chooses_the_engine(server: Server, tmp_path) -> None:
    overrides = {"engine": {"name": "openai", "openai": {"base_url": server.url}}}
    judge = R1Reward.from_pretrained("served-name", profile="paper", overrides=overrides)
    judgment = judge.compare("what ?", (), "a", "b")
    assert (judgment.verdict, round(judgment.confidence, 4)) == (Verdict.FIRST, 0.7788)
    assert server.bodies[0]["model"] == "served-name"
    overrides["engine"]["openai"]["model"] = "another"
    with pytest.raises(ValueError, match=r"engine\.openai\.model is another, but served-name"):
        load_engine("served-name", load_profile("paper", overrides=overrides))
    with pytest.raises(EngineError, match=r"pip install -e .*vllm"):
        load_engine("mini", load_profile("mini", overrides={"engine": {"name": "vllm"}}))
