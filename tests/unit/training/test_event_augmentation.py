"""Training clips from changed events: the same whatever the order, the process or an interruption."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from snnfer.datasets import ArrayCache, ClipInput, ClipTensors, ManifestDataset
from snnfer.datasets.windows import WindowSamples
from snnfer.errors import ConfigError
from snnfer.events.augmentation import augment_spiking_fer
from snnfer.training import TrainConfig
from snnfer.training.classifier import train_classifier
from snnfer.training.event_augmentation import AugmentedClips, mirror_face, random_resized_crop
from snnfer.training.fitting import fit
from snnfer.training.trainer import SeededSampler


@pytest.fixture
def make_clips(toy_manifest, tmp_path):
    """Clips of the toy recordings: 3 subjects x 3 classes x 2, six steps of 50 ms, 16 x 16 pixels."""

    def make(modality="events", kind=ClipTensors, boxes=None):
        data = ManifestDataset.read(toy_manifest)
        reader = ClipInput(modality, window_us=50_000, n_steps=6, size=(16, 16))
        return kind(data, reader, ArrayCache(tmp_path / "cache"), boxes=boxes, show_progress=False)

    return make


def rng(seed=0):
    return np.random.default_rng(seed)


def augmented(clips, *, seed=0, epoch=0):
    sampler = SeededSampler(len(clips), seed=seed)
    sampler.set_epoch(epoch)
    return AugmentedClips(clips, sampler=sampler, seed=seed)


@pytest.mark.parametrize("box", [None, (4, 8, 20, 20), (-5, 10, 30, 30)])
def test_unchanged_events_give_the_tensor_of_the_clip(make_clips, box):
    clips = make_clips(boxes=[box] * 18)
    for _ in range(2):  # read, then found in the cache
        stream = clips.events(3)
        assert (stream.width, stream.height) == (box[2:] if box else (32, 32))
        assert torch.equal(clips.tensor(3, stream), clips[3][0])
        assert len(stream) == clips[3][0].sum() > 0


def test_a_clip_depends_on_seed_epoch_and_index_alone(make_clips):
    clips = make_clips()
    first = augmented(clips, seed=5, epoch=2)
    forwards = [first[i] for i in range(18)]
    second = augmented(clips, seed=5, epoch=2)
    backwards = [second[i] for i in reversed(range(18))][::-1]
    for (x, label, length), (y, other_label, other_length), i in zip(forwards, backwards, range(18), strict=True):
        assert torch.equal(x, y)
        assert (label, length) == (other_label, other_length) == clips[i][1:]
        assert (x.shape, x.dtype) == (clips[i][0].shape, torch.uint8)
    for other in (augmented(clips, seed=6, epoch=2), augmented(clips, seed=5, epoch=3)):
        assert not any(torch.equal(other[i][0], forwards[i][0]) for i in range(18))


def test_clips_are_events_then_tensors_then_frames_in_the_named_order(make_clips, monkeypatch):
    calls = []
    clips = make_clips()

    def change(stream, generator):
        calls.append("events")
        return augment_spiking_fer(stream, generator)

    def crop(x, generator):
        calls.append("crop")
        return x

    def mirror(x, *, keep_left):
        calls.append("left" if keep_left else "right")
        return x

    module = "snnfer.training.event_augmentation."
    monkeypatch.setattr(module + "augment_spiking_fer", change)
    monkeypatch.setattr(module + "random_resized_crop", crop)
    monkeypatch.setattr(module + "mirror_face", mirror)
    n = 400
    for epoch in range(n):
        augmented(clips, epoch=epoch)[0]
    names = " ".join(calls)
    assert names.startswith("events crop")
    assert names.count("events crop") == n
    for half in ("crop left", "crop right"):
        assert names.count(half) == pytest.approx(n / 4, abs=5 * np.sqrt(n * 3 / 16))


def test_the_sampler_of_a_loader_tells_the_epoch_in_any_process(make_clips):
    clips = make_clips()
    sampler = SeededSampler(18, seed=1)
    loader = DataLoader(AugmentedClips(clips, sampler=sampler, seed=1), sampler=sampler, batch_size=None)
    elsewhere = pickle.loads(pickle.dumps(loader))  # what a process that is started gets
    for epoch in (0, 3):
        elsewhere.sampler.set_epoch(epoch)
        expected = augmented(clips, seed=1, epoch=epoch)
        for i, (x, _, _) in zip(list(elsewhere.sampler), elsewhere, strict=True):
            assert torch.equal(x, expected[i][0])


class Stop(Exception):
    pass


def train(clips, folder, *, on_epoch=None, config=None, **options):
    settings = {"epochs": 4, "batch_size": 4, "event_augmentation": "spiking_fer"} | (config or {})
    trained = train_classifier(
        clips,
        model="spiking_fer",
        model_args={"width": 4, "blocks": [1, 1]},
        config=TrainConfig(**settings),
        seed=0,
        checkpoint_dir=folder,
        on_epoch=on_epoch,
        **{"train_subjects": ("anna", "ben"), **options},
    )
    return trained.model.state_dict()


@pytest.mark.parametrize("permute", [False, True])
def test_interrupted_and_resumed_it_ends_with_the_same_bits(make_clips, tmp_path, permute):
    def interrupt(epoch, loss):
        if epoch == 2:
            raise Stop

    whole = train(make_clips(), tmp_path / "whole", permute_labels=permute)
    with pytest.raises(Stop):
        train(make_clips(), tmp_path / "parts", permute_labels=permute, on_epoch=interrupt)
    epochs = []
    parts = train(
        make_clips(), tmp_path / "parts", permute_labels=permute, on_epoch=lambda epoch, _: epochs.append(epoch)
    )
    assert 1 < epochs[0] <= epochs[-1] == 4
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    plain = train(make_clips(), tmp_path / "plain", permute_labels=permute, config={"event_augmentation": "none"})
    assert not all(torch.equal(whole[name], plain[name]) for name in whole)


class Watched(ClipTensors):
    """Clips that remember whose events were asked for."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.changed = set()

    def events(self, index):
        self.changed.add(self.data.clips[index].subject)
        return super().events(index)


