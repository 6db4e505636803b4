"""The pages in a real browser, over a fresh service: what people do, and what goes wrong.

    python3 tests/browser/pages.py --program target/debug/cameo [--pictures DIR] [--only NAME]

The camera shows a computer-drawn head that answers the challenge. Every page that is looked at is
checked with axe-core too, where `scripts/setup.sh` has installed it (or CAMEO_AXE names `axe.min.js`).
"""

from __future__ import annotations

import argparse
import base64
import http.server
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from cdp import Browser, Failure, Page, program
from service import Refused, Service

ROOT = pathlib.Path(__file__).resolve().parents[2]
AXE = pathlib.Path(os.environ.get("CAMEO_AXE") or ROOT / ".cache/axe/node_modules/axe-core/axe.min.js")
# How long the drawn head looks into the camera before and after, and when to press on "start" for that:
# a countdown of three seconds comes first.
LEAD_S, TAIL_S, PRESS_AFTER_S = 12.0, 14.0, 8.0
# What a recording shows of a machine that can't keep up: the browser plays picture and sound from two files.
BUSY = {"few_frames", "sound_shifted"}

# Every text twice as long, as another language's may be.
LONGER = """
const fetched = window.fetch;
const twice = (v) => typeof v === "string" ? v + " " + v.replace(/\\{\\w+\\}/g, "…") : Object.fromEntries(Object.entries(v).map(([k, w]) => [k, twice(w)]));
window.fetch = async (...args) => {
  const answer = await fetched(...args);
  return String(args[0]).includes("/lang/") ? new Response(JSON.stringify(twice(await answer.json()))) : answer;
};
"""


class Look:
    """Looking at pages: pictures, accessibility, and that nothing leaks or breaks."""

    def __init__(self, service: Service, pictures: pathlib.Path | None):
        self.service, self.pictures = service, pictures
        self.axe = AXE.read_text() if AXE.exists() else None
        if not self.axe:
            print(f"SKIPPED: the accessibility rules (no {AXE})")

    def at(self, page: Page, name: str, shapes: bool = True) -> None:
        """Looks at the page as it is now, in several shapes where it waits for that."""
        self._sound(page, name)
        if self.axe:
            self._rules(page, name)
        for width, height, tag in [(390, 844, "phone"), (1280, 900, "desktop")] if shapes else []:
            for dark in (False, True):
                page.shape(width, height, dark)
                self._picture(page, f"{name}-{tag}{'-dark' if dark else ''}")
            page.run("document.documentElement.dir = 'rtl'")
            self._fits(page, f"{name} right to left")
            if tag == "phone":
                self._picture(page, f"{name}-rtl")
            page.run("document.documentElement.dir = 'ltr'")
            self._fits(page, f"{name} {tag}")
        if shapes:
            page.shape(*page.size)
            # The window takes its size in its own time: whoever clicks now would miss.
            page.wait(f"innerWidth === {page.size[0]}")
            time.sleep(0.3)

    def snap(self, page: Page, name: str) -> None:
        """What is in view now."""
        if self.pictures:
            page.picture(self.pictures / f"{name}.png", whole=False)

    def _picture(self, page: Page, name: str) -> None:
        if self.pictures:
            time.sleep(0.3)
            page.picture(self.pictures / f"{name}.png")

    def _fits(self, page: Page, name: str) -> None:
        over = page.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if over > 0:
            wide = page.run("[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 || e.getBoundingClientRect().left < -1).slice(0, 5).map(e => e.tagName + '.' + e.className)")
            raise Failure(f"{name}: {over} px too wide: {wide}")

    def _rules(self, page: Page, name: str) -> None:
        page.run(f"void (window.axe ?? (() => {{ {self.axe}; }})())")
        found = page.run("axe.run(document, {resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}).then(r => r.violations.map(v => `${v.id}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 150) + ' — ' + (n.any[0] ?? n.all[0] ?? n.none[0])?.message).join(' | ')}`))")
        if found:
            raise Failure(f"{name}: " + "\n".join(found))

    def _sound(self, page: Page, name: str) -> None:
        wrong = page.complaints()
        if wrong:
            raise Failure(f"{name}: {wrong}")
        raw = page.run("(document.body.innerText.match(/\\[object \\w+\\]|\\bundefined\\b|\\bNaN\\b|\\b(common|enroll|me|review|audit|check|reason)\\.[a-z]\\w+\\.[a-z]\\w+/) ?? [])[0]")
        if raw:
            raise Failure(f"{name} says {raw}")
        own = self.service.url + "/"
        foreign = [u for u in page.requests() if not u.startswith((own, "blob:", "data:", "about:"))]
        if foreign:
            raise Failure(f"{name} asked elsewhere: {foreign}")
        kept = page.run("({url: location.href, local: localStorage.length, session: sessionStorage.length, cookie: document.cookie})")
        if "cameo_" in kept["url"] or kept["local"] or kept["session"] or kept["cookie"]:
            raise Failure(f"{name} keeps what it must not: {kept}")


