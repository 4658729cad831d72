// What a run will take, from its recipe alone: multiplications, numbers to keep, bytes on disk.
//
// Multiply-adds are counted where there are many: convolutions (filter x output pixels), linear
// layers, attention. Norms, losses and augmentation are left out, some percent. Forward and
// backward are three times the forward pass; a teacher's forward pass counts once. FLOP = 2 x
// multiply-adds.
#pragma once

#include "train/setup.h"

namespace mono {

struct Cost {
  int64_t parameters = 0;       // of the network that is trained
  double flops_per_step = 0;    // forward and backward, of a whole step
  double flops_per_image = 0;   // of one forward pass, as evaluation makes it
  double checkpoint_bytes = 0;  // of one checkpoint
};

// Of the recipe on images of `side` pixels (before data.crop and data.resize), with the screen's
// classes, experiments and channels. Nothing is allocated.
Cost cost_of(const Recipe& recipe, const Dataset& screen, int side);

// Multiply-adds of one forward pass of an image of `side` pixels through parameters with
// torchvision's and timm's names.
double forward_multiply_adds(const ParameterArena& arena, int side);

}  // namespace mono
