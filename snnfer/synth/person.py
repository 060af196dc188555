"""A person: identity, head, muscles, skin and accessories together."""

import numpy as np

from snnfer.synth.accessories import build_parts
from snnfer.synth.head import build_head
from snnfer.synth.identity import Identity
from snnfer.synth.landmarks import build_landmarks
from snnfer.synth.muscles import build_muscles
from snnfer.synth.texture import Canvas, paint_head
from snnfer.synth.wrinkles import paint_wrinkles


class Person:
    """Everything about one person that does not change from image to image.

    Args:
        identity: Who.
        detail: Density of the mesh and the texture; 1 suits a face of 130 pixels and more.
    """

    def __init__(self, identity: Identity, *, detail: float = 1.0) -> None:
        self.identity = identity
        self.head = build_head(identity, columns=round(84 * detail), rows=round(92 * detail))
        self.muscles = build_muscles(identity, self.head)
        self.landmarks = build_landmarks(identity, self.head)
        rng = np.random.default_rng([identity.seed, 12])
        canvas = Canvas(self.head, rng, height=round(448 * detail), width=round(416 * detail))
        self.albedo = paint_head(identity, canvas)
        self.wrinkles = paint_wrinkles(identity, canvas)
        self.parts = build_parts(identity, self.head, rng)
