"""Training looks at the training subjects alone, and its parts do what their formulas say."""

import numpy as np
import pytest
import torch

from snnfer.datasets import ArrayCache, ClipInput, ClipTensors, ManifestDataset
from snnfer.errors import ConfigError, DatasetError
from snnfer.training import TrainConfig, load_model, normalise, save_model
from snnfer.training.augmentation import random_shift
from snnfer.training.classifier import PermutedLabels, input_statistics, train_classifier
from snnfer.training.prediction import predict_recording
from snnfer.training.schedules import learning_rate


@pytest.fixture
def make_clips(toy_manifest, tmp_path):
    """Tensors of the toy recordings in one modality; 3 subjects x 3 classes x 2 clips."""

    def make(modality="events", kind=ClipTensors):
        data = ManifestDataset.read(toy_manifest)
        reader = ClipInput(modality, n_steps=12, size=(16, 16))
        return kind(data, reader, ArrayCache(tmp_path / "cache"), show_progress=False)

    return make


class Watched(ClipTensors):
    """Clips that remember which of them were looked at."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.seen = set()

    def __getitem__(self, index):
        self.seen.add(self.data.clips[index].subject)
        return super().__getitem__(index)


def train(clips, tmp_path, **options):
    settings = {"epochs": 2, "batch_size": 4} | options.pop("config", {})
    return train_classifier(
        clips,
        model="au_snn",
        model_args={"channels": 4, "hidden": 16},
        config=TrainConfig(**settings),
        seed=0,
        checkpoint_dir=tmp_path / "checkpoint",
        **{"train_subjects": ("anna", "ben"), **options},
    )


@pytest.mark.parametrize("modality", ["events", "rgb"])
@pytest.mark.parametrize("selection", ["last_epoch", "inner_subjects"])
def test_no_clip_of_the_held_out_subject_is_ever_read(make_clips, tmp_path, modality, selection):
    clips = make_clips(modality, Watched)
    groups = {"train_subjects": ("anna",), "validation_subjects": ("ben",)} if selection == "inner_subjects" else {}
    train(clips, tmp_path, config={"selection": selection}, **groups)
    assert clips.seen == {"anna", "ben"}


def test_statistics_are_those_of_the_valid_steps_of_the_training_clips(make_clips):
    clips = make_clips("rgb")
    indices = clips.indices(("anna", "cleo"))
    mean, std = input_statistics(clips, indices)
    valid = [clips[i][0][: clips[i][2]].numpy() for i in indices]
    values = np.concatenate([x.transpose(1, 0, 2, 3).reshape(3, -1) for x in valid], axis=1)
    assert np.allclose(mean, values.mean(1), rtol=1e-9)
    assert np.allclose(std, values.std(1), rtol=1e-9)


def test_event_counts_enter_as_they_are(make_clips):
    assert input_statistics(make_clips(), [0, 1]) == ((0.0, 0.0), (1.0, 1.0))


def test_permuted_labels_are_the_same_labels_in_another_order(make_clips):
    clips = make_clips()
    seen = clips.indices(("anna", "ben"))
    permuted = PermutedLabels(clips, seen, seed=1)
    labels = [permuted[i][1] for i in range(len(clips))]
    assert sorted(labels[i] for i in seen) == sorted(clips.labels[i] for i in seen)
    assert [labels[i] for i in seen] != [clips.labels[i] for i in seen]
    assert [labels[i] for i in clips.indices(("cleo",))] == [clips.labels[i] for i in clips.indices(("cleo",))]


def test_a_model_folder_gives_back_the_same_scores(make_clips, tmp_path):
    trained = train(make_clips("rgb"), tmp_path)
    save_model(tmp_path / "model", trained)
    again = load_model(tmp_path / "model")
    x = torch.randint(0, 256, (12, 2, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert torch.equal(trained.model(trained.normalise(x)), again.model(again.normalise(x)))
    assert (again.class_names, again.input, again.mean) == (trained.class_names, trained.input, trained.mean)


def test_scores_of_a_recording_are_those_of_its_windows(make_clips, tmp_path):
    clips = make_clips()
    trained = train(clips, tmp_path)
    stream = clips.data.load(clips.data.clips[0])
    result = predict_recording(trained, stream, box=None, span_us=99_000, hop_us=66_000)
    start = stream.t_start_us + 66_000
    x = ClipInput(n_steps=3, size=(16, 16))(stream, t_start_us=start, n_valid=3)
    assert np.array_equal(result.scores[1], trained.model(trained.normalise(x[:, None]))[0].detach().numpy())
    assert result.t_start_us.tolist() == [0, 66_000, 132_000, 198_000, 264_000][: len(result.t_start_us)]
    assert (result.t_end_us - result.t_start_us).tolist()[:3] == [99_000] * 3
    assert result.top(0, 3)[0][1] == result.scores[0].max()


def test_a_recording_shorter_than_a_step_is_refused(make_clips, tmp_path):
    clips = make_clips()
    stream = clips.data.load(clips.data.clips[0])
    with pytest.raises(DatasetError, match="at least one step of 33 ms"):
        predict_recording(train(clips, tmp_path), stream.slice_time(0, 20_000), box=None)


def test_learning_rate_is_torchs_cosine_annealing():
    config = TrainConfig(epochs=7, learning_rate=0.3)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 7)
    for epoch in range(7):
        assert learning_rate(config, epoch) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        schedule.step()
    assert learning_rate(TrainConfig(schedule="constant"), 50) == 1e-3


def test_random_shift_moves_each_clip_as_a_whole_within_its_limits():
    torch.manual_seed(0)
    x = torch.zeros(9, 40, 1, 9, 9)
    x[4, :, 0, 4, 4] = 1
    places = random_shift(x, max_px=2, max_steps=3).nonzero()
    assert len(places) == 40  # nothing lost, nothing doubled
    moved = places[:, [0, 3, 4]] - 4
    assert moved.abs().amax(0).tolist() == [3, 2, 2]
    assert random_shift(x, max_px=0, max_steps=0) is x


def test_normalise_is_per_channel():
    x = torch.arange(24, dtype=torch.uint8).view(2, 2, 3, 1, 2)
    expected = (x.numpy() - np.array([1.0, 2, 3]).reshape(3, 1, 1)) / np.array([2.0, 4, 8]).reshape(3, 1, 1)
    for raw in (x, x.float()):
        before = raw.clone()
        assert np.allclose(normalise(raw, (1.0, 2.0, 3.0), (2.0, 4.0, 8.0)).numpy(), expected, atol=1e-6)
        assert torch.equal(raw, before)


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"batch_size": -1}, {"learning_rate": 0.0}, {"max_shift_px": -1}, {"n_validation_subjects": 0}],
)
def test_impossible_recipes_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TrainConfig(**wrong)
