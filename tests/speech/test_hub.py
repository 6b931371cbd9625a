"""Speech models by their hub name, fetched from a hub of a few lines on this machine."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from sb_ext.speech.representation import Representation

NAME, COMMIT = "someone/tiny", "0123456789" * 4
# In a process of its own: the hub's address is read when its client is imported.
LOAD = """
import sys, torch
from sb_ext.speech.representation import Representation
torch.save(Representation(sys.argv[1])(torch.linspace(-1, 1, 900).sin()[None]), sys.argv[2])
"""


@pytest.fixture
def hub(checkpoint):
    """Its address and the paths that were asked for."""
    folder, asked = Path(checkpoint("hubert")), []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(False)

        def do_GET(self):
            self.answer(True)

        def answer(self, with_body):
            path = self.path.partition("?")[0]
            asked.append(path)
            name = path.rpartition(f"/{NAME}/resolve/")[2].partition("/")[2]  # behind the revision
            if path == f"/api/models/{NAME}" or path.startswith(f"/api/models/{NAME}/revision"):
                files = [{"rfilename": file.name} for file in folder.iterdir()]
                body, status = json.dumps({"id": NAME, "sha": COMMIT, "siblings": files}).encode(), 200
            elif (folder / name).is_file():
                body, status = (folder / name).read_bytes(), 200
            else:
                body, status = b"", 404
            self.send_response(status)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
            if status == 404:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()


@pytest.mark.slow
def test_a_model_by_its_hub_name_equals_the_folder(hub, checkpoint, tmp_path):
    address, asked = hub
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HUB_CACHE": str(tmp_path / "hub")}
    environment.pop("HF_HUB_OFFLINE", None)
    line = [sys.executable, "-c", LOAD, NAME, str(tmp_path / "vectors.pt")]
    subprocess.run(line, env=environment, check=True, timeout=300)
    expected = Representation(checkpoint("hubert"))(torch.linspace(-1, 1, 900).sin()[None])
    torch.testing.assert_close(torch.load(tmp_path / "vectors.pt"), expected.detach())
    assert any(path.endswith("model.safetensors") for path in asked)
