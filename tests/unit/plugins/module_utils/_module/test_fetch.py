# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_fetch and servers that behave as servers and networks do (web_server.py says how)."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest

testing = pytest.importorskip("ansible.module_utils.testing")

from ansible_collections.vmimage.prep.plugins.module_utils._module import web  # noqa: E402
from ansible_collections.vmimage.prep.plugins.modules import image_fetch  # noqa: E402

ROOT = Path(__file__).resolve().parents[5]
TOOL = ROOT / "tests/integration/targets/setup_web/files/web_server.py"
DATA = random.Random(6).randbytes(700_000) + bytes(1_500_000) + random.Random(7).randbytes(100_001)
SHA256 = hashlib.sha256(DATA).hexdigest()


def _tool():
    spec = importlib.util.spec_from_file_location("web_server", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _serving(*arguments):
    server = _tool().Server(*arguments)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(tmp_path):
    """A server of a folder with disk.img."""
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "disk.img").write_bytes(DATA)
    with _serving(folder) as server:
        yield server


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """No test waits before it asks again; how long it would have waited, for those who want to know."""
    waited = []
    monkeypatch.setattr(web, "time", types.SimpleNamespace(sleep=waited.append))
    return waited


@pytest.fixture
def fetch(tmp_path, server):
    """fetch(path, **options) runs the module in this process; a path is one on the server."""

    def fetch(path, dest="out.img", **options):
        said = io.StringIO()
        url = path if "://" in path or os.path.exists(path) else f"{server.url}/{path}"
        arguments = {"url": url, "dest": str(tmp_path / dest), "_ansible_remote_tmp": str(tmp_path), **options}
        with testing.patch_module_args(arguments), contextlib.redirect_stdout(said), pytest.raises(SystemExit):
            image_fetch.main()
        return json.loads(said.getvalue())

    return fetch


def _left(folder, *but):
    """What is in a folder besides the server's, dest and its record."""
    return sorted({entry.name for entry in folder.iterdir()} - {"www", "out.img", ".out.img.provenance.json", *but})


def _requests(server, *keys):
    return [tuple(entry[key] for key in keys) for entry in server.requests]


@pytest.mark.parametrize("checksum", [None, f"sha256:{SHA256}"])
def test_four_runs(tmp_path, server, fetch, checksum):
    options = {"checksum": checksum} if checksum else {}
    first = fetch("plain/disk.img", _ansible_check_mode=True, **options)
    assert not (tmp_path / "out.img").exists()
    second = fetch("plain/disk.img", **options)
    asked = len(server.requests)
    third = fetch("plain/disk.img", _ansible_check_mode=True, **options)
    fourth = fetch("plain/disk.img", **options)
    assert "changed" in first, first["msg"]
    assert [run["changed"] for run in (first, second, third, fourth)] == [True, True, False, False]
    assert (tmp_path / "out.img").read_bytes() == DATA
    assert first["msg"] == second["msg"] == "dest does not exist"
    assert [run["transferred"] for run in (first, second, third, fourth)] == [0, len(DATA), 0, 0]
    assert {key: value for key, value in third.items() if key != "elapsed"} == {key: value for key, value in fourth.items() if key != "elapsed"}
    assert second["length"] == len(DATA)
    assert fourth["length"] == len(DATA)
    assert second["verified"] == checksum
    if checksum:
        assert len(server.requests) == asked
        assert second["checksums"] == {"sha256": SHA256}
    else:
        assert _requests(server, "status")[asked:] == [(304,), (304,)]
    assert not _left(tmp_path)


@pytest.mark.parametrize("options", [{}, {"checksum": f"sha256:{SHA256}"}])
@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("how", ["plain", "bare"])
def test_what_is_there_is_kept(tmp_path, fetch, how, record, options):
    fetch(f"{how}/disk.img", **options)
    if not record:
        (tmp_path / ".out.img.provenance.json").unlink()
    inode = (tmp_path / "out.img").stat().st_ino
    assert not fetch(f"{how}/disk.img", _ansible_check_mode=True, **options)["changed"]
    assert not fetch(f"{how}/disk.img", **options)["changed"]
    assert (tmp_path / "out.img").stat().st_ino == inode
    assert not _left(tmp_path)


