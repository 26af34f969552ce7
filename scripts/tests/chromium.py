"""Chromium without a screen: pages are opened, looked at, and clicked."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import re
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from typing import Any

from websockets.sync.client import ClientConnection, connect

SECONDS = 60


class Page:
    """A page, by the door through which programs steer it (the Chrome DevTools Protocol)."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._calls = 0

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=SECONDS))
            if answer.get("id") == self._calls:
                assert "error" not in answer, answer
                return answer["result"]  # type: ignore[no-any-return]

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; what has none raises."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """What stands in an element."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''"))

    def waits_for(self, pattern: str, selector: str = "body", seconds: float = SECONDS) -> str:
        """The text of an element, as soon as the pattern is found in it."""
        deadline = time.monotonic() + seconds
        while True:
            text = self.text(selector)
            if re.search(pattern, text):
                return text
            assert time.monotonic() < deadline, f"no {pattern!r} in {selector}, which says: {text}"
            time.sleep(0.02)

    def resize(self, width: int, height: int, scheme: str = "dark") -> None:
        """How large the window is, CSS pixels, and whether its user likes it `dark` or `light`."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def move(self, x: float, y: float) -> None:
        """Moves the mouse, CSS pixels from the upper left corner."""
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screenshot(self, path: pathlib.Path) -> None:
        """What is to be seen, as a PNG."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        self._socket.close()


class Browser:
    """The program, with a profile of its own."""

    def __init__(self, profile: pathlib.Path) -> None:
        program = shutil.which("chromium")
        assert program is not None, "chromium is missing (Debian: apt-get install chromium)"
        self._process = subprocess.Popen(
            [
                program,
                "--headless",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-dev-shm-usage",
                # Root may not have its sandbox.
                *(["--no-sandbox"] if os.geteuid() == 0 else []),
                "--remote-debugging-port=0",
                "--window-size=900,700",
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HOME": str(profile)},
        )
        assert self._process.stderr is not None
        said: list[str] = []
        self._port = 0
        for line in self._process.stderr:
            said.append(line)
            if found := re.search(r"DevTools listening on ws://127\.0\.0\.1:(\d+)/", line):
                self._port = int(found[1])
                break
        assert self._port, "".join(said)
        # It goes on complaining, and must not wait for a reader.
        self._reader = threading.Thread(target=self._process.stderr.read, daemon=True)
        self._reader.start()
        self._pages: list[Page] = []

    def open(self, url: str) -> Page:
        """A new page."""
        door = f"http://127.0.0.1:{self._port}/json/new?{urllib.parse.quote(url, safe='')}"
        with urllib.request.urlopen(urllib.request.Request(door, method="PUT"), timeout=SECONDS) as answer:
            socket = json.load(answer)["webSocketDebuggerUrl"]
        page = Page(connect(socket, max_size=None))
        self._pages.append(page)
        return page

    def close(self) -> None:
        for page in self._pages:
            page.close()
        self._process.terminate()
        try:
            self._process.wait(SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            assert self._process.stderr is not None
            self._process.stderr.close()
