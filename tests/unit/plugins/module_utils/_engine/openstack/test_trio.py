# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for the upload of a trio."""

from __future__ import annotations

from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack.trio import upload_plan, with_given

GIB = 1 << 30


def test_all_three_in_the_order_in_which_they_need_each_other(tmp_path):
    image = tmp_path / "root.img"
    with open(image, "wb") as file:
        file.truncate(GIB + 1)
    plan = upload_plan(str(image), "/k", "/r", "server", command_line="root=LABEL=x ro", architecture="x86_64")
    assert [(entry["name"], entry["path"], entry["disk_format"], entry["container_format"]) for entry in plan] == [
        ("server-kernel", "/k", "aki", "aki"),
        ("server-ramdisk", "/r", "ari", "ari"),
        ("server", str(image), "ami", "ami"),
    ]
    assert [entry["depends"] for entry in plan] == [{}, {}, {"kernel_id": "server-kernel", "ramdisk_id": "server-ramdisk"}]
    assert [entry["properties"] for entry in plan] == [
        {"architecture": "x86_64"},
        {"architecture": "x86_64"},
        {"architecture": "x86_64", "os_command_line": "root=LABEL=x ro"},
    ]
    assert [entry["min_disk"] for entry in plan] == [0, 0, 2]


def test_what_is_not_there():
    plan = upload_plan("/image", "/k", None, "server", image_size=GIB)
    assert [entry["name"] for entry in plan] == ["server-kernel", "server"]
    assert plan[1]["depends"] == {"kernel_id": "server-kernel"}
    assert plan[1]["min_disk"] == 1
    assert plan[1]["properties"] == {}
    plan = upload_plan("/image", None, None, "server", command_line="quiet", architecture="no-such", image_size=1)
    assert [(entry["properties"], entry["depends"]) for entry in plan] == [({}, {})]
    assert [entry["disk_format"] for entry in upload_plan(None, "/k", "/r", "server")] == ["aki", "ari"]


def test_properties_of_the_image():
    plan = upload_plan("/image", "/k", None, "server", "quiet", "x86_64", 1, {"os_distro": "debian", "os_type": "linux"})
    assert [entry["properties"] for entry in plan] == [
        {"architecture": "x86_64"},
        {"architecture": "x86_64", "os_distro": "debian", "os_type": "linux", "os_command_line": "quiet"},
    ]
    changed = with_given(plan, {"os_distro": None, "os_command_line": "single", "team": "ours"})
    assert [entry["properties"] for entry in changed] == [
        {"architecture": "x86_64"},
        {"architecture": "x86_64", "os_type": "linux", "os_command_line": "single", "team": "ours"},
    ]
    assert plan[1]["properties"]["os_distro"] == "debian"
