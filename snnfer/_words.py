"""Numbers in sentences."""


def count(n: int, noun: str) -> str:
    """`n` with its noun in the singular or plural.

    Examples:
        >>> count(1, "clip"), count(1200, "clip")
        ('1 clip', '1,200 clips')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
