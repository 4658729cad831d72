// Segments: runs of consecutive images that share batch-norm statistics (a group of 64, a domain).
#pragma once

namespace mono {

// Images [offsets[s], offsets[s + 1]) of a batch form segment s. offsets has count + 1 entries,
// starts at 0, is strictly increasing and ends at the batch size N. Non-owning.
// Per-segment tables (mean, variance, scale, shift) are (count, C), row-major.
struct Segments {
  int count = 0;
  const int* offsets = nullptr;
  const int* gpu_offsets = nullptr;  // the same table in the GPU's memory, for kernels there

  int begin(int s) const { return offsets[s]; }
  int end(int s) const { return offsets[s + 1]; }
};

// What a backward kernel does with one of its outputs.
enum class GradMode { ignore, overwrite, accumulate };

}  // namespace mono
