"""Rules about errors and attempts that the machine, the activities and the validator share."""

from __future__ import annotations


def matches_error(code: str, pattern: str) -> bool:
    """Say whether an error's type is meant by one entry of `errors` or `non_retryable_errors`.

    `*` means every failure but a cancellation; `http-4xx` and `http-5xx` mean the classes of HTTP statuses.
    """
    if pattern == code:
        return True
    if pattern == "*":
        return code != "cancelled"
    if pattern in ("http-4xx", "http-5xx"):
        return len(code) == 8 and code.startswith(f"http-{pattern[5]}") and code[6:].isdigit()
    return False
