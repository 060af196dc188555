import numpy as np
import pytest

from snnfer.synth.muscles import AU_MUSCLES, linear_muscle


def displacement(person, au: int) -> np.ndarray:
    contraction = person.muscles.activation(au, person.identity)
    return np.tensordot(contraction, person.muscles.fields, 1)


def mean_at(person, field: np.ndarray, x: float, y: float, radius: float = 4.0) -> np.ndarray:
    near = np.hypot(person.head.canonical[:, 0] - x, person.head.canonical[:, 1] - y) < radius
    return field[near & person.head.in_front].mean(0)


def test_every_muscle_belongs_to_an_action_unit_and_exists(person):
    named = {muscle for muscles in AU_MUSCLES.values() for muscle in muscles}
    assert {name.split("/")[0] for name in person.muscles.names} == named


@pytest.mark.parametrize(
    ("au", "place", "up", "outward"),
    [
        (2, "outer brow", 1, 0),
        (4, "inner brow", -1, -1),
        (12, "mouth corner", 1, 1),
        (15, "mouth corner", -1, 0),
        (17, "chin", 1, 0),
        (23, "mouth corner", 0, -1),
        (6, "cheek", 1, 0),
        (9, "upper lip", 1, 0),
    ],
)
def test_action_units_move_the_skin_the_way_facs_says(person, au, place, up, outward):
    p = person.identity
    x, y = {
        "outer brow": (36, p.brow_y),
        "inner brow": (20, p.brow_y),
        "mouth corner": (p.mouth_width, p.mouth_y),
        "chin": (4, -99),
        "cheek": (40, -28),
        "upper lip": (14, -p.nose_length - 4),
    }[place]
    field = displacement(person, au)
    for side in (-1, 1):
        moved = mean_at(person, field, side * x, y)
        if up:
            assert moved[1] * up > 1.0
        if outward:
            assert moved[0] * side * outward > 0.8


def test_muscles_leave_the_rest_of_the_face_alone(person):
    p = person.identity
    assert np.abs(mean_at(person, displacement(person, 2), 0, p.mouth_y)).max() < 0.05
    assert np.abs(mean_at(person, displacement(person, 15), 30, p.brow_y)).max() < 0.05
    behind = ~person.head.in_front
    assert np.abs(person.muscles.fields[:, behind]).max() == 0


def test_skin_muscles_do_not_open_the_mouth(person):
    grid = person.muscles.fields.reshape(-1, person.head.rows, person.head.columns, 3)
    np.testing.assert_array_equal(grid[:, person.head.upper_lip_row], grid[:, person.head.lower_lip_row])


def test_linear_muscle_is_strongest_at_its_insertion_and_points_to_its_origin(person):
    origin, insertion = (44.0, 62.0), (36.0, 20.0)
    field = linear_muscle(person.head, origin, insertion, pull_mm=8.0, half_angle_deg=30)
    size = np.linalg.norm(field[:, :2], axis=1)
    strongest = person.head.vertices[size.argmax()]
    assert np.hypot(strongest[0] - insertion[0], strongest[1] - insertion[1]) < 8
    assert 5.0 < size.max() <= 8.0
    direction = field[size.argmax(), :2] / size.max()
    wanted = np.array(origin) - strongest[:2]
    assert direction @ wanted / np.linalg.norm(wanted) > 0.9
    from_origin = person.head.vertices[:, :2] - origin
    axis = np.subtract(insertion, origin) / np.linalg.norm(np.subtract(insertion, origin))
    beyond = (from_origin @ axis) < 0
    assert size[beyond].max() == 0


def test_jaw_moves_the_chin_and_not_the_nose(person):
    canonical, jaw = person.head.canonical, person.muscles.jaw
    front = person.head.in_front & (np.abs(canonical[:, 0]) < 20)
    assert jaw[front & (canonical[:, 1] < person.identity.mouth_y - 8)].min() > 0.99
    assert jaw[front & (canonical[:, 1] > person.identity.mouth_y + 4)].max() < 0.01
    assert jaw[~(np.abs(person.head.angle) < 1.75)].max() == 0
