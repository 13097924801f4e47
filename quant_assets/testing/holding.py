"""How a law states that it is broken."""


def must(holds: object, found: object = "") -> None:
    """Raises AssertionError with what was found unless it holds."""
    if not holds:
        raise AssertionError(f"Found: {found}" if found != "" else "It does not.")


def is_a(value: object, *kinds: type) -> bool:
    """Whether a value is of one of these kinds, whatever its annotation promises."""
    return isinstance(value, kinds)
