"""Locks of the operating system on files: a process holds them, and they are gone with it.

They are POSIX byte-range locks (``fcntl.lockf``). The kernel lets go of one however its process
ends, on whatever host, and no number of a process or name of a host is asked. Chosen over ``flock``
(and the library filelock, which takes that) because NFS, Lustre and GPFS forward byte-range locks
to the other hosts, while ``flock`` often holds on one host only.

Such a lock belongs to the process: closing any descriptor of its file lets go of it, so nothing
else may open the file while it is held.
"""

from __future__ import annotations

import errno
from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None

_BUSY = (errno.EACCES, errno.EAGAIN)


def take(file: int, shared: bool = False) -> bool | None:
    """Takes the lock of an open file, without waiting; a shared one needs no right to write.

    Returns:
        Whether it is ours now; None where there are no locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.lockf(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:  # ENOLCK, ENOSYS, EOPNOTSUPP, …: what a file system says varies
        return False if error.errno in _BUSY else None
    return True
