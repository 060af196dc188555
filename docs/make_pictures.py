"""Make docs/images/synthau.png from a SynthAU data set: each subject acts another Action Unit, as frame and as events.

Run: snnfer synth --preset paper --out DIR && python docs/make_pictures.py DIR
"""

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from snnfer import events
from snnfer.datasets import ACTION_UNITS
from snnfer.plot.activity import event_frame_image
from snnfer.representations import CountFrames

AUS = (2, 4, 12, 26, 45, 51, 9)


def column(folder: Path, row: dict[str, str]) -> Image.Image:
    """Frame at the apex above the events of the onset, with the name of the Action Unit."""
    stream = events.read(folder / row["path"])
    onset, apex = int(row["onset_us"]), int(row["apex_us"])
    rgb = stream.frames["rgb"]
    frame = rgb.images[min(int(np.searchsorted(rgb.t_us, apex)), len(rgb) - 1)]
    counts = CountFrames(max(apex - onset, 1), n_steps=1)(stream, t_start_us=onset)[0].numpy()  # [2, H, W]
    tile = np.concatenate([frame, event_frame_image(counts, full_count=3)])
    image = Image.fromarray(tile[:, 50:-50])
    ImageDraw.Draw(image).text((6, 4), f"AU{row['au']} {ACTION_UNITS[int(row['au'])]}", fill="white", font_size=17)
    return image


def main(folder: Path) -> None:
    """Write the picture."""
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    subjects = sorted({row["subject"] for row in rows})
    wanted = [next(r for r in rows if r["subject"] == s and r["au"] == str(au)) for s, au in zip(subjects, AUS)]  # noqa: B905
    columns = [np.asarray(column(folder, row)) for row in wanted]
    out = Path(__file__).parent / "images" / "synthau.png"
    out.parent.mkdir(exist_ok=True)
    Image.fromarray(np.concatenate(columns, axis=1)).quantize(128).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
