# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done, by what is to be there and what is there."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.vmimage.prep.plugins.filter.publish_steps import publish_steps

ENTRY = {"name": "disk", "filename": "/srv/disk", "disk_format": "qcow2", "container_format": "bare", "checksums": {"sha512": "aa", "md5": "bb"}}
IMAGE = {
    "id": "3b694359-199c-49fd-877d-a0346908a239",
    "name": "disk",
    "owner": "7",
    "status": "active",
    "disk_format": "qcow2",
    "container_format": "bare",
    "hash_algo": "sha512",
    "hash_value": "aa",
    "checksum": "bb",
    "min_disk": 0,
    "min_ram": 0,
    "visibility": "private",
    "is_protected": False,
    "tags": [],
    "created_at": "2026-11-28T23:32:39Z",
    "properties": {"stores": "local"},
}
OTHER = {**IMAGE, "hash_value": "cc", "checksum": "dd"}


def step(entry=None, images=(), **options):
    (only,) = publish_steps([{**ENTRY, **(entry or {})}], list(images), **options)
    return only


def test_nothing_is_there():
    assert step() == {
        **ENTRY,
        "min_disk": 0,
        "min_ram": 0,
        "properties": {},
        "depends": {},
        "temporary": "disk.publishing",
        "visibility": "private",
        "protected": False,
        "tags": [],
        "action": "upload",
        "id": None,
        "stale": [],
        "replaces": None,
    }


@pytest.mark.parametrize(
    ("entry", "image", "action"),
    [
        ({}, {}, "unchanged"),
        ({"checksums": {"sha256": "ee", "md5": "bb"}}, {"hash_algo": "sha256", "hash_value": "ee"}, "unchanged"),
        ({"checksums": {"md5": "bb"}}, {}, "upload"),  # what Glance uses itself counts
        ({"checksums": {"md5": "bb"}}, {"hash_algo": None, "hash_value": None}, "unchanged"),
        ({"checksums": {"md5": "bc"}}, {"hash_algo": None, "hash_value": None}, "upload"),
        ({"checksums": {}}, {"hash_algo": None, "hash_value": None, "checksum": None}, "upload"),
        ({}, {"hash_value": "ab"}, "upload"),
        ({}, {"status": "queued"}, "upload"),
        ({}, {"status": "deactivated"}, "update"),
        ({}, {"disk_format": "raw"}, "upload"),
        ({}, {"container_format": "ovf"}, "upload"),
        ({"min_disk": 1}, {}, "update"),
        ({"min_disk": "1", "min_ram": None}, {"min_disk": 1}, "unchanged"),
        ({"properties": {"hw_disk_bus": "scsi"}}, {}, "update"),
        ({"properties": {"hw_disk_bus": "scsi"}}, {"hw_disk_bus": "scsi"}, "unchanged"),
        ({"properties": {"hw_disk_bus": "scsi"}}, {"hw_disk_bus": "ide"}, "update"),
        ({"properties": {"mine": 3, "yours": True}}, {"properties": {"mine": "3", "yours": "True"}}, "unchanged"),
        ({"properties": {"mine": ""}}, {"properties": {"mine": ""}}, "unchanged"),
        ({"properties": {"mine": ""}}, {"properties": {"mine": "3"}}, "update"),
        ({"properties": {"hw_boot_menu": False, "hw_cpu_cores": 2}}, {"is_hw_boot_menu_enabled": False, "hw_cpu_cores": 2}, "unchanged"),
        ({"properties": {"hw_boot_menu": True}}, {"is_hw_boot_menu_enabled": False}, "update"),
        ({"properties": {"os_secure_boot": "required"}}, {"needs_secure_boot": "required"}, "unchanged"),
    ],
)
def test_one_is_there(entry, image, action):
    found = step(entry, [{**IMAGE, **image}, {**IMAGE, "name": "disk2", "id": "another"}])
    assert found["action"] == action
    assert found["id"] == (None if action == "upload" else IMAGE["id"])
    assert (found["replaces"] is None) == (action != "upload")


def test_what_is_not_asked_for_stays_as_it_was():
    there = {**OTHER, "visibility": "public", "is_protected": True, "tags": ["b", "a"]}
    found = step({}, [there])
    assert [found[key] for key in ("visibility", "protected", "tags")] == ["public", True, ["a", "b"]]
    found = step({}, [there], visibility="shared", protected=False, tags=["c"])
    assert [found[key] for key in ("visibility", "protected", "tags")] == ["shared", False, ["c"]]
    same = {**there, "hash_value": "aa"}
    assert step({}, [same])["action"] == "unchanged"
    for options in ({"visibility": "shared"}, {"protected": False}, {"tags": ["b"]}):
        assert step({}, [same], **options)["action"] == "update"


