# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role publish_image with a real Glance: what was prepared of any source arrives, once, and is replaced when it changes.

Between the two stands a relay, which notes the requests, and can stop in the middle of an upload.
"""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import threading
import types
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

MIB = 1 << 20
CLOUDS = """\
clouds:
  local:
    auth_type: none
    image_endpoint_override: {url}
    image_api_version: 2
    identity_endpoint_override: {url}/v3
    identity_api_version: 3
"""
PREPARE = """
- ansible.builtin.include_role:
    name: vmimage.prep.prepare_image
  vars:
    prepare_image_src: "{{ source.src }}"
    prepare_image_dest: "{{ source.dest }}"
    prepare_image_format: "{{ source.format }}"
    prepare_image_name: "{{ source.name }}"
    prepare_image_properties: "{{ source.properties | default({}) }}"
- ansible.builtin.set_fact:
    plan: "{{ plan + prepare_image_result.upload_plan }}"
"""
PLAYBOOK = """
- hosts: node
  gather_facts: false
  vars:
    plan: []
  tasks:
    - ansible.builtin.include_tasks: prepare.yml
      loop: "{{ sources }}"
      loop_control:
        loop_var: source
    - ansible.builtin.include_role:
        name: vmimage.prep.publish_image
        apply:
          delegate_to: "{{ delegate | default(omit) }}"
      vars:
        publish_image_plan: "{{ plan + others }}"
    - ansible.builtin.copy:
        content: "{{ {'plan': plan + others, 'result': publish_image_result} | to_json }}"
        dest: "{{ folder }}/answer.json"
        mode: "0644"
      check_mode: false
      changed_when: false
