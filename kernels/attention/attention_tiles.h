// What variant `amx` works on: plain data, so that the file compiled for AMX
// (attention_tiles_amx.cpp) uses nothing that another file could share.
#pragma once

#include <cstdint>

#include "kernels/base/bf16.h"

namespace mono::attention_tiles {

// Strips are of 32 tokens; t is T and d is head_dim, rounded up to 32. Operands are padded with
// zeros. `rows` is a row-major left operand; `words` and `pairs` are right operands in tiles of 1
// KB as AMX wants them: 16 rows, each of 16 columns with two neighbouring terms of the sum. `words`
// has tokens as columns and sums over head_dim, `pairs` the other way round.
constexpr int kStrip = 32;

struct Extents {
  int T, head_dim, t, d;
  int64_t ld_qkv, ld_out;
  float scale;
};

struct Forward {
  Extents extents;
  const bf16 *q, *k, *v;  // of one head
  bf16* out;
  float* lse;  // null: not wanted
  // scratch
  bf16 *rows, *k_words, *v_pairs;  // t d each
  bf16* p;                         // (kStrip, t)
  float* s;                        // (kStrip, t)
  float* sum;                      // (kStrip, d)
};

struct Backward {
  Extents extents;
  const bf16 *q, *k, *v, *out, *dout;
  const float* lse;
  bf16 *dq, *dk, *dv;
  bool accumulate;
  // scratch
  bf16 *rows, *k_rows, *v_rows, *k_pairs, *q_words, *q_pairs, *dout_words, *dout_pairs;  // t d each
  bf16 *p, *ds, *ds_tiles;  // (kStrip, t); ds_tiles: ds transposed, left operands of 16 queries
  float *s, *dp;            // (kStrip, t)
  float* sum;               // (kStrip, d)
  float* dq_sum;            // (t, d)
  float *lse_of_2, *delta;  // (t)
};

void forward_head(const Forward& head);
void backward_head(const Backward& head);

}  // namespace mono::attention_tiles
