"""Software renderer of one person in front of a fixed background."""

import itertools
from dataclasses import dataclass

import numpy as np

from snnfer.synth import _geometry_kernels as geometry
from snnfer.synth import _shading_kernels as shading
from snnfer.synth._shapes import LUMINANCE
from snnfer.synth.head import PLAIN, HeadMesh, hair_mask
from snnfer.synth.identity import Identity
from snnfer.synth.muscles import JAW_PIVOT_Y, JAW_PIVOT_Z
from snnfer.synth.person import Person
from snnfer.synth.state import HeadState, rotation_matrix

HEAD_PIVOT = np.array([0.0, -70.0, -85.0])
"""Joint of the head on the neck, in millimetres."""
_NECK_FOLLOWS = np.array([0.3, 0.2, 0.0])
_WRINKLE_STEP = 4e-3
_LENS_BLUR_PX = 0.6
_LENS_BLUR = np.exp(-0.5 * (np.arange(3) / _LENS_BLUR_PX) ** 2).astype(np.float32)
_LENS_BLUR /= _LENS_BLUR[0] + 2 * _LENS_BLUR[1:].sum()


@dataclass(frozen=True)
class View:
    """The camera: sensor size in pixels and focal length in pixels."""

    width: int
    height: int
    focal_px: float
    supersampling: int = 2

    @property
    def detail(self) -> float:
        """Density that the mesh of a face needs in this view, see `Person`."""
        return float(np.clip(np.sqrt(self.focal_px / 760), 0.6, 1.0))


@dataclass(frozen=True)
class Lighting:
    """One directional and one ambient light; strengths relative to the scene illuminance."""

    direction: np.ndarray
    key: float
    ambient: float


