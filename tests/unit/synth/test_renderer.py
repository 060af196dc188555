import dataclasses

import numpy as np
import pytest

from snnfer.synth import _geometry_kernels as geometry
from snnfer.synth.acting import DIFFICULTIES, write_script
from snnfer.synth.performance import Performance
from snnfer.synth.renderer import luminance
from snnfer.synth.state import HeadState, rotation_matrix


@pytest.fixture
def neutral(session) -> HeadState:
    """Facing the camera, eyes open, looking into the lens."""
    person = session.person
    return HeadState(
        contraction=np.zeros(len(person.muscles.names)),
        wrinkles=np.zeros(len(person.wrinkles)),
        jaw=0.0,
        eye_opening=np.ones(2),
        gaze=np.array([[0.04, 0.0], [-0.04, 0.0]]),
        rotation=np.zeros(3),
        position=np.array([0.0, 6.0, 800.0]),
        levels={},
    )


def patch(session, state: HeadState, points: slice, margin: int = 2) -> tuple[slice, slice]:
    """Rows and columns around some landmarks."""
    session.renderer.render(state)
    low = np.floor(session.renderer.landmarks(state)[points].min(0)).astype(int) - margin
    high = np.ceil(session.renderer.landmarks(state)[points].max(0)).astype(int) + margin
    return slice(low[1], high[1]), slice(low[0], high[0])


RIGHT_EYE, LEFT_EYE, MOUTH, BROWS = slice(36, 42), slice(42, 48), slice(48, 68), slice(17, 27)


def brute_force_raster(screen, inverse, triangles, height, width):
    """Nearest front-facing triangle of each pixel centre, from signed areas of every triangle."""
    best = np.zeros((height, width))
    winner = np.full((height, width), -1)
    y, x = np.mgrid[:height, :width] + 0.5
    for k, corners in enumerate(triangles):
        (ax, ay), (bx, by), (cx, cy) = screen[corners].astype(float)
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if area >= -1e-6:
            continue
        w0 = ((bx - x) * (cy - y) - (cx - x) * (by - y)) / area
        w1 = ((cx - x) * (ay - y) - (ax - x) * (cy - y)) / area
        w2 = 1 - w0 - w1
        depth = w0 * inverse[corners[0]] + w1 * inverse[corners[1]] + w2 * inverse[corners[2]]
        wins = (w0 >= 0) & (w1 >= 0) & (w2 >= 0) & (depth > best)
        best[wins], winner[wins] = depth[wins], k
    return best, winner


def test_rasteriser_equals_brute_force():
    rng = np.random.default_rng(0)
    screen = rng.uniform(-5, 45, (90, 2)).astype(np.float32)
    inverse = rng.uniform(0.001, 0.002, 90).astype(np.float32)
    triangles = rng.permutation(90).reshape(30, 3).astype(np.int32)
    depth, winner = np.zeros((40, 40), np.float32), np.full((40, 40), -1, np.int32)
    geometry.rasterise(screen, inverse, triangles, depth, winner, np.zeros_like(depth), np.zeros_like(depth))
    expected_depth, expected_winner = brute_force_raster(screen, inverse, triangles, 40, 40)
    assert (expected_winner >= 0).sum() > 200
    assert (winner == expected_winner).mean() > 0.998  # single precision at edges
    np.testing.assert_allclose(depth[winner == expected_winner], expected_depth[winner == expected_winner], rtol=1e-3)


def test_landmarks_follow_the_pinhole_camera(session, neutral):
    renderer = session.renderer
    renderer.render(neutral)
    before = renderer.landmarks(neutral)
    moved = dataclasses.replace(neutral, position=neutral.position + np.array([10.0, 0, 0]))
    renderer.render(moved)
    points = session.person.landmarks.positions(session.person.head.vertices, np.ones(2))
    expected = 380.0 * 10.0 / (800.0 - points[:, 2])
    np.testing.assert_allclose((renderer.landmarks(moved) - before)[:, 0], expected, rtol=1e-4)
    iris = before[RIGHT_EYE].mean(0)
    assert abs(iris[0] - (86.5 - 380 * session.person.identity.eye_x / 800)) < 1.5


def test_depth_map_sees_the_nose_nearest(session, neutral):
    session.renderer.render(neutral)
    depth = session.renderer.depth()
    x, y = session.renderer.landmarks(neutral)[30].round().astype(int)
    assert depth[y - 3 : y + 4, x - 3 : x + 4].min() == pytest.approx(depth.min(), abs=6.0)
    assert 760 < depth.min() < 810
    assert depth[0, 0] == session.renderer.background_depth[0, 0] > 1400


