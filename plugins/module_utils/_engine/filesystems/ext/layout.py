# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The structures of ext2, ext3 and ext4 on the disk.

Source: Linux, Documentation/filesystems/ext4, whose page is named at each; its fs/ext4/ext4.h where the pages are silent.
"""

from __future__ import annotations

from ...structure import Structure

SUPERBLOCK_OFFSET = 1024
"""bytes, whatever the size of a block is"""
SUPERBLOCK = Structure(
    "<",  # super.rst
    ("s_inodes_count", "I"),
    ("s_blocks_count_lo", "I"),
    ("_", "12s"),  # reserved and free blocks, free inodes
    ("s_first_data_block", "I"),
    ("s_log_block_size", "I"),
    ("s_log_cluster_size", "I"),
    ("s_blocks_per_group", "I"),
    ("s_clusters_per_group", "I"),
    ("s_inodes_per_group", "I"),
    ("_", "12s"),  # times and number of mounts
    ("s_magic", "H"),
    ("s_state", "H"),
    ("_", "H"),  # s_errors
    ("s_minor_rev_level", "H"),
    ("_", "12s"),  # times of checks, operating system
    ("s_rev_level", "I"),
    ("_", "4s"),  # who may use reserved blocks
    ("s_first_ino", "I"),
    ("s_inode_size", "H"),
    ("_", "H"),  # s_block_group_nr
    ("s_feature_compat", "I"),
    ("s_feature_incompat", "I"),
    ("s_feature_ro_compat", "I"),
    ("s_uuid", "16s"),
    ("s_volume_name", "16s"),
    ("s_last_mounted", "64s"),
    ("_", "54s"),  # preallocation, journal, hashes
    ("s_desc_size", "H"),
    ("_", "I"),  # s_default_mount_opts
    ("s_first_meta_bg", "I"),
    ("_", "72s"),  # s_mkfs_time, s_jnl_blocks
    ("s_blocks_count_hi", "I"),
    ("_", "12s"),  # reserved and free blocks, sizes of inodes
    ("s_flags", "I"),
    ("_", "17s"),  # RAID, s_mmp_*, s_log_groups_per_flex
    ("s_checksum_type", "B"),
    ("_", "214s"),  # snapshots, errors, s_mount_opts, quota
    ("s_backup_bgs_0", "I"),
    ("s_backup_bgs_1", "I"),
    ("_", "28s"),  # encryption, lost+found, project quota
    ("s_checksum_seed", "I"),
    ("_", "392s"),
    ("s_checksum", "I"),
)
MAGIC = 0xEF53
CLEAN, ERRORS = 1, 2
"""s_state"""
TEST_FILESYSTEM = 4
"""s_flags"""
CRC32C = 1
"""s_checksum_type"""

HAS_JOURNAL, SPARSE_SUPER2 = 0x4, 0x200
"""s_feature_compat, what of it matters here"""
SPARSE_SUPER, LARGE_FILE, BTREE_DIR, GDT_CSUM, BIGALLOC, METADATA_CSUM = 0x1, 0x2, 0x4, 0x10, 0x200, 0x400
"""s_feature_ro_compat: whatever is not known of it only matters to who writes"""
FILETYPE, RECOVER, JOURNAL_DEV, META_BG, BIT64, CSUM_SEED, LARGE_DIR = 0x2, 0x4, 0x8, 0x10, 0x80, 0x2000, 0x4000
"""s_feature_incompat, what of it changes how things are read"""
READ = {
    FILETYPE: "filetype",
    RECOVER: "needs_recovery",
    META_BG: "meta_bg",
    0x40: "extents",
    BIT64: "64bit",
    0x100: "mmp",
    0x200: "flex_bg",
    0x400: "ea_inode",
    CSUM_SEED: "metadata_csum_seed",
    LARGE_DIR: "large_dir",
    0x8000: "inline_data",
    0x10000: "encrypt",  # other files can be read
    0x20000: "casefold",
}
"""s_feature_incompat: what is read, by the names of e2fsprogs"""
REFUSED = {0x1: "compression", JOURNAL_DEV: "journal_dev", 0x1000: "dirdata"}
"""those that Linux does not read, either; e2fsprogs has names for them"""

GROUP_DESCRIPTOR = Structure(
    "<",  # group_descr.rst
    ("_", "8s"),  # bitmaps
    ("bg_inode_table_lo", "I"),
    ("_", "6s"),  # free blocks and inodes, directories
    ("bg_flags", "H"),
    ("_", "10s"),  # checksums of bitmaps, bg_itable_unused_lo
    ("bg_checksum", "H"),
)
INODE_TABLE_HI_OFFSET = 0x28
"""of bg_inode_table_hi, in descriptors of 64 bytes"""
INODE_UNINIT = 1
"""bg_flags: no inode of the group is in use"""

INODE = Structure(
    "<",  # inodes.rst
    ("i_mode", "H"),
    ("_", "H"),  # i_uid
    ("i_size_lo", "I"),
    ("_", "18s"),  # times, i_gid
    ("i_links_count", "H"),
    ("_", "I"),  # i_blocks_lo
    ("i_flags", "I"),
    ("_", "I"),  # i_osd1
    ("i_block", "60s"),
    ("i_generation", "I"),
    ("_", "I"),  # i_file_acl_lo
    ("i_size_high", "I"),
    ("_", "12s"),  # i_obso_faddr, i_osd2 up to the user and group
    ("i_checksum_lo", "H"),
    ("_", "H"),
)
I_GENERATION_OFFSET = 0x64
I_CHECKSUM_LO_OFFSET = 0x7C
I_EXTRA_ISIZE_OFFSET = 0x80
I_CHECKSUM_HI_OFFSET = 0x82
FLAG_ENCRYPT, FLAG_INDEX, FLAG_EXTENTS, FLAG_INLINE_DATA, FLAG_CASEFOLD = 0x800, 0x1000, 0x80000, 0x10000000, 0x40000000
"""i_flags, what of them matters here"""
ROOT_INODE = 2

EXTENT_HEADER = Structure("<", ("eh_magic", "H"), ("eh_entries", "H"), ("eh_max", "H"), ("eh_depth", "H"), ("_", "I"))  # ifork.rst
EXTENT_MAGIC = 0xF30A
EXTENT_SIZE = 12
"""bytes of a header, an index and an extent alike"""
MAX_EXTENT_DEPTH = 5
MAX_WRITTEN = 0x8000
"""ee_len: what is above is not written yet, and counts from here"""

XATTR_MAGIC = 0xEA020000  # attributes.rst
XATTR_ENTRY = Structure("<", ("e_name_len", "B"), ("e_name_index", "B"), ("e_value_offs", "H"), ("e_value_inum", "I"), ("e_value_size", "I"), ("_", "I"))
XATTR_SYSTEM = 7
"""e_name_index of ``system.``"""

DIRENT_TAIL = b"\0\0\0\0\x0c\0\0\xde"  # directory.rst: what looks like an unused entry, and the checksum after it
DIRENT_TAIL_SIZE = 12
