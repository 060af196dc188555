"""Compiled shading: from the triangle seen at each sub-pixel to linear RGB light."""

import math
from typing import NamedTuple

import numba
import numpy as np

from snnfer.synth.head import LIP_GAP, MOUTH, PLAIN

_MOUTH, _PLAIN, _LIP_GAP = MOUTH, PLAIN, LIP_GAP


N_ATTRIBUTES = 13
DIFFUSE, HIGHLIGHT, MOUTH_GAP = 0, 1, 2
TEXTURE = slice(3, 5)  # u and v in texels
CANONICAL = slice(5, 7)  # where the skin is painted, millimetres
POINT = slice(7, 10)  # place in head coordinates, millimetres
COLOUR = slice(10, 13)  # linear RGB, plain parts only
"""Columns of the vertex attributes [V, 13] that are interpolated over a triangle."""

Vector = tuple[float, float, float]


class Fragments(NamedTuple):
    """What each sub-pixel sees."""

    inverse_depth: np.ndarray
    triangle: np.ndarray
    weight0: np.ndarray
    weight1: np.ndarray


class Face(NamedTuple):
    """Shape and colour of the eyes and the mouth (millimetres, linear RGB)."""

    x: float
    width: float
    upper: float
    lower: float
    tilt: float
    ball_radius: float
    cos_iris: float
    cos_pupil: float
    crease: float
    crease_depth: float
    lashes: float
    iris: Vector
    skin: Vector
    mouth_y: float
    mouth_width: float


class Light(NamedTuple):
    """Light and camera in head coordinates."""

    direction: Vector
    camera: Vector
    ambient: float
    key: float


class Eye(NamedTuple):
    """One eye at one moment: centre of the ball, unit vector of the gaze, opening of the lids."""

    centre: Vector
    gaze: Vector
    opening: float


@numba.njit(cache=True, fastmath=True, inline="always")
def _step(x):
    x = min(max(x, 0.0), 1.0)
    return x * x * (3.0 - 2.0 * x)


@numba.njit(cache=True, fastmath=True, inline="always")
def _bell(x):
    return math.exp(-x * x)


@numba.njit(cache=True, fastmath=True, inline="always")
def _mix(texture, row, column, channel, w00, w01, w10, w11):
    top = w00 * texture[row, column, channel] + w01 * texture[row, column + 1, channel]
    return top + w10 * texture[row + 1, column, channel] + w11 * texture[row + 1, column + 1, channel]


