"""The page in a real browser: what somebody new does from first like to erasure, and texts that want to be markup."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from chromium import Chromium
from payloads import payloads

from waiting import LONG, wait_until

pytestmark = pytest.mark.slow

KNOWN = "strangelove learned stop worrying bomb"  # words of a title
PLAIN = ("items.text=none", "items.image=none", "visuals.candidates=1", "visuals.options.embedded.steps=1")
TAGS = {  # all that the page is made of
    "html", "head", "meta", "title", "link", "script", "body", "svg", "symbol", "path", "circle", "rect", "use", "a",
    "header", "p", "b", "i", "span", "form", "label", "div", "input", "ul", "ol", "li", "button", "noscript", "main",
    "section", "h1", "h2", "h3", "nav", "bdi", "progress", "details", "summary", "fieldset", "legend", "aside",
    "select", "option", "datalist", "footer", "dialog", "output", "img",
}  # fmt: skip
FOREIGN = """[...document.querySelectorAll('*')].filter((one) => !TAGS.includes(one.localName)
  || [...one.attributes].some(({name, value}) => /^on|^srcdoc$|^action$|^formaction$/.test(name)
  || (['href', 'src', 'xlink:href'].includes(name) && !/^(#|data:,$|\\/(static|v1|docs|$))/.test(value))))
  .map((one) => one.outerHTML.slice(0, 200))""".replace("TAGS", json.dumps(sorted(TAGS)))
CARD, READY = "#wall .card[data-item]", "document.querySelector('#profile .summary')"
SHOWN = f"[...document.querySelectorAll('{CARD}')].map((one) => one.dataset.item)"
OFFERED = "[...document.querySelectorAll('#users li span')].map((one) => one.textContent)"
RATE = 50  # of requests a second that tell of a person, as the server allows by default
QUIET = "!document.querySelector('#stage [aria-busy=true]')"


class Server:
    """`recsys serve` as people start it, and its API."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address, self.log = f"http://127.0.0.1:{port}", folder / "server.log"
        settings = [part for one in PLAIN for part in ("--set", one)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "recsys", "serve", "--artifacts", str(folder / "artifacts"), *settings,
                 "--port", str(port)],
                stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"},
            )  # fmt: skip
        wait_until(lambda: f"page  {self.address}/" in self.log.read_text() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Return status and answer; waits where it is told to slow down."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"} if body is not None else {}
        while True:
            try:
                request = urllib.request.Request(self.address + path, content, headers, method=method)
                with urllib.request.urlopen(request) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != 429:
                    return error.code, json.load(error)
                time.sleep(0.3)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=LONG)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    made = Chromium(tmp_path / "browser")
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("page"))
    yield made
    made.close()


def shown(browser: Chromium) -> list[str]:
    return browser.run(SHOWN)


def check_nothing_foreign(browser: Chromium, address: str) -> None:
    assert browser.run(FOREIGN) == []
    assert browser.run("document.scripts.length") == 1
    assert browser.run("violations") == []
    assert browser.dialogs == []
    assert browser.faults == []
    assert [one for one in browser.requests if not one.startswith((address, "about:", "data:"))] == []


def test_somebody_new_from_the_first_like_to_erasure(browser: Chromium, server: Server) -> None:
    browser.open(f"{server.address}/")
    browser.wait("document.querySelectorAll('#some li').length > 3")
    assert browser.texts("#name") == ["ml-100k"]

    browser.type("#user", "22")
    browser.wait(f"{OFFERED}.includes('22')")
    browser.press("ArrowDown")
    browser.press("Enter")
    browser.wait("document.querySelector('#whose').textContent === '22'")
    browser.click("#fresh")
    browser.type("#ask-input", "Zoë Müller")
    browser.press("Enter")
    browser.wait("document.querySelector('#whose').textContent === 'Zoë Müller'")
    browser.wait(f"document.querySelector('{CARD}') && {READY} && {QUIET}")
    popular = shown(browser)
    assert len(popular) == 24
    assert not browser.run("document.querySelector('#begin').hidden")

    for title in ("Star Wars (1977)", "Raiders of the Lost Ark (1981)", "Alien (1979)"):
        browser.type("#query", title)
        browser.wait(f"document.querySelector('#found .name')?.textContent === {json.dumps(title)}")
        browser.click("#found li .acts button")
        browser.wait(f"document.querySelector('#toast p').textContent === {json.dumps('Liked: ' + title)}")
        browser.press("Escape")
    browser.wait(f"document.querySelector('#begin').hidden && {QUIET}")
    liked = shown(browser)
    assert liked != popular
    assert any("because of" in one for one in browser.texts(f"{CARD} .reasons"))
    assert len(browser.texts("#history .events li")) == 3

    browser.click(f"{CARD} .acts button:nth-child(3)")
    browser.wait(f"document.querySelector('#toast p').textContent.startsWith('Hidden') && {QUIET}")
    assert liked[0] not in shown(browser)
    assert browser.texts("#change b") == ["1 came, 1 went"]
    browser.click("#toast button")
    browser.wait(f"document.querySelectorAll('#history .events li').length === 3 && {QUIET}")
    assert shown(browser) == liked

    browser.run("document.querySelector('#how').value = 'forbid'")
    browser.type("#words", "genre:Sci-Fi")
    browser.press("Enter")
    browser.wait(f"document.querySelector('.statement.forbidden') && {QUIET}")
    browser.wait(
        "!document.querySelector('#change').hidden && document.querySelector('#change b').textContent.includes('went')"
    )
    without = shown(browser)
    assert not any("Sci-Fi" in one for one in browser.texts(f"{CARD} .attributes"))
    browser.click(".statement.forbidden .tools button:last-child")
    browser.wait(f"!document.querySelector('.statement.forbidden') && {QUIET}")
    browser.wait(f"document.querySelector('{CARD}.came') && {QUIET}")
    assert shown(browser) == liked != without
    browser.click("#undo")
    browser.wait(f"document.querySelector('.statement.forbidden') && {QUIET}")
    browser.wait(f"{SHOWN}.join() === {json.dumps(without)}.join()")
    browser.click("#redo")
    browser.wait(f"{SHOWN}.join() === {json.dumps(liked)}.join() && {QUIET}")

    browser.click(f"{CARD} .face")
    browser.wait("document.querySelector('#why .without li') && document.querySelector('#similar li')")
    assert any(one.startswith("Without ") for one in browser.texts("#why .without p"))
    for dial in ("0.5", "1"):
        browser.run("document.querySelector('#dial').focus()")
        if dial == "1":
            browser.press("End")
        browser.click("#draw button")
        browser.wait(f"document.querySelector('#pictures [data-dial=\"{dial}\"] img')?.naturalWidth > 0")
    assert "no picture" in browser.texts("#draw-note")[0]
    assert [one.split("drawn")[0] for one in browser.texts("#pictures [data-dial] p:first-of-type")] == [
        "Dial 0.5",
        "Dial 1",
    ]
    browser.press("Escape")
    browser.wait("!document.querySelector('#item').open")

    browser.resize(360, 780)
    for view in ("taste", "said", "list"):
        browser.click(f".views [data-view={view}]")
        assert browser.run("document.documentElement.scrollWidth") == 360
    browser.click(".views [data-view=said]")
    browser.click("#erase")
    browser.click("#ask-yes")
    browser.wait("!document.querySelector('#welcome').hidden")
    assert server.ask("GET", f"/v1/user?user_id={quote('Zoë Müller')}")[0] == 404
    check_nothing_foreign(browser, server.address)


def test_200_texts_that_want_to_be_markup_stay_texts(browser: Chromium, server: Server) -> None:
    texts = payloads()
    assert len(set(texts)) == 200
    for number, text in enumerate(texts):
        body = {"item_id": f"new {text}", "title": text, "text": text, "attributes": [f"genre:{text}", "year:2060"]}
        assert server.ask("POST", "/v1/items", body)[0] == 201, text
        assert server.ask("POST", "/v1/users", {"user_id": text})[0] == 201, number
    said = say_in_a_profile(server, "reader", texts)
    for text in texts[::20]:
        told = {"user_id": "reader", "item_id": f"new {text}", "kind": "like"}
        assert server.ask("POST", "/v1/feedback", told)[0] == 201

    browser.open(f"{server.address}/#u=reader")
    browser.wait(f"document.querySelector('{CARD}') && {READY} && {QUIET}")
    browser.click("#filters summary")
    browser.type("#year-from", "2050")
    browser.wait(f"{SHOWN}.every((one) => one.startsWith('new ')) && {QUIET}")
    assert browser.texts("#filtered") == ["1 set"]
    for _ in range(7):
        count = len(shown(browser))
        browser.wait(f"!document.querySelector('#more').hidden && {QUIET}")
        browser.click("#more")
        browser.wait(f"document.querySelectorAll('{CARD}').length !== {count} && {QUIET}")
    titles = browser.texts(f"{CARD} .name")
    assert sorted(titles) == sorted(set(texts) - set(texts[::20]))
    statements = [one for one in browser.texts("#profile .statement p[dir]") if KNOWN in one]
    assert len(statements) == len(said)
    check_nothing_foreign(browser, server.address)

    for text in texts[2:200:40]:  # no item is like that
        browser.type("#words", text)
        browser.press("Enter")
        browser.wait(f"document.querySelector('#say-note').textContent && {QUIET}")
        browser.run("document.querySelector('#say-note').textContent = ''")
    for place in range(0, 180, 45):  # its reasons, its neighbours, its picture
        browser.run(f"document.querySelectorAll('{CARD} .face')[{place}].click()")
        browser.wait("document.querySelector('#why .standing') && document.querySelector('#pictures li')")
        browser.press("Escape")
    check_nothing_foreign(browser, server.address)
    for text in texts:  # as the person that is looked at
        browser.run(f"location.hash = {json.dumps('#u=' + quote(text, safe=''))}")
        browser.wait(f"document.querySelector('#whose').textContent === {json.dumps(text)} && {QUIET}")
        time.sleep(2 / RATE)  # looking at somebody asks twice for what the server counts
    assert browser.texts(".fault") == []
    for text in texts[::20]:  # as somebody to choose
        browser.type("#user", text)
        browser.wait(f"{OFFERED}.includes({json.dumps(text)})")
        browser.press("Escape")
    for text in texts[::40]:
        browser.run(f"location.hash = {json.dumps('#u=' + quote(text + ' ', safe=''))}")
        browser.wait(f"!document.querySelector('#welcome').hidden && document.querySelector('.fault') && {QUIET}")
        browser.click(".fault button")
        browser.wait("!document.querySelector('.fault')")
    check_nothing_foreign(browser, server.address)
    print(
        f"\n{len(titles)} titles, {len(texts)} people and {len(statements)} statements of markup: "
        f"{len(browser.dialogs)} dialogs, {len(browser.run('violations'))} violations of the policy, "
        f"{len(browser.run(FOREIGN))} foreign elements, {len(browser.faults)} faults"
    )


def say_in_a_profile(server: Server, user: str, texts: list[str]) -> list[str]:
    """Add texts to a profile, each behind words that an item has: without them free words are refused."""
    assert server.ask("POST", "/v1/users", {"user_id": user})[0] == 201
    said = [f"{KNOWN} {one}"[:200] for one in texts]
    for first in range(0, len(said), 50):
        edits = [f"add {one}" for one in said[first : first + 50]]
        status, told = server.ask("POST", "/v1/profile", {"user_id": user, "edits": edits})
        assert status == 200, told
    return said
