# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our vocabulary against the source of Nova and Glance, and against libosinfo's database. Their files are read; nothing of them is run."""

from __future__ import annotations

import ast
import json
from xml.etree import ElementTree

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest import osrelease
from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack import vocabulary, vmware
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.ovf import guest

KINDS = {"FlexibleBooleanField": vocabulary.BOOLEANS, "IntegerField": vocabulary.INTEGERS}
TEXT_FIELDS = ("StringField", "UUIDField", "VersionPredicateField", "ListOfDictOfNullableStringsField")
BY_NODE = ("hw_numa_cpus", "hw_numa_mem")
NOT_A_PROPERTY = ("traits_required",)
# What Nova and Cinder read beside ImageMetaProps, and Glance's metadefs do not have or have in another way.
ELSEWHERE = {"kernel_id", "ramdisk_id", "cinder_img_volume_type", "cinder_encryption_key_id", "cinder_encryption_key_deletion_policy"}
# As "Useful image properties" of Glance's documentation lists them.
GLANCE_DISTROS = set(
    "arch centos debian fedora freebsd gentoo mandrake mandriva mes msdos netbsd netware openbsd opensolaris opensuse rhel sled ubuntu windows".split()
)


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def constants(tree):
    """name → value of what is assigned, as far as that is written out."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                if isinstance(node.value, ast.Tuple):
                    found[node.targets[0].id] = tuple(found[item.id] for item in node.value.elts if isinstance(item, ast.Name))
    return found


def class_named(tree, name):
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)


@pytest.fixture(scope="module")
def nova(python_source):
    return python_source("nova")


@pytest.fixture(scope="module")
def image_fields(nova):
    """property → the class of its field."""
    found = class_named(parsed(nova / "objects/image_meta.py"), "ImageMetaProps")
    fields = next(node.value for node in found.body if isinstance(node, ast.Assign) and node.targets[0].id == "fields")
    return {key.value: value.func.attr for key, value in zip(fields.keys, fields.values)}


@pytest.fixture(scope="module")
def older_names(nova):
    found = class_named(parsed(nova / "objects/image_meta.py"), "ImageMetaProps")
    names = next(node.value for node in found.body if isinstance(node, ast.Assign) and node.targets[0].id == "_legacy_property_map")
    return ast.literal_eval(names)


@pytest.fixture(scope="module")
def enumerations(nova):
    """class of a field → its values."""
    tree = parsed(nova / "objects/fields.py")
    modules = {"arch": constants(parsed(nova / "virt/arch.py")), "network_model": constants(parsed(nova / "network/model.py"))}
    modules["arch"]["ALL"] = tuple(value for value in modules["arch"].values() if isinstance(value, str))
    values = {}
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        known = {}
        for line in node.body:
            if not isinstance(line, ast.Assign):
                continue
            name, value = line.targets[0].id, line.value
            if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name) and value.value.id in modules:
                known[name] = modules[value.value.id].get(value.attr)
            elif isinstance(value, ast.Constant):
                known[name] = value.value
            elif isinstance(value, ast.Tuple):
                known[name] = tuple(known[item.id] if isinstance(item, ast.Name) else item.value for item in value.elts)
            elif name == "AUTO_TYPE":
                known[name] = value.func.id
        if known.get("ALL"):
            values[node.name] = known["ALL"]
        if known.get("AUTO_TYPE") in values:
            values[node.name] = values[known["AUTO_TYPE"]]
    return values


def test_every_property_of_novas_is_known_with_its_values(image_fields, enumerations):
    assert len(image_fields) > 80
    wrong = {}
    for name, field in image_fields.items():
        if name in BY_NODE:
            right = vocabulary.NUMA.fullmatch(f"{name}.0") and name not in vocabulary.KNOWN
        elif field in enumerations:
            right = set(vocabulary.ENUMERATIONS.get(name, ())) == set(enumerations[field])
        elif field == "ImageSignatureHashTypeField":  # they are cursive's
            right = name in vocabulary.ENUMERATIONS
        else:
            right = name in NOT_A_PROPERTY or name in KINDS.get(field, vocabulary.TEXTS if field in TEXT_FIELDS else ())
        if not right:
            wrong[name] = (field, enumerations.get(field))
    assert wrong == {}


def test_older_names_have_the_values_of_the_newer_ones(older_names):
    # What VMware's driver takes in these two is told by Glance's metadefs only.
    of_vmware = {"vmware_disktype", "vmware_ostype"}
    for older, newer in older_names.items():
        if older in of_vmware:
            continue
        kinds = [kind for kind in (vocabulary.BOOLEANS, vocabulary.INTEGERS, vocabulary.TEXTS) if newer in kind]
        assert vocabulary.ENUMERATIONS.get(older) == vocabulary.ENUMERATIONS.get(newer), older
        assert all(older in kind for kind in kinds), older
        assert older in vocabulary.KNOWN


def metadefs(folder):
    """property → its values, of all that Glance describes for images."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        prefixes = [target.get("prefix", "") for target in content.get("resource_type_associations", ()) if target["name"] == "OS::Glance::Image"]
        for prefix in prefixes:
            found.update({prefix + name: entry.get("enum") for name, entry in content.get("properties", {}).items()})
    return found


