/* SPDX-License-Identifier: MIT */
#ifndef STORAGE_STORAGE_FS_H
#define STORAGE_STORAGE_FS_H

#include "storage/storage.h"

/*
 * A backend in a folder, the root: the object a/b/c is the file ROOT/a/b/c, with
 * mode 0600 in folders of mode 0700. ROOT/.replitedfs-tmp holds objects that are
 * being written; ROOT/.replitedfs-backend names the backend (see storage_fs.c).
 * Both are hidden from the interface. STORAGE_CAN_PUT_NEW.
 *
 * Below the root no symlink is followed (-ELOOP) and no other filesystem
 * entered (-EXDEV); the root itself may be reached through anything. No
 * descriptor is held between operations, so that its disk can be unmounted.
 */

/*
 * Opens the backend in the folder path; a relative one counts from the working
 * directory of this moment. create: makes the folder when it is missing, but not
 * its parents (a disk may not be mounted), makes a new backend of a folder that
 * is none, and removes what crashed writers left. Otherwise it writes nothing.
 * -ENOENT: there is no such folder, or no parent to make it in.
 *
 * Every operation looks for the root by path anew: while it is gone they fail
 * with -ENOENT, with -ENOMEDIUM when the folder there is not a backend (the bare
 * mountpoint of a disk), with -EMEDIUMTYPE when it is another one, and work
 * again when it is back.
 */
int storage_fs_open(const char *path, bool create, struct storage **ret,
		    struct error *err) MUST_CHECK;

#endif
