"""DeiT by timm, and its position embedding at other sizes by the four rules."""
import math
import types

import timm
import torch
from timm.layers import resample_abs_pos_embed

GRID = 14


def resample(pos, grid, rule):
    """pos (1, 1+G*G, D) at grid x grid patches. cdcl, dino: the published codes, which interpolate by a
    factor (dino's with 0.1 added to the size); deit: by size; timm: by size and with antialiasing, here in
    float64 where timm itself converts to float32."""
    if grid == GRID:
        return pos
    patches = pos[:, 1:].reshape(1, GRID, GRID, -1).permute(0, 3, 1, 2)
    options = {"cdcl": dict(scale_factor=math.sqrt(grid * grid / GRID**2)),
               "dino": dict(scale_factor=((grid + 0.1) / GRID,) * 2),
               "deit": dict(size=(grid, grid), align_corners=False),
               "timm": dict(size=(grid, grid), antialias=True)}[rule]
    out = torch.nn.functional.interpolate(patches, mode="bicubic", **options)
    assert out.shape[2:] == (grid, grid)
    if rule == "timm":
        own = resample_abs_pos_embed(pos, (grid, grid), (GRID, GRID))[:, 1:]
        assert (own - out.permute(0, 2, 3, 1).flatten(1, 2)).abs().max() < 1e-6 * pos.abs().max()
    return torch.cat((pos[:, :1], out.permute(0, 2, 3, 1).flatten(1, 2)), 1)


def build_deit(name, channels, classes, rule):
    """deit_tiny, deit_small or deit_base of timm, whose images may have any size. Attention is the
    composition of products and a softmax."""
    model = timm.create_model(name + "_patch16_224", num_classes=classes, in_chans=channels,
                              dynamic_img_size=True)
    for block in model.blocks:
        block.attn.fused_attn = False

    def pos_embed(self, x):
        n, height, width, dim = x.shape
        assert height == width
        x = torch.cat((self.cls_token.expand(n, -1, -1), x.reshape(n, -1, dim)), 1)
        return x + resample(self.pos_embed, height, rule)

    model._pos_embed = types.MethodType(pos_embed, model)
    return model