def test_what_glance_describes_is_known_and_no_value_is_refused(python_source, image_fields, older_names):
    described = metadefs(python_source("glance", "etc/glance/metadefs"))
    ours = {name: values for name, values in described.items() if not name.startswith(("CIM_", "traits:", "cinder_"))}
    assert len(ours) > 50
    assert sorted(name for name in ours if name not in vocabulary.KNOWN) == []
    refused = {name: [value for value in values or () if vocabulary.objection(name, value)] for name, values in ours.items()}
    # Glance still has a hypervisor that Nova does not know any more.
    assert {name: values for name, values in refused.items() if values} == {"hypervisor_type": ["powervm"]}
    assert sorted(set(vocabulary.KNOWN) - set(ours) - set(image_fields) - set(older_names)) == sorted(ELSEWHERE)


def test_what_glance_keeps_for_itself(python_source):
    tree = class_named(parsed(python_source("glance") / "api/v2/images.py"), "RequestDeserializer")
    known = constants(tree)
    assert set(known["_reserved_properties"]) == set(vocabulary.RESERVED)
    attributes = {*known["_disallowed_properties"], *known["_readonly_properties"], *known["_base_properties"], "locations"}
    assert set(vocabulary.ATTRIBUTES) == attributes
    common = constants(parsed(python_source("glance") / "common/__init__.py"))
    wsgi = constants(parsed(python_source("glance") / "api/common.py"))
    assert {**common, **wsgi}.get("GLANCE_RESERVED_NS") == vocabulary.RESERVED_PREFIX


def test_vmwares_names_are_known_to_nova(nova):
    tree = parsed(nova / "virt/vmwareapi/constants.py")
    listed = next(node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "VALID_OS_TYPES")
    known = ast.literal_eval(listed.args[0])
    versions = [*map(str, range(30)), *vmware._WINDOWS, None]
    distros = [*vmware._NUMBERED, *vmware._PLAIN, "windows"]
    made = {vmware.system_name(distro, version, architecture) for distro in distros for version in versions for architecture in ("x86_64", "i686")}
    assert len(made) > 20
    assert sorted(name for name in made - {None} if name not in known) == []


def test_names_of_distributions(installed):
    """Glance's own words come first, and libosinfo has all others."""
    folder = installed("/usr/share/osinfo/os")
    known = {element.text for path in folder.rglob("*.xml") for element in ElementTree.parse(path).iter("distro")}
    assert {"debian", "voidlinux"} <= known
    ours = {
        *osrelease.DISTROS.values(),
        *(distro for _words, distro in osrelease._BY_FIRST_WORDS),
        *(distro for _pattern, _system, distro in guest._DISTROS if distro),
    }
    assert sorted(ours - GLANCE_DISTROS - known) == []
