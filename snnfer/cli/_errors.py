"""From an exception to an exit code and one sentence."""

from snnfer.errors import SnnferError


def exit_code(error: Exception) -> tuple[int, str]:
    """Exit code and message for an error: 2 for what the user can put right, 1 for failed work."""
    if isinstance(error, SnnferError):
        return 2, str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f" '{error.filename}'" if error.filename else ""
        return (2 if isinstance(error, FileNotFoundError | PermissionError) else 1), f"{error.strerror}{where}."
    if isinstance(error, MemoryError):
        return 1, "out of memory; use a smaller batch, fewer jobs or a smaller size."
    detail = " ".join(str(error).split()) or type(error).__name__
    return 1, f"unexpected {type(error).__name__}: {detail} (run again with 'snnfer --debug ...' for the traceback)."
