"""Numbers of transfer and reconstruction runs: hand-computed on small tables, and against direct recomputation."""

import itertools

import numpy as np
import pytest

pd = pytest.importorskip("pandas", reason="reports need pandas; it comes with snnfer[bench]")

from snnfer.benchmark.reconstruction import summary as reconstruction  # noqa: E402
from snnfer.benchmark.transfer.summary import COLUMNS, summarise_transfer  # noqa: E402
from snnfer.errors import DatasetError  # noqa: E402
from snnfer.metrics import paired_permutation_test, subject_bootstrap, uar  # noqa: E402

CLASSES = ["Anger", "Happy", "Sadness"]


def row(subject, clip, y, windows, *, system="evtransfer", representation="t0_t", training="scratch", seed=0,
        variant="standard", scores=None):  # fmt: skip
    """One clip; its scores are the shares of its windows unless given."""
    shares = np.bincount(windows, minlength=3) / len(windows) if scores is None else scores
    return dict(zip(COLUMNS, (system, representation, training, variant, seed, subject, subject, clip, y,
                              [float(v) for v in shares], list(windows)), strict=True))  # fmt: skip


def summarise(rows):
    return summarise_transfer(pd.DataFrame(rows), CLASSES)


def graded(share, *, subjects=7, n_windows=20, jitter=0.0, **names):
    """Each subject has two clips; `share` of their windows are right, jittered from subject to subject."""
    rows = []
    for s in range(subjects):
        n_right = round(n_windows * (share + jitter * (s - (subjects - 1) / 2)))
        for clip in range(2):
            windows = [clip] * n_right + [2] * (n_windows - n_right)
            rows.append(row(f"s{s}", f"c{clip}", clip, windows, **names))
    return rows


def three_trainings(shares, systems=("evtransfer",), representations=("t0_t",), **options):
    return [
        r
        for system, representation, (training, share) in itertools.product(systems, representations, shares.items())
        for r in graded(share, system=system, representation=representation, training=training, **options)
    ]


def test_window_and_clip_scores_of_a_table_counted_by_hand():
    metrics = summarise([
        row("a", "a1", 0, [0, 0, 1]),  # 2 of 3 windows, the clip is right
        row("a", "a2", 1, [0, 0, 0, 1, 2]),  # 1 of 5, wrong, and second in the scores
        row("b", "b1", 2, [2]),  # 1 of 1, right
        row("b", "b2", 2, [0, 1, 0, 1, 1], scores=[0.3, 0.2, 0.5]),  # no window, but the mean softmax is right
    ])  # fmt: skip
    [network] = metrics["networks"]
    assert network["window_top1"]["estimate"] == pytest.approx(4 / 14)
    assert network["clip_top1"]["estimate"] == pytest.approx(3 / 4)
    assert network["clip_top3"]["estimate"] == 1.0
    assert network["clip_uar"]["estimate"] == pytest.approx((1 + 0 + 1) / 3)
    assert (network["n_windows"], network["n_clips"], network["n_subjects"], network["seeds"]) == (14, 4, 2, [0])
    assert network["per_subject"]["a"] == {
        "n_clips": 2, "n_windows": 8, "window_top1": 3 / 8, "clip_top1": 0.5, "clip_uar": 0.5,
    }  # fmt: skip
    # Two subjects: resamples are a a, a b, b b, so the interval ends at the subjects' own shares.
    assert (network["window_top1"]["low"], network["window_top1"]["high"]) == pytest.approx((1 / 6, 3 / 8))
    assert metrics["chance"] == {"top1": 1 / 3, "top3": 1.0}