@pytest.mark.parametrize("how", ["plain", "bare"])
@pytest.mark.parametrize(("place", "new"), [("server", DATA[:-1] + b"!"), ("server", DATA[:-1]), ("dest", DATA[:-1] + b"!"), ("dest", DATA + b"!")])
def test_what_was_changed_is_fetched_again(tmp_path, server, fetch, how, place, new):
    fetch(f"{how}/disk.img")
    path = tmp_path / ("www/disk.img" if place == "server" else "out.img")
    path.write_bytes(new)
    os.utime(path, (1, 1))
    check = fetch(f"{how}/disk.img", _ansible_check_mode=True)
    again = fetch(f"{how}/disk.img", backup=True)
    assert check["changed"]
    assert again["changed"]
    assert check["msg"] == again["msg"]
    assert "dest" in check["msg"]
    assert (tmp_path / "out.img").read_bytes() == (tmp_path / "www/disk.img").read_bytes()
    assert Path(again["backup_file"]).read_bytes() == (DATA if place == "server" else new)
    assert not fetch(f"{how}/disk.img")["changed"]


@pytest.mark.parametrize("options", [{}, {"checksum": f"sha256:{SHA256}"}])
def test_a_connection_that_breaks_goes_on(server, tmp_path, fetch, options, pauses):
    result = fetch("breaks/disk.img", **options)
    assert result["status"] == 206
    assert (tmp_path / "out.img").read_bytes() == DATA
    starts = [None, *(f"bytes={at}-" for at in range(300_000, len(DATA), 300_000))]
    assert _requests(server, "Range") == [(start,) for start in starts]
    assert {entry["If-Range"] for entry in server.requests[1:]} == {result["etag"]}
    assert result["transferred"] == len(DATA)
    assert pauses == [1, 2, 4, 1, 2, 4, 8]  # after a MiB, they are forgotten
    assert not _left(tmp_path)


@pytest.mark.parametrize("how", ["once", "chunked", "stubborn", "refuses"])
def test_a_server_that_cannot_go_on_begins_again(tmp_path, fetch, how):
    result = fetch(f"{how}/disk.img", checksums=["sha256"])
    assert result["changed"], result
    assert result["checksums"] == {"sha256": SHA256}
    assert (tmp_path / "out.img").read_bytes() == DATA


def test_parts_of_nobody_knows_which_version(tmp_path, server, fetch):
    failed = fetch("unnamed/disk.img", retries=2)
    assert failed["failed"]
    assert _requests(server, "Range") == [(None,)] * 3
    proven = fetch("unnamed/disk.img", checksum=f"sha256:{SHA256}")
    assert proven["changed"], proven
    assert (tmp_path / "out.img").read_bytes() == DATA
    assert server.requests[-1]["Range"]


def test_a_file_that_changes_meanwhile_is_never_mixed(tmp_path, server, fetch):
    result = fetch("other/disk.img")
    assert result["changed"], result
    assert (tmp_path / "out.img").read_bytes() == bytes(255 - byte for byte in DATA)
    assert server.requests[1]["status"] == 200


@pytest.mark.parametrize("options", [{}, {"checksum": f"sha256:{SHA256}"}])
def test_the_next_run_goes_on(tmp_path, server, fetch, options):
    failed = fetch("breaks/disk.img", retries=0, **options)
    assert failed["error"] == {"kind": "access", "path": f"{server.url}/breaks/disk.img", "offset": None}
    assert "the connection ended at byte 300000 of 2300001" in failed["msg"]
    assert not (tmp_path / "out.img").exists()
    assert _left(tmp_path) == [".out.img.partial", ".out.img.partial.json"]
    check = fetch("breaks/disk.img", _ansible_check_mode=True, **options)
    assert check["changed"]
    done = fetch("breaks/disk.img", **options)
    assert done["resumed_at"] == 300_000
    assert done["transferred"] == len(DATA) - 300_000
    assert (tmp_path / "out.img").read_bytes() == DATA
    assert not _left(tmp_path)