class Renderer:
    """Draws a `Person` in a `HeadState`.

    Args:
        person: Who.
        view: The camera.
        lighting: The light.
        background: Float32 [H, W, 3], linear RGB light of what is behind.
        background_depth: Float32 [H, W], its distance in millimetres.
    """

    def __init__(
        self, person: Person, view: View, lighting: Lighting, background: np.ndarray, background_depth: np.ndarray
    ) -> None:
        self.person, self.view, self.lighting = person, view, lighting
        self.background = np.ascontiguousarray(background, np.float32)
        self.background_depth = np.ascontiguousarray(background_depth, np.float32)
        self._texture = np.concatenate([person.albedo, np.ones((*person.albedo.shape[:2], 1), np.float32)], -1)
        self._wrinkle_steps = np.zeros(len(person.wrinkles))
        self._build_surface(person.head)
        self._build_buffers()
        self._face = _face_constants(person.identity)
        self._eye_centres = _eye_centres(person.identity, person.head)

    def render(self, state: HeadState) -> np.ndarray:
        """Linear RGB light, float32 [H, W, 3], of one moment; the array is reused by the next call."""
        self._deform(state)
        self._wrinkle(state.wrinkles)
        light = self._place(state)
        region = self._visible_region()
        self._rasterise(region)
        self._image[:] = self.background
        right_eye, left_eye = self._eyes(state)
        shading.shade(
            region,
            self.view.supersampling,
            self._fragments,
            self._triangles,
            self._material,
            self._attributes,
            self._texture,
            self._face,
            right_eye,
            left_eye,
            light,
            self.background,
            self._image,
        )
        return self._blur(region)

    def depth(self) -> np.ndarray:
        """Distance from the camera of the image last rendered, float32 [H, W], millimetres."""
        step = self.view.supersampling
        inverse = self._fragments.inverse_depth[::step, ::step]
        return np.where(inverse > 0, 1 / np.maximum(inverse, 1e-6), self.background_depth).astype(np.float32)

    def landmarks(self, state: HeadState) -> np.ndarray:
        """The 68 landmarks of the image last rendered, float64 [68, 2], pixels."""
        n = len(self.person.head.vertices)
        points = self.person.landmarks.positions(self._points[:n], state.eye_opening)
        rotation, offset = self._head_pose
        world = points @ rotation.T + offset
        scale = self.view.focal_px / (state.position[2] - world[:, 2])
        x = 0.5 * self.view.width + scale * world[:, 0]
        y = 0.5 * self.view.height - scale * world[:, 1]
        return np.stack([x, y], -1)

    def _build_surface(self, head: HeadMesh) -> None:
        parts = self.person.parts
        starts = np.cumsum([len(head.vertices), *(len(part.vertices) for part in parts)])
        n_vertices = int(starts[-1])
        self._part_slices = [slice(a, b) for a, b in itertools.pairwise(starts)]
        part_triangles = [part.triangles + start for part, start in zip(parts, starts[:-1], strict=True)]
        n_plain = sum(len(triangles) for triangles in part_triangles)
        points, normals, colour = (np.zeros((n_vertices, 3), np.float32) for _ in range(3))
        for part, rows in zip(parts, self._part_slices, strict=True):
            points[rows], normals[rows], colour[rows] = part.vertices, part.normals, part.colour
        height, width = self._texture.shape[:2]
        attributes = np.zeros((n_vertices, shading.N_ATTRIBUTES), np.float32)
        attributes[: starts[0], shading.TEXTURE] = head.texture_uv * [width, height] - 0.5
        attributes[: starts[0], shading.CANONICAL] = head.canonical
        attributes[:, shading.COLOUR] = colour
        self._shine = np.zeros(n_vertices, np.float32)
        self._shine[: starts[0]] = self._skin_shine(head)
        self._points, self._normals, self._attributes = points, normals, attributes
        self._triangles = np.concatenate([head.triangles, *part_triangles]).astype(np.int32)
        self._material = np.concatenate([head.material, np.full(n_plain, PLAIN, np.uint8)])

    def _skin_shine(self, head: HeadMesh) -> np.ndarray:
        """Strength of the highlight of each vertex; hair shines less than skin."""
        identity = self.person.identity
        hair = hair_mask(head.canonical[:, 0], head.canonical[:, 1], head.angle, identity, softness=2.0)
        return identity.shine * (1 - 0.85 * hair)

    def _build_buffers(self) -> None:
        n_vertices = len(self._points)
        self._screen = np.zeros((n_vertices, 2), np.float32)
        self._vertex_depth = np.zeros(n_vertices, np.float32)
        size = self.view.height * self.view.supersampling, self.view.width * self.view.supersampling
        self._fragments = shading.Fragments(
            np.zeros(size, np.float32),
            np.full(size, -1, np.int32),
            np.zeros(size, np.float32),
            np.zeros(size, np.float32),
        )
        self._image = np.zeros((self.view.height, self.view.width, 3), np.float32)
        self._last_region = (0, self.view.width, 0, self.view.height)

    def _deform(self, state: HeadState) -> None:
        head, muscles = self.person.head, self.person.muscles
        n = len(head.vertices)
        active = np.flatnonzero(np.abs(state.contraction) > 1e-4)
        points = self._points[:n]
        contraction = state.contraction[active].astype(np.float32)
        geometry.deform(
            head.vertices, muscles.fields, active, contraction, muscles.jaw, state.jaw, JAW_PIVOT_Y, JAW_PIVOT_Z, points
        )
        geometry.grid_normals(points, head.rows, head.columns, self._normals[:n])
        lips = points.reshape(head.rows, head.columns, 3)[[head.upper_lip_row, head.lower_lip_row]]
        gap = np.maximum(np.linalg.norm(lips[0, :, 1:] - lips[1, :, 1:], axis=-1) - 1.4, 0)
        self._attributes[:n, shading.POINT] = points
        by_vertex = self._attributes[:n].reshape(head.rows, head.columns, -1)[..., shading.MOUTH_GAP]
        by_vertex[[head.upper_lip_row, head.lower_lip_row]] = gap

    def _wrinkle(self, depths: np.ndarray) -> None:
        """Redraw the wrinkles in steps of `_WRINKLE_STEP`, so that an image depends on nothing drawn before it."""
        steps = np.round(depths / _WRINKLE_STEP)
        if (steps != self._wrinkle_steps).any():
            geometry.darken(self.person.wrinkles, steps * _WRINKLE_STEP, self._texture)
            self._wrinkle_steps = steps

    def _place(self, state: HeadState) -> shading.Light:
        """Project and light the head and its parts; returns the light in head coordinates."""
        distance = float(state.position[2])
        self._head_pose = _turn_about_neck(state.rotation, state.position)
        neck_pose = _turn_about_neck(state.rotation * _NECK_FOLLOWS, state.position)
        n = len(self.person.head.vertices)
        light = self._place_rows(slice(0, n), self._head_pose, distance)
        for part, rows in zip(self.person.parts, self._part_slices, strict=True):
            self._place_rows(rows, self._head_pose if part.follows_head else neck_pose, distance)
        return light

    def _place_rows(self, rows: slice, pose: tuple[np.ndarray, np.ndarray], distance: float) -> shading.Light:
        rotation, offset = pose
        view, points = self.view, self._points[rows]
        geometry.project(
            points,
            rotation,
            offset,
            distance,
            view.focal_px,
            0.5 * view.width,
            0.5 * view.height,
            view.supersampling,
            self._screen[rows],
            self._vertex_depth[rows],
        )
        light = shading.Light(
            tuple((rotation.T @ self.lighting.direction).tolist()),
            tuple((rotation.T @ (np.array([0.0, 0.0, distance]) - offset)).tolist()),
            self.lighting.ambient,
            self.lighting.key,
        )
        geometry.light_vertices(
            points,
            self._normals[rows],
            light.direction,
            light.camera,
            light.ambient,
            light.key,
            self._shine[rows],
            self._attributes[rows, shading.DIFFUSE],
            self._attributes[rows, shading.HIGHLIGHT],
        )
        return light

    def _visible_region(self) -> tuple[int, int, int, int]:
        low, high = (
            np.array([pick(self._screen[:, i]) for i in range(2)]) / self.view.supersampling
            for pick in (np.min, np.max)
        )
        left, top = (max(0, int(np.floor(value)) - 1) for value in low)
        right = min(self.view.width, int(np.ceil(high[0])) + 2)
        bottom = min(self.view.height, int(np.ceil(high[1])) + 2)
        return left, max(right, left), top, max(bottom, top)

    def _rasterise(self, region: tuple[int, int, int, int]) -> None:
        (left, right, top, bottom), step = region, self.view.supersampling
        (old_left, old_right, old_top, old_bottom), self._last_region = self._last_region, region
        rows = slice(step * min(top, old_top), step * max(bottom, old_bottom))
        columns = slice(step * min(left, old_left), step * max(right, old_right))
        self._fragments.inverse_depth[rows, columns] = 0
        self._fragments.triangle[rows, columns] = -1
        geometry.rasterise(self._screen, self._vertex_depth, self._triangles, *self._fragments)

    def _eyes(self, state: HeadState) -> list[shading.Eye]:
        """The right and the left eye."""
        azimuth, elevation = state.gaze[:, 0], state.gaze[:, 1]
        gaze = np.stack(
            [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], -1
        )
        return [
            shading.Eye(tuple(self._eye_centres[i].tolist()), tuple(gaze[i].tolist()), float(state.eye_opening[i]))
            for i in range(2)
        ]

    def _blur(self, region: tuple[int, int, int, int]) -> np.ndarray:
        left, right, top, bottom = region
        rows = slice(max(0, top - 3), min(self.view.height, bottom + 3))
        columns = slice(max(0, left - 3), min(self.view.width, right + 3))
        patch = self._image[rows, columns]
        shading.blur_rows_and_columns(patch, _LENS_BLUR, np.empty_like(patch))
        return self._image


