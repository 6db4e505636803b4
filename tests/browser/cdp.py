"""A headless Chromium, driven over the DevTools protocol through a pipe: standard library alone.

    with Browser("/usr/bin/chromium") as browser:
        page = browser.page(width=390, height=844)
        page.go("http://127.0.0.1:8600/")
        page.wait("document.querySelector('h1')")
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


class Failure(AssertionError):
    """What the browser did is not what the test expects."""


def program() -> str | None:
    """The browser to drive: `CAMEO_BROWSER`, or one on the path."""
    named = os.environ.get("CAMEO_BROWSER")
    return named or next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """A browser process with a profile of its own, which goes when the process goes."""

    def __init__(self, path: str, camera: Sequence[pathlib.Path] = (), grant: bool = True):
        self._profile = tempfile.mkdtemp(prefix="cameo-browser-")
        command = [
            path, "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={self._profile}",
            "--no-first-run", "--no-default-browser-check", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--disable-extensions", "--mute-audio",
            "--disable-gpu", "--hide-scrollbars", "--autoplay-policy=no-user-gesture-required",
            "--disable-dev-shm-usage", "--disable-renderer-backgrounding",
            "--disable-backgrounding-occluded-windows", "--disable-background-timer-throttling",
            "--lang=en-US", "--no-proxy-server",
        ]
        if os.geteuid() == 0:
            command.append("--no-sandbox")
        command.append("--use-fake-device-for-media-stream")
        if grant:
            command.append("--use-fake-ui-for-media-stream")
        if camera:
            video, sound = camera
            command += [f"--use-file-for-fake-video-capture={video}", f"--use-file-for-fake-audio-capture={sound}"]
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()

        def wire() -> None:
            # The protocol's fixed places: the browser reads 3 and writes 4.
            first, second = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(first, 3)
            os.dup2(second, 4)

        self._log = open(os.path.join(self._profile, "log"), "wb")
        self._process = subprocess.Popen(
            [*command, "about:blank"], stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            close_fds=False, preexec_fn=wire, start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out = ours_in, ours_out
        self._buffer = b""
        self._next = 0
        self.events: list[dict[str, Any]] = []
        self.send("Target.setDiscoverTargets", {"discover": True})

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._log.close()
        os.close(self._in)
        os.close(self._out)
        shutil.rmtree(self._profile, ignore_errors=True)

    def send(self, method: str, params: dict[str, Any] | None = None, session: str | None = None, within: float = 60) -> Any:
        """One command and its result; events that come meanwhile are kept in `events`."""
        self._next += 1
        message: dict[str, Any] = {"id": self._next, "method": method, "params": params or {}}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        number, deadline = self._next, time.monotonic() + within
        while time.monotonic() < deadline:
            for answer in self._read(0.2):
                if answer.get("id") == number:
                    if "error" in answer:
                        raise Failure(f"{method}: {answer['error'].get('message')}")
                    return answer["result"]
                if "method" in answer:
                    self.events.append(answer)
        raise Failure(f"{method}: no answer in {within} s")

    def pump(self, seconds: float = 0.05) -> None:
        """Takes in what the browser has to say."""
        self.events += [m for m in self._read(seconds) if "method" in m]

    def _read(self, seconds: float) -> list[dict[str, Any]]:
        ready, _, _ = select.select([self._in], [], [], seconds)
        if ready:
            piece = os.read(self._in, 1 << 20)
            if not piece:
                raise Failure(f"the browser ended: {self._last_words()}")
            self._buffer += piece
        *whole, self._buffer = self._buffer.split(b"\0")
        return [json.loads(m) for m in whole if m]

    def _last_words(self) -> str:
        text = pathlib.Path(self._log.name).read_text(errors="replace")
        return text[-500:]

    def page(self, **shape: Any) -> Page:
        """A new tab in a profile of its own: no cookie of another tab."""
        context = self.send("Target.createBrowserContext")["browserContextId"]
        target = self.send("Target.createTarget", {"url": "about:blank", "browserContextId": context})["targetId"]
        session = self.send("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        return Page(self, session, context, **shape)


class Page:
    """A tab."""

    def __init__(self, browser: Browser, session: str, context: str, width: int = 1280, height: int = 900, dark: bool = False, still: bool = True):
        self._browser, self._session, self._context = browser, session, context
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._send(f"{domain}.enable")
        self.size = (width, height)
        self.shape(width, height, dark, still)

    def _send(self, method: str, params: dict[str, Any] | None = None, within: float = 60) -> Any:
        return self._browser.send(method, params, self._session, within)

    def shape(self, width: int, height: int, dark: bool = False, still: bool = True) -> None:
        """The window's size in CSS pixels, and what the person prefers."""
        phone = width < 600
        self._send("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone})
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        features.append({"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"})
        self._send("Emulation.setEmulatedMedia", {"features": features})

    def grant(self, *permissions: str) -> None:
        self._browser.send("Browser.grantPermissions", {"browserContextId": self._context, "permissions": list(permissions)})

    def offline(self, is_offline: bool, upload: int = -1) -> None:
        """Cuts the connection, or lets it send so many bytes a second."""
        self._send("Network.emulateNetworkConditions", {"offline": is_offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": upload})

    def forget_cookies(self) -> None:
        """As when a session's time is over."""
        self._send("Network.clearBrowserCookies")

    def at_start(self, script: str) -> None:
        """Runs a script in every document before its own."""
        self._send("Page.addScriptToEvaluateOnNewDocument", {"source": script})

    def go(self, url: str) -> None:
        self._send("Page.navigate", {"url": url})
        self.wait("document.readyState === 'complete'")

    def run(self, script: str, within: float = 60) -> Any:
        """What an expression comes to; a promise is awaited."""
        result = self._send("Runtime.evaluate", {"expression": script, "awaitPromise": True, "returnByValue": True, "userGesture": True}, within)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise Failure(f"{script[:120]}: {details.get('exception', {}).get('description', details['text'])}")
        return result["result"].get("value")

    def wait(self, script: str, within: float = 30) -> Any:
        """Waits until an expression is true."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            with contextlib.suppress(Failure):
                if found := self.run(f"((v) => v instanceof Node || v)({script})"):
                    return found
            self._browser.pump(0.1)
        text = self.run("document.body?.innerText ?? ''")
        raise Failure(f"waited {within} s for {script}; the page says: {text[:600]!r}")

    def see(self, text: str, within: float = 30) -> None:
        self.wait(f"document.body.innerText.includes({json.dumps(text)})", within)

    def press(self, selector: str) -> None:
        """Clicks where a person would."""
        where = self.wait(f"(() => {{ const e = document.querySelector({json.dumps(selector)}); if (!e || e.disabled) return null; e.scrollIntoView({{block: 'center'}}); const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()")
        for kind in ("mousePressed", "mouseReleased"):
            self._send("Input.dispatchMouseEvent", {"type": kind, "x": where[0], "y": where[1], "button": "left", "clickCount": 1})

    def type(self, selector: str, text: str) -> None:
        self.wait(f"document.querySelector({json.dumps(selector)})")
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self._send("Input.insertText", {"text": text})

    def key(self, name: str, code: int, shift: bool = False) -> None:
        base = {"key": name, "code": name, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        text = {"Enter": "\r", " ": " "}.get(name)
        self._send("Input.dispatchKeyEvent", {"type": "keyDown", **base, **({"text": text} if text else {})})
        self._send("Input.dispatchKeyEvent", {"type": "keyUp", **base})

    def picture(self, path: pathlib.Path, whole: bool = True) -> None:
        """A screenshot, of the whole page or of what is in view."""
        size = self._send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 6000), "scale": 1}
        options = {"format": "png", **({"captureBeyondViewport": True, "clip": clip} if whole else {})}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self._send("Page.captureScreenshot", options)["data"]))

    def complaints(self) -> list[str]:
        """What the browser logged as an error: scripts that failed, what the policy refused."""
        self._browser.pump(0.2)
        found = []
        for event in self._browser.events:
            if event.get("sessionId") != self._session:
                continue
            params = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                found.append(details.get("exception", {}).get("description", details["text"]))
            if event["method"] == "Log.entryAdded" and params["entry"]["level"] == "error" and params["entry"]["source"] != "network":
                found.append(params["entry"]["text"])
        return found

    def requests(self) -> list[str]:
        """Every address that was asked for."""
        self._browser.pump(0.2)
        ours = (e for e in self._browser.events if e.get("sessionId") == self._session and e["method"] == "Network.requestWillBeSent")
        return [e["params"]["request"]["url"] for e in ours]

    def close(self) -> None:
        self._browser.send("Target.disposeBrowserContext", {"browserContextId": self._context})