@pytest.mark.parametrize(
    ("retire", "status", "state", "properties"),
    [
        ("keep", "active", "present", {}),
        ("hide", "active", "present", {"os_hidden": True}),
        ("hide", "deactivated", "inactive", {"os_hidden": True}),
        ("deactivate", "active", "inactive", {}),
        ("delete", "active", "absent", {}),
    ],
)
def test_what_is_replaced(retire, status, state, properties):
    found = step({}, [{**OTHER, "status": status}], retire=retire)
    assert found["replaces"] == {
        "id": IMAGE["id"],
        "name": "disk.20261128-3b694359",
        "visibility": "private",
        "state": state,
        "properties": properties,
    }


def test_temporary_images():
    half = {**IMAGE, "name": "disk.publishing", "id": "half", "status": "queued"}
    complete = {**IMAGE, "name": "disk.publishing", "id": "complete"}
    found = step({}, [OTHER, half, complete, {**complete, "id": "again"}])
    assert (found["action"], found["id"], found["stale"], found["replaces"]["id"]) == ("promote", "complete", ["half", "again"], OTHER["id"])
    found = step({}, [IMAGE, half, complete])
    assert (found["action"], found["stale"]) == ("unchanged", ["half", "complete"])
    found = step({"checksums": {"sha512": "ff"}}, [complete])
    assert (found["action"], found["stale"]) == ("upload", ["complete"])


def test_an_image_that_needs_others():
    kernel = {**ENTRY, "name": "kernel", "disk_format": "aki", "container_format": "aki"}
    image = {**ENTRY, "depends": {"kernel_id": "kernel"}}
    there = [{**IMAGE, "name": "kernel", "id": "k", "disk_format": "aki", "container_format": "aki"}, {**IMAGE, "kernel_id": "k"}]
    assert [one["action"] for one in publish_steps([kernel, image], there)] == ["unchanged", "unchanged"]
    assert [one["action"] for one in publish_steps([kernel, image], [there[0], IMAGE])] == ["unchanged", "update"]
    assert [one["action"] for one in publish_steps([{**kernel, "checksums": {"sha512": "ff"}}, image], there)] == ["upload", "update"]
    with pytest.raises(AnsibleFilterError, match="disk depends on kernel, which the plan has to name before it"):
        publish_steps([image, kernel], there)


def test_checksums_that_the_plan_does_not_have():
    assert step({"checksums": {"md5": "bb"}}, [IMAGE], checksums={"/srv/disk": "aa", "/srv/other": "ff"})["action"] == "unchanged"
    assert step({}, [IMAGE], checksums={"/srv/disk": "ff"})["checksums"]["sha512"] == "aa"
    bare = {key: value for key, value in ENTRY.items() if key != "checksums"}
    assert publish_steps([bare], [IMAGE], checksums={"/srv/disk": "aa"})[0]["action"] == "unchanged"


def test_images_of_others():
    theirs = {**OTHER, "id": "theirs", "owner": "8"}
    with pytest.raises(AnsibleFilterError, match=r"several images are called disk, .* theirs \(project 8\)"):
        step({}, [IMAGE, theirs])
    assert step({}, [IMAGE, theirs], project="7")["action"] == "unchanged"
    assert step({}, [IMAGE, theirs], project="8")["replaces"]["id"] == "theirs"
    assert step({}, [IMAGE, theirs], project="9")["action"] == "upload"


@pytest.mark.parametrize(
    ("plan", "options", "message"),
    [
        ([ENTRY, ENTRY], {}, "two images of the plan are called disk"),
        ([{"name": "disk", "disk_format": "raw"}], {}, "an image of the plan has no filename, container_format: disk"),
        ([{}], {}, "an image of the plan has no name, "),
        ([{**ENTRY, "name": "x" * 231}], {}, "may have 230 characters"),
        ([{**ENTRY, "checksums": {}}], {"retire": "delete"}, r"disk \(3b694359-.*\) is protected and cannot be deleted"),
    ],
)
def test_what_is_refused(plan, options, message):
    with pytest.raises(AnsibleFilterError, match=message):
        publish_steps(plan, [{**IMAGE, "is_protected": True}], **options)


def test_a_typing_error_in_a_property():
    with pytest.raises(AnsibleFilterError, match=r"disk: an image property is not right: hw_disk_buss .*; did you mean hw_disk_bus\?"):
        step({"properties": {"hw_disk_buss": "virtio"}})
    assert step({"properties": {"team": "ours", "hw_disk_bus": None}})["properties"] == {"team": "ours"}