def test_what_is_left_of_another_file_is_thrown_away(tmp_path, server, fetch):
    fetch("breaks/disk.img", retries=0)
    (tmp_path / "www/disk.img").write_bytes(DATA[::-1])
    result = fetch("breaks/disk.img")
    assert result["resumed_at"] is None
    assert (tmp_path / "out.img").read_bytes() == DATA[::-1]


def test_what_is_left_may_be_damaged(tmp_path, fetch):
    fetch("breaks/disk.img", retries=0)
    (tmp_path / ".out.img.partial").write_bytes(bytes(300_000))
    result = fetch("breaks/disk.img", checksum=f"sha256:{SHA256}")
    assert result["changed"], result
    assert result["resumed_at"] is None
    assert (tmp_path / "out.img").read_bytes() == DATA


def test_after_a_restart_only_a_checksum_proves_a_part(tmp_path, fetch):
    for options, resumed in ({}, None), ({"checksum": f"sha256:{SHA256}"}, 300_000):
        fetch("breaks/disk.img", dest="new.img", retries=0)
        note = tmp_path / ".new.img.partial.json"
        note.write_text(json.dumps({**json.loads(note.read_text()), "boot": "another"}))
        assert fetch("breaks/disk.img", dest="new.img", **options)["resumed_at"] == resumed
        (tmp_path / "new.img").unlink()


def test_all_is_there_but_the_name(tmp_path, server, fetch):
    fetch("breaks/disk.img", retries=0)
    (tmp_path / ".out.img.partial").write_bytes(DATA)
    result = fetch("breaks/disk.img", checksum=f"sha256:{SHA256}")
    assert result["resumed_at"] == len(DATA)
    assert result["transferred"] == 0
    assert (tmp_path / "out.img").read_bytes() == DATA


def test_killed(tmp_path):
    """By SIGKILL, in the middle; the next run reads what is missing."""
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "disk.img").write_bytes(DATA * 4)
    with _serving(folder) as server:
        arguments = {"ANSIBLE_MODULE_ARGS": {"url": f"{server.url}/slow/disk.img", "dest": str(tmp_path / "out.img"), "_ansible_remote_tmp": str(tmp_path)}}
        command = [sys.executable, "-m", image_fetch.__name__, json.dumps(arguments)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        partial = tmp_path / ".out.img.partial"
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as run:
            while run.poll() is None and not (partial.exists() and partial.stat().st_size >= 1 << 20):
                threading.Event().wait(0.01)
            run.send_signal(signal.SIGKILL)
        assert run.returncode == -signal.SIGKILL, run.stdout
        there = partial.stat().st_size
        assert 0 < there < 4 * len(DATA)
        assert not (tmp_path / "out.img").exists()
        done = json.loads(subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True).stdout)
        assert done["resumed_at"] == there
        assert done["transferred"] == 4 * len(DATA) - there
        assert server.requests[-1]["Range"] == f"bytes={there}-"
    assert (tmp_path / "out.img").read_bytes() == DATA * 4
    assert not _left(tmp_path)


def test_disk_full(tmp_path, fetch, server):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))  # what is told of a full file system comes the same way
    try:
        failed = fetch("plain/disk.img")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failed["error"]["kind"] == "space"
    assert not (tmp_path / "out.img").exists()
    assert not _left(tmp_path)


def test_no_room(fetch, server, monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda path: types.SimpleNamespace(f_bavail=2, f_frsize=4096))
    for check in (True, False):
        failed = fetch("plain/disk.img", _ansible_check_mode=check)
        assert failed["error"]["kind"] == "space"
        assert "needs 2300001 bytes, the file system has 8192 free" in failed["msg"]