@numba.njit(cache=True, fastmath=True, inline="always")
def _texel(texture, u, v):
    """Bilinear look-up; returns red, green, blue and the shade of the wrinkles, multiplied in."""
    height, width, _ = texture.shape
    u = min(max(u, 0.0), width - 1.001)
    v = min(max(v, 0.0), height - 1.001)
    column, row = int(u), int(v)
    fu, fv = u - column, v - row
    w00, w01, w10, w11 = (1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv
    shade = _mix(texture, row, column, 3, w00, w01, w10, w11)
    red = _mix(texture, row, column, 0, w00, w01, w10, w11) * shade
    green = _mix(texture, row, column, 1, w00, w01, w10, w11) * shade
    blue = _mix(texture, row, column, 2, w00, w01, w10, w11) * shade
    return red, green, blue


@numba.njit(cache=True, fastmath=True, inline="always")
def _inside_mouth(x, y, gap, lip, diffuse, face):
    """Colour of the strip between the lips: dark seam when closed, cavity, tongue and upper teeth when open."""
    relative = min(abs(x) / face.mouth_width, 1.0)
    below_upper = (face.mouth_y + _LIP_GAP - y) / (2 * _LIP_GAP) * gap
    seam = 0.42 + 0.3 * relative * relative
    teeth = 0.0
    if gap > 2.5:
        teeth = _step((7.0 - below_upper) / 1.2) * _step((1.02 - relative) / 0.35) * _step((gap - 2.5) / 5)
        teeth *= 0.75 + 0.25 * _step(abs(math.sin(x * 0.42)) * 4)
    tongue = _step((below_upper - 0.62 * gap) / 4) * _step((gap - 9) / 6) * _step((0.75 - relative) / 0.3)
    open_ = _step((gap - 1.6) / 2.0)
    dark = 0.02 + 0.02 * relative
    red = dark + 0.40 * teeth + 0.16 * tongue
    green = 0.5 * dark + 0.37 * teeth + 0.05 * tongue
    blue = 0.5 * dark + 0.31 * teeth + 0.05 * tongue
    return (
        diffuse * ((1 - open_) * seam * lip[0] + open_ * red),
        diffuse * ((1 - open_) * seam * lip[1] + open_ * green),
        diffuse * ((1 - open_) * seam * lip[2] + open_ * blue),
    )


@numba.njit(cache=True, fastmath=True, inline="always")
def _eyeball_normal(px, py, pz, eye, radius, light):
    """Where the line of sight through a point of the lid opening meets the eyeball; normal and view direction."""
    vx, vy, vz = light.camera[0] - px, light.camera[1] - py, light.camera[2] - pz
    inverse = 1.0 / math.sqrt(vx * vx + vy * vy + vz * vz)
    vx, vy, vz = vx * inverse, vy * inverse, vz * inverse
    ox, oy, oz = px - eye.centre[0], py - eye.centre[1], pz - eye.centre[2]
    along = ox * vx + oy * vy + oz * vz
    discriminant = along * along - (ox * ox + oy * oy + oz * oz) + radius**2
    if discriminant > 0:
        reach = math.sqrt(discriminant) - along
        ox, oy, oz = ox + reach * vx, oy + reach * vy, oz + reach * vz
    inverse = 1.0 / math.sqrt(ox * ox + oy * oy + oz * oz)
    return ox * inverse, oy * inverse, oz * inverse, vx, vy, vz


@numba.njit(cache=True, fastmath=True, inline="always")
def _eyeball(px, py, pz, below_lid, eye, face, light):
    """Light from the eyeball: sclera, iris with limbal ring and fibres, pupil, highlight of the cornea."""
    nx, ny, nz, vx, vy, vz = _eyeball_normal(px, py, pz, eye, face.ball_radius, light)
    cosine = nx * eye.gaze[0] + ny * eye.gaze[1] + nz * eye.gaze[2]
    in_iris = _step((cosine - face.cos_iris) / 0.02 + 0.5)
    in_pupil = _step((cosine - face.cos_pupil) / 0.006 + 0.5)
    ring = 1 - 0.55 * _bell((cosine - face.cos_iris) / 0.014)
    fibres = 1.3 - 0.55 * _step((cosine - face.cos_iris) / 0.08)
    direct = max(nx * light.direction[0] + ny * light.direction[1] + nz * light.direction[2], 0.0)
    lit = (0.85 * light.ambient + light.key * direct) * (1 - 0.55 * math.exp(-max(below_lid, 0.0) / 1.4))
    hx, hy, hz = vx + light.direction[0], vy + light.direction[1], vz + light.direction[2]
    facing = (nx * hx + ny * hy + nz * hz) / math.sqrt(hx * hx + hy * hy + hz * hz)
    glint = 0.7 * light.key * _step((facing - 0.988) / 0.006)
    red = 0.60 * (1 - in_iris) + in_iris * ((1 - in_pupil) * face.iris[0] * fibres + in_pupil * 0.008)
    green = 0.55 * (1 - in_iris) + in_iris * ((1 - in_pupil) * face.iris[1] * fibres + in_pupil * 0.008)
    blue = 0.52 * (1 - in_iris) + in_iris * ((1 - in_pupil) * face.iris[2] * fibres + in_pupil * 0.008)
    return red * ring * lit + glint, green * ring * lit + glint, blue * ring * lit + glint


@numba.njit(cache=True, fastmath=True, inline="always")
def _eye(x, y, px, py, pz, eye, face, light):
    """Cover of the eyeball at a point of the skin, its light, and the darkening of the skin by lashes and creases."""
    outward = abs(x) - face.x
    across = outward / face.width
    opening = eye.opening
    rest = max(1.0 - across * across, 0.0)
    closed = max(1.0 - opening, 0.0)
    middle = face.tilt * outward
    upper = middle + (face.upper * opening - 0.75 * closed * face.lower) * rest**0.72
    lower = middle - face.lower * (1.0 - 0.25 * closed) * rest**0.82
    side = _step((1.18 - abs(across)) / 0.25)
    crease = y - middle - face.upper * rest**0.72 - face.crease * (0.35 + 0.65 * rest)
    skin = 1.0 - face.crease_depth * _bell(crease) * side * min(opening, 1.0)
    if y > upper:
        skin *= 1.0 - face.lashes * _bell((y - upper) / 0.95) * side
    if y < lower:
        skin *= 1.0 - 0.25 * _bell((lower - y) / 0.8) * side
    cover = 0.0
    red = green = blue = 0.0
    if rest > 0 and upper > lower:
        cover = _step((upper - y) / 0.5 + 0.5) * _step((y - lower) / 0.5 + 0.5)
        if cover > 0:
            red, green, blue = _eyeball(px, py, pz, upper - y, eye, face, light)
            corner = _step((-across - 0.82) / 0.16)  # the pink corner beside the nose
            red += corner * (0.8 * face.skin[0] * light.ambient - red)
            green += corner * (0.45 * face.skin[1] * light.ambient - green)
            blue += corner * (0.45 * face.skin[2] * light.ambient - blue)
    return cover, red, green, blue, skin


@numba.njit(cache=True, fastmath=True, inline="always")
def _skin(x, y, texel, diffuse, gloss, px, py, pz, right, left, face, light):
    """Skin or hair, with the eyes in it."""
    red, green, blue = texel[0] * diffuse + gloss, texel[1] * diffuse + gloss, texel[2] * diffuse + gloss
    if abs(abs(x) - face.x) < 1.45 * face.width and -14.0 < y < 17.0:
        eye = right if x < 0 else left
        cover, eye_red, eye_green, eye_blue, skin = _eye(x, y, px, py, pz, eye, face, light)
        red = red * skin * (1 - cover) + eye_red * cover
        green = green * skin * (1 - cover) + eye_green * cover
        blue = blue * skin * (1 - cover) + eye_blue * cover
    return red, green, blue


@numba.njit(cache=True, fastmath=True)
def shade(
    region,
    supersampling,
    fragments,
    triangles,
    material,
    attributes,
    texture,
    face,
    right,
    left,
    light,
    background,
    out,
):
    """Shade the pixels of `region` = (left, right, top, bottom) into `out` [H, W, 3], averaging the sub-pixels."""
    triangle_at, weight0, weight1 = fragments.triangle, fragments.weight0, fragments.weight1
    share = 1.0 / (supersampling * supersampling)
    vertex = np.empty(attributes.shape[1], np.float32)  # attributes interpolated at the sub-pixel
    for row in range(region[2], region[3]):
        for column in range(region[0], region[1]):
            red = green = blue = 0.0
            empty = 0
            for sub_row in range(row * supersampling, (row + 1) * supersampling):
                for sub_column in range(column * supersampling, (column + 1) * supersampling):
                    k = triangle_at[sub_row, sub_column]
                    if k < 0:
                        empty += 1
                        continue
                    w0, w1 = weight0[sub_row, sub_column], weight1[sub_row, sub_column]
                    w2 = np.float32(1.0) - w0 - w1
                    a, b, c = triangles[k, 0], triangles[k, 1], triangles[k, 2]
                    for i in range(attributes.shape[1]):
                        vertex[i] = w0 * attributes[a, i] + w1 * attributes[b, i] + w2 * attributes[c, i]
                    diffuse, x, y = vertex[0], vertex[5], vertex[6]
                    kind = material[k]
                    if kind == _PLAIN:
                        colour = vertex[10] * diffuse, vertex[11] * diffuse, vertex[12] * diffuse
                    else:
                        texel = _texel(texture, vertex[3], vertex[4])
                        if kind == _MOUTH and abs(x) < face.mouth_width:
                            colour = _inside_mouth(x, y, vertex[2], texel, diffuse, face)
                        else:
                            colour = _skin(
                                x,
                                y,
                                texel,
                                diffuse,
                                vertex[1],
                                vertex[7],
                                vertex[8],
                                vertex[9],
                                right,
                                left,
                                face,
                                light,
                            )
                    red += colour[0]
                    green += colour[1]
                    blue += colour[2]
            out[row, column, 0] = (red + background[row, column, 0] * empty) * share
            out[row, column, 1] = (green + background[row, column, 1] * empty) * share
            out[row, column, 2] = (blue + background[row, column, 2] * empty) * share


@numba.njit(cache=True, fastmath=True)
def blur_rows_and_columns(image: np.ndarray, weights: np.ndarray, scratch: np.ndarray) -> None:
    """Blur ``image [H, W, C]`` in place with the symmetric kernel `weights` (centre first); the border repeats."""
    height, width, channels = image.shape
    radius = weights.size - 1
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                total = weights[0] * image[y, x, c]
                for k in range(1, radius + 1):
                    left, right = max(x - k, 0), min(x + k, width - 1)
                    total += weights[k] * (image[y, left, c] + image[y, right, c])
                scratch[y, x, c] = total
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                total = weights[0] * scratch[y, x, c]
                for k in range(1, radius + 1):
                    above, below = max(y - k, 0), min(y + k, height - 1)
                    total += weights[k] * (scratch[above, x, c] + scratch[below, x, c])
                image[y, x, c] = total
