"""A real Chromium that runs without a screen, told what to do by its debugging protocol."""

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), "") if fcntl else ""
FLAGS = ("--headless", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader",
         "--enable-unsafe-swiftshader", "--remote-debugging-pipe", "--disable-dev-shm-usage",
         "--no-first-run", "--window-size=1200,900")  # fmt: skip


class Browser:
    """Chromium, told what to do by its debugging protocol over two pipes."""

    def __init__(self, folder):
        (there, ours), (answers, theirs) = os.pipe(), os.pipe()
        # It reads from 3 and writes to 4; above 9 nothing is in the way of these two.
        far = [fcntl.fcntl(number, fcntl.F_DUPFD, 10) for number in (there, theirs)]
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        become = f"import os, sys; os.dup2({far[0]}, 3); os.dup2({far[1]}, 4); "
        become += "os.execv(sys.argv[1], sys.argv[1:])"
        self.process = subprocess.Popen(
            [sys.executable, "-c", become, *command],
            pass_fds=far, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for number in far:
            os.close(number)
        os.close(there)
        os.close(theirs)
        self.to, self.answers = os.fdopen(ours, "wb", 0), os.fdopen(answers, "rb")
        self.numbers, self.session, self.said = itertools.count(1), None, []
        page = self.call("Target.createTarget", url="about:blank")["targetId"]
        made = self.call("Target.attachToTarget", targetId=page, flatten=True)
        self.session = made["sessionId"]
        self.call("Runtime.enable")
        self.call("Page.enable")

    def call(self, method, **params):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        message |= {"sessionId": self.session} if self.session else {}
        self.to.write(json.dumps(message).encode() + b"\0")
        while True:
            text = b""
            while not text.endswith(b"\0"):
                byte = self.answers.read(1)
                assert byte, "Chromium has gone"
                text += byte
            got = json.loads(text[:-1])
            if got.get("id") == number:
                assert "error" not in got, got
                return got["result"]
            if got.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.said.append(got["params"])

    def js(self, code):
        got = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in got, got
        return got["result"].get("value")

    def until(self, code, seconds=60):
        """Wait until ``code`` is true; returns its value."""
        end = time.monotonic() + seconds
        while not (value := self.js(code)):
            assert time.monotonic() < end, (code, self.js("document.body.innerText"))
            time.sleep(0.1)
        return value

    def choose_file(self, path):
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def close(self):
        with contextlib.suppress(OSError):
            self.to.write(json.dumps({"id": 0, "method": "Browser.close"}).encode() + b"\0")
        timer = threading.Timer(10, self.process.kill)
        timer.start()
        self.process.wait()
        timer.cancel()
