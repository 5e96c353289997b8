"""The client of chat endpoints against a server of its own: failures, slow answers, nonsense, concurrency."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from recsys.core.runtime import Run
from recsys.profiles.llm import make_language_model
from recsys.profiles.llm.backends import openai
from recsys.profiles.llm.protocol import LanguageModelError, ask

from waiting import LONG


class Server:
    """Answers ``reply(body, number of the request)`` with ``(status, bytes, headers)``; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict] = []
        self.headers: list[dict] = []
        self.reply: Callable = lambda body, n: good(body["messages"][-1]["content"].upper())
        self.now = self.most = 0
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    outer.asked.append(body)
                    outer.headers.append(dict(self.headers))
                    n = len(outer.asked)
                    outer.now += 1
                    outer.most = max(outer.most, outer.now)
                status, content, headers = outer.reply(body, n)
                with outer.lock:
                    outer.now -= 1
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # a client that hung up

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def model(self, **settings):
        told = {"base_url": self.url, "model": "m", "wait": 0.01, "longest_wait": 0.05, "timeout": LONG, **settings}
        return make_language_model("openai", told)


def good(text: str, **usage) -> tuple[int, bytes, dict]:
    return 200, json.dumps({"choices": [{"message": {"content": text}}], "usage": usage}).encode(), {}


@pytest.fixture
def server():
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def texts(model, prompts, seed=None) -> list[str]:
    found = dict(model.answers(prompts, max_tokens=9, seed=seed, run=Run()))
    return [found[place].text for place in range(len(prompts))]


def test_prompts_and_parameters_arrive(server, monkeypatch) -> None:
    monkeypatch.setenv("MY_KEY", "sesame")
    model = server.model(key_variable="MY_KEY")
    server.reply = lambda body, n: good(" hello ", prompt_tokens=11, completion_tokens=2)
    ((place, answer),) = model.answers([ask("be kind", "who?")], max_tokens=9, seed=None, run=Run())
    assert (place, answer.text, answer.tokens_in, answer.tokens_out) == (0, "hello", 11, 2)
    assert server.asked[0] == {
        "model": "m", "max_tokens": 9, "temperature": 0,
        "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "who?"}],
    }  # fmt: skip
    assert server.headers[0]["Authorization"] == "Bearer sesame"
    assert "sesame" not in model.identity() + repr(model.settings)
    texts(model, ["x"], seed=3)
    assert server.asked[1]["temperature"] == 0.7
    assert server.asked[1]["seed"] == Run().key("llm", 3) % 2**31
    monkeypatch.delenv("MY_KEY")
    texts(model, ["x"])
    assert "Authorization" not in server.headers[2]


def test_answers_find_their_prompts_with_as_many_under_way_as_allowed(server) -> None:
    three = threading.Barrier(3, timeout=LONG)

    def together(body: dict, n: int):
        three.wait()
        return good(body["messages"][-1]["content"].upper())

    server.reply = together
    prompts = [f"p{n}" for n in range(12)]
    assert texts(server.model(concurrency=3), prompts) == [prompt.upper() for prompt in prompts]
    assert server.most == 3


@pytest.mark.parametrize(
    "broken",
    [
        (429, b"slow down", {"Retry-After": "0"}), (429, b"", {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}),
        (500, b"oops", {}), (503, b"", {}), (200, b"<html>a proxy", {}), (200, b'{"choices": []}', {}),
        (200, b'{"choices": [{"message": {"content": null}}]}', {}), (200, b"[1]", {}), (200, b"\xff\xfe", {}),
        (200, b'{"choices"', {"Content-Length": "5000"}),
    ],
)  # fmt: skip
def test_what_may_pass_is_tried_again(server, broken) -> None:
    server.reply = lambda body, n: broken if n <= 2 else good("done")
    assert texts(server.model(), ["p"]) == ["done"]
    assert len(server.asked) == 3


def test_a_timeout_is_tried_again(server) -> None:
    over = threading.Event()

    def sleepy(body: dict, n: int):
        if n == 1:
            over.wait(LONG)
        return good("done")

    server.reply = sleepy
    assert texts(server.model(timeout=0.5), ["p"]) == ["done"]
    assert len(server.asked) > 1
    over.set()


