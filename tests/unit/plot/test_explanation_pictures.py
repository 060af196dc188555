"""Pictures of Grad-CAM maps and embeddings show what they were given."""

import numpy as np
import pytest

from snnfer.datasets import ClipInput
from snnfer.errors import ShapeError
from snnfer.plot import figure_png, input_images, plot_embedding, plot_grad_cam


class TestGradCam:
    def test_pictures_above_maps(self):
        images = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3), dtype=np.uint8)
        maps = np.linspace(0, 1, 4 * 6 * 8).reshape(4, 6, 8)
        figure = plot_grad_cam(images, maps, ["a", "b", "c", "d"], heading="where")
        panels = figure.axes[:12]  # two rows of pictures, each above its maps, three in a row
        for k, panel in enumerate([0, 1, 2, 6]):
            np.testing.assert_array_equal(panels[panel].images[0].get_array(), images[k])
            assert panels[panel].get_title() == "abcd"[k]
            grey, heat = panels[panel + 3].images
            np.testing.assert_allclose(grey.get_array(), 0.55 * images[k].mean(2))
            np.testing.assert_array_equal(heat.get_array(), maps[k])
        assert not panels[7].images
        assert figure_png(figure)[:4] == b"\x89PNG"

    def test_where_nothing_speaks_for_the_class_the_picture_is_grey(self):
        figure = plot_grad_cam(np.full((1, 4, 4, 3), 200, np.uint8), np.zeros((1, 4, 4)))
        assert not np.any(figure.axes[1].images[1].get_alpha())

    @pytest.mark.parametrize(
        ("images", "maps", "titles", "message"),
        [
            ((2, 4, 4, 3), (2, 4, 5), (), r"\[2, 4, 4, 3\] with maps of shape \[2, 4, 5\]"),
            ((0, 4, 4, 3), (0, 4, 4), (), "M of 1 or more"),
            ((2, 4, 4, 3), (2, 4, 4), ("a",), "1 titles for 2 pictures"),
        ],
    )
    def test_wrong_shapes(self, images, maps, titles, message):
        with pytest.raises(ShapeError, match=message):
            plot_grad_cam(np.zeros(images, np.uint8), np.zeros(maps), titles)


class TestInputImages:
    def test_of_rgb_with_depth_the_rgb(self):
        x = np.random.default_rng(0).uniform(0, 255, (2, 4, 5, 6)).astype(np.float32)
        images = input_images(x, ClipInput("rgbd", size=(5, 6)))
        np.testing.assert_array_equal(images, np.moveaxis(x[:, :3], 1, -1).astype(np.uint8))

    def test_depth_over_its_range(self):
        x = np.array([700, 800, 750, 900], np.float32).reshape(2, 1, 1, 2)
        images = input_images(x, ClipInput("depth", size=(1, 2)))
        assert images[..., 0].ravel().tolist() == [0, 127, 63, 255]
        assert (images == images[..., :1]).all()

    def test_events_in_their_colours(self):
        x = np.zeros((1, 2, 1, 3), np.uint8)
        x[0, 0, 0, 0] = x[0, 1, 0, 2] = 1
        off, none, on = input_images(x, ClipInput("events", size=(1, 3)))[0, 0].tolist()
        assert none == [255, 255, 255]
        assert off[2] > off[0]  # blue
        assert on[0] > on[2]  # vermilion


class TestEmbedding:
    def test_points_by_class(self):
        points = np.arange(12.0).reshape(6, 2)
        figure = plot_embedding(points, [2, 0, 2, 0, 3, 3], ["a", "b", "c", "d"])
        groups = figure.axes[0].collections
        assert [group.get_label() for group in groups] == ["a", "c", "d"]
        np.testing.assert_array_equal(np.asarray(groups[1].get_offsets()), points[[0, 2]])

    def test_no_two_of_49_classes_look_alike(self):
        names = [f"AU{k}" for k in range(49)]
        figure = plot_embedding(np.random.default_rng(0).random((49, 2)), np.arange(49), names)
        looks = {
            (tuple(group.get_facecolor()[0]), group.get_paths()[0].vertices.tobytes())
            for group in figure.axes[0].collections
        }
        assert len(looks) == 49

    def test_wrong_shapes(self):
        with pytest.raises(ShapeError, match=r"\[4, 3\] with labels of shape \[4\]"):
            plot_embedding(np.zeros((4, 3)), np.zeros(4, int), ["a"])
        with pytest.raises(ShapeError, match="labels from 0 to 2; expected 0 to 1"):
            plot_embedding(np.zeros((3, 2)), [0, 1, 2], ["a", "b"])
