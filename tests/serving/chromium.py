"""A real Chromium, driven over the DevTools protocol: what a person sees, clicks and types."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from waiting import LONG

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WATCH = (
    "window.violations = []; addEventListener('securitypolicyviolation', (e) => violations.push(e.violatedDirective));"
)


class Chromium:
    """One browser with one tab.

    Attributes:
        dialogs: messages of the dialogs that scripts opened; each is closed at once.
        faults: what scripts threw and did not catch.
        requests: addresses that were asked for.

    Args:
        folder: empty; the browser's own files.
    """

    def __init__(self, folder: Path) -> None:
        websocket = pytest.importorskip("websocket", reason="needs websocket-client")
        program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
        if program is None:
            pytest.skip("needs Chromium: install it, or set CHROMIUM to it")
        self.dialogs: list[str] = []
        self.faults: list[str] = []
        self.requests: list[str] = []
        self._numbers = itertools.count(1)
        self._process = subprocess.Popen(
            [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--remote-debugging-port=0", f"--user-data-dir={folder}",
             "--disable-ipc-flooding-protection",  # else it drops changes of the address beyond 200 in ten seconds
             "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        address = self._address(folder / "DevToolsActivePort")
        self._socket = websocket.create_connection(address, timeout=LONG, suppress_origin=True)
        for domain in ("Page", "Runtime", "Network"):
            self.send(f"{domain}.enable")
        self.send("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        calm = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.send("Emulation.setEmulatedMedia", features=[calm])  # what moves is hard to hit
        self.resize(1280, 900)

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(timeout=LONG)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command; return its answer, and take note of what happened meanwhile."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            told = json.loads(self._socket.recv())
            if told.get("id") == number:
                assert "error" not in told, f"{method}: {told['error']}"
                return told["result"]
            self._note(told)

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        told = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, f"{script}: {told['exceptionDetails']}"
        return told["result"].get("value")

    def open(self, address: str) -> None:
        """Load a page anew, also where only the part behind # differs."""
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def wait(self, condition: str, seconds: float = LONG) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(f"Boolean({condition})"):
            shown = self.run("document.querySelector('#faults')?.textContent ?? ''")
            assert time.monotonic() < end, f"waited {seconds:g} s for {condition}; the page says {shown!r}"
            time.sleep(0.03)

    def click(self, selector: str) -> None:
        """Click with the mouse in the middle of an element, which must not lie below another."""
        name, end = json.dumps(selector), time.monotonic() + LONG
        self.run(f"document.querySelector({name}).scrollIntoView({{block: 'center', behavior: 'instant'}})")
        while True:
            x, y, hit = self.run(
                f"(() => {{ const one = document.querySelector({name}), box = one.getBoundingClientRect(),"
                "x = box.left + box.width / 2, y = box.top + box.height / 2;"
                "return [x, y, one.contains(document.elementFromPoint(x, y))]; })()"
            )
            if hit:
                break
            assert time.monotonic() < end, f"{selector} lies below something else, or outside of the window"
            time.sleep(0.03)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, selector: str, text: str) -> None:
        """Write a text into a field, in place of what it holds."""
        self.run(f"(() => {{ const field = document.querySelector({json.dumps(selector)}); field.focus();"
                 "field.select?.(); })()")  # fmt: skip
        self.send("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press a key where the focus is."""
        codes = {"Enter": 13, "Escape": 27, "ArrowDown": 40, "ArrowRight": 39, "Tab": 9, "End": 35}
        more = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key], **more)

    def texts(self, selector: str) -> list[str]:
        """Return the text of each such element."""
        return self.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.textContent)")

    def resize(self, width: int, height: int) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def _note(self, told: dict[str, Any]) -> None:
        method, what = told.get("method"), told.get("params", {})
        if method == "Page.javascriptDialogOpening":
            self.dialogs.append(what["message"])
            close = {"id": next(self._numbers), "method": "Page.handleJavaScriptDialog", "params": {"accept": True}}
            self._socket.send(json.dumps(close))
        elif method == "Runtime.exceptionThrown":
            details = what["exceptionDetails"]
            self.faults.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(what["request"]["url"])

    def _address(self, file: Path) -> str:
        end = time.monotonic() + LONG
        while not (file.is_file() and file.read_text().count("\n")):
            assert self._process.poll() is None, "Chromium ended"
            assert time.monotonic() < end, "Chromium does not start"
            time.sleep(0.05)
        port = file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            return next(one["webSocketDebuggerUrl"] for one in json.load(answer) if one["type"] == "page")
