"""Still images with depth become manifests whose clips give back the images."""

import numpy as np
import pytest
from PIL import Image

from snnfer.datasets import ArrayCache, ClipInput, ClipTensors, ManifestDataset
from snnfer.datasets.rgbd_stills import find_bu3dfe, find_cald3r, write_stills
from snnfer.errors import DatasetError

RNG = np.random.default_rng(0)


def save_pair(rgb, depth):
    """An image and a depth map of 6 x 8 pixels."""
    for path in (rgb, depth):
        path.parent.mkdir(parents=True, exist_ok=True)
    colours = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    distance = RNG.integers(300, 60_000, (6, 8), dtype=np.uint16)
    Image.fromarray(colours).save(rgb)
    Image.fromarray(distance).save(depth)
    return colours, distance


@pytest.fixture
def bu3dfe(tmp_path):
    """Five subjects, two expressions in four intensities and neutral."""
    for subject in ("F0001", "F0002", "F0003", "M0001", "M0002"):
        for shown in ("NE00", *(f"{name}0{level}" for name in ("AN", "HA") for level in (1, 2, 3, 4))):
            stem = tmp_path / "bu" / subject / f"{subject}_{shown}WH"
            save_pair(stem.with_name(stem.name + "_F2D.bmp"), stem.with_name(stem.name + "_F3D_depth.png"))
    return tmp_path / "bu"


def test_all_of_bu3dfe(bu3dfe):
    stills = find_bu3dfe(bu3dfe)
    assert len(stills) == 5 * 9
    assert {still.expression for still in stills} == {"anger", "happiness", "neutral"}
    first = stills[0]
    assert (first.name, first.subject, first.expression) == ("F0001_AN01WH", "F0001", "anger")


def test_six_expressions_of_the_subjects_that_scikit_learn_draws(bu3dfe):
    from sklearn.model_selection import train_test_split

    everyone = ["F0001", "F0002", "F0003", "M0001", "M0002"]
    drawn = train_test_split(everyone, test_size=0.4, random_state=42)[0]
    stills = find_bu3dfe(bu3dfe, selection="six")
    assert {still.subject for still in stills} == set(drawn)
    assert len(stills) == 3 * 2 * 2
    assert {still.name[8:10] for still in stills} == {"03", "04"}


def test_a_hundred_subjects_give_the_published_number_of_images():
    from sklearn.model_selection import train_test_split

    from snnfer.datasets.rgbd_stills import _drawn_subjects

    everyone = [f"F{i:04}" for i in range(1, 57)] + [f"M{i:04}" for i in range(1, 45)]
    drawn = _drawn_subjects(everyone)
    assert drawn == set(train_test_split(everyone, test_size=0.4, random_state=42)[0])
    assert len(drawn) * 6 * 2 == 720


def test_clips_give_back_the_images(tmp_path):
    expected = {}
    for i, subject in enumerate(("F_1", "M_2")):
        for expression in ("Anger", "Fear"):
            folder, name = tmp_path / "CalD3r" / expression, f"{subject}_00{i}_{expression.lower()}"
            pair = save_pair(folder / "RGB" / f"{name}_Color.png", folder / "DEPTH" / f"{name}_Depth.png")
            expected[f"CalD3r-{name}"] = pair
    manifest = write_stills(tmp_path / "out", find_cald3r(tmp_path / "CalD3r"))
    data = ManifestDataset.read(manifest)
    assert data.class_names == ("anger", "fear")
    assert data.subjects == ("CalD3r-F_1", "CalD3r-M_2")
    clips = ClipTensors(data, ClipInput("rgbd", n_steps=1, size=(6, 8)), ArrayCache(tmp_path / "cache"))
    for i, clip in enumerate(data.clips):
        x, _, length = clips[i]
        assert (tuple(x.shape), length) == ((1, 4, 6, 8), 1)
        colours, distance = expected[clip.clip]
        np.testing.assert_array_equal(x[0, :3].movedim(0, -1), colours)
        np.testing.assert_array_equal(x[0, 3], distance.astype(np.float32))


def test_a_second_call_keeps_what_is_there(bu3dfe, tmp_path):
    stills = find_bu3dfe(bu3dfe)[:2]
    manifest = write_stills(tmp_path / "out", stills)
    file = tmp_path / "out" / "clips" / "F0001_AN01WH.h5"
    before = file.stat().st_mtime_ns
    assert write_stills(tmp_path / "out", stills) == manifest
    assert file.stat().st_mtime_ns == before


class TestWrongInput:
    def test_an_image_without_depth(self, bu3dfe):
        (bu3dfe / "F0001" / "F0001_AN01WH_F3D_depth.png").unlink()
        with pytest.raises(DatasetError, match="an image without its depth map '.*F0001_AN01WH_F3D_depth.png'"):
            find_bu3dfe(bu3dfe)

    def test_no_images(self, tmp_path):
        with pytest.raises(DatasetError, match="no images in .* named like F0001_AN01WH_F2D.bmp"):
            find_bu3dfe(tmp_path)

    def test_an_unknown_expression(self, bu3dfe):
        path = bu3dfe / "F0001" / "F0001_XX01WH_F2D.bmp"
        path.write_bytes(b"")
        with pytest.raises(DatasetError, match="shows 'XX'; expected one of AN, DI"):
            find_bu3dfe(bu3dfe)

    def test_other_kinds_of_images(self, bu3dfe, tmp_path):
        still = find_bu3dfe(bu3dfe)[0]
        Image.fromarray(np.zeros((6, 8), np.uint8)).save(still.rgb)
        with pytest.raises(DatasetError, match="is no colour image"):
            write_stills(tmp_path / "out", [still])
        save_pair(still.rgb, still.rgb.with_suffix(".png"))
        Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(still.depth)
        with pytest.raises(DatasetError, match="is no depth map"):
            write_stills(tmp_path / "out", [still])
        still.depth.write_bytes(b"no image")
        with pytest.raises(DatasetError, match="cannot be read as an image"):
            write_stills(tmp_path / "out", [still])
        assert not (tmp_path / "out" / "manifest.csv").exists()

    def test_the_same_image_twice(self, bu3dfe, tmp_path):
        with pytest.raises(DatasetError, match="'F0001_AN01WH' comes twice"):
            write_stills(tmp_path / "out", find_bu3dfe(bu3dfe)[:1] * 2)
