"""Makes tests/data/golden/resize.csv: what OpenCV's bilinear resize of uint8 gives, then flips and turns.

A row: height and width of an image whose pixels are a formula of `seed`; the side of the square that
it is resized to with cv2.INTER_LINEAR; albumentations' order of what follows (vertical flip,
horizontal flip, quarters counter-clockwise); the 64-bit FNV-1a hash of the bytes that come out.

Needs opencv-python-headless and numpy; 4.8.0 and 5.0.0 give the same file. python tools/golden/resize.py
"""

import pathlib

import cv2
import numpy as np

SIZES = [  # height, width, side
    (256, 256, 224), (256, 256, 256), (512, 512, 256), (1080, 1080, 256), (239, 251, 224), (256, 230, 224),
    (140, 181, 112), (181, 140, 112), (163, 157, 112), (112, 112, 112), (96, 96, 224), (131, 200, 96),
    (1, 1, 5), (1, 7, 4), (7, 1, 9), (2, 2, 1), (2, 3, 8), (3, 2, 8), (5, 5, 5), (33, 31, 7), (31, 33, 64),
    (300, 2, 16), (2, 300, 16), (17, 255, 31),
]
TURNED = [(37, 41, 16), (20, 20, 20), (9, 30, 15)]


def pixels(height, width, seed):
    v = np.arange(height * width, dtype=np.uint64) + np.uint64(seed * 0x9E3779B9 & 0xFFFFFFFF)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        v = ((v ^ (v >> np.uint64(shift))) * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    return (v >> np.uint64(24)).astype(np.uint8).reshape(height, width)


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data.tobytes():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def row(height, width, side, seed, vertical, horizontal, quarters):
    out = cv2.resize(pixels(height, width, seed), (side, side), interpolation=cv2.INTER_LINEAR)
    if vertical:
        out = np.flipud(out)
    if horizontal:
        out = np.fliplr(out)
    out = np.ascontiguousarray(np.rot90(out, quarters))
    return f"{height},{width},{side},{seed},{vertical},{horizontal},{quarters},{fnv(out):016x}\n"


def main():
    text = "height,width,side,seed,vertical,horizontal,quarters,fnv1a\n"
    for seed, size in enumerate(SIZES, 1):
        text += row(*size, seed, 0, 0, 0)
    for seed, size in enumerate(TURNED, 100):
        for element in range(16):
            text += row(*size, seed, element >> 3, element >> 2 & 1, element & 3)
    path = pathlib.Path(__file__).parents[2] / "tests/data/golden/resize.csv"
    path.write_text(text)
    print(f"{path}: {len(text)} bytes, OpenCV {cv2.__version__}")


if __name__ == "__main__":
    main()
