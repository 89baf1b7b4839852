"""Drive a headless Chromium through its debugging pipe."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
    "--window-size=1300,800",
)


def chromium() -> str | None:
    """Return the path of a Chromium, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page; console errors and requested addresses are recorded."""

    def __init__(self, profile: Path) -> None:
        program = chromium()
        assert program, "there is no Chromium; `make test-browser` installs it"
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        self._buffer = b""
        self._number = 0
        self._session = ""
        self.errors: list[str] = []
        self.addresses: list[str] = []

        def connect() -> None:
            # Duplicate to other numbers first if 3 or 4 is in use.
            reading, writing = os.dup(to_browser), os.dup(from_browser)
            while reading in {3, 4} or writing in {3, 4}:
                reading, writing = os.dup(reading), os.dup(writing)
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=connect,
        )
        os.close(to_browser)
        os.close(from_browser)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """Terminate the browser."""
        self._process.terminate()
        self._process.wait(timeout=20)
        os.close(self._out)
        os.close(self._in)

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Call a protocol command and return its result."""
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result

    def _receive(self, timeout: float = 60) -> dict[str, Any]:
        until = time.monotonic() + timeout
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            part = os.read(self._in, 1 << 16)
            assert part, "the browser has ended"
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._remember(message)
        return message

    def _remember(self, message: dict[str, Any]) -> None:
        about = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(about["exceptionDetails"]))
            case "Log.entryAdded" if about["entry"]["level"] in {"error", "warning"}:
                self.errors.append(about["entry"]["text"])
            case "Runtime.consoleAPICalled" if about["type"] in {"error", "warning", "assert"}:
                self.errors.append(json.dumps(about["args"]))
            case "Network.requestWillBeSent":
                self.addresses.append(about["request"]["url"])

    def open(self, path: Path) -> None:
        """Open a file and wait until the page is ready."""
        self.errors.clear()
        self.addresses.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.documentElement?.dataset.ready === 'yes'")

    def wait(self, condition: str, timeout: float = 20) -> None:
        """Wait until a condition is true."""
        until = time.monotonic() + timeout
        while self.js(condition) is not True:
            assert time.monotonic() < until, condition
            time.sleep(0.05)

    def js(self, expression: str) -> Any:
        """Evaluate an expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def middle(self, selector: str) -> tuple[float, float]:
        """Return the center of the first element that matches a selector."""
        box = self.js(
            "((e) => { const r = e?.getBoundingClientRect();"
            " return r && [r.left + r.width / 2, r.top + r.height / 2]; })"
            f"(document.querySelector({json.dumps(selector)}))"
        )
        assert box, f"nothing matches {selector}"
        return box[0], box[1]

    def mouse(self, kind: str, x: float, y: float, **options: object) -> None:
        """Send a mouse event."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **options)

    def hover(self, selector: str) -> None:
        """Move the pointer onto an element."""
        self.mouse("mouseMoved", *self.middle(selector))

    def click(self, selector: str) -> None:
        """Press and release the button on an element."""
        x, y = self.middle(selector)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=1)

    def key(self, key: str, code: int = 0) -> None:
        """Press and release a key."""
        text = key if len(key) == 1 else {"Enter": "\r"}.get(key, "")
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                text=text if kind == "keyDown" else "",
                windowsVirtualKeyCode=code or (ord(key.upper()) if len(key) == 1 else 0),
            )

    def picture(self, path: Path) -> None:
        """Take a screenshot."""
        import base64

        data = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))
