"""Settings of one training run."""

import math
from dataclasses import dataclass
from typing import Literal

from snnfer._config import added
from snnfer.errors import ConfigError

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Strategy = Literal["auto", "ddp", "ddp_spawn"]


@dataclass(frozen=True)
class TrainConfig:
    """How a clip classifier is trained. The defaults are the published recipe of the AU network.

    Args:
        epochs: Passes over the training clips.
        batch_size: Clips that a device takes at once.
        learning_rate: At the start; with ``onecycle`` the largest.
        weight_decay: Added to the gradient as in the textbook, or taken off the weights themselves with ``adamw``.
        schedule: ``cosine`` anneals the learning rate to zero over `epochs`, ``exponential`` multiplies it by `gamma`
            every `step_every` epochs, ``constant`` keeps it; ``onecycle`` changes it with each step, see
            `snnfer.training.schedules.one_cycle_rate`.
        loss: ``mse`` between the output and the one-hot label, or ``cross_entropy``.
        max_shift_px: Random shift of each training clip, up to this many pixels along both axes.
        max_shift_steps: Random shift of each training clip in time, up to this many steps.
        selection: ``last_epoch`` trains for exactly `epochs`; ``inner_subjects`` keeps the epoch that is best on
            `n_validation_subjects` training subjects set aside (never on the test subject).
        n_validation_subjects: Used with ``inner_subjects``.
        threads: Threads of torch per process; 0 shares the cores among the jobs. Sums are rounded differently with
            another number of threads: set it for the same bits whatever the number of jobs.
        gamma: Factor of the schedule ``exponential``.
        step_every: Epochs between two of its steps.
        encoder_learning_rate: Of the parameters of ``model.encoder`` alone; 0 freezes them, None treats them as all
            others.
        freeze_norm: Batch normalisation in ``model.encoder`` uses its stored statistics and leaves them as they are.
        flip: Probability that a training clip is mirrored left to right.
        rotation_deg: Random rotation of each training clip, up to this many degrees both ways.
        precision: ``bf16-mixed`` and ``16-mixed`` multiply in half precision; the weights stay in float32.
        accumulate: Batches whose gradients make one step.
        devices: GPUs of this machine that share the work, or processes where there is no GPU.
        strategy: How they share it: ``ddp_spawn`` starts processes from this one (``auto`` with several devices),
            ``ddp`` joins those that ``torchrun`` or a cluster started. A step sees ``batch_size * accumulate *
            devices`` clips.
        event_augmentation: ``spiking_fer`` makes the training clips anew in every epoch, from randomly changed events;
            see `snnfer.training.event_augmentation`.
        optimizer: ``adam``, ``adamw`` (weight decay apart from the gradient) or ``sgd``.
        momentum: Of ``sgd``.
        min_learning_rate: Of the last step of ``onecycle``.
        gradient_clip: Largest norm of the gradient of a step, all parameters together; 0 leaves it as it is.
        class_weights: ``balanced`` weights the ``cross_entropy`` of rare classes up, see
            `snnfer.training.losses.class_weights`; from the training samples alone.
        label_smoothing: Share of the label of ``cross_entropy`` that is spread over all classes.
        sam_rho: Radius of sharpness-aware minimisation around any optimiser, with two passes per step, see
            `snnfer.training.optimizers.sharpness_aware`; 0 does without. It needs the whole batch of a step at once.
        kl: Divergence of networks that draw their scores (VICH), see `snnfer.training.losses.vich_kl`.
        kl_weight: Its weight beside the loss.
        center_weight: Weight of the distance of embeddings to their class centres, see
            `snnfer.training.centers.CenterBank`.
        island_weight: Weight of the similarity of the class centres.
        center_learning_rate: Of the centres.
        center_rescale: Divide the gradient of the centres by `center_weight`.
        color_jitter: Brightness, contrast and saturation of a colour clip change by up to this share; 0 to 1.
        hue_jitter: Its hue turns by up to this share of the colour circle both ways; 0 to 0.5.
        erasing: Probability that a rectangle of a training clip is painted over with its mean.
        erasing_scale: Smallest and largest share of the image that it covers.
        quantize: ``loihi`` ends the training with the integers that the network will have on such a chip, and with the
            stored statistics of its normalisation, see `snnfer.converters.loihi.fake_quantise.FakeQuantiser`. A best
            epoch is then chosen by the integers.
        quantized_share: Share of the epochs, the last ones, that do so; 1 to fine-tune a network that is trained.
        checkpoint_every: Steps for which a spiking convolution holds what it computes; for the gradients it computes it
            again, see `snnfer.layers.checkpoint_over_time`. 0 holds all steps: faster, in more memory.

    References:
        Mastropasqua et al., "Exploring Spatial-Temporal Dynamics in Event-based Facial Micro-Expression Analysis",
        2025, section 4: Adam 1e-3, cosine annealing, 100 epochs, batch 8, MSE.
    """

    epochs: int = 100
    batch_size: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: Literal["cosine", "exponential", "constant", "onecycle"] = "cosine"
    loss: Literal["mse", "cross_entropy"] = "mse"
    max_shift_px: int = 0
    max_shift_steps: int = 0
    selection: Literal["last_epoch", "inner_subjects"] = "last_epoch"
    n_validation_subjects: int = 1
    threads: int = 0
    gamma: float = added(0.1)
    step_every: int = added(10)
    encoder_learning_rate: float | None = added(None)
    freeze_norm: bool = added(False)
    flip: float = added(0.0)
    rotation_deg: float = added(0.0)
    precision: Precision = added("32-true")
    accumulate: int = added(1)
    devices: int = added(1)
    strategy: Strategy = added("auto")
    event_augmentation: Literal["none", "spiking_fer"] = added("none")
    optimizer: Literal["adam", "adamw", "sgd"] = added("adam")
    momentum: float = added(0.9)
    min_learning_rate: float = added(1e-6)
    gradient_clip: float = added(0.0)
    class_weights: Literal["none", "balanced"] = added("none")
    label_smoothing: float = added(0.0)
    sam_rho: float = added(0.0)
    kl: Literal["none", "softmax_prior", "gaussian"] = added("none")
    kl_weight: float = added(1.0)
    center_weight: float = added(0.0)
    island_weight: float = added(0.0)
    center_learning_rate: float = added(0.5)
    center_rescale: bool = added(False)
    color_jitter: float = added(0.0)
    hue_jitter: float = added(0.0)
    erasing: float = added(0.0)
    erasing_scale: tuple[float, float] = added((0.02, 0.25))
    quantize: Literal["none", "loihi"] = added("none")
    quantized_share: float = added(0.2)
    checkpoint_every: int = added(0)

    def __post_init__(self) -> None:
        _check_positive(self, "epochs", "batch_size", "learning_rate", "gamma", "step_every", "accumulate", "devices")
        _check_not_negative(self, "weight_decay", "max_shift_px", "max_shift_steps", "threads", "rotation_deg")
        _check_not_negative(self, "checkpoint_every")
        _check_positive(self, "center_learning_rate")
        _check_not_negative(self, "min_learning_rate", "gradient_clip", "sam_rho")
        _check_not_negative(self, "kl_weight", "center_weight", "island_weight")
        _check_probability(self, "flip", "momentum", "label_smoothing", "color_jitter", "erasing")
        if self.encoder_learning_rate is not None:
            _check_not_negative(self, "encoder_learning_rate")
        self._check_augmentation()
        self._check_sharing()
        self._check_steps()
        self._check_loss()
        self._check_quantisation()
        if self.n_validation_subjects < 1:
            raise ConfigError("train.n_validation_subjects is below 1", fix="use train.selection=last_epoch instead")

    def check_modality(self, modality: str) -> None:
        """Raise `ConfigError` if the recipe changes something that clips of `modality` do not have."""
        for name in ("color_jitter", "hue_jitter"):
            if getattr(self, name) and modality not in ("rgb", "rgbd"):
                raise ConfigError(
                    f"train.{name} = {getattr(self, name):g} for the modality '{modality}'",
                    expected="rgb or rgbd, which have colours",
                    fix=f"leave train.{name} out for '{modality}'",
                )
        if self.event_augmentation != "none" and modality != "events":
            raise ConfigError(
                f"train.event_augmentation = {self.event_augmentation} for the modality '{modality}'",
                expected="events, which it changes before they become a tensor",
                fix=f"leave train.event_augmentation out for '{modality}'",
            )

    def _check_augmentation(self) -> None:
        if not 0 <= self.hue_jitter <= 0.5:
            raise ConfigError(f"train.hue_jitter = {self.hue_jitter}", expected="a share of the circle from 0 to 0.5")
        smallest, largest = self.erasing_scale
        if not 0 < smallest <= largest <= 1:
            raise ConfigError(
                f"train.erasing_scale = {list(self.erasing_scale)}",
                expected="two shares of the image above 0 up to 1, the smaller one first",
            )

    def _check_sharing(self) -> None:
        if self.checkpoint_every and (self.devices > 1 or self.strategy != "auto"):
            raise ConfigError(
                f"train.checkpoint_every = {self.checkpoint_every} with several processes (train.devices or "
                "train.strategy)",
                expected="one of both: normalisation over processes needs all steps at once",
                fix="set train.checkpoint_every=0; each process holds fewer clips anyway",
            )

    def _check_steps(self) -> None:
        if self.sam_rho and self.accumulate > 1:
            raise ConfigError(
                f"train.sam_rho = {self.sam_rho:g} with train.accumulate = {self.accumulate}",
                expected="the whole batch of a step at once, which both of its passes need",
                fix="set train.accumulate=1, with a larger train.batch_size or more train.devices",
            )
        largest = min(self.learning_rate, self.encoder_learning_rate or self.learning_rate)
        if self.schedule == "onecycle" and self.min_learning_rate > largest:
            raise ConfigError(
                f"train.min_learning_rate = {self.min_learning_rate:g} above the largest rate {largest:g}",
                expected="a rate that onecycle can fall to",
                fix=f"set train.min_learning_rate={largest / 100:g}",
            )

    def _check_loss(self) -> None:
        if self.center_rescale and not self.center_weight:
            raise ConfigError(
                "train.center_rescale without train.center_weight",
                expected="a weight to divide by",
                fix="set train.center_weight, such as 0.01",
            )
        for name, unset in (("class_weights", "none"), ("label_smoothing", 0)):
            if self.loss == "mse" and getattr(self, name) != unset:
                raise ConfigError(
                    f"train.{name} = {getattr(self, name)} with train.loss = mse",
                    expected="the loss that it belongs to",
                    fix="set train.loss=cross_entropy",
                )

    def _check_quantisation(self) -> None:
        if not 0 < self.quantized_share <= 1:
            raise ConfigError(f"train.quantized_share = {self.quantized_share}", expected="above 0, at most 1")
        if self.quantize != "none" and self.precision != "32-true":
            raise ConfigError(
                f"train.quantize = {self.quantize} with train.precision = {self.precision}",
                expected="32-true: half precision would round the integers once more",
                fix="leave train.precision out",
            )

    @property
    def first_quantized_epoch(self) -> int:
        """The first epoch, from 0, that computes with integers; `epochs` where none does."""
        if self.quantize == "none":
            return self.epochs
        return self.epochs - math.ceil(self.quantized_share * self.epochs - 1e-9)

    @property
    def validation_subjects(self) -> int:
        """Training subjects that a fold sets aside."""
        return self.n_validation_subjects if self.selection == "inner_subjects" else 0


