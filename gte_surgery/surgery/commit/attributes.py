"""Owner, extended attributes and ACL of a file, handed on to the file that takes its place; its mode is there already.

What the system does not permit is left: another's file that we replace becomes ours, as with any program that replaces
files, unless we are root. Signatures of the old bytes are not handed on.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

from gte_surgery.surgery.commit.filesystem import Filesystem

ACL = "system.posix_acl_access"

_OF_THE_BYTES = frozenset({"security.ima", "security.evm"})
_NOT_PERMITTED = frozenset({errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


def carry_attributes(fs: Filesystem, original: Path, successor: Path) -> None:
    """Give the file `successor` the owner, attributes and ACL of `original`, as far as the system permits.

    Raises OSError where it fails for another reason, such as a full disk.
    """
    descriptor = fs.open_own(successor)
    try:
        wanted, found = fs.lstat(original), fs.fstat(descriptor)
        attributes, present = fs.attributes(original), fs.attributes(successor)
        changed = {name: value for name, value in attributes.items() if present.get(name) != value}
        changed = {name: value for name, value in changed.items() if name not in _OF_THE_BYTES}
        has_foreign_acl = ACL in present and ACL not in attributes
        if (wanted.st_uid, wanted.st_gid) == (found.st_uid, found.st_gid) and not changed and not has_foreign_acl:
            return
        mode = stat.S_IMODE(found.st_mode)
        fs.chmod(descriptor, mode | stat.S_IWUSR)  # attributes of a file that its owner may not write cannot be set
        if has_foreign_acl:  # a new file inherits one from its folder
            _if_permitted(partial(fs.remove_attribute, descriptor, ACL))
        for user, group in (
            (-1, wanted.st_gid),
            (wanted.st_uid, -1),
        ):  # each may be refused alone
            _if_permitted(partial(fs.chown, descriptor, user, group))
        for name, value in sorted(changed.items()):
            _if_permitted(partial(fs.set_attribute, descriptor, name, value))
        fs.chmod(descriptor, mode)
    finally:
        fs.close(descriptor)


def _if_permitted(act: Callable[[], None]) -> None:
    try:
        act()
    except OSError as error:
        if error.errno not in _NOT_PERMITTED:
            raise