def test_wrong_checksum(tmp_path, fetch):
    (tmp_path / "out.img").write_bytes(b"old")
    failed = fetch("plain/disk.img", checksum="md5:" + "0" * 32)
    assert failed["error"]["kind"] == "integrity"
    assert (tmp_path / "out.img").read_bytes() == b"old"
    assert not _left(tmp_path)


@pytest.mark.parametrize("decompress", [False, True])
def test_too_large(tmp_path, fetch, decompress):
    failed = fetch("plain/disk.img", max_size=len(DATA) - 1, decompress=decompress)
    assert failed["error"]["kind"] == "limit_exceeded"
    assert not _left(tmp_path)
    assert fetch("plain/disk.img", max_size=len(DATA), decompress=decompress)["changed"]


@pytest.mark.parametrize(
    ("path", "options", "said"),
    [
        ("plain/none.img", {}, "the server answers 404 (Not Found)"),
        ("private/disk.img", {}, "the server answers 401"),
        ("private/disk.img", {"url_username": "reader", "url_password": "wrong"}, "the server answers 401"),
        ("http://127.0.0.1:1/disk.img", {"retries": 1}, "cannot be fetched: [Errno 111] Connection refused"),
        ("http://[::1/disk.img", {}, "is no URL"),
        ("http://127.0.0.1/a disk.img", {}, "URL can't contain control characters"),
        ("http://127.0.0.1/d\u00efsk.img", {}, "cannot be fetched"),
        ("ftp://127.0.0.1/disk.img", {}, "is neither a URL (http, https, file) nor an absolute path"),
        ("file:///no/such/file", {}, "no such file"),
        ("file://elsewhere/disk.img", {}, "a file URL names a file on this node"),
        ("plain/disk.img", {"checksum": "sha256:00"}, "a checksum is given as"),
        ("plain/disk.img", {"checksum": "SHA256SUMS"}, "a checksum is given as"),
        ("plain/disk.img", {"ca_path": "/no/such/file"}, "cannot be fetched"),
    ],
)
def test_refused(server, fetch, path, options, said):
    failed = fetch(path, **options)
    assert failed["failed"]
    assert said in failed["msg"]
    assert "secret" not in failed["msg"]


def test_nobody_there_is_asked_again(server, fetch, pauses):
    fetch("http://127.0.0.1:1/disk.img", retries=3)
    assert pauses == [1, 2, 4]
    assert fetch("busy/disk.img")["changed"]
    assert _requests(server, "status") == [(503,), (200,)]


@pytest.mark.parametrize("how", ["moved", "away"])
def test_redirected(server, fetch, how):
    result = fetch(f"{how}/disk.img", url_username="reader", url_password="secret", force_basic_auth=True, headers={"Cookie": "a=b"})
    assert result["changed"]
    assert result["url"].endswith("/plain/disk.img")
    assert result["src"] == f"{server.url}/{how}/disk.img"
    assert [bool(entry["Authorization"]) for entry in server.requests] == [True, False]
    assert not fetch(f"{how}/disk.img")["changed"]


@pytest.mark.parametrize("options", [{"force_basic_auth": True}, {}])
def test_a_password_is_for_one_server(tmp_path, server, fetch, options):
    (tmp_path / "www/SUMS").write_text(f"{SHA256}  disk.img\n{SHA256}  none.img\n")
    elsewhere = server.url.replace("127.0.0.1", "localhost")
    options.update(url_username="reader", url_password="secret", checksum=f"{elsewhere}/plain/SUMS", mirrors=[f"{elsewhere}/private/disk.img"])
    assert fetch("private/disk.img", **options)["changed"]
    failed = fetch("plain/none.img", dest="other.img", **options)
    assert "401" in failed["msg"]
    assert {entry["Authorization"] for entry in server.requests if entry["name"] == "SUMS"} == {None}