def story(browser: str, service: Service, look: Look) -> None:
    """From the consent text to the verified log; the upload is cut on the way."""
    for attempt in range(3):
        verification = enrol(browser, service, look, f"person-1-{attempt}")
        if verification:
            break
        print("the machine was too busy to record pictures enough: once more", flush=True)
    else:
        print("SKIPPED: the story (this machine is too busy to record)")
        return
    with Browser(browser) as b:
        cameo = review(b, service, look, verification)
        me(b, service, look, f"person-1-{attempt}", cameo)
        audit(b, service, look, cameo)
        farewell(b, service, look, f"person-1-{attempt}", cameo)
        quiet(b, service, look)


def enrol(browser: str, service: Service, look: Look, subject: str) -> str | None:
    """Records the drawn head: the verification, or `None` where the machine was too slow for that."""
    opened = service.open(subject)
    *camera, loop_s = service.draw(opened["challenge"], LEAD_S, TAIL_S)
    with Browser(browser, camera) as b:
        page = b.page(width=390, height=844)
        page.go(service.link(page="enroll", verification=opened["id"]))
        page.see("Show that it’s really you")
        look.at(page, "enroll-consent")
        # By keyboard alone: to the box, tick it, to the button, press it.
        page.run("document.querySelector('#agree').focus()")
        page.key(" ", 32)
        page.key("Tab", 9)
        focused = page.run("document.activeElement.tagName")
        if focused != "BUTTON":
            raise Failure(f"after the box comes {focused}")
        page.key("Enter", 13)
        page.wait("document.documentElement.dataset.camera === 'on'")
        started = time.monotonic()
        page.see("Fill the oval", within=20)
        look.at(page, "enroll-camera", shapes=False)
        look.snap(page, "enroll-camera-phone")
        # The camera plays its file again and again: wait for the next time.
        time.sleep((PRESS_AFTER_S - (time.monotonic() - started)) % loop_s)
        page.press("#record")
        for cue in ("group", "turn"):
            page.wait(f"document.documentElement.dataset.cue === '{cue}'")
            look.snap(page, f"enroll-record-{cue}-phone")
        page.wait("document.documentElement.dataset.cue === 'done'")
        page.offline(True)
        page.wait("document.documentElement.dataset.upload === 'waiting'")
        page.see("The connection was lost")
        look.at(page, "enroll-lost")
        page.offline(False)
        page.run("void dispatchEvent(new Event('online'))")
        verdict = service.settled(opened["id"])["verdict"]
        reasons = [r["code"] for c in verdict["checks"] for r in c["reasons"]]
        if BUSY & set(reasons):
            return None
        if verdict["decision"] != "review":
            raise Failure(f"the drawn head did not pass: {json.dumps(verdict, indent=1)}")
        page.see("Somebody will have a look")
        look.at(page, "enroll-review")
    return opened["id"]


