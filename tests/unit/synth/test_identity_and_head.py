import dataclasses

import numpy as np
import pytest

from snnfer.synth._shapes import linear_to_srgb, minimum_jerk, srgb_to_linear
from snnfer.synth.head import MOUTH, build_head
from snnfer.synth.identity import TRAITS, Identity
from snnfer.synth.landmarks import build_landmarks, lid_edges


def test_people_differ_and_come_back():
    people = [Identity.sample(seed) for seed in range(40)]
    assert people[7] == Identity.sample(7)
    assert len({person.skin for person in people}) == 40
    assert {person.male for person in people} == {True, False}
    assert not any(person.beard for person in people if not person.male)
    ages = [person.age for person in people]
    assert min(ages) < 30
    assert max(ages) > 55


@pytest.mark.parametrize("seed", range(10))
def test_measures_stay_in_their_bounds(seed):
    person = Identity.sample(seed)
    for name, trait in TRAITS.items():
        assert trait.low <= getattr(person, name) <= trait.high, name
    assert all(0 < value < 1 for value in (*person.skin, *person.lips, *person.hair, *person.iris))


def test_head_is_symmetric_and_of_human_size():
    head = build_head(Identity.sample(1))
    grid = head.vertices.reshape(head.rows, head.columns, 3)
    np.testing.assert_allclose(grid[..., 0], -grid[:, ::-1, 0], atol=1e-3)
    np.testing.assert_allclose(grid[..., 1:], grid[:, ::-1, 1:], atol=0.6)  # a parting may lie beside the middle
    width, height, depth = np.ptp(head.vertices[head.in_front], axis=0)
    assert 125 < width < 180
    assert 210 < height < 265
    assert 80 < depth < 160


def test_triangles_face_outwards():
    head = build_head(Identity.sample(2))
    a, b, c = (head.vertices[head.triangles[:, i]].astype(float) for i in range(3))
    normal, centre = np.cross(b - a, c - a), (a + b + c) / 3
    side = (np.abs(centre[:, 1]) < 40) & (np.abs(centre[:, 0]) > 30)
    outward = normal[side, 0] * np.sign(centre[side, 0])
    assert (outward > 0).mean() > 0.9


def test_lips_meet_at_the_mouth_line():
    person = Identity.sample(3)
    head = build_head(person)
    grid = head.vertices.reshape(head.rows, head.columns, 3)
    np.testing.assert_allclose(grid[head.upper_lip_row, :, 1], person.mouth_y + 0.7, atol=1e-3)
    np.testing.assert_allclose(grid[head.lower_lip_row, :, 1], person.mouth_y - 0.7, atol=1e-3)
    mouth = head.canonical[head.triangles[head.material == MOUTH]]
    assert np.abs(mouth[..., 1] - person.mouth_y).max() < 0.71


def test_landmarks_lie_where_the_scheme_puts_them():
    person = dataclasses.replace(Identity.sample(4), eye_tilt=0.0)
    head = build_head(person)
    points = build_landmarks(person, head).positions(head.vertices, np.ones(2))
    assert points.shape == (68, 3)
    for right, left in ((36, 45), (39, 42), (48, 54), (31, 35), (17, 26), (0, 16)):
        np.testing.assert_allclose(points[right, 0], -points[left, 0], atol=3.0)
    assert points[8, 1] == points[:, 1].min()
    assert points[30, 2] > points[[36, 45, 8], 2].max() + 5  # the tip of the nose stands out
    np.testing.assert_allclose(points[45, 0] - points[42, 0], 2 * person.eye_width, atol=1.0)


def test_closing_the_eye_brings_the_lids_together():
    person = Identity.sample(4)
    across = np.linspace(-0.8, 0.8, 9)
    upper, lower = lid_edges(person, across, 1.0)
    assert (upper - lower).max() == pytest.approx(person.eye_upper + person.eye_lower, rel=0.01)
    upper, lower = lid_edges(person, across, 0.0)
    assert np.abs(upper - lower).max() < 1.0
    head = build_head(person)
    landmarks = build_landmarks(person, head)
    open_, wink = (landmarks.positions(head.vertices, np.array(o)) for o in ((1.0, 1.0), (0.0, 1.0)))
    assert (open_[37, 1] - open_[41, 1]) > 5 > abs(wink[37, 1] - wink[41, 1])
    np.testing.assert_array_equal(open_[42:48], wink[42:48])


def test_minimum_jerk_starts_and_ends_at_rest():
    x = np.linspace(0, 1, 1001)
    position = minimum_jerk(x)
    velocity = np.gradient(position, x)
    assert position[[0, 500, 1000]].tolist() == pytest.approx([0, 0.5, 1])
    assert velocity.max() == pytest.approx(1.875, abs=1e-3)  # Flash and Hogan 1985
    assert abs(velocity[[0, -1]]).max() < 1e-4
    assert minimum_jerk([-1.0, 2.0]).tolist() == [0, 1]


def test_srgb_is_undone():
    values = np.linspace(0, 1, 101)
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(values)), values, atol=1e-6)
    assert srgb_to_linear(0.5) == pytest.approx(0.2140, abs=1e-4)