def test_intervals_equal_a_bootstrap_over_every_window_and_clip():
    rng = np.random.default_rng(3)
    rows = [row(f"s{s}", f"c{c}", int(rng.integers(3)), rng.integers(0, 3, rng.integers(1, 9)).tolist())
            for s in range(6) for c in range(4)]  # fmt: skip
    [network] = summarise(rows)["networks"]
    hits = np.concatenate([[w == r["y_true"] for w in r["window_predictions"]] for r in rows]).astype(float)
    subjects = np.concatenate([[r["subject"]] * len(r["window_predictions"]) for r in rows])
    windows = subject_bootstrap(hits, subjects)
    assert list(network["window_top1"].values()) == pytest.approx([windows.estimate, windows.low, windows.high])
    classes = np.array([[np.argmax(r["scores"]), r["y_true"]] for r in rows])
    clips = subject_bootstrap(classes, [r["subject"] for r in rows], lambda pooled: uar(pooled[:, 0], pooled[:, 1]))
    assert list(network["clip_uar"].values()) == pytest.approx([clips.estimate, clips.low, clips.high])


def test_seeds_are_pooled_but_clips_and_windows_counted_once():
    rows = [row("a", "a1", 0, [0, 0], seed=0), row("a", "a1", 0, [1, 1], seed=1), row("b", "b1", 1, [1], seed=0)]
    [network] = summarise(rows)["networks"]
    assert network["window_top1"]["estimate"] == pytest.approx(3 / 5)
    assert (network["n_windows"], network["n_clips"], network["seeds"]) == (3, 2, [0, 1])


def test_one_subject_has_no_interval():
    [network] = summarise([row("a", "a1", 0, [0, 1])])["networks"]
    assert network["window_top1"] == {"estimate": 0.5, "low": None, "high": None}
    assert network["clip_uar"]["low"] is None


def test_networks_stand_in_the_published_order():
    shares = {"fine_tuned": 0.6, "scratch": 0.2, "transferred": 0.4}
    rows = three_trainings(shares, ("evtransfer_lstm", "evtransfer"), ("t0_t", "t_t"), subjects=2)
    rows += graded(0.3, system="asynet_vgg13", representation="ssr_histogram", subjects=2)
    names = [(n["system"], n["representation"], n["encoder_training"]) for n in summarise(rows)["networks"]]
    trainings = ("scratch", "transferred", "fine_tuned")
    ordered = itertools.product(("evtransfer", "evtransfer_lstm"), ("t_t", "t0_t"), trainings)
    assert names == [("asynet_vgg13", "ssr_histogram", "scratch"), *ordered]


def test_comparisons_are_on_shares_of_windows_per_clip_and_corrected_over_all():
    rows = three_trainings({"scratch": 0.2, "transferred": 0.4, "fine_tuned": 0.5},
                           ("evtransfer", "evtransfer_lstm"), ("t_t", "t0_t"), jitter=0.05)  # fmt: skip
    tests = summarise(rows)["comparisons"]
    assert len(tests) == 2 * 3 * 3 + 3  # systems x pairs x (two representations and their mean), and the LSTM's gain
    names = [(t["a"]["encoder_training"], t["b"]["encoder_training"]) for t in tests[:9:3]]
    assert names == [("transferred", "scratch"), ("fine_tuned", "transferred"), ("fine_tuned", "scratch")]
    first = tests[0]
    assert (first["representations"], first["main"], first["n_clips"]) == (["t_t", "t0_t"], True, 14)
    assert first["difference"] == pytest.approx(0.2)
    assert first["p_value"] == first["smallest_p"] == 2 / 2**7
    assert first["smallest_p_holm"] == pytest.approx(21 * 2 / 2**7)
    assert not first["significant"]
    assert [t["main"] for t in tests[1:3]] == [False, False]
    lstm = [t for t in tests if t["kind"] == "lstm"]
    assert [t["a"]["system"] for t in lstm] == ["evtransfer_lstm"] * 3
    assert all(t["a"]["encoder_training"] == t["b"]["encoder_training"] == "fine_tuned" for t in lstm)
    assert all(t["difference"] == 0 and t["p_value"] == 1 for t in lstm)


