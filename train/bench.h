// `train_rxrx bench`: times whole training steps of a registered model on random input.
#pragma once

#include <string>

namespace mono {

struct BenchOptions {
  std::string model = "densenet161";
  int channels = 6;
  int classes = 1139;
  int image_size = 128;
  int batch = 8;
  std::string precision = "f32";  // f32 | bf16
  std::string device = "auto";
  int warm_up = 2;
  int steps = 7;
  bool json = false;
};

// A step: forward, cross-entropy, backward, SGD with momentum. Prints the median, and the losses,
// which must fall: the batch stays the same.
int run_bench(const BenchOptions& options);

}  // namespace mono
