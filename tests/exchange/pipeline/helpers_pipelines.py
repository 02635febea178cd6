"""UNet2DModels of random configurations, with schedulers, as diffusers writes them."""

import json
import random
from pathlib import Path
from typing import Any

import torch

NAMES = ("a dog", "cat", "0")


def random_pipeline(seed: int, folder: Path) -> tuple[Any, Any]:
    """Writes a pipeline of random choices and weights; its network and its scheduler."""
    import diffusers

    draw = random.Random(seed)
    pick = draw.choice
    levels, groups, channels = pick([1, 2, 3]), pick([2, 4]), pick([1, 3])
    down = [pick(["DownBlock2D", "AttnDownBlock2D"]) for _ in range(levels)]
    up = [pick(["UpBlock2D", "AttnUpBlock2D"]) for _ in range(levels)]
    steps, learned, classes = pick([100, 1000]), pick([False, True]), pick([False, True])
    torch.manual_seed(seed)
    net = diffusers.UNet2DModel(
        sample_size=pick([8, (8, 16)]),
        in_channels=channels,
        out_channels=channels,
        block_out_channels=[pick([8, 16, 24]) for _ in range(levels)],
        down_block_types=down,
        up_block_types=up,
        layers_per_block=pick([1, 2]),
        attention_head_dim=pick([None, 4, 8]),
        norm_num_groups=groups,
        attn_norm_num_groups=pick([None, 8]),
        norm_eps=pick([1e-5, 1e-6]),
        resnet_time_scale_shift=pick(["default", "scale_shift"]),
        add_attention=pick([False, True]),
        freq_shift=pick([0, 1]),
        flip_sin_to_cos=pick([False, True]),
        downsample_padding=pick([0, 1]),
        dropout=pick([0.0, 0.1]),
        time_embedding_dim=pick([None, 20]),
        time_embedding_type="learned" if learned else "positional",
        num_train_timesteps=steps if learned else None,
        num_class_embeds=len(NAMES) + 1 if classes else None,
    ).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    predicts = pick(["epsilon", "sample", "v_prediction"])
    curve = ["linear", "scaled_linear", "squaredcos_cap_v2"][seed % 3]
    same = {
        "num_train_timesteps": steps,
        "beta_schedule": curve,
        "beta_end": pick([0.02, 0.012]),
        "prediction_type": predicts,
        "clip_sample": pick([False, True]),
        "timestep_spacing": pick(["leading", "trailing"]),
        "rescale_betas_zero_snr": predicts != "epsilon" and pick([False, True]),
    }
    if predicts == "epsilon":  # which at the last level of all knows nothing
        same |= {"timestep_spacing": "leading", "beta_schedule": "linear"}
    if pick([False, True]):
        scheduler = diffusers.DDPMScheduler(**same, variance_type=pick(["fixed_small", "fixed_large"]))
    else:
        scheduler = diffusers.DDIMScheduler(**same)
    diffusers.DDPMPipeline(net, scheduler).save_pretrained(folder)
    if classes:
        change(folder / "model_index.json", id2label={str(i): name for i, name in enumerate(NAMES)})
    return net, scheduler


def change(path: Path, **fields: Any) -> None:
    """Sets fields of a JSON file; None takes one away."""
    content = {**json.loads(path.read_text()), **fields}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
