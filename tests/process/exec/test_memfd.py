"""Files in memory that nobody can make shorter, and what there is where the system has no such."""

import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dorrit.process.exec.memfd import unshrinkable_file

SIZE = 8192


@contextmanager
def made() -> Iterator[int]:
    """One that has grown twice, and has what was written into it."""
    descriptor = unshrinkable_file("test")
    try:
        for size in (SIZE // 2, SIZE):
            os.ftruncate(descriptor, size)
            os.pwrite(descriptor, b"end", size - 3)
        assert os.pread(descriptor, SIZE, SIZE - 3) == b"end"
        assert os.fstat(descriptor).st_nlink == 0
        assert not os.get_inheritable(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


if sys.platform == "linux":

    def test_L8_it_grows_and_does_not_shrink() -> None:
        with made() as descriptor:
            for size in (0, SIZE - 1):
                with pytest.raises(PermissionError):
                    os.ftruncate(descriptor, size)
            assert os.fstat(descriptor).st_size == SIZE

    def test_L8_it_is_an_ordinary_one_where_a_kernel_has_no_seals(
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        create = os.memfd_create

        def without_seals(name: str, flags: int = os.MFD_CLOEXEC) -> int:
            if flags & os.MFD_ALLOW_SEALING:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return create(name, flags)

        monkeypatch.setattr(os, "memfd_create", without_seals)
        expect_ordinary()


def expect_ordinary() -> None:
    with made() as descriptor:
        os.ftruncate(descriptor, 0)
        assert os.fstat(descriptor).st_size == 0


@pytest.mark.parametrize(
    ("module", "names"),
    [(os, ("memfd_create", "MFD_ALLOW_SEALING")), (fcntl, ("F_SEAL_SHRINK",))],
    ids=["no memfd", "no seals"],
)
def test_L8_it_is_an_ordinary_one_where_python_knows_of_none(
    module: object, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in names:
        monkeypatch.delattr(module, name, raising=False)
    expect_ordinary()
