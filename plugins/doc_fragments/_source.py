# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This doc fragment is PRIVATE to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    """Options of modules that read an image (mirrors SOURCE in plugins/module_utils/_module/run.py)."""

    DOCUMENTATION = r"""
options:
  src:
    description:
      - Path of the image on the managed node.
      - It may be a disk image of any supported format, one that is compressed with gzip, xz, bzip2 or zstd,
        or a package with a disk in it. An OVA, an OVF package (its folder or its C(.ovf) file), a Vagrant box, or a tar or zip archive,
        compressed or not. What it is, is found out by its content, never by its name.
      - Of a UEC tarball the whole disk is read, if there is one in it. Otherwise the module fails with C(error.kind) V(needs_kernel), as the
        file system in it boots with its kernel only. M(vmimage.prep.uec_extract) takes it apart.
      - A disk inside an archive is read in place. Only one that is compressed and cannot be read in order is unpacked, into a temporary
        file that has no name, beside the result, or in Ansible's temporary folder on the managed node (C(remote_tmp)) when the result is
        no file.
    type: path
    required: true
  src_format:
    description:
      - The format that O(src) must have, as V(raw), V(qcow2), V(vmdk), V(vdi), V(vhd) (or V(vpc)), V(vhdx), V(iso),
        V(qcow), V(qed), V(parallels), V(dmg), V(bochs), V(cloop) or V(luks).
        The module fails when the content is something else.
      - With V(raw) content that nothing is known of is taken as it is, also when its size is odd. Content of another image format
        is still refused, because other programs would open it as that.
      - When it is not set, the content decides, and content that is no known format is refused.
    type: str
  disk:
    description:
      - Which disk of a package to read, by its file name, its OVF disk id, or its position in boot order, from V(0).
      - Needed only when the package (or the O(system) that is chosen) has more than one.
    type: str
  system:
    description:
      - Which virtual system of a package is meant, by its id, its name, or its position, from V(0).
      - Needed only when the package has more than one.
    type: str
  configuration:
    description:
      - Which deployment configuration of an OVF package is meant, by its id. It decides on processors, memory and attached disks.
      - When it is not set, the default of the package is taken.
    type: str
  manifest:
    description:
      - What to do with the manifest of an OVF package.
      - The descriptor and the files that are read are compared, in the same pass in which they are read.
        To compare all files of a package, use M(vmimage.prep.ovf_info).
    type: str
    choices:
      require: There must be one that lists these files, and their checksums must agree.
      verify: If there is one, the checksums of those files that it lists must agree.
      ignore: It is not read.
    default: verify
  checksum:
    description:
      - Checksum that the file O(src) must have, as C(<algorithm>:<hexadecimal digest>).
      - It is verified before anything is written.
    type: str
  max_size:
    description:
      - Largest virtual disk that is accepted. It also bounds how much may come out of a compressed package, which is otherwise
        250 times its size.
      - A number of bytes, or a number with a unit such as V(20G).
    type: bytes
  snapshot:
    description:
      - The internal snapshot to read instead of the current state, by its name or id. Only qcow2 images have any.
    type: str
  references:
    description:
      - A folder. Other files that the image names (backing file, data file, extents, parent) may be read if they lie in it, or below.
      - When it is not set, these files are listed and never opened, and the image can be described, but not converted.
        Set it only to a folder in which everything may end up in the result.
    type: path
notes:
  - Needs nothing but Python 3.9 or newer on the managed node.
"""