"""


class Relay(ThreadingHTTPServer):
    """Hands requests on to Glance. With `stalls` it hands on the half of an upload, and waits for its sender to go away."""

    daemon_threads = True

    def __init__(self, address):
        self.glance, self.requests, self.stalls, self.stalled = address, [], False, threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def changes(self):
        """The requests since the last call that are no questions, in short."""
        noted, self.requests[:] = list(self.requests), []
        return [(method, path.rpartition("/")[2] if path.endswith(("/file", "/deactivate")) else "image") for method, path in noted if method != "GET"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def relay(self):
        self.server.requests.append((self.command, self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection(self.server.glance, timeout=120)
        if self.server.stalls and self.path.endswith("/file"):
            connection.putrequest(self.command, self.path)
            connection.putheader("Content-Type", self.headers["Content-Type"])
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body[: len(body) // 2])
            self.server.stalled.set()
            self.rfile.read(1)  # until the sender is gone
            connection.close()
            self.close_connection = True
            return
        connection.request(self.command, self.path, body, {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")})
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value.replace(f"http://{self.server.glance}", self.server.url))
        if answer.status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        connection.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = relay  # noqa: N815

    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture(scope="module")
def relay(glance):
    server = Relay(urllib.parse.urlparse(glance).netloc)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory, relay):
    """A folder to play in, and what calls the role."""
    folder = tmp_path_factory.mktemp("publish")
    (folder / "clouds.yaml").write_text(CLOUDS.format(url=relay.url))
    (folder / "prepare.yml").write_text(PREPARE)
    (folder / "playbook.yml").write_text(PLAYBOOK)

    def start(plan, *options, sources=(), **variables):
        (folder / "answer.json").unlink(missing_ok=True)
        given = {
            "folder": str(folder),
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "publish_image_cloud": "local",
            "sources": list(sources),
            "others": list(plan),
        }
        command = ["ansible-playbook", "-i", "node,", "-e", json.dumps({**given, **variables}), *options, folder / "playbook.yml"]
        environment = {**os.environ, "ANSIBLE_PIPELINING": "1", "ANSIBLE_NOCOLOR": "1", "OS_CLIENT_CONFIG_FILE": str(folder / "clouds.yaml")}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def publish(plan, *options, **variables):
        process = start(plan, *options, **variables)
        said, _nothing = process.communicate(timeout=600)
        answer = folder / "answer.json"
        found = json.loads(answer.read_text()) if answer.exists() else {"plan": None, "result": None}
        recap = said.rpartition("PLAY RECAP")[2]
        return types.SimpleNamespace(said=said, recap=recap, status=process.returncode, **found)

    return types.SimpleNamespace(folder=folder, publish=publish, start=start)


def images(client, **query):
    """The images of the cloud by their names, each of which is there once."""
    listing = client.json("GET", "/v2/images?limit=1000" + "".join(f"&{key}={value}" for key, value in query.items()))["images"]
    assert len({image["name"] for image in listing}) == len(listing)
    return {image["name"]: image for image in listing}


def remove_all(client):
    for query in ("os_hidden=true", "visibility=community", "visibility=all"):
        for image in client.json("GET", f"/v2/images?limit=1000&{query}")["images"]:
            if image["protected"]:
                patch = json.dumps([{"op": "replace", "path": "/protected", "value": False}]).encode()
                status, content = client.call("PATCH", f"/v2/images/{image['id']}", patch, "application/openstack-images-v2.1-json-patch")
                assert status == 200, content
            client.delete(image["id"])


def said_of(entry, ids):
    """What Glance has to say of an image, by the plan."""
    fields = {key: entry[key] for key in ("name", "disk_format", "container_format", "min_disk", "min_ram")}
    return {**fields, **entry["properties"], **{key: ids[other] for key, other in entry["depends"].items()}, "status": "active", "visibility": "private"}


@pytest.fixture(scope="module")
def disks(tmp_path_factory, qemu_img, program):
    """One file of each kind that people hand in, with what has to come out of it: (source, format, format in qemu-img's words, original content)."""
    from build_ova import build_ova
    from build_uec import layouts, pack, write_files

    folder = tmp_path_factory.mktemp("disks")
    write_disk(folder / "disk.raw", 1, program)
    for name, form, options in (
        ("disk.vmdk", "vmdk", ["-o", "subformat=streamOptimized"]),
        ("disk.vdi", "vdi", []),
        ("disk.vhdx", "vhdx", []),
        ("disk.vhd", "vpc", ["-o", "force_size=on"]),
        ("disk.qcow2", "qcow2", []),
    ):
        subprocess.run([qemu_img, "convert", "-O", form, *options, folder / "disk.raw", folder / name], check=True)
    subprocess.run([program("xz"), "-k", folder / "disk.raw"], check=True)
    build_ova(folder / "appliance.ova", size=4 * MIB)
    with tarfile.open(folder / "appliance.ova") as archive:
        (folder / "appliance.vmdk").write_bytes(archive.extractfile(next(name for name in archive.getnames() if name.endswith(".vmdk"))).read())
    (folder / "media").mkdir()
    (folder / "media/readme").write_bytes(random.Random(2).randbytes(100_000))
    subprocess.run([program("xorriso"), "-as", "mkisofs", "-quiet", "-o", folder / "media.iso", folder / "media"], check=True, stderr=subprocess.DEVNULL)
    trio = layouts()["ubuntu-initrd"]
    write_files(folder / "trio", trio)
    pack(folder / "trio", folder / "trio.tar.gz")
    return types.SimpleNamespace(folder=folder, trio=trio)


def write_disk(path, seed, program):
    """A disk of 8 MiB with a partition, in which there is something."""
    with path.open("wb") as file:
        file.truncate(8 * MIB)
    subprocess.run([program("sfdisk"), "-q", path], input=b"label: dos\nlabel-id: 0x1234\nstart=2048, size=6MiB, type=83, bootable\n", check=True)
    with path.open("r+b") as file:
        file.seek(MIB)
        file.write(random.Random(seed).randbytes(300_000))


SOURCES = {
    # source: format to upload, format in Glance's words, in qemu-img's, the original content
    "appliance.ova": ("qcow2", "qcow2", "qcow2", ("vmdk", "appliance.vmdk")),
    "disk.vmdk": ("raw", "raw", "raw", ("raw", "disk.raw")),
    "disk.vdi": ("vmdk", "vmdk", "vmdk", ("raw", "disk.raw")),
    "disk.vhdx": ("vhd", "vhd", "vpc", ("raw", "disk.raw")),
    "disk.vhd": ("vhdx", "vhdx", "vhdx", ("raw", "disk.raw")),
    "disk.qcow2": ("qcow2", "qcow2", "qcow2", ("raw", "disk.raw")),
    "disk.raw.xz": ("vdi", "vdi", "vdi", ("raw", "disk.raw")),
    "media.iso": ("qcow2", "iso", "raw", ("raw", "media.iso")),
    "trio.tar.gz": ("qcow2", "ami", "raw", ("raw", "trio/old-i386.img")),
}


def test_from_any_source_to_glance_and_back(cloud, client, relay, disks, qemu_img, program):
    """All that is prepared arrives, is told apart rightly, arrives once, and is replaced when its source changes."""
    (cloud.folder / "images").mkdir()
    sources = [
        {
            "name": name,
            "src": str(disks.folder / name),
            "dest": str(cloud.folder / "images" / f"{name}.image"),
            "format": form,
            "properties": {"hw_disk_bus": "scsi", "hw_firmware_type": "bios", "hw_qemu_guest_agent": True, "my_number": 3},
        }
        for name, (form, *_rest) in SOURCES.items()
    ]

    first = cloud.publish([], sources=sources)
    assert first.status == 0, first.said[-3000:]
    assert [entry["action"] for entry in first.result["images"]] == ["upload"] * 11
    assert relay.changes().count(("PUT", "file")) == 11
    there = images(client)
    assert len(there) == 11
    ids = {name: image["id"] for name, image in there.items()}
    assert {entry["name"]: entry["id"] for entry in first.result["images"]} == ids
    for entry in first.plan:
        image = there[entry["name"]]
        entry["properties"] = {key: {True: "true", 3: "3"}.get(value, value) for key, value in entry["properties"].items()}
        wanted = said_of(entry, ids)
        assert {key: image.get(key) for key in wanted} == wanted
        if entry["name"] in SOURCES:
            assert image["my_number"] == "3"
        assert image["os_hash_value"] == image_digest(entry["filename"])
        copy = cloud.folder / "downloaded"
        copy.write_bytes(client.download(image["id"]))
        assert filecmp.cmp(copy, entry["filename"], shallow=False)
        if entry["name"] in SOURCES:
            _format, disk_format, form, (original_form, original) = SOURCES[entry["name"]]
            assert image["disk_format"] == disk_format
            subprocess.run([qemu_img, "compare", "-q", "-f", original_form, "-F", form, disks.folder / original, copy], check=True)
    assert client.download(ids["trio.tar.gz-kernel"]) == disks.trio["old-i386-vmlinuz-server"]
    assert client.download(ids["trio.tar.gz-ramdisk"]) == disks.trio["old-i386-initrd-server"]

    second = cloud.publish(first.plan)
    assert second.status == 0, second.said[-3000:]
    assert " changed=0 " in second.recap
    assert second.result["changed"] is False
    assert {entry["action"] for entry in second.result["images"]} == {"unchanged"}
    assert relay.changes() == []
    assert images(client) == there  # also the times of their last change

    write_disk(disks.folder / "disk.raw", 7, program)
    subprocess.run([qemu_img, "convert", "-O", "vdi", disks.folder / "disk.raw", disks.folder / "disk.vdi"], check=True)
    changed = [source for source in sources if source["name"] in ("disk.vdi", "disk.qcow2")]
    foreseen = cloud.publish([], "--check", sources=changed)
    assert foreseen.status == 0, foreseen.said[-3000:]
    assert [(entry["name"], entry["action"]) for entry in foreseen.result["images"]] == [("disk.vdi", "upload"), ("disk.qcow2", "unchanged")]
    assert relay.changes() == []
    third = cloud.publish([], sources=changed)
    assert third.status == 0, third.said[-3000:]
    assert relay.changes() == [("POST", "image"), ("PUT", "file"), ("PATCH", "image"), ("PATCH", "image"), ("PATCH", "image")]
    now = images(client)
    new, old = now.pop("disk.vdi"), there.pop("disk.vdi")
    assert now == there
    assert new["id"] != old["id"]
    assert third.result["images"][0] == {"name": "disk.vdi", "id": new["id"], "action": "upload", "replaces": old["id"]}
    (cloud.folder / "downloaded").write_bytes(client.download(new["id"]))
    subprocess.run([qemu_img, "compare", "-q", "-F", "vmdk", "-f", "raw", disks.folder / "disk.raw", cloud.folder / "downloaded"], check=True)
    retired = client.show(old["id"])
    assert (retired["name"], retired["os_hidden"]) == (f"disk.vdi.{old['created_at'][:10].replace('-', '')}-{old['id'][:8]}", True)
    remove_all(client)


def image_digest(path):
    with open(path, "rb") as file:
        return hashlib.sha512(file.read()).hexdigest()


@pytest.fixture
def files(tmp_path, client, relay):
    """A kernel and an image that needs it, as someone would write it down by hand, and an empty cloud."""
    for seed, name in enumerate(("kernel", "image")):
        (tmp_path / name).write_bytes(random.Random(seed).randbytes(100_000))
    kernel = {"name": "kernel", "filename": str(tmp_path / "kernel"), "disk_format": "aki", "container_format": "aki"}
    image = {"name": "image", "filename": str(tmp_path / "image"), "disk_format": "ami", "container_format": "ami", "depends": {"kernel_id": "kernel"}}
    relay.changes()
    yield [kernel, image]
    remove_all(client)


def rewrite(entry, seed):
    with open(entry["filename"], "wb") as file:
        file.write(random.Random(seed).randbytes(100_000))


def test_what_is_replaced_is_retired(cloud, client, relay, files):
    """In each way; and what is said about an image is corrected without an upload."""
    kernel, image = files
    first = cloud.publish(files, publish_image_visibility="community", publish_image_tags=["one", "two"], publish_image_protected=True)
    assert first.status == 0, first.said[-3000:]
    before = images(client, visibility="community")
    assert {(one["protected"], tuple(sorted(one["tags"]))) for one in before.values()} == {(True, ("one", "two"))}
    relay.changes()

    rewrite(kernel, 10)  # the image gets another kernel_id, and all the rest stays as it was
    image["properties"] = {"hw_boot_menu": True, "os_secure_boot": "required"}
    image["min_ram"] = 64
    second = cloud.publish(files, publish_image_retire="deactivate")
    assert second.status == 0, second.said[-3000:]
    assert [entry["action"] for entry in second.result["images"]] == ["upload", "update"]
    assert ("POST", "deactivate") in relay.changes()
    now = images(client, visibility="community")
    assert now["image"]["id"] == before["image"]["id"]
    assert (now["image"]["kernel_id"], now["image"]["min_ram"]) == (now["kernel"]["id"], 64)
    assert (now["image"]["hw_boot_menu"], now["image"]["os_secure_boot"]) == ("true", "required")
    assert (now["kernel"]["protected"], sorted(now["kernel"]["tags"])) == (True, ["one", "two"])
    old = client.show(before["kernel"]["id"])
    assert (old["status"], old["os_hidden"], old["name"][:7]) == ("deactivated", False, "kernel.")
    again = cloud.publish(files)
    assert " changed=0 " in again.recap, again.said[-3000:]
    assert relay.changes() == []

    rewrite(kernel, 11)
    third = cloud.publish(files, publish_image_retire="keep", publish_image_protected=False)
    assert third.status == 0, third.said[-3000:]
    old = client.show(now["kernel"]["id"])
    assert (old["status"], old["os_hidden"], old["name"][:7], old["protected"]) == ("active", False, "kernel.", True)

    rewrite(kernel, 12)
    kept = images(client, visibility="community")
    # An administrator also sees another project's image of that name.
    other = {"name": "kernel", "disk_format": "raw", "container_format": "bare", "owner": "8" * 32, "visibility": "public"}
    assert client.call("POST", "/v2/images", json.dumps(other).encode())[0] == 201
    fourth = cloud.publish(files, publish_image_retire="delete", publish_image_project="7" * 32, delegate="node")
    assert fourth.status == 0, fourth.said[-3000:]
    now = images(client, visibility="community")
    assert kept.keys() == now.keys()
    assert kept.pop("kernel")["id"] != now["kernel"]["id"] == now["image"]["kernel_id"]
    status, _content = client.call("GET", f"/v2/images/{fourth.result['images'][0]['replaces']}")
    assert status == 404


def kill(pid):
    """End a process and all that it started, which is in sessions of its own."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it is over by now
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    doomed = [pid]
    for one in doomed:
        doomed += [child for child, parent in parents.items() if parent == one]
    for one in doomed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def test_a_killed_run_is_taken_up(cloud, client, relay, files):
    """Half of an image is removed, and a complete one is used."""
    kernel, image = files
    image["depends"] = {}
    relay.stalls = True
    process = cloud.start([image])
    try:
        assert relay.stalled.wait(300)
    finally:
        kill(process.pid)
        process.communicate()
        relay.stalls = False
    (left,) = images(client).values()
    assert left["name"] == "image.publishing"
    assert left["status"] in ("queued", "saving")
    # And a run that was killed when it had uploaded the kernel.
    _status, content = client.create(name="kernel.publishing", disk_format="aki", container_format="aki")
    complete = json.loads(content)["id"]
    with open(kernel["filename"], "rb") as file:
        assert client.call("PUT", f"/v2/images/{complete}/file", file.read(), "application/octet-stream")[0] == 204
    relay.changes()
    done = cloud.publish(files)
    assert done.status == 0, done.said[-3000:]
    assert [entry["action"] for entry in done.result["images"]] == ["promote", "upload"]
    assert relay.changes().count(("PUT", "file")) == 1
    now = images(client)
    assert {name: image["status"] for name, image in now.items()} == {"kernel": "active", "image": "active"}
    assert now["kernel"]["id"] == complete
    assert client.call("GET", f"/v2/images/{left['id']}")[0] == 404


def test_what_fails_leaves_all_as_it_was(cloud, client, relay, files):
    kernel, image = files
    image.update(disk_format="qcow2", container_format="bare", depends={})
    nowhere = cloud.publish([image], publish_image_cloud="nowhere")
    assert nowhere.status == 2
    assert "Cloud nowhere was not found" in nowhere.said
    refused = cloud.publish(files)  # by us, with the reason, and before a byte is sent
    assert refused.status == 2
    assert "Nothing was uploaded. Glance would not take, or could not use" in refused.said
    assert f"{image['filename']} as qcow2: " in refused.said
    assert relay.changes() == []
    refused = cloud.publish(files, publish_image_verdict=False)  # by Glance; the kernel was there already
    assert refused.status == 2
    assert "415" in refused.said.rpartition("Fail with the reason")[2]
    assert {name: image["status"] for name, image in images(client).items()} == {"kernel.publishing": "active"}
