"""What is known about processes that a test does not own."""

from __future__ import annotations

import psutil


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody reaped yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def descendants(pid: int) -> list[int]:
    """Every process below one."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]
