"""Published systems behind one small contract, and the registry to create them.

A model maps ``[T, N, C, H, W]`` to ``[N, n_classes]``: ``model(x, lengths=None)``, where `lengths` ``[N]`` counts the
valid steps of each sample. A streaming model also has ``forward_steps(x)`` (scores of each step) and
``forward_with_state(x, state)``; where it has ``integrates = True``, a step's scores hold those of all steps before it,
so that a clip's are those of its last step, not the mean. ``model.config`` rebuilds a model:
``create_model(**model.config)``.

A reconstruction model maps ``[T, N, C, H, W]`` to frames: ``model.reconstruct(x)`` gives ``[T, N, C_out, H, W]`` in
[0, 1].
"""

from snnfer.models import evtransfer
from snnfer.models._asynet_state import AsynetState
from snnfer.models._reads import Reads
from snnfer.models._registry import create_model, list_models, model_reads, model_task, register_model
from snnfer.models.asynet import Asynet, asynet_vgg13
from snnfer.models.au_cnn3d import AUCNN3d, au_cnn3d
from snnfer.models.au_snn import au_snn
from snnfer.models.c3d import C3D, c3d
from snnfer.models.cs3d import CS3D_ABLATION, cs3d, cs3d_factorized
from snnfer.models.cvae import CVAE, cvae, kl_to_prior
from snnfer.models.est_resnet34 import ESTClassifier, est_resnet34
from snnfer.models.patchgan import PatchDiscriminator
from snnfer.models.poster import Poster, poster_v2, poster_var
from snnfer.models.rgbd_fer import RGBDFER, rgbd_fer
from snnfer.models.spiking_classifier import SpikingClassifier
from snnfer.models.spiking_fer import SpikingFER, spiking_fer
from snnfer.models.spiking_fer_ann import SpikingFERANN, spiking_fer_ann
from snnfer.models.streaming import StreamingSession
from snnfer.models.unet import UNetEncoder, UNetGenerator, encoder_from, pix2pix
from snnfer.models.vit_b16 import vit_b16
from snnfer.models.window_classifier import WindowClassifier

__all__ = [
    "C3D",
    "CS3D_ABLATION",
    "CVAE",
    "RGBDFER",
    "AUCNN3d",
    "Asynet",
    "AsynetState",
    "ESTClassifier",
    "PatchDiscriminator",
    "Poster",
    "Reads",
    "SpikingClassifier",
    "SpikingFER",
    "SpikingFERANN",
    "StreamingSession",
    "UNetEncoder",
    "UNetGenerator",
    "WindowClassifier",
    "asynet_vgg13",
    "au_cnn3d",
    "au_snn",
    "c3d",
    "create_model",
    "cs3d",
    "cs3d_factorized",
    "cvae",
    "encoder_from",
    "est_resnet34",
    "evtransfer",
    "kl_to_prior",
    "list_models",
    "model_reads",
    "model_task",
    "pix2pix",
    "poster_v2",
    "poster_var",
    "register_model",
    "rgbd_fer",
    "spiking_fer",
    "spiking_fer_ann",
    "vit_b16",
]
