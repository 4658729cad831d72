// DeiT: a vision transformer of plain blocks (Touvron et al., ICML 2021; CDCL section 4).
//
//   patches (16x16 convolution, stride 16) - class token in front - position embedding
//   blocks: x += proj(attention(qkv(norm1(x)))); x += fc2(gelu(fc1(norm2(x))))
//   norm - features: the class token
//
// Names, shapes and registration order are timm's (deit_small_patch16_224). Images have any number
// of channels and any height and width that are multiples of the patch; the position embedding
// stays that of 224 pixels, grid x grid, and is resampled at every other size by a rule.
#pragma once

#include "models/model.h"
#include "nn/functional/linear.h"
#include "nn/functional/tokens.h"

namespace mono {

class Philox;

struct DeitConfig {
  int dim = 384, heads = 6, depth = 12;
  int patch = 16;  // pixels a side
  int grid = 14;   // patches a side that the position embedding is made for
  PositionRule position_rule = PositionRule::cdcl;

  static DeitConfig tiny() { return {.dim = 192, .heads = 3}; }
  static DeitConfig small() { return {}; }
  static DeitConfig base() { return {.dim = 768, .heads = 12}; }
  // For smoke runs: seconds on two cores.
  static DeitConfig smoke() { return {.dim = 64, .heads = 2, .depth = 4, .patch = 8, .grid = 8}; }
};

class Deit : public Backbone {
 public:
  Deit(ModelBuilder builder, const DeitConfig& config, int channels);

  int features() const override { return config_.dim; }
  // The class token behind the last norm, (N, dim). ForwardContext::drop_path leaves out branches
  // of images; without it every branch is there.
  Variable pooled(const Variable& images, const ForwardContext& context,
                  bool relu_before_pool = true) const override;

 private:
  struct Layer {
    const Parameter *weight, *bias;
  };
  struct Block {
    LayerNorm norm1, norm2;
    Layer qkv, proj, fc1, fc2;
  };
  // Row `branch` of the drop path's table: undefined without one.
  static Tensor keep_of(const ForwardContext& context, int branch, int branches, int images);

  DeitConfig config_;
  const Parameter *cls_, *pos_;
  Layer patch_;
  std::vector<Block> blocks_;
  LayerNorm norm_;
};

// "cdcl", "dino", "deit" or "timm"; else Error(usage).
PositionRule parse_position_rule(const std::string& name);

// ForwardContext::drop_path's values for a backbone of `depth` blocks, (2 depth, images) row after
// row: attention and MLP of block i are left out of an image with probability rate i / (depth - 1)
// each (factor 0), and multiplied by 1 / (1 - that) otherwise (stochastic depth; timm's DropPath).
std::vector<float> drop_path_factors(int depth, double rate, int images, Philox& random);

}  // namespace mono