def test_the_mean_over_representations_is_of_clips_that_all_of_them_have():
    rng = np.random.default_rng(0)
    rows, shares = [], {}
    for training, representation, s, c in itertools.product(
        ("scratch", "transferred"), ("t_t", "t0_t"), range(5), range(3)
    ):
        if (representation, s, c) == ("t_t", 0, 0):
            continue
        windows = rng.integers(0, 3, 7).tolist()
        rows.append(row(f"s{s}", f"c{c}", 1, windows, training=training, representation=representation))
        shares[training, representation, s, c] = np.mean(np.array(windows) == 1)
    [pooled] = [t for t in summarise(rows)["comparisons"] if len(t["representations"]) == 2]
    clips = [(s, c) for s in range(5) for c in range(3) if (s, c) != (0, 0)]
    means = {t: np.array([(shares[(t, "t_t", *k)] + shares[(t, "t0_t", *k)]) / 2 for k in clips])
             for t in ("scratch", "transferred")}  # fmt: skip
    expected = paired_permutation_test(means["transferred"], means["scratch"], [f"s{s}" for s, _ in clips])
    assert pooled["n_clips"] == 14
    assert pooled["difference"] == pytest.approx(expected.difference)
    assert pooled["p_value"] == pytest.approx(expected.p_value)


def test_shuffled_labels_and_controls_are_not_compared():
    rows = [r | {"variant": variant} for variant in ("label_permuted", "control") for r in
            three_trainings({"scratch": 0.2, "transferred": 0.4, "fine_tuned": 0.6}, subjects=3)]  # fmt: skip
    metrics = summarise(rows)
    assert (metrics["comparisons"], metrics["ordering"]) == ([], [])
    assert len(metrics["networks"]) == 6


@pytest.mark.parametrize(
    ("shares", "subjects", "verdict", "p_value"),
    [
        ({"scratch": 0.2, "transferred": 0.4, "fine_tuned": 0.6}, 7, "holds", 2 / 2**7),
        ({"scratch": 0.2, "transferred": 0.4, "fine_tuned": 0.6}, 5, "undecided", 2 / 2**5),  # too few for 5 %
        ({"scratch": 0.6, "transferred": 0.4, "fine_tuned": 0.6}, 7, "does not hold", 2 / 2**7),  # 2 steps: p = 0.031
        ({"scratch": 0.6, "transferred": 0.4, "fine_tuned": 0.6}, 6, "undecided", 2 / 2**6),  # 2 steps: p = 0.0625
        ({"scratch": 0.2, "transferred": 0.4, "fine_tuned": 0.4}, 7, "undecided", 1.0),  # the second step is a tie
    ],
)
def test_the_ordering_is_one_claim_of_two_steps(shares, subjects, verdict, p_value):
    [claim] = summarise(three_trainings(shares, subjects=subjects))["ordering"]
    assert (claim["verdict"], claim["n_subjects"]) == (verdict, subjects)
    assert claim["p_value"] == pytest.approx(p_value)
    assert claim["smallest_p"] == 2 / 2**subjects


def test_two_systems_double_the_p_value_of_the_ordering():
    rows = three_trainings({"scratch": 0.2, "transferred": 0.4, "fine_tuned": 0.6}, ("evtransfer", "evtransfer_lstm"))
    claims = summarise(rows)["ordering"]
    assert [claim["p_value"] for claim in claims] == [2 * 2 / 2**7] * 2
    assert [claim["verdict"] for claim in claims] == ["holds", "holds"]


def test_without_one_of_the_three_there_is_no_ordering():
    assert summarise(three_trainings({"scratch": 0.2, "fine_tuned": 0.6}))["ordering"] == []