def review(b: Browser, service: Service, look: Look, verification: str) -> str:
    page = b.page()
    page.go(service.url + "/review")
    page.see("Your reviewer’s key")
    look.at(page, "review-signin")
    page.type("#key", service.keys["auditor"])
    page.key("Enter", 13)
    page.see("This key has another role")
    page.type("#key", service.keys["reviewer"])
    page.key("Enter", 13)
    page.see("Left open")
    look.at(page, "review-queue")
    page.press("main table button")
    page.see("Checks")
    page.press("#show-evidence")
    page.wait("document.querySelector('svg.lanes')")
    look.at(page, "review-case")
    pictures(page, service, look)
    longer(b, service, look, "review")
    page.press("#approve")
    if not page.run("document.querySelector('#reason').matches(':invalid')"):
        raise Failure("a case can be decided without a reason")
    two = page.run("!!document.querySelector('#takes-two')")
    page.type("#reason", "The measured values fit one live person.")
    page.press("#approve")
    page.press("dialog .main")
    if two:
        page.see("a second reviewer has to approve it too")
        look.at(page, "review-first-approval", shapes=False)
        approval = {"decision": "approve", "reason": "I have looked at it, too."}
        service.call("POST", f"/v1/reviews/{verification}/decision", approval, role="reviewer2")
        page.go(service.url + "/review")
    else:
        page.see("Approved.")
    page.see("Nothing waits")
    page.go(service.url + "/review")
    page.see("Nothing waits")  # the session outlives a reload
    page.press("#who button")
    page.see("Your reviewer’s key")
    page.close()
    return service.settled(verification)["cameo_id"]


def pictures(page: Page, service: Service, look: Look) -> None:
    """Covered until asked for, one entry for each look, by keyboard; gone from the page when covered again."""
    def looks() -> int:
        entries = service.call("GET", "/v1/audit/entries?limit=1000&kind=review", role="auditor")["entries"]
        return sum(b"frame" in base64.b64decode(e["entry"]) for e in entries)

    def fetched() -> int:
        return sum("/frames/" in url for url in page.requests())

    count = page.run("document.querySelectorAll('.frame').length")
    if not 1 <= count <= 4 or page.run("document.querySelectorAll('.frame canvas').length"):
        raise Failure(f"{count} pictures, or one that nobody asked for")
    if looks() or fetched():
        raise Failure("a picture came unasked")
    page.run("document.querySelector('.frame button').focus()")
    page.key("Enter", 13)
    page.wait("document.querySelector('.frame canvas')")
    shown = page.run("(() => { const c = document.querySelector('.frame canvas'); const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; return {side: Math.max(c.width, c.height), alt: c.getAttribute('aria-label'), tones: new Set(d).size, focus: document.activeElement.closest('.frame') === c.parentElement}; })()")
    if shown["side"] > 320 or shown["tones"] < 50 or not shown["alt"] or not shown["focus"]:
        raise Failure(f"no picture to look at: {shown}")
    if (looks(), fetched()) != (1, 1):
        raise Failure(f"one look, but {looks()} entries and {fetched()} pictures fetched")
    for n in range(2, count + 1):
        page.press(f".frames li:nth-child({n}) button")
        page.wait(f"document.querySelectorAll('.frame canvas').length === {n}")
    look.at(page, "review-pictures")
    page.run("document.querySelector('.frame canvas + button').focus()")
    page.key("Enter", 13)
    page.wait(f"document.querySelectorAll('.frame canvas').length === {count - 1}")
    page.key("Enter", 13)  # the focus is on what uncovers it again
    page.wait(f"document.querySelectorAll('.frame canvas').length === {count}")
    if looks() != count + 1:
        raise Failure(f"{count + 1} looks, but {looks()} entries")


def longer(b: Browser, service: Service, look: Look, name: str) -> None:
    """A page for those with a key, in the other language and every text twice as long."""
    page = b.page(width=390, height=844)
    page.at_start(LONGER)
    page.go(f"{service.url}/{name}?lang=de")
    page.type("#key", service.keys["reviewer" if name == "review" else "auditor"])
    page.key("Enter", 13)
    page.wait("document.querySelector('#who button')")
    look.at(page, f"{name}-long-german")
    if name == "review":
        page.press("main table button")
        page.press("#show-evidence")
        page.wait("document.querySelector('svg.lanes')")
        look.at(page, "review-case-long-german")
    page.close()