def test_background_stays_and_the_face_covers_it(session, neutral):
    image = session.renderer.render(neutral).copy()
    np.testing.assert_array_equal(image[:, :10], session.renderer.background[:, :10])
    assert np.abs(image[50:80, 75:95] - session.renderer.background[50:80, 75:95]).mean() > 0.02


def test_rendering_has_no_memory(session, neutral):
    first = session.renderer.render(neutral).copy()
    acted = dataclasses.replace(
        neutral, jaw=0.2, rotation=np.array([0.4, 0.1, 0.05]), wrinkles=np.full(len(neutral.wrinkles), 0.4)
    )
    assert np.abs(session.renderer.render(acted) - first).max() > 0.1
    slightly = dataclasses.replace(neutral, wrinkles=np.full(len(neutral.wrinkles), 1.9e-3))
    session.renderer.render(slightly)
    np.testing.assert_array_equal(session.renderer.render(neutral), first)


def test_closed_eyes_hide_iris_and_sclera(session, neutral):
    rows, columns = patch(session, neutral, RIGHT_EYE, margin=0)
    open_ = luminance(session.renderer.render(neutral))[rows, columns].copy()
    closed = luminance(session.renderer.render(dataclasses.replace(neutral, eye_opening=np.zeros(2))))[rows, columns]
    assert closed.std() < 0.75 * open_.std()


def test_gaze_moves_the_iris(session, neutral):
    rows, columns = patch(session, neutral, LEFT_EYE, margin=-1)

    def dark_column(azimuth: float) -> float:
        state = dataclasses.replace(neutral, gaze=np.array([[azimuth, 0.0], [azimuth, 0.0]]))
        eye = luminance(session.renderer.render(state))[rows, columns]
        weight = np.maximum(np.median(eye) - eye, 0) ** 2
        return float((weight.sum(0) @ np.arange(eye.shape[1])) / weight.sum())

    assert dark_column(0.4) > dark_column(-0.04) > dark_column(-0.5)


def test_jaw_opens_a_dark_mouth(session, neutral):
    state = dataclasses.replace(neutral, jaw=np.deg2rad(13.5))
    rows, columns = patch(session, state, slice(60, 68), margin=0)
    closed = luminance(session.renderer.render(neutral))[rows, columns].copy()
    opened = luminance(session.renderer.render(state))[rows, columns]
    assert opened.min() < 0.35 * closed.mean()
    y = session.person.identity.mouth_y
    gap = session.renderer.landmarks(state)[66] - session.renderer.landmarks(state)[62]
    assert 0.7 < gap[1] / (380 / 800 * 2 * np.sin(0.5 * np.deg2rad(13.5)) * np.hypot(y + 12, 72)) < 1.4


def test_rotation_matrix_turns_the_nose(session):
    nose = np.array([0.0, 0.0, 1.0])
    assert (rotation_matrix(0.3, 0, 0) @ nose)[0] == pytest.approx(np.sin(0.3))
    assert (rotation_matrix(0, 0.3, 0) @ nose)[1] == pytest.approx(-np.sin(0.3))
    np.testing.assert_allclose(rotation_matrix(0.3, 0.2, 0.1) @ rotation_matrix(0.3, 0.2, 0.1).T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(("au", "inside"), [(2, BROWS), (4, BROWS), (12, MOUTH), (15, MOUTH), (45, slice(36, 48))])
def test_each_action_unit_changes_its_part_of_the_image(session, au, inside):
    still = dataclasses.replace(DIFFICULTIES["easy"], coactivation=0.0, pose=0.0, tremor=0.0)
    rng = np.random.default_rng(1)
    acted = Performance(session.person, write_script(au, session.person.identity, still, rng), still, rng)
    track = acted.script.acted
    rest, apex = acted.state(0.0), acted.state(0.5 * (track.apex_start_s + track.apex_end_s))
    rest = dataclasses.replace(rest, rotation=apex.rotation, position=apex.position, gaze=apex.gaze)
    rows, columns = patch(session, rest, inside, margin=12)
    change = np.abs(session.renderer.render(apex).copy() - session.renderer.render(rest)).sum(-1)
    assert change[rows, columns].sum() > 0.6 * change.sum()
