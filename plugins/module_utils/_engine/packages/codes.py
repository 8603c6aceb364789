# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The conformance list: all that can be wrong with a package, by code.

An error is against DMTF DSP0243, or against itself. A note is not: the standard allows it, but receivers often do not,
or there is less to rely on. The difference is made because a gate needs it: SHA-1 is OVF 1's own algorithm, and a
manifest is optional; who refuses such packages asks for more than the standard.
"""

from __future__ import annotations

import itertools
import typing as t

from .model import PackageWarning

ERRORS = {
    # the archive
    "ovf_not_first": "The descriptor is not the first member of the archive.",
    "manifest_misplaced": "The manifest or certificate is neither behind the descriptor nor at the end of the archive.",
    "files_out_of_order": "The members of the archive are not in the order of References.",
    "not_ustar": "Members of the archive are not stored as ustar, but with extensions of pax or GNU tar.",
    "compressed_archive": "The archive is compressed or a zip archive; the standard knows a tar archive only.",
    "unsafe_member_name": "A member's name leads out of the archive. It is ignored.",
    "duplicate_member": "There are several members of the same name.",
    "appledouble_ignored": "There are files of macOS with extra data about other files. They are ignored.",
    "unlisted_file": "A member is not in References.",
    # files
    "missing_file": "A file of References is not there.",
    "unsafe_href": "A file of References lies outside of the package.",
    "unusable_file": "A file of References cannot be used: it is a link or a device, or two could be meant.",
    "href_differs_in_case": "A file is there, but its name differs in upper and lower case.",
    "href_not_a_uri": "An href has characters, such as spaces, that a URI has to escape.",
    "file_size_mismatch": "A file has another size than References says.",
    "duplicate_file_id": "Several entries of References have the same id.",
    "duplicate_href": "Several entries of References are about the same file.",
    "manifest_in_references": "The manifest or certificate is in References.",
    "unknown_compression": "A file has a compression other than gzip.",
    "chunks_damaged": "A piece of a file is missing, or has the wrong size.",
    "chunks_undeclared": "A file is in pieces, but has no chunkSize.",
    "chunks_absent": "A file has a chunkSize, but is not in pieces.",
    "chunks_misnumbered": "The numbers of a file's pieces do not have nine digits.",
    # manifest and certificate
    "manifest_malformed": "The manifest cannot be understood.",
    "manifest_grammar": "Lines of the manifest are understood, but not written as the standard has it.",
    "manifest_duplicate": "The manifest lists a file more than once.",
    "manifest_lists_itself": "The manifest lists itself or the certificate.",
    "manifest_missing_file": "The manifest lists a file that is not there. Found when the manifest is verified.",
    "manifest_unlisted_file": "The manifest does not list a file of the package. Found when the manifest is verified.",
    "manifest_extra_file": "The manifest lists a file that is not in References.",
    "digest_mismatch": "A file is not what the manifest says. Found when the manifest is verified, which fails.",
    "base_name_differs": "The manifest or certificate is not named as the descriptor is.",
    "certificate_without_manifest": "There is a certificate, but no manifest that it could be for.",
    "signature_malformed": "The certificate cannot be understood.",
    "signature_invalid": "The signature is not one of this manifest with the certificate's key.",
    # the descriptor
    "unknown_namespace": "The descriptor is of no known version of OVF.",
    "required_section_unknown": "The descriptor has a section that is not known there, and is not marked as one that may be ignored.",
    "required_value_missing": "An element of the descriptor lacks an id or another value that it must have.",
    "bad_number": "A size is no possible number of bytes.",
    "nonstandard_unit": "A unit is not written as DSP0004 has it.",
    # disks
    "capacity_unknown": "The capacity of a disk is missing, or cannot be told in bytes.",
    "capacity_mismatch": "A disk has another virtual size than the descriptor says. Found when disks are inspected.",
    "populated_size_too_large": "A disk says to have more data than its capacity.",
    "format_missing": "A disk with a file does not say its format.",
    "format_unknown": "The format of a disk is no URI of a known format.",
    "format_mismatch": "A disk has another format than the descriptor says. Found when disks are inspected.",
    "duplicate_disk_id": "Several disks have the same id.",
    "dangling_file_ref": "A disk or drive names a file that is not in References.",
    "dangling_disk_ref": "A system names a disk that the descriptor does not have.",
    "dangling_parent_ref": "A disk holds the differences to one that the descriptor does not have.",
    "disk_file_shared": "Several disks have the same file.",
    "disks_out_of_order": "The disks are not in the order of their files in References.",
    # systems
    "no_system": "There is no virtual system in the package.",
    "duplicate_system_id": "Several systems or collections have the same id.",
    "duplicate_instance_id": "Several devices of a system have the same InstanceID.",
    "dangling_item_parent": "A device hangs on one that the system does not have.",
    "duplicate_property": "Several properties of a system have the same name.",
    "undefined_network": "A network adapter is connected to a network that is not in the NetworkSection.",
    "os_unknown": "The id of the operating system is missing, or none of CIM's.",
    # of this list itself
    "more_warnings": "There are too many warnings to list them all.",
}
NOTES = {
    "no_manifest": "There is no manifest, so that nobody can tell whether the files are what they were.",
    "weak_digest": "The manifest or its signature relies on SHA-1, for which other files with the same digest can be made.",
    "signature_not_tried": "The signature could not be verified with what the node has.",
    "remote_file": "A file lies on a network, from where nothing is fetched.",
    "file_size_absent": "References does not say the size of a file, so that a cut one is not noticed.",
    "disk_not_attached": "No system uses a disk.",
    "system_type_absent": "A system does not say for which kind of virtual hardware it is.",
    "several_hardware_sections": "A system describes its hardware more than once. The first description is used.",
    "os_absent": "A system does not say its operating system.",
}
MAX_WARNINGS = 500


def limited(warnings: t.Iterable[PackageWarning], location: str) -> list[PackageWarning]:
    """The first of them, with one more that says so when there are others."""
    found = list(itertools.islice(warnings, MAX_WARNINGS + 1))
    if len(found) > MAX_WARNINGS:
        found[-1] = PackageWarning("more_warnings", f"more than {MAX_WARNINGS} warnings; the others are left out", location)
    return found