def me(b: Browser, service: Service, look: Look, subject: str, cameo: str) -> None:
    page = b.page()
    link = service.link(page="me", subject=subject)
    page.go(link)
    page.see("Nobody may use your cameo.")
    look.at(page, "me-nobody", shapes=False)
    page.press("input[value=everyone]")
    page.press("input[value=social]")
    page.press("input[name=voice]")
    page.press("input[name=look][value=stylised]")
    page.run("document.querySelector('.ends button').click()")
    page.press("#save")
    page.see("Saved. It counts from now on.")
    page.see("Everyone may use your cameo")
    page.see("You may only look drawn, painted or animated.")
    page.see("This holds until")
    use = {"cameo_id": cameo, "requester": "user-7", "purpose": "social", "style": "stylised"}
    service.call("POST", "/v1/resolve", use, role="generator")
    refused(lambda: service.call("POST", "/v1/resolve", {**use, "style": "photoreal"}, role="generator"), "style")
    refused(lambda: service.call("POST", "/v1/resolve", {**use, "purpose": "political"}, role="generator"), "purpose")
    # The use shows, and so does the refusal; the person has the video taken down.
    page.go(service.url + "/me")
    page.see("user-7: videos to share")
    page.see("user-7 was refused: politics")
    page.press(".take-down")
    page.press("dialog .danger")
    page.see("They were told to take it down.")
    page.see("Take-down asked for")
    [takedown] = service.call("GET", "/v1/takedowns", role="generator")
    service.call("PUT", f"/v1/takedowns/{takedown['id']}", {"state": "done"}, role="generator")
    # Somebody asks; the person says: once.
    wish = {"requester": "user-8", "message": "For our wedding film", "purposes": ["personal"]}
    service.call("POST", f"/v1/cameos/{cameo}/requests", wish)
    page.go(service.url + "/me")
    page.see("Taken down")
    page.see("For our wedding film")
    look.at(page, "me-asked")
    page.press(".answers .main")
    page.see("Allowed once, within 30 days.")
    page.press("#freeze-now")
    page.see("Your cameo is frozen")
    refused(lambda: service.call("POST", "/v1/resolve", use, role="generator"), "frozen")
    look.at(page, "me-frozen", shapes=False)
    page.press("#freeze-now")
    page.see("What you allowed holds again.")
    page.run("document.querySelector('form details summary').click()")
    page.type("#block", "rude-person")
    page.key("Enter", 13)
    page.press("#save")
    page.wait("document.querySelectorAll('.timeline li').length === 2")
    refused(lambda: service.call("POST", "/v1/resolve", {**use, "requester": "rude-person"}, role="generator"), "audience")
    look.at(page, "me-allowed")
    # The session's time is over: the page says so and what to do.
    late = b.page()
    late.go(service.link(page="me", subject=subject))
    late.see("Everyone may use your cameo")
    late.forget_cookies()
    late.press("#freeze-now")
    late.see("signed out")
    look.at(late, "me-signed-out", shapes=False)
    late.close()
    # Another device changes it meanwhile: nothing is overwritten unseen.
    now = {"audience": "only_me", "purposes": [], "text_version": "t"}
    service.call("PUT", f"/v1/cameos/{cameo}/consent", now)
    page.press("#save")
    page.see("changed on another device")
    page.press("#withdraw")
    page.press("dialog .danger")
    page.see("Withdrawn. Nobody may use your cameo.")
    refused(lambda: service.call("POST", "/v1/resolve", use, role="generator"), "withdrawn")
    other = b.page()
    other.go(link)
    other.see("This link is over")  # it worked once
    look.at(other, "me-over", shapes=False)
    stranger = b.page()
    stranger.go(service.link(page="me", subject="person-2"))
    stranger.see("You have no cameo yet")
    status = stranger.run(f"fetch('/v1/cameos/{cameo}', {{headers: {{'x-cameo-page': '1'}}}}).then(r => r.status)")
    if status != 404:
        raise Failure(f"somebody else's cameo answers {status}")
    if page.run("fetch('/v1/session').then(r => r.status)") != 401:
        raise Failure("a cookie counts without the page's header")
    german = b.page(width=390, height=844)
    german.at_start(LONGER)
    german.go(service.link(page="me", subject=subject).replace("/me#", "/me?lang=de#"))
    german.see("Mein Cameo Mein Cameo")
    look.at(german, "me-long-german")


def farewell(b: Browser, service: Service, look: Look, subject: str, cameo: str) -> None:
    """Deleting for good, with the word typed."""
    page = b.page()
    page.go(service.link(page="me", subject=subject))
    page.press("#delete-cameo")
    look.at(page, "me-delete", shapes=False)
    page.type("dialog input:not([type])", "delete")
    page.press("dialog .danger")
    page.see("Your cameo is deleted")
    use = {"cameo_id": cameo, "requester": "user-7", "purpose": "social"}
    try:
        service.call("POST", "/v1/resolve", use, role="generator")
    except Refused:
        return
    raise Failure("a deleted cameo was resolved")


