"""Headless Chromium by the DevTools protocol over a pipe: no package is needed, only a Chromium."""

import base64
import contextlib
import json
import os
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-pipe", "--hide-scrollbars",
]  # fmt: skip


class Browser:
    """One page. ``complaints`` has what the console and scripts have complained of since ``show``,
    and every address that was asked for and is no file.
    """

    def __init__(self, profile):
        ours, theirs = os.pipe(), os.pipe()  # (read, write): to us, to Chromium

        def plug():  # Chromium reads descriptor 3 and writes descriptor 4
            ends = os.dup(theirs[0]), os.dup(ours[1])
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, preexec_fn=plug, close_fds=False, **quiet)
        os.close(theirs[0])
        os.close(ours[1])
        self.read, self.write = os.fdopen(ours[0], "rb"), os.fdopen(theirs[1], "wb")
        self.number, self.rest, self.session, self.complaints = 0, b"", None, []
        targets = self.ask("Target.getTargets")["targetInfos"]
        page = next(each["targetId"] for each in targets if each["type"] == "page")
        self.session = self.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def messages(self):
        while True:
            message, separator, self.rest = self.rest.partition(b"\0")
            while not separator:
                part = os.read(self.read.fileno(), 1 << 16)
                assert part, "Chromium has ended"
                message, separator, self.rest = (message + part).partition(b"\0")
            yield json.loads(message)

    def ask(self, method, **parameters):
        self.number += 1
        text = {"id": self.number, "method": method, "params": parameters}
        if self.session is not None:
            text["sessionId"] = self.session
        self.write.write(json.dumps(text).encode() + b"\0")
        self.write.flush()
        for message in self.messages():
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]
            self.hear(message)

    def hear(self, message):
        method, said = message.get("method"), message.get("params", {})
        if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(said)[:400])
        if method == "Network.requestWillBeSent":
            url = said["request"]["url"]
            if not url.startswith(("file:", "data:", "about:")):
                self.complaints.append(url)

    def show(self, path, width, height, dark=False):
        """Opens a file in a window of this many CSS pixels, and waits until it has loaded."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 800}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.complaints = []
        self.ask("Page.navigate", url=path.resolve().as_uri())
        for message in self.messages():
            self.hear(message)
            if message.get("method") == "Page.loadEventFired":
                break

    def value(self, expression):
        """Of a JavaScript expression, as JSON gives it."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self, path, whole=False):
        found = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self):
        with contextlib.suppress(Exception):
            self.session = None
            self.ask("Browser.close")
        self.write.close()
        self.read.close()
        self.process.wait(20)
