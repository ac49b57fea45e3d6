"""Serves the page of the hand-shadow puppets on this machine.

    npm ci --ignore-scripts --prefix examples/puppets/app     # once: ONNX Runtime's WebAssembly, by its sum
    python examples/puppets/app/serve.py build/demo/puppets-onnx build/demo/puppets-step

Artifacts of the targets onnx, onnx-int8 and onnx-step that take an image can be shown, those of spiking networks too.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from bundle import bundle

from neurokit.errors import NeurokitError


class Handler(SimpleHTTPRequestHandler):
    """Files of one folder, with the types that browsers insist on."""

    extensions_map: ClassVar = {
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def end_headers(self) -> None:
        """Has the browser ask again: the service worker keeps what is to be kept."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing of single requests."""


def server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """Returns a server of a folder, for this machine alone; port 0 takes a free one."""
    return ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=str(folder)))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Shows what networks say before a camera, in the browser.")
    parser.add_argument("artifacts", nargs="+", type=Path, metavar="ARTIFACT", help="folders of neurokit export")
    parser.add_argument("--out", type=Path, default=Path("build/puppets-app"), help="folder for the page")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--no-serve", action="store_true", help="write the folder, for a file server of your own")
    given = parser.parse_args(arguments)
    try:
        cards = bundle(given.artifacts, given.out)
        serving = None if given.no_serve else server(given.out, given.port)
    except (NeurokitError, OSError, OverflowError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{given.out}: {', '.join(card['title'] for card in cards)}")
    if serving is None:
        return 0
    print(f"open http://localhost:{serving.server_address[1]} in a browser; Ctrl-C ends it")
    try:
        serving.serve_forever()
    except KeyboardInterrupt:
        return 130
    finally:
        serving.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
