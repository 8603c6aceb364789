# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: images
short_description: Make each image of a list a host, and spread them over workers
version_added: 0.1.0
author: vmimage.prep contributors (@vmimage)
description:
  - Makes each image of a list a host of the inventory, with the variables that the role P(vmimage.prep.prepare_image#role) needs.
    What Ansible and AWX do with hosts, they then do with images. Forks and job slices prepare many at once, and a limit
    or a relaunch on failed hosts repeats single ones.
  - The work is done by the machines in O(workers), or by the machine that runs Ansible. Each image goes to one of them.
  - The file's name has to end in C(images.yml) or C(images.yaml).
extends_documentation_fragment:
  - ansible.builtin.constructed
options:
  plugin:
    description: Says that the file is for this plugin.
    type: str
    required: true
    choices: [vmimage.prep.images]
  images:
    description:
      - The images. Each is the path of a file as the worker sees it, or a dictionary with the key C(src) for that path.
      - The key C(name) is the name of the host. If it is not there, that is the file's name without its ending, or without the two endings
        of what is compressed. Characters that are not allowed become hyphens, and a name that is taken gets a number, in the order of the list.
      - The key C(dest) is the file to write. No two images may have the same.
      - All other keys are variables of the host, as C(prepare_image_profile).
    type: list
    elements: raw
    default: []
  manifest:
    description:
      - A file with more images. If its name ends in C(.csv) it is a table with these keys as its first line, in UTF-8; an empty field counts as
        not there. Otherwise it is a list in YAML or JSON, as in O(images).
      - It may come from others. So expressions in it are not evaluated, and variables whose names begin with C(ansible_) are refused.
      - A relative path starts at the folder of the inventory file, as do those in O(patterns).
    type: str
  patterns:
    description:
      - Files to take as images, as V(/srv/incoming/*.ova). They are looked for on the machine that runs Ansible, so the workers have to see them
        under the same path.
      - A file that is in O(images) or O(manifest), too, is taken once, as it stands there.
    type: list
    elements: str
    default: []
  workers:
    description:
      - The machines that do the work. Each is a host or a group that the inventory already has from a source before this one, or a
        dictionary with the key C(name) for the address and the variables to reach it.
      - Of a host that the inventory has, an image gets the variables whose names begin with C(ansible_), from its groups, too, and from the files
        in C(group_vars) and C(host_vars) beside the inventory.
      - If there are none, the machine that runs Ansible does the work. In AWX that is the execution node or the container that has the slice.
    type: list
    elements: raw
    default: []
  spread:
    description:
      - How images go to workers.
      - V(even) takes the images in the order of their names and the workers in turn. All get as many, whatever part of the images a job slice has.
      - V(stable) decides by the names alone. The parts are uneven, but a new image moves none of the others, and a new worker only those
        that it gets. This is for workers that keep the images on disks of their own.
    type: str
    choices: [even, stable]
    default: even
  group:
    description: The group that all images are in.
    type: str
    default: images
  vars:
    description: Variables of that group. Those of a single image and those of its worker win over them.
    type: dict
    default: {}
notes:
  - Each host has the variables C(prepare_image_src), C(prepare_image_dest) if its image has a C(dest), and C(vmimage_worker), the name of its worker.
seealso:
  - ref: ansible_collections.vmimage.prep.docsite.guide_fleet
    description: A fleet over several machines, with AWX and without.
"""

EXAMPLES = r"""
# fleet.images.yml: three images, prepared by the machine that runs Ansible.
# ansible-playbook -i fleet.images.yml vmimage.prep.prepare_image -e prepare_image_hosts=images
plugin: vmimage.prep.images
images:
  - /srv/incoming/web.ova
  - /srv/incoming/database.vhdx
  - src: /srv/incoming/legacy.vmdk
    dest: /srv/images/legacy-erp.raw
    name: legacy-erp
    prepare_image_profile: ceph
vars:
  prepare_image_dest: /srv/images/{{ inventory_hostname }}.qcow2

---
# All that lies in a folder, spread over four machines that share it.
plugin: vmimage.prep.images
patterns:
  - /srv/incoming/*.ova
  - /srv/incoming/*.vhdx
workers:
  - name: node1.example.com
  - name: node2.example.com
  - name: node3.example.com
  - name: 192.0.2.4
    ansible_user: prep
    ansible_become: true
vars:
  prepare_image_dest: /srv/images/{{ inventory_hostname }}.qcow2

---
# A table that somebody keeps, on the hosts of a group of another inventory.
# ansible-playbook -i hosts.yml -i fleet.images.yml vmimage.prep.prepare_image -e prepare_image_hosts=images
plugin: vmimage.prep.images
manifest: fleet.csv
workers:
  - converters
spread: stable
keyed_groups:
  - key: vmimage_worker
    prefix: worker
groups:
  appliances: prepare_image_src is search('[.]ova$')
"""

import collections.abc as c
import csv
import glob
import hashlib
import itertools
import os
import re
import typing as t

from ansible.errors import AnsibleError, AnsibleParserError
from ansible.inventory.helpers import get_group_vars
from ansible.plugins.inventory import BaseInventoryPlugin, Constructable
from ansible.template import trust_as_template
from ansible.utils.vars import combine_vars
from ansible.vars.plugins import get_vars_from_inventory_sources

_ENDING = re.compile(r"((?<=.)\.[A-Za-z]\w*)?\.(gz|xz|bz2|zst)$|(?<=.)\.\w+$")  # as the role prepare_image has it
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OF_AN_IMAGE = {"src": "prepare_image_src", "dest": "prepare_image_dest"}
_TAKEN = ("all", "ungrouped", "localhost")
_MAX_MANIFEST = 16 << 20

_Variables = dict[str, t.Any]


class _Image(t.NamedTuple):
    """An entry of the list: where it stands, for messages; the host's name if it is given; and the host's variables."""

    place: str
    name: str | None
    variables: _Variables


class InventoryModule(BaseInventoryPlugin, Constructable):
    """Images as hosts."""

    NAME = "vmimage.prep.images"

    def verify_file(self, path: str) -> bool:
        return super().verify_file(path) and path.endswith(("images.yml", "images.yaml"))

    def parse(self, inventory: t.Any, loader: t.Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        unknown = set(self._read_config_data(path)) - set(self._options)
        if unknown:
            raise AnsibleParserError(f"{path}: there is no option {', '.join(sorted(map(str, unknown)))}")
        try:
            self._fill(os.path.dirname(os.path.abspath(path)))
        except AnsibleError as error:
            raise AnsibleParserError(f"{path}: {error.message}") from error

    def _fill(self, folder: str) -> None:
        """Add the group and the hosts, in the order of their names: AWX cuts slices in that order."""
        images = self._images(folder)
        workers = self._workers()
        group = self.inventory.add_group(self._sanitize_group_name(self.get_option("group")))
        local = {} if workers else {**_here(), "vmimage_worker": "localhost"}
        for variable, value in {**local, **self._checked(self.get_option("vars"), "vars")}.items():
            self.inventory.set_variable(group, variable, value)
        for position, (name, image) in enumerate(sorted(self._named(images).items())):
            self.inventory.add_host(name, group=group)
            worker = self._worker_of(name, position, list(workers))
            variables = {**workers[worker], "vmimage_worker": worker, **image.variables} if workers else image.variables
            for variable, value in variables.items():
                self.inventory.set_variable(name, variable, value)
            self._construct(name)

    def _images(self, folder: str) -> list[_Image]:
        """All images, in the order of the options, and each of these in its own."""
        images = [self._image(entry, f"images, entry {number}") for number, entry in enumerate(self.get_option("images"), 1)]
        if self.get_option("manifest"):
            path = os.path.join(folder, os.path.expanduser(self.get_option("manifest")))
            for number, entry in enumerate(self._manifest(path), 1):
                images.append(self._image(entry, f"{path}, entry {number}", trusted=False))
        listed = {image.variables["prepare_image_src"] for image in images}
        for pattern in self.get_option("patterns"):
            for src in sorted(glob.glob(os.path.join(folder, os.path.expanduser(pattern)), recursive=True)):
                if src not in listed and os.path.isfile(src):
                    listed.add(src)
                    images.append(self._image(src, src))
        written: dict[str, str] = {}
        for image in images:
            dest = os.path.normpath(image.variables.get("prepare_image_dest") or image.place)
            if dest in written and "{{" not in dest:
                raise AnsibleParserError(f"{image.place}: {dest} is what {written[dest]} writes already")
            written[dest] = image.place
        return images

    def _image(self, entry: t.Any, place: str, trusted: bool = True) -> _Image:
        if isinstance(entry, str):
            entry = {"src": entry}
        if not isinstance(entry, c.Mapping):
            raise AnsibleParserError(f"{place}: an image is a path or a dictionary, not {entry!r}")
        for key in ("src", "name", "dest"):
            if key in entry and not (isinstance(entry[key], str) and entry[key]):
                raise AnsibleParserError(f"{place}: {key} has to be a text, not {entry[key]!r}")
        if "src" not in entry:
            raise AnsibleParserError(f"{place}: src is missing")
        variables = {_OF_AN_IMAGE.get(key, key): value for key, value in entry.items() if key != "name"}
        foreign = [] if trusted else [variable for variable in variables if str(variable).startswith("ansible_")]
        if foreign:
            raise AnsibleParserError(f"{place}: a manifest must not set {foreign[0]}")
        return _Image(place, entry.get("name"), self._checked(variables, place))

    def _manifest(self, path: str) -> list[t.Any]:
        """What is in the manifest, nothing of it checked."""
        try:
            if os.path.getsize(path) > _MAX_MANIFEST:
                raise AnsibleParserError(f"{path}: a manifest may have {_MAX_MANIFEST} bytes")
            if path.lower().endswith(".csv"):
                return _table(path)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise AnsibleParserError(f"the manifest {path} cannot be read: {error}") from error
        entries = self.loader.load_from_file(path, cache="none")
        if not isinstance(entries, list):
            raise AnsibleParserError(f"{path}: a manifest is a list of images")
        return entries

    def _checked(self, variables: dict[t.Any, t.Any], place: str) -> _Variables:
        for variable in variables:
            if not (isinstance(variable, str) and _VARIABLE.fullmatch(variable)):
                raise AnsibleParserError(f"{place}: {variable!r} is no name of a variable")
        return dict(variables)

    def _named(self, images: list[_Image]) -> dict[str, _Image]:
        """The images by the names of their hosts. First those that are given, so that no other gets one of them."""
        taken = {*self.inventory.hosts, *self.inventory.groups, *_TAKEN}
        named: dict[str, _Image] = {}
        for image in images:
            if image.name is not None:
                if not _NAME.fullmatch(image.name):
                    raise AnsibleParserError(f"{image.place}: the name {image.name!r} may only have letters, digits, hyphens, dots and underscores")
                if image.name in taken or image.name in named:
                    raise AnsibleParserError(f"{image.place}: there is a host or a group {image.name} already")
                named[image.name] = image
        for image in images:
            if image.name is None:
                stem = _stem(image.variables["prepare_image_src"])
                numbered = (f"{stem}-{number}" for number in itertools.count(2))
                name = next(name for name in itertools.chain([stem], numbered) if name not in taken and name not in named)
                named[name] = image
        return named

    def _workers(self) -> dict[str, _Variables]:
        """The variables that an image gets from each worker, by the workers' names."""
        workers: dict[str, _Variables] = {}
        for number, entry in enumerate(self.get_option("workers"), 1):
            place = f"workers, entry {number}"
            if isinstance(entry, c.Mapping):
                name = entry.get("name")
                if not (isinstance(name, str) and name):
                    raise AnsibleParserError(f"{place}: name is missing")
                variables = {variable: value for variable, value in entry.items() if variable != "name"}
                workers[name] = self._checked({"ansible_host": name, **variables}, place)
            elif not isinstance(entry, str):
                raise AnsibleParserError(f"{place}: a worker is a name or a dictionary, not {entry!r}")
            elif entry in self.inventory.hosts:
                workers[entry] = self._known(entry)
            elif entry in self.inventory.groups:
                workers.update((host.name, self._known(host.name)) for host in self.inventory.groups[entry].get_hosts())
            elif entry == "localhost":
                workers[entry] = _here()
            else:
                raise AnsibleParserError(
                    f"{place}: the inventory has no host and no group {entry} yet. Name the source that has it before this one, "
                    f"or give an address as {{name: {entry}}}"
                )
        if self.get_option("workers") and not workers:
            raise AnsibleParserError("workers: there is no host in these groups")
        return workers

    def _known(self, name: str) -> _Variables:
        """How a host of the inventory is reached, by the precedence that Ansible has."""
        host = self.inventory.hosts[name]
        sources = getattr(self.inventory, "processed_sources", [])
        groups = host.get_groups()
        found = combine_vars(get_group_vars(groups), get_vars_from_inventory_sources(self.loader, sources, groups, "all"))
        found = combine_vars(found, combine_vars(host.get_vars(), get_vars_from_inventory_sources(self.loader, sources, [host], "all")))
        variables = {"ansible_host": name}
        for variable, value in found.items():
            if variable.startswith("ansible_"):
                # This names the worker now, and would name the image later. Anything else is evaluated when it is needed.
                if isinstance(value, str) and "inventory_hostname" in value:
                    self.templar.available_variables = found
                    value = self.templar.template(value)
                variables[variable] = value
        return variables

    def _worker_of(self, name: str, position: int, workers: list[str]) -> str:
        if not workers:
            return "localhost"
        if self.get_option("spread") == "even":
            return workers[position % len(workers)]
        # Rendezvous hashing: each worker draws a number for the image, and the highest wins.
        return max(workers, key=lambda worker: hashlib.sha256(f"{worker}\0{name}".encode()).digest())

    def _construct(self, name: str) -> None:
        """What the options of constructed plugins ask for."""
        host = self.inventory.hosts[name]
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), self._all_of(host), name, strict=strict)
        variables = self._all_of(host)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict, fetch_hostvars=False)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict, fetch_hostvars=False)

    def _all_of(self, host: t.Any) -> _Variables:
        return combine_vars(get_group_vars(host.get_groups()), host.get_vars())


def _here() -> _Variables:
    """How the machine that runs Ansible is reached."""
    return {"ansible_connection": "local", "ansible_python_interpreter": trust_as_template("{{ ansible_playbook_python }}")}


def _stem(src: str) -> str:
    """A host's name for a file: its own without the endings, of characters that mean nothing in a pattern of hosts."""
    stem = _ENDING.sub("", os.path.basename(src.rstrip("/")))
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._") or "image"


def _table(path: str) -> list[_Variables]:
    """The lines of a CSV file as dictionaries, without the empty fields."""
    with open(path, encoding="utf-8-sig", newline="") as file:  # a spreadsheet puts a mark in front
        reader = csv.DictReader(file, strict=True)
        entries = []
        for row in reader:
            if None in row:
                raise AnsibleParserError(f"{path}, line {reader.line_num}: there are more fields than in the first line")
            entries.append({key.strip(): value.strip() for key, value in row.items() if value and value.strip()})
        return entries