def test_waits_grow_follow_the_server_and_end(server) -> None:
    waits: list[float] = []
    server.reply = lambda body, n: (429, b"", {"Retry-After": "3"} if n == 2 else {})
    model = server.model(wait=1.0, longest_wait=4.0, retries=4)
    model._sleep = waits.append
    with pytest.raises(LanguageModelError, match=r"status 429, 5 times. Try again later"):
        texts(model, ["p"])
    assert len(waits) == 4
    assert 0.5 <= waits[0] <= 1.0
    assert waits[1] == 3.0
    assert 2.0 <= waits[2] <= 4.0 == max(waits[3], 4.0)


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "Set OPENAI_API_KEY"), (403, "Set OPENAI"), (404, "Check base_url"), (400, "limits")]
)
def test_what_cannot_pass_is_told_at_once(server, monkeypatch, status, remedy) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    server.reply = lambda body, n: (status, b"sesame", {})
    with pytest.raises(LanguageModelError, match=remedy) as caught:
        texts(server.model(), ["p"])
    assert len(server.asked) == 1
    assert "sesame" not in str(caught.value)


def test_a_redirect_does_not_take_the_key_elsewhere(server) -> None:
    other = Server()
    server.reply = lambda body, n: (307, b"", {"Location": f"{other.url}/chat/completions"})
    with pytest.raises(LanguageModelError, match="status 307"):
        texts(server.model(), ["p"])
    other.http.shutdown()
    other.http.server_close()
    assert other.asked == []


def test_answers_before_a_failure_are_given(server) -> None:
    server.reply = lambda body, n: (400, b"", {}) if body["messages"][-1]["content"] == "p3" else good("fine")
    found = {}

    def collect() -> None:
        model = server.model(concurrency=1)
        for place, answer in model.answers([f"p{n}" for n in range(6)], max_tokens=9, seed=None, run=Run()):
            found[place] = answer.text

    with pytest.raises(LanguageModelError, match="status 400"):
        collect()
    assert {0, 1, 2} <= found.keys()
    assert 3 not in found


def test_who_wants_no_more_answers_asks_no_more(server, monkeypatch) -> None:
    over = threading.Event()

    class Pool(ThreadPoolExecutor):
        def __exit__(self, *error) -> bool | None:
            over.set()
            return super().__exit__(*error)

    def reply(body: dict, n: int):
        if n > 1:
            over.wait(LONG)
        return good("fine")

    monkeypatch.setattr(openai, "ThreadPoolExecutor", Pool)
    server.reply = reply
    answers = server.model(concurrency=1).answers([f"p{n}" for n in range(9)], max_tokens=9, seed=None, run=Run())
    next(answers)
    answers.close()
    assert len(server.asked) <= 2  # one more may have been under way


def test_an_address_is_part_of_the_identity() -> None:
    told = {"model": "m", "temperature": 0.5}
    for url, name in (("http://a.example:80/v1/", "a.example:80/v1"), ("http://A.example/v1", "a.example/v1")):
        assert make_language_model("openai", {"base_url": url, **told}).identity() == f"{name} m (0.5)"
    with pytest.raises(LanguageModelError, match="Such as http://localhost"):
        make_language_model("openai", {"base_url": "http://a:port/v1", **told}).identity()


def test_nobody_there_is_an_error_and_so_is_a_wrong_address() -> None:
    told = {"model": "m", "wait": 0.01, "retries": 1}
    with pytest.raises(LanguageModelError, match="no answer"):
        texts(make_language_model("openai", {"base_url": "http://127.0.0.1:9", **told}), ["p"])
    with pytest.raises(LanguageModelError, match="no http address"):
        texts(make_language_model("openai", {"base_url": "file:///etc", **told}), ["p"])


def test_likelihoods_are_not_offered(server) -> None:
    with pytest.raises(LanguageModelError, match="Use a local model"):
        server.model().score("p", ["a"], run=Run())
    assert server.model().count_tokens("a" * 35) == 14
    assert server.model().count_tokens(ask("a" * 35, "b")) == 19