def test_row_order_changes_nothing():
    rows = three_trainings({"scratch": 0.2, "transferred": 0.4}, ("evtransfer",), ("t_t", "t0_t"), jitter=0.03)
    assert summarise(rows[::-1]) == summarise(rows)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t.drop(columns="window_predictions"), "lacks the column 'window_predictions'"),
        (lambda t: t.head(0), "holds no rows"),
        (lambda t: t.assign(subject=None), "empty cells"),
        (lambda t: pd.concat([t, t.head(1)]), "two rows for evtransfer, t0_t, scratch, standard, 0, a, a, a1"),
        (lambda t: t.assign(y_true=3), "class outside 0 to 2"),
        (lambda t: t.assign(scores=[[0.5, 0.5]] * len(t)), "has not 3 scores"),
        (lambda t: t.assign(scores=[[0.5, 0.5, np.nan]] * len(t)), "NaN or infinite"),
        (lambda t: t.assign(window_predictions=[[]] * len(t)), "a clip without windows"),
        (lambda t: t.assign(window_predictions=[[7]] * len(t)), "predicted class outside 0 to 2"),
    ],
)
def test_tables_that_do_not_fit_end_in_one_clear_sentence(change, match):
    table = pd.DataFrame([row("a", "a1", 0, [0, 1]), row("b", "b1", 1, [1])])
    with pytest.raises(DatasetError, match=match) as caught:
        summarise_transfer(change(table), CLASSES)
    assert "\n" not in str(caught.value)


def scored(subject, window, psnr=20.0, ssim=0.8, **names):
    """One reconstructed window."""
    keys = {"model": "cvae", "representation": "polarity_image", "resolution": "EVK4", "condition": "events", "seed": 0,
            "fold": subject, "subject": subject, "clip": f"{subject}1", "window": window}  # fmt: skip
    return keys | {"mse": 0.01, "rmse": 0.1, "mae": 0.05, "psnr": psnr, "ssim": ssim, "ncc": 0.9} | names


def test_reconstruction_scores_are_means_over_windows_with_intervals_over_subjects():
    rows = [scored("a", 0, 20.0), scored("a", 1, 22.0), scored("a", 2, 24.0), scored("b", 0, 30.0)]
    [network] = reconstruction.summarise_reconstructions(pd.DataFrame(rows))["networks"]
    assert network["psnr"] == pytest.approx({"estimate": 24.0, "low": 22.0, "high": 30.0})
    assert network["mse"]["estimate"] == pytest.approx(0.01)
    assert (network["n_windows"], network["n_clips"], network["n_subjects"]) == (4, 2, 2)
    assert network["per_subject"]["a"]["psnr"] == pytest.approx(22.0)
    expected = subject_bootstrap(np.array([20.0, 22.0, 24.0, 30.0]), list("aaab"))
    assert (network["psnr"]["low"], network["psnr"]["high"]) == pytest.approx((expected.low, expected.high))


def test_perfect_images_are_left_out_of_the_mean_psnr_and_counted():
    rows = [scored("a", 0, np.inf), scored("a", 1, 22.0), scored("b", 0, 30.0), scored("c", 0, np.inf, model="other")]
    cvae, other = reconstruction.summarise_reconstructions(pd.DataFrame(rows))["networks"]
    assert (cvae["psnr"]["estimate"], cvae["n_perfect"]) == (26.0, 1)
    assert (other["psnr"], other["n_perfect"]) == ({"estimate": None, "low": None, "high": None}, 1)
    assert other["per_subject"]["c"]["psnr"] is None
    assert other["ssim"]["estimate"] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t.drop(columns="ssim"), "lacks the column 'ssim'"),
        (lambda t: t.head(0), "holds no rows"),
        (lambda t: t.assign(ncc=np.nan), "empty cells"),
        (lambda t: t.assign(mse=np.inf), "infinite 'mse'"),
        (lambda t: t.assign(psnr=-np.inf), "infinite 'psnr'"),
        (lambda t: pd.concat([t, t.head(1)]), "two rows for cvae, polarity_image, EVK4, events, 0, a, a, a1, 0"),
    ],
)
def test_reconstruction_tables_that_do_not_fit_end_in_one_clear_sentence(change, match):
    table = pd.DataFrame([scored("a", 0), scored("b", 1)])
    with pytest.raises(DatasetError, match=match) as caught:
        reconstruction.summarise_reconstructions(change(table))
    assert "\n" not in str(caught.value)
