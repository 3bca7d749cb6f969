"""Small files in place of the real image sets, and a web server for them on this machine."""

import contextlib
import gzip
import hashlib
import io
import struct
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from repro.data import sources

COUNTS = {"train": 40, "test": 20}
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
ARCHIVE = "cifar-10-python.tar.gz"


def idx(name):
    """The four IDX files of a small set: {file: content}."""
    files = {}
    for split, count in COUNTS.items():
        pixels = np.random.default_rng([len(name), count]).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        images, labels = FILES[split]
        files[images] = struct.pack(">4i", 2051, count, 28, 28) + pixels.tobytes()
        files[labels] = struct.pack(">2i", 2049, count) + np.resize(np.arange(10, dtype=np.uint8), count).tobytes()
    return files


def python2_batch(pixels, labels):
    """A batch as Python 2 and its NumPy pickled it, protocol 2, opcode by opcode: {'data': array, 'labels': list}."""

    def text(content):
        return b"U" + bytes([len(content)]) + content  # SHORT_BINSTRING

    def integer(number):
        return b"J" + struct.pack("<i", number)  # BININT

    dtype = b"cnumpy\ndtype\n" + text(b"u1") + integer(0) + integer(1) + b"\x87R"
    dtype += b"(" + integer(3) + text(b"|") + b"NNN" + integer(-1) + integer(-1) + integer(0) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + integer(0) + b"\x85" + text(b"b") + b"\x87R"
    shape = integer(pixels.shape[0]) + integer(pixels.shape[1]) + b"\x86"
    content = b"T" + struct.pack("<i", pixels.size) + pixels.tobytes()
    array += b"(" + integer(1) + shape + dtype + b"\x89" + content + b"tb"
    listed = b"](" + b"".join(map(integer, labels)) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + listed + b"u."


def cifar_rows(batch):
    """Pixels (4, 3072) and labels of one small batch, 0 to 5."""
    return np.random.default_rng(batch).integers(0, 256, (4, 3072), dtype=np.uint8), [batch, 1, 2, 9]


def cifar(content=lambda batch: python2_batch(*cifar_rows(batch))):
    """A small archive with five training batches and the test batch."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for batch in range(6):
            file = f"data_batch_{batch + 1}" if batch < 5 else "test_batch"
            member = tarfile.TarInfo(f"cifar-10-batches-py/{file}")
            member.size = len(content(batch))
            tar.addfile(member, io.BytesIO(content(batch)))
    return buffer.getvalue()


def pin_of(content):
    return sources.Pin(len(content), hashlib.sha256(content).hexdigest())


def pin(monkeypatch, folder):
    """Pin small files instead of the real ones; no source has any, and none outside this machine is asked."""
    sets = {"mnist": idx("mnist"), "fashion-mnist": idx("fashion-mnist"), "cifar-10": {ARCHIVE: cifar()}}
    for name, files in sets.items():
        monkeypatch.setitem(sources.PINS, name, {file: pin_of(content) for file, content in files.items()})
        monkeypatch.setitem(sources.MIRRORS, name, ())
    monkeypatch.setitem(sources.SYSTEM_FOLDERS, "fashion-mnist", folder / "system")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("REPRO_DATA", raising=False)
    monkeypatch.setattr(sources.shutil, "which", lambda program: None)
    return sets


def supply(folder, files, compressed=False):
    """Write a set into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (folder / (f"{file}.gz" if compressed else file)).write_bytes(gzip.compress(content) if compressed else content)


def zipped(files):
    """The files of a mirror: gzipped unless they are an archive already."""
    return {
        file if file.endswith(".gz") else f"{file}.gz": content if file.endswith(".gz") else gzip.compress(content)
        for file, content in files.items()
    }


@contextlib.contextmanager
def mirror(files, cut=0, silent_seconds=0.0):
    """A loopback server of {name: content}: yields its address and the list of names asked for.

    It can promise all bytes and cut the last ones, or say nothing for a while.
    """
    asked, closing = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path.removeprefix("/"))
            closing.wait(silent_seconds)
            content = files.get(asked[-1])
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write((content or b"")[: len(content or b"") - cut])

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", asked
    finally:
        closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