def test_clips_that_select_the_epoch_stay_as_they_are(make_clips, tmp_path):
    clips = make_clips(kind=Watched)
    groups = {"train_subjects": ("anna",), "validation_subjects": ("ben",)}
    train(clips, tmp_path, config={"selection": "inner_subjects", "epochs": 1}, **groups)
    assert clips.changed == {"anna"}


def test_frames_and_windows_are_refused(make_clips, tmp_path):
    with pytest.raises(ConfigError, match=r"event_augmentation = spiking_fer for the modality 'rgb'; expected events"):
        train(make_clips("rgb"), tmp_path)
    windows = WindowSamples(make_clips(), n_windows=2)
    for permute in (False, True):
        with pytest.raises(ConfigError, match="event_augmentation = spiking_fer for windows of clips"):
            train(windows, tmp_path, permute_labels=permute)


class Linear(torch.nn.Module):
    """A classifier without batch statistics, which two processes would estimate apart."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2 * 16 * 16, 3)

    def forward(self, x, *, lengths=None):
        return self.layer(x.float().mean(0).flatten(1))


@pytest.mark.slow  # starts Python twice
def test_two_processes_see_what_one_sees(make_clips, tmp_path):
    def run(folder, **sizes):
        torch.manual_seed(0)
        recipe = TrainConfig(epochs=2, event_augmentation="spiking_fer", **sizes)
        options = {"n_classes": 3, "mean": (0.0,) * 2, "std": (1.0,) * 2, "seed": 0}
        return fit(Linear(), make_clips(), train=range(16), config=recipe, checkpoint_dir=tmp_path / folder, **options)

    one, two = run("one", batch_size=8), run("two", batch_size=4, devices=2)
    torch.testing.assert_close(one.layer.weight, two.layer.weight, rtol=1e-5, atol=1e-6)


def test_a_crop_is_one_box_by_nearest_neighbours():
    height, width = 24, 36
    image = torch.arange(height * width, dtype=torch.int32).view(1, 1, height, width)
    x = torch.cat([image, image + 10_000]).expand(2, 3, height, width)
    areas, ratios, corners = [], [], []
    for seed in range(400):
        out = random_resized_crop(x, rng(seed))
        assert (out.shape, out.dtype) == (x.shape, x.dtype)
        assert torch.equal(out[1, 2], out[0, 0] + 10_000)  # all steps and channels alike
        rows, columns = out[0, 0] // width, out[0, 0] % width
        assert torch.equal(rows, rows[:, :1].expand_as(rows))
        assert torch.equal(columns, columns[:1].expand_as(columns))
        top, bottom, left, right = (int(v) for v in (rows[0, 0], rows[-1, 0], columns[0, 0], columns[0, -1]))
        box_height, box_width = bottom - top + 1, right - left + 1
        centres = (np.arange(height) + 0.5) * box_height / height
        assert rows[:, 0].tolist() == (top + np.floor(centres)).astype(int).tolist()
        areas.append(box_height * box_width / (height * width))
        ratios.append(box_width / box_height)
        corners.append((top == 0, bottom == height - 1, left == 0, right == width - 1))
    assert 0.05 < min(areas) < 0.12
    assert 0.8 < max(areas) <= 1
    assert 0.6 < min(ratios) < 0.85
    assert 1.2 < max(ratios) < 1.6
    assert np.all(np.sum(corners, axis=0) > 0)


def test_a_box_that_never_fits_becomes_the_largest_in_the_middle():
    x = torch.arange(400).view(1, 1, 4, 100)
    out = random_resized_crop(x, rng(), scale=(1.0, 1.0))  # 3 x 4 at least, in a strip of 4 rows
    columns = out[0, 0, 0]
    assert (int(columns[0]), int(columns[-1])) == (47, 51)
    assert torch.equal(out[0, 0, :, 0], torch.tensor([47, 147, 247, 347]))


def test_a_mirrored_face_is_symmetric_and_keeps_its_half():
    for width in (8, 9):
        x = torch.randint(0, 9, (2, 2, 5, width), generator=torch.Generator().manual_seed(0))
        for keep_left in (True, False):
            out = mirror_face(x, keep_left=keep_left)
            assert torch.equal(out, out.flip(-1))
            half = -(-width // 2)
            kept = slice(0, half) if keep_left else slice(width - half, width)
            assert torch.equal(out[..., kept], x[..., kept])
