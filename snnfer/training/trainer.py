"""The one place that runs Lightning: quiet, resumable, the same result whether interrupted or not."""

import logging
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.io import CheckpointIO
from torch.utils.data import DataLoader, Sampler

from snnfer.errors import CheckpointError, ConfigError, SnnferError
from snnfer.training.checkpoint import load_state, save_state
from snnfer.training.config import ReconstructionConfig, TrainConfig
from snnfer.training.synchronised import SynchronisedNorms

OnEpoch = Callable[[int, float], None]


def run_trainer(
    module: lightning.LightningModule,
    loader: DataLoader,
    *,
    config: TrainConfig | ReconstructionConfig,
    folder: Path,
    validation: DataLoader | None = None,
    on_epoch: OnEpoch | None = None,
) -> None:
    """Train `module` in place for ``config.epochs`` epochs.

    A checkpoint is written after every epoch; if `folder` holds one, training goes on from there.

    Args:
        module: Logs ``train_loss`` and, where `validation` is given, ``validation_loss``.
        loader: Training batches, in the order of a `SeededSampler`.
        config: Epochs, precision and devices.
        folder: Of the checkpoints ``last`` and, where `validation` is given, ``best``.
        validation: Batches that choose the best epoch, whose weights `module` then holds.
        on_epoch: Called after each epoch with the number of completed epochs and the mean training loss.

    Raises:
        CheckpointError: the checkpoint is damaged or belongs to another network.
        ConfigError: this machine cannot do what the recipe asks for.
        SnnferError: the loss is no longer a number.
    """
    _check_hardware(config)
    checkpoint = _resume_from(folder, module)
    callbacks: list[Callback] = [_Checkpoint(folder, filename="last", save_on_train_epoch_end=True)]
    if validation is not None:
        callbacks.insert(0, _Checkpoint(folder, filename="best", monitor="validation_loss"))
    with _quiet_lightning(), torch.random.fork_rng(devices=[]), _reporting(config, on_epoch) as report:
        trainer = lightning.Trainer(
            max_epochs=config.epochs,
            accelerator="auto",
            devices=config.devices,
            strategy=_strategy(config),
            precision=config.precision,
            accumulate_grad_batches=config.accumulate if module.automatic_optimization else 1,
            gradient_clip_val=getattr(config, "gradient_clip", 0.0) or None,
            use_distributed_sampler=False,  # SeededSampler divides the work itself
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[*callbacks, SynchronisedNorms(), report],
            plugins=[SafetensorsIO()],
            num_sanity_val_steps=0,
            limit_val_batches=0 if validation is None else 1.0,
            default_root_dir=folder,
        )
        trainer.fit(module, loader, validation, ckpt_path=checkpoint, weights_only=False)  # SafetensorsIO: no pickle
    if validation is not None:
        module.load_state_dict(load_state(folder / "best.safetensors")["state_dict"])


class SeededSampler(Sampler[int]):
    """A permutation per epoch that depends on the seed and the epoch alone.

    Where several processes train together, each takes its share of it: together they see the batches that one process
    would see. The last samples are doubled where the number does not divide.
    """

    def __init__(self, n: int, *, seed: int) -> None:
        self.n, self.seed, self.epoch = n, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.n // _world()[1])

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(derived_seed(self.seed, self.epoch))
        order = torch.randperm(self.n, generator=generator).tolist()
        rank, n_processes = _world()
        return iter([order[i % self.n] for i in range(rank, len(self) * n_processes, n_processes)])


def derived_seed(seed: int, number: int) -> int:
    """Seed of one epoch or step of a run; a large odd stride keeps runs with neighbouring seeds apart."""
    return (seed * 1_000_003 + number) % 2**63


def seed_step(seed: int, step: int) -> None:
    """Set torch's random numbers for one step of a run, different in each process that shares the step."""
    torch.manual_seed(derived_seed(seed, step) ^ (_world()[0] << 40))


