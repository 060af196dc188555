"""Scores of clips, and what each step adds to them."""

import torch

from snnfer.models import create_model
from snnfer.training import clip_scores


def test_steps_of_a_network_that_integrates_are_what_each_adds():
    torch.manual_seed(0)
    model = create_model("spiking_fer", n_classes=3, size=(16, 16), width=4, blocks=[1, 1]).eval()
    clips = [(torch.randint(0, 4, (5, 2, 16, 16), dtype=torch.uint8), 0, 5) for _ in range(3)]
    scores, added = clip_scores(model, clips, range(3), mean=(0.0, 0.0), std=(1.0, 1.0), batch_size=2)
    assert scores.std() > 0
    for t in range(5):
        until = torch.stack([model(x[: t + 1, None].float())[0] for x, _, _ in clips]).detach()
        torch.testing.assert_close(added[: t + 1].sum(0), until)
    torch.testing.assert_close(added.sum(0), scores)
