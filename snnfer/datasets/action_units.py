"""Facial Action Units (AUs) of the Facial Action Coding System, and the 21 of the event micro-expression data set.

References:
    Ekman and Friesen, "Facial Action Coding System", 1978; Mastropasqua et al., "Exploring Spatial-Temporal Dynamics in
    Event-based Facial Micro-Expression Analysis", 2025, section 3 (the list of 21).
"""

ACTION_UNITS: dict[int, str] = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    12: "lip corner puller",
    14: "dimpler",
    15: "lip corner depressor",
    17: "chin raiser",
    20: "lip stretcher",
    23: "lip tightener",
    24: "lip pressor",
    25: "lips part",
    26: "jaw drop",
    27: "mouth stretch",
    28: "lip suck",
    41: "lid droop",
    43: "eyes closed",
    45: "blink",
    46: "wink",
    51: "head turn left",
    52: "head turn right",
    53: "head up",
    54: "head down",
    55: "head tilt left",
    56: "head tilt right",
    61: "eyes turn left",
    62: "eyes turn right",
    63: "eyes up",
    64: "eyes down",
}
"""FACS code to name."""

PAPER_AUS: tuple[int, ...] = (2, 4, 5, 6, 9, 12, 15, 17, 23, 26, 41, 43, 45, 51, 52, 53, 54, 61, 62, 63, 64)
"""The 21 AUs of the event micro-expression data set, in class order."""


def class_meaning(name: str) -> str:
    """What the class of an Action Unit shows, empty for other classes.

    Examples:
        >>> class_meaning("AU12"), class_meaning("happy")
        ('lip corner puller', '')
    """
    code = name.removeprefix("AU")
    return ACTION_UNITS.get(int(code), "") if code.isdigit() else ""