class SafetensorsIO(CheckpointIO):
    """Lightning checkpoints as safetensors, written atomically."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        save_state(path, checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, **options: Any) -> dict[str, Any]:
        return load_state(path)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def remove_checkpoints(folder: Any) -> None:
    """Delete a checkpoint folder once the result is safe."""
    shutil.rmtree(folder, ignore_errors=True)


class _Checkpoint(ModelCheckpoint):
    """One safetensors file that each save replaces."""

    FILE_EXTENSION = ".safetensors"

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, enable_version_counter=False, **options)


class _Report(Callback):
    """Passes each epoch's loss on, or the error it ends with: to a function, or to a queue for another process."""

    def __init__(self, send: Callable[[Any], None]) -> None:
        self._send = send

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive in a process of its own, which is to be as quiet as the one that started it."""
        self.__dict__.update(state)
        _silence()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            self._send((trainer.current_epoch + 1, float(trainer.callback_metrics["train_loss"])))

    def on_before_backward(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, loss: torch.Tensor
    ) -> None:
        if not torch.isfinite(loss).all():
            error = _not_finite(loss, trainer.current_epoch, pl_module.config.learning_rate)  # type: ignore[union-attr]
            self._send(error)
            raise error


def _not_finite(loss: torch.Tensor, epoch: int, learning_rate: float) -> SnnferError:
    return SnnferError(
        f"the training loss is {float(loss.detach().sum())} in epoch {epoch + 1}",
        expected="a finite number",
        cause=f"the learning rate {learning_rate:g} is too high",
        fix=f"train with a smaller train.learning_rate, such as {learning_rate / 10:g}",
    )


@contextmanager
def _reporting(config: TrainConfig | ReconstructionConfig, on_epoch: OnEpoch | None) -> Iterator[_Report]:
    """A callback that calls `on_epoch` here, also where training runs in processes of its own."""

    def call(message: Any) -> None:
        if on_epoch and not isinstance(message, Exception):
            on_epoch(*message)

    if not _spawns(config):
        yield _Report(call)
        return
    queue = torch.multiprocessing.get_context("spawn").SimpleQueue()
    raised: list[SnnferError] = []

    def read() -> None:
        while (message := queue.get()) is not None:
            raised.append(message) if isinstance(message, SnnferError) else call(message)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    failure: Exception | None = None
    try:
        yield _Report(queue.put)
    except torch.multiprocessing.ProcessRaisedException as error:  # type: ignore[attr-defined]
        failure = error
    finally:
        queue.put(None)
        reader.join()
    if failure:
        raise raised[0] if raised else failure


def _check_hardware(config: TrainConfig | ReconstructionConfig) -> None:
    n_gpus = torch.cuda.device_count()
    if n_gpus and config.devices > n_gpus:
        raise ConfigError(f"train.devices = {config.devices}", expected=f"at most {n_gpus}, the GPUs of this machine")
    if not n_gpus and config.precision == "16-mixed":
        raise ConfigError(
            "train.precision = 16-mixed without a GPU",
            expected="32-true or bf16-mixed",
            fix="set train.precision=bf16-mixed",
        )


def _spawns(config: TrainConfig | ReconstructionConfig) -> bool:
    return config.strategy == "ddp_spawn" or (config.strategy == "auto" and config.devices > 1)


def _strategy(config: TrainConfig | ReconstructionConfig) -> str:
    """Lightning's name; a weight may be without a gradient: of a network whose turn it is not, or of an unused head."""
    name = "ddp_spawn" if _spawns(config) else config.strategy
    return name if name == "auto" else f"{name}_find_unused_parameters_true"


def _world() -> tuple[int, int]:
    """Rank of this process and number of processes that train together."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def _resume_from(folder: Path, module: lightning.LightningModule) -> Path | None:
    """The last checkpoint, if it can be read; writing is atomic, so an unreadable one was damaged from outside."""
    path = folder / "last.safetensors"
    if not path.is_file():
        return None
    try:
        weights = load_state(path)["state_dict"]
        stored = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    except Exception as error:
        raise CheckpointError(f"the checkpoint '{path}' is damaged", fix="delete its folder to train again") from error
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    if stored != wanted:
        name = min(name for name in {*stored, *wanted} if stored.get(name) != wanted.get(name))
        raise CheckpointError(
            f"the checkpoint '{path}' has {_shape(stored, name)}",
            expected=f"{_shape(wanted, name)}, as in the network to train",
            cause="another architecture was trained into this folder",
            fix="use another folder, or delete this one to train again",
        )
    return path


def _shape(shapes: dict[str, tuple[int, ...]], name: str) -> str:
    return f"'{name}' of shape {list(shapes[name])}" if name in shapes else f"no '{name}'"


_LOGGERS = ("lightning.pytorch", "lightning.fabric", "pytorch_lightning", "lightning.pytorch.utilities.rank_zero")


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's notes about hardware and loaders from the user's terminal while training."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    try:
        with warnings.catch_warnings():
            _silence()
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _silence() -> None:
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(lightning|pytorch_lightning)\.")
    warnings.filterwarnings("ignore", message=".*find_unused_parameters=True.*")
    warnings.filterwarnings("ignore", message=".*(GPU available|num_workers|Checkpoint directory).*")