def audit(b: Browser, service: Service, look: Look, cameo: str) -> None:
    page = b.page()
    page.go(service.url + "/audit")
    page.type("#key", service.keys["auditor"])
    page.key("Enter", 13)
    page.see("Verified in this browser")
    page.press("#verify-all")
    page.see("entries are what the signed head says")
    page.run("document.querySelector('.entries summary').click()")
    page.wait("[...document.querySelectorAll('.entries .detail button')].map(b => (b.click(), 1)).length")
    page.see("That is the root of the signed head.")
    look.at(page, "audit")
    longer(b, service, look, "audit")
    page.run("document.querySelector('#history summary').click()")
    page.wait("document.querySelectorAll('#history tbody tr').length >= 1")
    page.wait("[...document.querySelectorAll('#history .tag')].every(t => t.classList.contains('good'))")
    look.at(page, "audit-history")
    page.run("document.querySelectorAll('details').forEach(d => { d.open = true })")
    # An earlier checkpoint, then more entries: the log continues it. A forged one is refused.
    old = urllib.request.urlopen(service.url + "/v1/audit/checkpoint").read().decode()
    service.call("PUT", f"/v1/cameos/{cameo}/consent", {"audience": "everyone", "purposes": ["social"], "text_version": "t"})
    page.run(f"document.querySelector('#old').value = {json.dumps(old)}; [...document.querySelectorAll('button')].find(b => b.textContent.startsWith('Verify that nothing')).click()")
    page.see("continues your log")
    lines = old.split("\n")
    lines[1] = str(int(lines[1]) - 1)
    page.run(f"document.querySelector('#old').value = {json.dumps(chr(10).join(lines))}; [...document.querySelectorAll('button')].find(b => b.textContent.startsWith('Verify that nothing')).click()")
    page.see("not signed by the log’s key")
    # A service that lies about one byte is found out.
    liar = b.page()
    liar.at_start("""const f = window.fetch; window.fetch = async (u, o) => { const r = await f(u, o); if (!String(u).includes('/audit/entries')) return r; const page = await r.json(); const e = page.entries[0]; const raw = atob(e.entry); const at = raw.length - 1; e.entry = btoa(raw.slice(0, at) + String.fromCharCode(raw.charCodeAt(at) ^ 1)); return new Response(JSON.stringify(page)); };""")
    liar.go(service.url + "/audit")
    liar.type("#key", service.keys["auditor"])
    liar.key("Enter", 13)
    liar.press("#verify-all")
    liar.see("something was changed")


def quiet(b: Browser, service: Service, look: Look) -> None:
    """The pages that say and ask little."""
    page = b.page()
    for path, text, name in [("/", "Identity and consent", "front"), ("/docs", "Developers", "docs")]:
        page.go(service.url + path)
        page.see(text)
        look.at(page, name)
    page.go(service.url + "/docs/api#key_frame")
    page.see("/v1/reviews/{id}/frames/{n}")
    page.see("made before the picture is")  # the one that the address names is open
    look.at(page, "docs-api")
    page.type("#find", "takedown")
    page.wait("((all) => all.length < 10 && all.some(o => o.innerText.includes('/v1/takedowns')))([...document.querySelectorAll('.operation:not([hidden])')])")
    page.run("document.querySelectorAll('.operation:not([hidden])').forEach(o => { o.open = true })")
    page.wait("document.querySelectorAll('.operation .fields').length > 1")
    page.run("document.querySelectorAll('.operation details').forEach(d => { d.open = true })")
    look.at(page, "docs-api-open", shapes=False)


def refused(call, rule: str) -> None:
    try:
        call()
    except Refused as e:
        if f'"rule":"{rule}"' not in str(e):
            raise
        return
    raise Failure(f"nothing refused by {rule}")


