"""A fresh service for a browser to look at: its own folder, port and keys."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import wave
from typing import Any

ROLES = ("app", "generator", "reviewer", "auditor")


class Refused(AssertionError):
    """The API said no."""


class Service:
    """`cameo serve` on a free port, with a key for each role. Gone when the block ends."""

    def __init__(self, program: str, root: pathlib.Path, **settings: str):
        self.program = program
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="cameo-pages-"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        runtime = os.environ.get("CAMEO_ORT_LIB") or root / "onnx/runtime/libonnxruntime.so"
        self._env = os.environ | {
            "CAMEO_SERVER__LISTEN": f"127.0.0.1:{port}",
            "CAMEO_SERVER__PUBLIC_URL": self.url,
            "CAMEO_DATABASE__URL": f"sqlite:{self.dir}/cameo.db",
            "CAMEO_SECRETS__MASTER_KEY_FILE": f"{self.dir}/master.key",
            "CAMEO_CAPTURE__DIR": f"{self.dir}/captures",
            "CAMEO_MODELS__DIR": str(root / "onnx/installed"),
            "CAMEO_MODELS__RUNTIME": str(runtime),
            "CAMEO_VERIFICATION__WORKERS": "1",
        } | settings
        self._log = open(self.dir / "log", "wb")
        self._process = subprocess.Popen([program, "serve"], env=self._env, stdout=self._log, stderr=self._log, cwd=self.dir)
        try:
            self._await()
            self.keys = {role: self._key(role) for role in ROLES}
            self.keys["reviewer2"] = self._key("reviewer", "second reviewer")
            # What tokens are sealed to: the example key of the API's description.
            self.call("POST", "/v1/generator/keys", {"public_key": "QxDul9iMwfCIpVdsd6sM9cOseX8_lROcbIS1QpxZZio"}, role="generator")
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(25)
        self._process.kill()
        self._log.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self) -> str:
        return (self.dir / "log").read_text(errors="replace")

    def _await(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise AssertionError(f"the service ended: {self.log()[-800:]}")
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.url}/healthz", timeout=2).close()
                return
            time.sleep(0.2)
        raise AssertionError("the service does not answer")

    def _key(self, role: str, name: str = "") -> str:
        command = [self.program, "keys", "create", "--role", role, "--name", name or f"test {role}"]
        return subprocess.run(command, env=self._env, cwd=self.dir, check=True, capture_output=True, text=True).stdout.strip()

    def call(self, method: str, path: str, body: Any = None, role: str = "app") -> Any:
        """One call of the API."""
        headers = {"Authorization": f"Bearer {self.keys[role]}", "Idempotency-Key": secrets.token_hex(16)}
        if body is not None:
            headers["Content-Type"] = "application/json"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as e:
            raise Refused(f"{method} {path}: {e.code} {e.read().decode()}") from e

    def open(self, subject: str, locale: str = "en") -> Any:
        """A new verification."""
        return self.call("POST", "/v1/verifications", {"subject": subject, "locale": locale, "consent_text_version": "test-1"})

    def link(self, **what: str) -> str:
        """A link to a page."""
        return self.call("POST", "/v1/links", what)["url"]

    def settled(self, verification: str) -> Any:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            now = self.call("GET", f"/v1/verifications/{verification}")
            if now["state"] not in ("pending", "processing"):
                return now
            time.sleep(0.3)
        raise AssertionError("no verdict came")

    def draw(self, challenge: Any, lead_s: float, tail_s: float) -> tuple[pathlib.Path, pathlib.Path, float]:
        """A drawn head that answers a challenge, as files for the browser's camera and microphone, and
        how many seconds they go on. It looks into the camera for so long before and after: a second of that is drawn, and played to
        and fro, which is far quicker than drawing it all."""
        digits, motions = "".join(challenge["groups"]), ",".join(challenge["motions"])
        out = self.dir / f"head-{digits}.webm"
        command = [self.program, "draw", "--digits", digits, "--motions", motions, "--out", str(out)]
        command += ["--lead-in", "1200", "--tail", "1200", "--fps", str(FPS), "--size", "480x360"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        ffmpeg = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", str(out)]
        # Not MJPEG, which Chromium plays at 30 frames a second, whatever was meant.
        picture = ["-an", "-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "-"]
        sound = ["-vn", "-ac", "1", "-ar", str(RATE), "-f", "s16le", "-"]
        head, _, frames = subprocess.run([*ffmpeg, *picture], check=True, capture_output=True).stdout.partition(b"\n")
        size = len(b"FRAME\n") + 480 * 360 * 3 // 2
        frames = [frames[i : i + size] for i in range(0, len(frames), size)]
        samples = subprocess.run([*ffmpeg, *sound], check=True, capture_output=True).stdout
        samples = [samples[i : i + 2] for i in range(0, len(samples) - 1, 2)]
        video, wav = out.with_suffix(".y4m"), out.with_suffix(".wav")
        frames = padded(frames, FPS, lead_s, tail_s)
        video.write_bytes(head + b"\n" + b"".join(frames))
        with wave.open(str(wav), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(b"".join(padded(samples, RATE, lead_s, tail_s)))
        return video, wav, len(frames) / FPS


# Frames and samples a second.
FPS, RATE = 15, 48_000


def padded(items: list[bytes], rate: int, lead_s: float, tail_s: float) -> list[bytes]:
    """Longer at both ends, by playing the first and the last second to and fro."""

    def to_and_fro(part: list[bytes], count: int) -> list[bytes]:
        both = part + part[::-1]
        return (both * (count // len(both) + 1))[:count]

    before = to_and_fro(items[:rate], int(lead_s * rate))[::-1]
    return before + items + to_and_fro(items[-rate:][::-1], int(tail_s * rate))
