# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: publish_steps
short_description: Tell what has to be done so that a cloud has the images of a plan
version_added: 0.1.0
author: vmimage.prep contributors (@vmimage)
description:
  - Compares what is to be uploaded with what is there. The role P(vmimage.prep.publish_image#role) does what comes out.
  - An image is there if one of its name has the same content, by its checksum, and the same formats, which cannot be changed afterwards.
  - An image with other content is replaced. The new one is uploaded under a temporary name, which is its name with C(.publishing). One that
    is complete and was left under that name is taken, and all others are to be removed.
options:
  _input:
    description:
      - Images to upload, those that others depend on first. C(upload_plan) of the roles' results is such a list.
      - Each has C(name), C(filename), C(disk_format) and C(container_format), and may have C(min_disk), C(min_ram), C(properties), C(checksums)
        (the hexadecimal digests by algorithm) and C(depends). The latter has, by the name of a property, the name of the image in the list whose
        identifier it gets.
    type: list
    elements: dict
    required: true
  images:
    description: The images of the cloud, as M(openstack.cloud.image_info) returns them.
    type: list
    elements: dict
    required: true
  checksums:
    description: The sha512 of files by their path, for those of which the plan has none.
    type: dict
    default: {}
  project:
    description: Identifier of the project whose images are looked at. All are, if not set.
    type: str
  visibility:
    description: Who may use the images. If not set, it is that of the image that is there, or V(private).
    type: str
  protected:
    description: Whether the images are protected from deletion. If not set, as the image that is there.
    type: bool
  tags:
    description: The images' tags. If there are none, those of the image that is there.
    type: list
    elements: str
  retire:
    description: What is done with an image that is replaced. See O(vmimage.prep.publish_image#role:main:publish_image_retire).
    type: str
    choices: [keep, hide, deactivate, delete]
    default: hide
"""

EXAMPLES = r"""
- name: What is there?
  openstack.cloud.image_info:
    cloud: mycloud
  register: found

- name: Show which images would be uploaded
  ansible.builtin.debug:
    msg: "{{ steps | selectattr('action', 'eq', 'upload') | map(attribute='name') }}"
  vars:
    steps: "{{ prepare_image_result.upload_plan | vmimage.prep.publish_steps(found.images) }}"
"""

RETURN = r"""
_value:
  description:
    - One entry for each image of the plan, with the keys that it may have there, and with these.
    - C(action), which is V(unchanged), V(update) (only what is said about the image), V(promote) (it is there under its temporary name), or
      V(upload); C(id) of the image that is there, else null; C(temporary), the name while it is uploaded; C(stale), the identifiers of
      images under that name that are to be removed; C(replaces), the image that is replaced, or null, with C(id), C(name) (its new one),
      C(visibility) and C(state) as M(openstack.cloud.image) takes them; C(visibility), C(protected) and C(tags).
  type: list
  elements: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._engine.errors import ImageError
from ..module_utils._engine.openstack.given import checked, merged

Facts = dict[str, t.Any]

NAME_LIMIT = 230
"""characters of a name, so that it has room in Glance's 255 for what a temporary or retired one is told apart by"""

KEYS = ("name", "filename", "disk_format", "container_format")

# Properties that openstacksdk shows under another name than Glance, out of its openstack/image/v2/image.py.
ATTRIBUTES = {
    "auto_disk_config": "has_auto_disk_config",
    "hw_boot_menu": "is_hw_boot_menu_enabled",
    "hw_vif_multiqueue_enabled": "is_hw_vif_multiqueue_enabled",
    "img_config_drive": "needs_config_drive",
    "os_secure_boot": "needs_secure_boot",
}


def publish_steps(
    plan: list[Facts],
    images: list[Facts],
    checksums: dict[str, str] | None = None,
    project: str | None = None,
    visibility: str | None = None,
    protected: bool | None = None,
    tags: list[str] | None = None,
    retire: str = "hide",
) -> list[Facts]:
    """What has to be done for each image of the plan."""
    if project:
        images = [image for image in images if image["owner"] == project]
    ids: dict[str, str | None] = {}
    steps = []
    for entry in plan:
        missing = [key for key in KEYS if key not in entry]
        if missing:
            raise AnsibleFilterError(f"an image of the plan has no {', '.join(missing)}: {entry.get('name') or entry.get('filename') or entry}")
        name, depends = entry["name"], entry.get("depends") or {}
        if name in ids:
            raise AnsibleFilterError(f"two images of the plan are called {name}")
        if len(name) > NAME_LIMIT:
            raise AnsibleFilterError(f"the name of an image may have {NAME_LIMIT} characters: {name}")
        unknown = sorted(set(depends.values()) - set(ids))
        if unknown:
            raise AnsibleFilterError(f"{name} depends on {', '.join(unknown)}, which the plan has to name before it")
        step = {
            **{key: entry[key] for key in KEYS},
            "checksums": _checksums(entry, checksums or {}),
            "min_disk": int(entry.get("min_disk") or 0),
            "min_ram": int(entry.get("min_ram") or 0),
            "properties": _properties(name, entry.get("properties") or {}),
            "depends": depends,
            "temporary": f"{name}.publishing",
        }
        present = _the_one(name, [image for image in images if image["name"] == name])
        before = present or {}
        step["visibility"] = visibility or before.get("visibility") or "private"
        step["protected"] = bool(before.get("is_protected") if protected is None else protected)
        step["tags"] = sorted(tags or before.get("tags") or [])
        step.update(_decide(step, present, [image for image in images if image["name"] == step["temporary"]], ids))
        step["replaces"] = _retired(present, retire) if present and step["action"] in ("promote", "upload") else None
        ids[name] = step["id"]
        steps.append(step)
    return steps


def _checksums(entry: Facts, others: dict[str, str]) -> dict[str, str]:
    known = {"sha512": others[entry["filename"]]} if entry["filename"] in others else {}
    return {**known, **(entry.get("checksums") or {})}


def _the_one(name: str, found: list[Facts]) -> Facts | None:
    if len(found) > 1:
        listing = ", ".join(f"{image['id']} (project {image['owner']})" for image in found)
        raise AnsibleFilterError(
            f"several images are called {name}, so it is not clear which is meant: {listing}. Rename or delete all but one, or name the project"
        )
    return found[0] if found else None


def _decide(step: Facts, present: Facts | None, temporary: list[Facts], ids: dict[str, str | None]) -> Facts:
    if present and _is_same(step, present):
        wanted = {**step["properties"], **{key: ids[other] for key, other in step["depends"].items()}}
        action = "unchanged" if _says(step, wanted, present) else "update"
        return {"action": action, "id": present["id"], "stale": [image["id"] for image in temporary]}
    complete = next((image for image in temporary if _is_same(step, image)), None)
    stale = [image["id"] for image in temporary if image is not complete]
    return {"action": "promote" if complete else "upload", "id": complete["id"] if complete else None, "stale": stale}


def _is_same(step: Facts, image: Facts) -> bool:
    """Whether an image has the content, and the formats that are given to it."""
    if image["status"] not in ("active", "deactivated"):
        return False
    digest = (image["hash_algo"], image["hash_value"]) if image.get("hash_value") else ("md5", image["checksum"])
    formats = ("disk_format", "container_format")
    return bool(digest[1]) and step["checksums"].get(digest[0]) == digest[1] and all(step[key] == image[key] for key in formats)


def _says(step: Facts, properties: dict[str, str | None], image: Facts) -> bool:
    """Whether all that is said about an image is what is to be said."""
    same = (
        image["status"] == "active",
        *(image[key] == step[key] for key in ("min_disk", "min_ram", "visibility")),
        bool(image["is_protected"]) == step["protected"],
        sorted(image["tags"] or []) == step["tags"],
    )
    # An identifier that is not known is that of an image to upload, and certainly another.
    return all(same) and all(value is not None and _text(value).lower() == _text(_value(image, key)).lower() for key, value in properties.items())


def _value(image: Facts, key: str) -> t.Any:
    """A property of an image, whether openstacksdk knows it or not."""
    others = image.get("properties") or {}
    return others[key] if key in others else image.get(ATTRIBUTES.get(key, key))


def _properties(name: str, given: Facts) -> dict[str, str]:
    """The properties of an image as Glance has them. Those with a typing error in them would be stored, and never be seen again."""
    try:
        return merged({}, checked(given))
    except ImageError as error:
        raise AnsibleFilterError(f"{name}: {error}") from error


def _text(value: t.Any) -> str:
    """A property as Glance has it: always a text, and truth in small letters."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _retired(image: Facts, retire: str) -> Facts:
    """How an image makes room for another: its name gets its date and the beginning of its identifier."""
    if retire == "delete" and image["is_protected"]:
        raise AnsibleFilterError(f"{image['name']} ({image['id']}) is protected and cannot be deleted. Retire it in another way, or take its protection away")
    date = (image.get("created_at") or "")[:10].replace("-", "")
    inactive = retire == "deactivate" or image["status"] == "deactivated"
    return {
        "id": image["id"],
        "name": f"{image['name']}.{date}-{image['id'][:8]}",
        "visibility": image["visibility"],
        "state": "absent" if retire == "delete" else "inactive" if inactive else "present",
        "properties": {"os_hidden": True} if retire == "hide" else {},
    }


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"publish_steps": publish_steps}