def unhappy(browser: str, service: Service, look: Look) -> None:
    """No camera, no permission, no recorder, a bad recording, too many of them, a dead session."""
    with Browser(browser, grant=False) as b:
        opened = service.open("person-6")
        page = b.page(width=390, height=844)
        page.at_start(LONGER)
        page.at_start("navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError'));")
        page.go(service.link(page="enroll", verification=opened["id"]).replace("/enroll#", "/enroll?lang=de#"))
        page.wait("document.querySelector('#agree')")
        look.at(page, "enroll-consent-long-german")
        page.press("#agree")
        page.press("button.main")
        page.wait("!document.querySelector('#agree')")
        look.at(page, "enroll-refused-long-german")
        page.close()
        opened = service.open("person-3")
        page = b.page(width=390, height=844)
        page.at_start("navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', window.trouble ?? 'NotAllowedError'));")
        page.go(service.link(page="enroll", verification=opened["id"]))
        page.press("#agree")
        page.press("button.main")
        page.see("not allowed")
        look.at(page, "enroll-refused")
        for name, text in [("NotReadableError", "The camera is busy"), ("NotFoundError", "There is no"), ("TypeError", "does not open")]:
            page.run(f"window.trouble = {json.dumps(name)}")
            page.press("button.main")
            page.see(text)
        page.run("delete window.MediaRecorder")
        page.press("button.main")
        page.see("This browser can’t record")
        page.close()
        lost = b.page()
        lost.go(service.url + "/enroll#cameo_link_" + "0" * 64)
        lost.see("This link is over")
        if lost.run("location.hash"):
            raise Failure("the code stays in the address")
    with Browser(browser) as b:  # the browser's own test picture: no face in it
        opened = service.open("person-4", "de")
        page = b.page(width=390, height=844)
        page.go(service.link(page="enroll", verification=opened["id"]))
        page.see("Zeig, dass du es wirklich bist")
        page.press("#agree")
        page.press("button.main")
        page.wait("document.documentElement.dataset.camera === 'on'")
        page.press("#record")
        page.see("Diesmal nicht", within=150)
        look.at(page, "enroll-rejected-german")
        page.press("#again")
        page.see("Komm ins Bild")
        page.see("Vom letzten Mal")
        page.wait("document.documentElement.dataset.camera === 'on'")
        page.press("#record")
        page.see("Diesmal nicht", within=150)
        page.press("#again")
        page.see("Zu viele Versuche")
        look.at(page, "enroll-locked-german")


# The first upload loses its connection when some of it is on its way.
CUT = """
const { send } = XMLHttpRequest.prototype;
XMLHttpRequest.prototype.send = function (body) {
  this.upload.addEventListener("progress", (e) => { if (!window.wasCut && e.loaded > 20000) { window.wasCut = true; this.abort(); } });
  send.call(this, body);
};
"""


def once_more(browser: str, service: Service, look: Look) -> None:
    """Wrong digits, then the digits alone; the upload is cut in the middle and goes on."""
    for attempt in range(3):
        if digits_again(browser, service, look, f"person-6-{attempt}"):
            return
        print("the machine was too busy to record pictures enough: once more", flush=True)
    print("SKIPPED: one step once more (this machine is too busy to record)")


def digits_again(browser: str, service: Service, look: Look, subject: str) -> bool:
    opened = service.open(subject)
    asked = opened["challenge"]
    others = [str((int("".join(asked["groups"])) + 345_271) % 1_000_000).zfill(6)]
    *camera, loop_s = service.draw({**asked, "groups": others}, LEAD_S, TAIL_S)
    with Browser(browser, camera) as b:
        page = b.page(width=390, height=844)
        page.at_start(CUT)
        page.offline(False, upload=20_000)
        to_camera(page, service.link(page="enroll", verification=opened["id"]))
        time.sleep(PRESS_AFTER_S % loop_s)
        page.press("#record")
        page.wait("document.documentElement.dataset.cue === 'done'")
        page.wait("window.wasCut")
        page.offline(False)
        verdict = service.settled(opened["id"])
        if not page.run("Number(document.documentElement.dataset.resumed) > 0"):
            print("SKIPPED: an upload that goes on (the browser had sent it all before it was cut)", flush=True)
        reasons = [r["code"] for c in verdict["verdict"]["checks"] for r in c["reasons"]]
        if BUSY & set(reasons):
            return False
        if verdict["retry"] != "speech":
            raise Failure(f"not the digits alone: {json.dumps(verdict, indent=1)}")
        page.see("Only the digits once more")
        look.at(page, "enroll-only-digits")
        page.press("#again")
        page.see("Get into the picture")
        if page.run("document.querySelector('main ol:not(.steps)').children.length") != 2:
            raise Failure("the plan speaks of more than the digits")
        look.snap(page, "enroll-only-camera-phone")
    again = service.call("GET", f"/v1/verifications/{opened['id']}")["challenge"]
    if again["motions"] or again["groups"] == asked["groups"]:
        raise Failure(f"not other digits alone: {again}")
    *camera, loop_s = service.draw(again, LEAD_S, TAIL_S)
    with Browser(browser, camera) as b:
        page = b.page(width=390, height=844)
        to_camera(page, service.link(page="enroll", verification=opened["id"]))
        time.sleep(PRESS_AFTER_S % loop_s)
        page.press("#record")
        page.wait("document.documentElement.dataset.cue === 'done'")
        now = service.settled(opened["id"])
        reasons = [r["code"] for c in now["verdict"]["checks"] for r in c["reasons"]]
        if BUSY & set(reasons):
            return False
        if now["state"] != "review" or now["verdict"]["earlier"]["attempt"] != 1:
            raise Failure(f"the two captures did not come together: {json.dumps(now, indent=1)}")
        page.see("Somebody will have a look")
        page.run("document.querySelector('details.card').open = true")
        page.see("(from attempt 1)")
        look.at(page, "enroll-two-captures")
    return True


