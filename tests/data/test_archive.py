"""Archives from elsewhere, against a server on this machine: broken off, wrong, hostile."""

import functools
import gzip
import hashlib
import http.server
import io
import tarfile
import threading

import numpy as np
import pytest

from attribution_preservation.data.archive import download, unpack
from attribution_preservation.errors import UserError


class Server(http.server.BaseHTTPRequestHandler):
    """Serves one file with ranges; breaks off after `limit` bytes of an answer while there is one."""

    def __init__(self, *arguments, content, state):
        self.content, self.state = content, state
        super().__init__(*arguments)

    def do_GET(self):
        byte_range = self.headers.get("Range")
        self.state["asked"].append(byte_range)
        if self.path == "/missing":
            self.send_error(404)
            return
        start = int(byte_range.removeprefix("bytes=").rstrip("-")) if byte_range else 0
        if start >= len(self.content):
            self.send_error(416)
            return
        self.send_response(206 if byte_range else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.end_headers()
        limit = self.state["limits"].pop(0) if self.state["limits"] else None
        self.wfile.write(self.content[start:][:limit])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def serve():
    servers = []

    def start(content, limits=()):
        state = {"asked": [], "limits": list(limits)}
        handler = functools.partial(Server, content=content, state=state)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", state

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


CONTENT = bytes(range(256)) * 64
CHECKSUM = "md5:" + hashlib.md5(CONTENT).hexdigest()


def test_download_is_verified_and_not_repeated(serve, tmp_path):
    address, state = serve(CONTENT)
    for _ in range(2):
        download(f"{address}/voc.tar", tmp_path / "voc.tar", CHECKSUM)
    assert (tmp_path / "voc.tar").read_bytes() == CONTENT
    assert state["asked"] == [None]


def test_a_broken_download_goes_on_where_it_stopped(serve, tmp_path):
    address, state = serve(CONTENT, limits=[5000])
    target = tmp_path / "voc.tar"
    with pytest.raises(UserError, match="run the same command again"):
        download(f"{address}/voc.tar", target, CHECKSUM)
    assert not target.exists()
    download(f"{address}/voc.tar", target, CHECKSUM)
    assert target.read_bytes() == CONTENT
    assert state["asked"] == [None, "bytes=5000-"]


def test_a_partial_file_that_is_complete_is_only_verified(serve, tmp_path):
    address, _ = serve(CONTENT)
    (tmp_path / "voc.tar.partial").write_bytes(CONTENT)
    download(f"{address}/voc.tar", tmp_path / "voc.tar", CHECKSUM)
    assert (tmp_path / "voc.tar").read_bytes() == CONTENT


def test_the_wrong_file_is_named_and_not_used(serve, tmp_path):
    address, _ = serve(CONTENT + b"x")
    with pytest.raises(UserError, match=r"md5 is .* expected .* delete the file"):
        download(f"{address}/voc.tar", tmp_path / "voc.tar", CHECKSUM)
    assert not (tmp_path / "voc.tar").exists()


def test_a_server_that_has_no_such_file(serve, tmp_path):
    address, _ = serve(CONTENT)
    with pytest.raises(UserError, match=r"404.*data\.root"):
        download(f"{address}/missing", tmp_path / "voc.tar", CHECKSUM)


def test_a_server_that_does_not_answer(tmp_path):
    with pytest.raises(UserError, match="run the same command again"):
        download("http://127.0.0.1:9/voc.tar", tmp_path / "voc.tar", CHECKSUM)


def archive(path, members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tgz", "w:gz"), ("a.tar.xz", "w:xz")])
def test_only_the_voc_folders_are_unpacked(tmp_path, name, mode):
    members = {"VOCdevkit/VOC2012/JPEGImages/a.jpg": b"picture", "VOCdevkit/VOC2012/SegmentationObject/a.png": b"no"}
    target = tmp_path / "out"
    target.mkdir()
    unpack(archive(tmp_path / name, members, mode), target)
    assert [p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()] == [
        "VOCdevkit/VOC2012/JPEGImages/a.jpg"
    ]


@pytest.mark.parametrize(
    "members",
    [
        {"JPEGImages/../../escaped.jpg": b"x"},
        {"JPEGImages/link": "/etc/passwd"},
        {"JPEGImages/link": "../../outside"},
    ],
)
def test_members_that_would_leave_the_folder_are_refused(tmp_path, members):
    target = tmp_path / "deep" / "out"
    target.mkdir(parents=True)
    with pytest.raises(UserError, match="not safe to unpack"):
        unpack(archive(tmp_path / "a.tar", members), target)
    assert not (tmp_path / "deep" / "escaped.jpg").exists()


def test_an_absolute_path_stays_below_the_folder(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    unpack(archive(tmp_path / "a.tar", {"/JPEGImages/a.jpg": b"x"}), target)
    assert (target / "JPEGImages" / "a.jpg").exists()


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("attribution_preservation.data.archive.MAXIMUM_BYTES", 10)
    with pytest.raises(UserError, match="unpacks to more than 10 bytes"):
        unpack(archive(tmp_path / "a.tar", {"JPEGImages/a.jpg": b"x" * 11}), tmp_path)


def test_a_stream_that_goes_on_for_too_long_is_refused(tmp_path, monkeypatch):
    path = archive(tmp_path / "a.tgz", {"JPEGImages/a.jpg": b"x"}, "w:gz")
    with gzip.open(path, "ab") as behind:  # what comes after the archive's end
        behind.write(bytes(10**6))
    monkeypatch.setattr("attribution_preservation.data.archive.MAXIMUM_BYTES", 10**5)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="goes on for more than 100000 bytes; refused"):
        unpack(path, tmp_path / "out")


def test_what_is_not_wanted_of_an_archive_counts(tmp_path, monkeypatch):
    monkeypatch.setattr("attribution_preservation.data.archive.MAXIMUM_FILES", 3)
    with pytest.raises(UserError, match="or 3 files; refused"):
        unpack(archive(tmp_path / "a.tar", {f"other/{k}": b"" for k in range(4)}), tmp_path)


@pytest.mark.parametrize("name", ["a.tar", "a.tgz"])
def test_a_truncated_archive_is_named(tmp_path, name):
    mode = "w:gz" if name.endswith("gz") else "w"
    path = archive(tmp_path / name, {f"JPEGImages/{k}.jpg": bytes([k]) * 40_000 for k in range(8)}, mode)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"truncated or no tar archive"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
@pytest.mark.parametrize("where", [0.3, 0.6, 0.95])
def test_a_flipped_byte_in_a_compressed_archive_is_noticed(tmp_path, mode, where):
    noise = np.random.default_rng(0).bytes(60_000)
    path = archive(tmp_path / "a.tar", {"JPEGImages/a.jpg": noise, "JPEGImages/b.jpg": noise[::-1]}, mode)
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 0xFF
    path.write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="truncated or no tar archive"):
        unpack(path, tmp_path / "out")


def test_a_file_that_is_no_archive_is_named(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(b"not an archive" * 100)
    with pytest.raises(UserError, match="truncated or no tar archive"):
        unpack(path, tmp_path)


def test_a_missing_archive_is_named(tmp_path):
    with pytest.raises(UserError, match=r"a\.tar is missing; check data\.root"):
        unpack(tmp_path / "a.tar", tmp_path)


def test_a_file_whose_checksum_nobody_tells_is_fetched_whole_and_taken_as_it_is(serve, tmp_path):
    address, state = serve(CONTENT, limits=[5000])
    target = tmp_path / "gtsegs_ijcv.mat"
    (tmp_path / "gtsegs_ijcv.mat.partial").write_bytes(b"of an earlier file that the server has no more")
    with pytest.raises(UserError, match=r"again, or point data\.imagenet\.segmentation at the file"):
        download(f"{address}/gtsegs_ijcv.mat", target, None, "data.imagenet.segmentation")
    assert not target.exists()
    for _ in range(2):
        download(f"{address}/gtsegs_ijcv.mat", target, None, "data.imagenet.segmentation")
    assert target.read_bytes() == CONTENT
    assert state["asked"] == [None, None]