def luminance(rgb: np.ndarray) -> np.ndarray:
    """Luminance, float32 [H, W], of linear RGB light [H, W, 3]."""
    return rgb @ LUMINANCE.astype(np.float32)


def _turn_about_neck(rotation: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation matrix and offset of a turn about `HEAD_PIVOT`; the distance to the camera stays with the camera."""
    matrix = rotation_matrix(*rotation)
    offset = HEAD_PIVOT - matrix @ HEAD_PIVOT
    return matrix, offset + np.array([position[0], position[1], 0.0])


def _face_constants(p: Identity) -> shading.Face:
    return shading.Face(
        x=p.eye_x,
        width=p.eye_width,
        upper=p.eye_upper,
        lower=p.eye_lower,
        tilt=p.eye_tilt,
        ball_radius=p.eyeball_radius,
        cos_iris=float(np.cos(np.arcsin(p.iris_radius / p.eyeball_radius))),
        cos_pupil=float(np.cos(np.arcsin(p.pupil_radius / p.eyeball_radius))),
        crease=p.lid_crease,
        crease_depth=p.lid_crease_depth,
        lashes=p.lashes,
        iris=p.iris,
        skin=p.skin,
        mouth_y=p.mouth_y,
        mouth_width=p.mouth_width,
    )


def _eye_centres(p: Identity, head: HeadMesh) -> np.ndarray:
    """Centres [2, 3] of the eyeballs, whose front lies just before the skin that carries the eyes."""
    centres = []
    for side in (-1, 1):
        distance = (head.canonical[:, 0] - side * p.eye_x) ** 2 + head.canonical[:, 1] ** 2 + 1e6 * ~head.in_front
        depth = head.vertices[np.argmin(distance), 2]
        centres.append([side * p.eye_x, 0.0, depth - p.eyeball_radius + 1.2])
    return np.array(centres)
