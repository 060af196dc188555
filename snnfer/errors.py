"""Errors that snnfer raises for its users.

Every error says four things: what was given, what was expected, the likely cause and the fix. The parts that are known
are joined into one sentence, so that the command line can print it as it is.
"""


class SnnferError(Exception):
    """Base of all errors that a user of snnfer can cause or meet.

    Args:
        given: What was given, as a clause without a closing full stop.
        expected: What was expected instead.
        cause: The likely cause.
        fix: What to do about it.

    Examples:
        >>> raise SnnferError("tau = 0.5", expected="a time constant above 1 time step", fix="pass tau=2.0")
        Traceback (most recent call last):
        ...
        snnfer.errors.SnnferError: tau = 0.5; expected a time constant above 1 time step; fix: pass tau=2.0.
    """

    def __init__(self, given: str, *, expected: str = "", cause: str = "", fix: str = "") -> None:
        self.given = given.rstrip(".")
        self.cause = cause
        self.fix = fix
        parts = [self.given]
        if expected:
            parts.append(f"expected {expected}")
        if cause:
            parts.append(f"likely cause: {cause}")
        if fix:
            parts.append(f"fix: {fix}")
        super().__init__("; ".join(part.rstrip(".") for part in parts) + ".")


class ShapeError(SnnferError):
    """A tensor has the wrong number of dimensions, size or layout."""


class StateError(SnnferError):
    """A streaming state does not fit the model or the batch it is used with."""


class EventFileError(SnnferError):
    """An event file is missing, damaged, of another format, or holds impossible events."""


class KernelError(SnnferError):
    """A compiled kernel was asked for that cannot run here."""


class DatasetError(SnnferError):
    """A data set, manifest or clip cannot be used as it is."""


class ConversionError(SnnferError):
    """A network cannot be converted to a spiking network."""


class ExportError(SnnferError):
    """A network cannot be exported exactly."""


class ProtocolError(SnnferError):
    """An evaluation would break the rules of its protocol (for example, a subject in both training and test)."""


class ConfigError(SnnferError):
    """A configuration has an unknown key, a wrong type or values that exclude each other."""


class CheckpointError(SnnferError):
    """A model folder or checkpoint is missing, damaged or of another version."""


class FaceError(SnnferError):
    """No usable face was found where one is needed."""


class MissingExtraError(SnnferError):
    """An optional dependency is not installed."""
