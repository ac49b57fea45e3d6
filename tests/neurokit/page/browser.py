"""A headless Chromium over its debugging pipe, with the standard library alone."""

import base64
import json
import os
import subprocess
import time


class Browser:
    """One page in a browser that ends with the `with` block."""

    def __init__(self, command, folder, *flags):
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()

        def descriptors():
            # 3 is what the browser reads, 4 what it writes; copies first, as either may be one of the two numbers.
            given, taken = os.dup(to_read), os.dup(to_write)
            os.dup2(given, 3)
            os.dup2(taken, 4)

        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--remote-debugging-pipe",
            f"--user-data-dir={folder}",
            *flags,
        ]
        self._child = subprocess.Popen(
            [command, *options], close_fds=False, preexec_fn=descriptors, stderr=subprocess.DEVNULL
        )
        os.close(to_read)
        os.close(to_write)
        self._buffer, self._number, self._session = b"", 0, None
        self.errors, self.requests = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._child.kill()
        self._child.wait()
        os.close(self._read)
        os.close(self._write)

    def call(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, url):
        self.call("Page.navigate", url=url)
        while self._receive().get("method") != "Page.loadEventFired":
            pass

    def evaluate(self, code):
        result = self.call("Runtime.evaluate", expression=code, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, code, seconds=60):
        """Waits until code is true, and returns its value."""
        end = time.monotonic() + seconds
        while not (value := self.evaluate(code)):
            assert time.monotonic() < end, (code, self.errors[-3:])
            time.sleep(0.05)
        return value

    def choose_files(self, selector, paths):
        """Puts files into an input, as a person does."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def press(self, key, code):
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)

    def resize(self, width, height, phone=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)

    def picture(self, path):
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def pdf(self):
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"])

    def _receive(self):
        while b"\0" not in self._buffer:
            part = os.read(self._read, 1 << 20)
            assert part, "the browser ended"
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(line)
        kind, told = message.get("method"), message.get("params", {})
        if kind == "Runtime.exceptionThrown" or (kind == "Runtime.consoleAPICalled" and told["type"] == "error"):
            self.errors.append(told)
        if kind == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append(told)
        if kind == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        return message