def to_camera(page: Page, link: str) -> None:
    """From the link to the running camera."""
    page.go(link)
    page.press("#agree")
    page.press("button.main")
    page.wait("document.documentElement.dataset.camera === 'on'")


def embedding(browser: str, service: Service, _: Look) -> None:
    """An app's page with the onboarding in a frame."""
    opened = service.open("person-5")
    html = f"""<!doctype html><meta name=viewport content="width=device-width"><title>An app</title><h1>An app</h1><div id=box></div>
<script type=module>import {{ enroll }} from "{service.url}/cameo.js"; window.states = []; window.s = enroll({{ container: box, verification: "{opened['id']}", token: "{opened['client_token']}", onState: (x) => states.push(x) }});</script>"""

    class App(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: object) -> None:
            pass

    app = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["CAMEO_TEST_APP_PORT"])), App)
    threading.Thread(target=app.serve_forever, daemon=True).start()
    with Browser(browser) as b:
        page = b.page()
        page.go(f"http://localhost:{app.server_port}/")
        page.wait("window.states?.includes('pending')")
        wrong = page.complaints()
        if wrong:
            raise Failure(f"embedding: {wrong}")
        stranger = b.page()
        stranger.go(f"http://127.0.0.1:{app.server_port}/")
        time.sleep(2)
        if stranger.run("window.states.length"):
            raise Failure("an origin that nobody named frames the onboarding")
    app.shutdown()


STORIES = {"story": story, "again": once_more, "unhappy": unhappy, "embedding": embedding}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--pictures", type=pathlib.Path)
    parser.add_argument("--only", choices=STORIES)
    args = parser.parse_args()
    if node := shutil.which("node"):
        subprocess.run([node, ROOT / "tests/browser/merkle.mjs"], check=True)
    browser = program()
    if not browser:
        print("SKIPPED: the pages (no Chromium on this machine)")
        return 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ["CAMEO_TEST_APP_PORT"] = str(port)
    # Lists have no environment variable, so this one setting comes as a file.
    config = tempfile.NamedTemporaryFile("w", suffix=".toml")
    config.write(f'[server]\nembed_origins = ["http://localhost:{port}"]\n')
    config.flush()
    settings = {"CAMEO_CONFIG": config.name, "CAMEO_VERIFICATION__LOCKOUT_FAILURES": "2", "CAMEO_VERIFICATION__LOCKOUT_WINDOW_S": "3600", "CAMEO_VERIFICATION__CHALLENGE_TTL_S": "900"}
    with config, Service(str(pathlib.Path(args.program).resolve()), ROOT, **settings) as service:
        look = Look(service, args.pictures)
        for name, run in STORIES.items():
            if args.only in (None, name):
                began = time.monotonic()
                try:
                    run(browser, service, look)
                except Failure as e:
                    print(f"FAILED: {name}: {e}\n{service.log()[-1500:]}")
                    return 1
                print(f"ok: {name} ({time.monotonic() - began:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