def test_user_and_password_in_the_url_are_not_shown(tmp_path, server, fetch):
    result = fetch(f"{server.url.replace('//', '//reader:secret@')}/private/disk.img")
    assert result["changed"]
    assert "secret" not in json.dumps({**result, "invocation": None})
    assert "secret" not in (tmp_path / ".out.img.provenance.json").read_text()


def test_mirrors(server, fetch, monkeypatch):
    warnings = []  # ansible-core shows a warning at once where its controller's part was imported, and returns it elsewhere
    monkeypatch.setattr(image_fetch.AnsibleModule, "warn", lambda _self, text: warnings.append(text))
    mirrors = [f"{server.url}/other/disk.img", f"{server.url}/plain/disk.img"]
    fetch("other/disk.img", dest="first.img")  # from now on it is another file
    result = fetch("plain/none.img", mirrors=mirrors, checksum=f"sha256:{SHA256}", retries=9)
    assert result["changed"], result
    assert result["src"] == mirrors[-1]
    assert [warning for warning in warnings if "404" in warning]
    again = fetch("plain/none.img", dest="more.img", mirrors=mirrors[-1:])
    assert again["changed"]
    assert fetch("plain/none.img", dest="more.img", mirrors=mirrors[-1:])["status"] == 304


def test_tls(tmp_path, fetch, program):
    openssl = [
        program("openssl"),
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
    ]
    subprocess.run([*openssl, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key", "-out", tmp_path / "ca"], check=True, capture_output=True)
    with _serving(tmp_path / "www", tmp_path / "ca", tmp_path / "key") as server:
        url = f"{server.url}/breaks/disk.img"
        failed = fetch(url)
        assert "certificate verify failed" in failed["msg"]
        assert "ca_path" in failed["msg"]
        assert not server.requests
        assert fetch(url, ca_path=str(tmp_path / "ca"))["changed"]
        assert not fetch(url, validate_certs=False)["changed"]
    assert (tmp_path / "out.img").read_bytes() == DATA


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://localhost{}"])
def test_from_this_node(tmp_path, fetch, form):
    source = tmp_path / "www/the disk%.img"
    with source.open("wb") as file:
        file.write(DATA)
        file.truncate(64 << 20)
    url = form.format(source if form == "{}" else str(source).replace("%", "%25").replace(" ", "%20"))
    first, second = fetch(url, dest="", checksums=["md5"]), fetch(url, dest="")
    assert first["changed"], first
    assert first["dest"] == str(tmp_path / source.name)
    assert not second["changed"]
    assert second["transferred"] == 0
    assert Path(first["dest"]).read_bytes() == source.read_bytes()
    assert Path(first["dest"]).stat().st_blocks * 512 < 2 * len(DATA)
    assert first["checksums"]["md5"] == hashlib.md5(source.read_bytes()).hexdigest()
    source.write_bytes(DATA)
    assert fetch(url, dest="", _ansible_check_mode=True)["msg"] == f"dest has {64 << 20} bytes, the file {len(DATA)}"
    assert "the same file" in fetch(url, dest="www")["msg"]


@pytest.mark.parametrize(
    ("how", "tool", "ending"),
    [("packed", "gzip", ".gz"), ("chunked", "gzip", ".gz"), ("breaks", "xz", ".xz"), ("plain", "bzip2", ".bz2"), ("plain", "zstd", ".zst")],
)
def test_decompressed_on_the_way(tmp_path, fetch, program, how, tool, ending):
    content = DATA + bytes(8 << 20)
    (tmp_path / "www/disk.raw").write_bytes(content)
    subprocess.run([program(tool), tmp_path / "www/disk.raw"], check=True, capture_output=True)
    packed = (tmp_path / f"www/disk.raw{ending}").read_bytes()
    options = {"dest": "", "decompress": True, "checksum": f"sha512:{hashlib.sha512(packed).hexdigest()}", "max_size": "1G"}
    url = f"{how}/disk.raw{ending}"
    first = fetch(url, _ansible_check_mode=True, **options)
    second = fetch(url, checksums=["sha256"], **options)
    third, fourth = fetch(url, _ansible_check_mode=True, **options), fetch(url, **options)
    (tmp_path / ".disk.raw.provenance.json").unlink()
    fifth = fetch(url, **options)
    assert "changed" in first, first["msg"]
    assert [run.get("changed") for run in (first, second, third, fourth, fifth)] == [True, True, False, False, False]
    assert first["dest"] == second["dest"] == str(tmp_path / "disk.raw")
    assert (tmp_path / "disk.raw").read_bytes() == content
    assert (tmp_path / "disk.raw").stat().st_blocks * 512 < 2 * len(DATA)
    assert second["checksums"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert second["length"] == len(packed)
    assert fetch(url, **{**options, "decompress": False})["dest"] == str(tmp_path / f"disk.raw{ending}")
    assert (tmp_path / f"disk.raw{ending}").read_bytes() == packed


def test_bombs(tmp_path, fetch, program):
    (tmp_path / "www/bomb").write_bytes(bytes(30 << 20))
    subprocess.run([program("gzip"), "-1", tmp_path / "www/bomb"], check=True)
    packed = (tmp_path / "www/bomb.gz").read_bytes()
    (tmp_path / "www/bomb.gz").write_bytes(packed[:-1])
    assert fetch("plain/bomb.gz", decompress=True, max_size="29M")["error"]["kind"] == "limit_exceeded"
    failed = fetch("plain/bomb.gz", decompress=True, max_size="1G")
    assert failed["error"]["kind"] == "corrupt"
    assert not _left(tmp_path)


def test_a_list_of_checksums(tmp_path, server, fetch):
    (tmp_path / "www/SHA256SUMS").write_text(f"{'0' * 64} *other.img\n{SHA256} *disk.img\n")
    assert fetch("plain/disk.img", checksum=f"{server.url}/once/SHA256SUMS")["verified"] == f"sha256:{SHA256}"
    for place in (f"sha256:{server.url}/plain/SHA256SUMS", str(tmp_path / "www/SHA256SUMS"), f"file://{tmp_path}/www/SHA256SUMS"):
        again = fetch("plain/disk.img", checksum=place)
        assert not again["changed"]
        assert again["status"] is None
    # Where the name is another one: of dest.
    assert fetch("plain/?file=5", dest="disk.img", checksum=f"{server.url}/plain/SHA256SUMS")["changed"]
    missing = fetch("plain/disk.img", dest="x.img", checksum=f"md5:{server.url}/plain/SHA256SUMS")
    assert missing["error"]["kind"] == "invalid"
    (tmp_path / "www/SHA256SUMS").write_text("0" * 64 + "  other.img\n")
    unlisted = fetch("plain/disk.img", checksum=f"{server.url}/plain/SHA256SUMS")
    assert "has no checksum of disk.img or out.img; it has those of other.img" in unlisted["msg"]
    (tmp_path / "www/SHA256SUMS").write_bytes(bytes(1 << 21))
    assert fetch("plain/disk.img", checksum=f"{server.url}/plain/SHA256SUMS")["error"]["kind"] == "limit_exceeded"


def test_a_newer_version_by_its_list(tmp_path, server, fetch):
    for content in (DATA, DATA[::-1]):
        (tmp_path / "www/disk.img").write_bytes(content)
        (tmp_path / "www/disk.img.sha256").write_text(hashlib.sha256(content).hexdigest() + "\n")
        options = {"checksum": f"{server.url}/plain/disk.img.sha256", "dest": ""}
        assert [fetch("plain/disk.img", **options)["changed"] for _run in range(2)] == [True, False]
        assert (tmp_path / "disk.img").read_bytes() == content