@dataclass(frozen=True)
class ReconstructionConfig:
    """How a reconstruction network is trained. The defaults are evTransFER's, for pix2pix.

    Args:
        epochs: Passes over the training pairs.
        batch_size: Pairs that a device takes at once.
        learning_rate: Of Adam (of both networks).
        betas: Of Adam.
        adversarial: Train against a patch discriminator; without it the loss is `l1_weight` times the L1 distance.
            A variational autoencoder never uses one.
        l1_weight: Weight of the L1 distance beside the adversarial loss.
        discriminator_layers: Stride-2 layers of the discriminator: 4 as the authors of evTransFER, 3 for the
            70 x 70 "PatchGAN" of pix2pix.
        discriminator_width: Channels of its first layer.
        kl_weight: Weight of the Kullback-Leibler divergence of a variational autoencoder.
        flip: Probability that input and target of a training pair are mirrored left to right.
        precision, accumulate, devices, strategy, threads: As in `TrainConfig`.

    References:
        Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, section 3.
        Verschae and Bugueno-Cordova, "evTransFER: A Transfer Learning Framework for Event-based Facial Expression
        Recognition", 2025: Adam 2e-4 with betas (0.5, 0.999), 100 epochs, batch 32.
    """

    epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    adversarial: bool = True
    l1_weight: float = 100.0
    discriminator_layers: Literal[4, 3] = 4
    discriminator_width: int = 64
    kl_weight: float = 1.0
    flip: float = 0.0
    precision: Precision = "32-true"
    accumulate: int = 1
    devices: int = 1
    strategy: Strategy = "auto"
    threads: int = 0

    def __post_init__(self) -> None:
        _check_positive(self, "epochs", "batch_size", "learning_rate", "discriminator_width", "accumulate", "devices")
        _check_not_negative(self, "l1_weight", "kl_weight", "threads")
        _check_probability(self, "flip")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"train.betas = {list(self.betas)}", expected="two values from 0 to below 1")


def _check_positive(config: object, *names: str) -> None:
    for name in names:
        if not getattr(config, name) > 0:
            raise ConfigError(f"train.{name} = {getattr(config, name)}", expected="a value above 0")


def _check_not_negative(config: object, *names: str) -> None:
    for name in names:
        if not getattr(config, name) >= 0:
            raise ConfigError(f"train.{name} = {getattr(config, name)}", expected="0 or more")


def _check_probability(config: object, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise ConfigError(f"train.{name} = {getattr(config, name)}", expected="a value from 0 to 1")
