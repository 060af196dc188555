import numpy as np
import pytest

from snnfer.datasets.action_units import ACTION_UNITS, PAPER_AUS
from snnfer.synth import SYNTH_AUS
from snnfer.synth.acting import AU_TIMING, DIFFICULTIES, HABITUAL_PARTNERS, Track, write_script
from snnfer.synth.identity import Identity
from snnfer.synth.performance import Performance
from snnfer.synth.wrinkles import wrinkle_depths

STILL = DIFFICULTIES["easy"].__class__(coactivation=0.0, pose=0.0, timing=0.0, tremor=0.0)


def script(au: int, seed: int = 0, difficulty=STILL):
    return write_script(au, Identity.sample(5), difficulty, np.random.default_rng(seed))


def performance(person, au: int, seed: int = 0, difficulty=STILL) -> Performance:
    rng = np.random.default_rng(seed)
    return Performance(person, write_script(au, person.identity, difficulty, rng), difficulty, rng)


def apex_state(acted: Performance):
    track = acted.script.acted
    return acted.state(0.5 * (track.apex_start_s + track.apex_end_s))


def test_classes_are_those_of_the_paper_in_its_order():
    assert SYNTH_AUS == PAPER_AUS
    assert set(HABITUAL_PARTNERS) == set(AU_TIMING)
    assert {au for partners in HABITUAL_PARTNERS.values() for au in partners} <= set(ACTION_UNITS)


def test_track_rises_holds_and_falls():
    track = Track(12, 0.8, 1.0, 1.4, 2.0, 2.6)
    times = np.linspace(0, 3, 3001)
    levels = np.array([track.level(t) for t in times])
    assert levels.max() == pytest.approx(0.8)
    assert (levels[(times <= 1.0) | (times >= 2.6)] == 0).all()
    assert (levels[(times > 1.41) & (times < 1.99)] == 0.8).all()
    assert track.level(1.2) == pytest.approx(0.4)
    assert np.abs(np.diff(levels)).max() < 0.8 * 1.9 / 400


@pytest.mark.parametrize("au", SYNTH_AUS)
def test_script_fits_into_its_clip(au):
    for seed in range(5):
        written = script(au, seed, DIFFICULTIES["base"])
        times = [written.acted.onset_s, written.acted.apex_start_s, written.acted.apex_end_s, written.acted.offset_s]
        assert (np.diff(times) > 0).all()
        assert times[0] >= 0.25
        assert times[-1] + 0.25 <= written.duration_s < 8
        assert 0.35 <= written.acted.amplitude <= 1.25


def test_micro_movements_last_170_to_500_ms():
    for seed in range(20):
        acted = script(12, seed, DIFFICULTIES["micro"]).acted
        assert 0.17 <= acted.offset_s - acted.onset_s <= 0.5


@pytest.mark.parametrize(("au", "axis", "sign"), [(51, 0, 1), (52, 0, -1), (53, 1, -1), (54, 1, 1)])
def test_head_turns_about_the_right_axis(person, au, axis, sign):
    acted = performance(person, au)
    turn = apex_state(acted).rotation - acted.state(0.0).rotation
    assert np.deg2rad(8) < sign * turn[axis] < np.deg2rad(60)
    assert abs(turn[1 - axis]) < 0.6 * abs(turn[axis])


@pytest.mark.parametrize(("au", "axis", "sign"), [(61, 0, 1), (62, 0, -1), (63, 1, 1), (64, 1, -1)])
def test_eyes_turn_both_the_same_way(person, au, axis, sign):
    acted = performance(person, au)
    turn = apex_state(acted).gaze - acted.state(0.0).gaze
    assert (sign * turn[:, axis] > np.deg2rad(4)).all()


@pytest.mark.parametrize(("au", "low", "high"), [(43, 0.0, 0.45), (45, 0.0, 0.45), (41, 0.3, 0.8), (5, 1.05, 1.7)])
def test_lids_open_and_close(person, au, low, high):
    openings = [apex_state(performance(person, au, seed)).eye_opening.mean() for seed in range(8)]
    assert low <= np.median(openings) <= high


def test_jaw_drops_by_intensity(person):
    acted = performance(person, 26)
    assert apex_state(acted).jaw == pytest.approx(np.deg2rad(13.5) * acted.script.acted.amplitude)
    assert acted.state(0.0).jaw == 0


def test_idle_motion_keeps_its_size(person):
    acted = performance(person, 12, difficulty=DIFFICULTIES["base"])
    yaw = np.array([acted.state(t).rotation[0] for t in np.linspace(0, 60, 2000)])
    assert 0.5 * 0.006 < yaw.std() / person.identity.tremor < 2 * 0.006


def test_wrinkles_deepen_with_their_action_unit(person):
    rest, frown = (wrinkle_depths(levels, person.identity) for levels in ({}, {4: 1.0}))
    assert frown[1] > rest[1] + 0.1
    np.testing.assert_array_equal(np.delete(frown, 1), np.delete(rest, 1))
