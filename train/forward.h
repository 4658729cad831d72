// `train_rxrx forward`: runs any registered model on tensors from a file, so that any outside
// program can check the engine. DESIGN section 6 and the contract give its files.
#pragma once

#include <string>

namespace mono {

struct ForwardOptions {
  std::string model;
  int channels = 6;
  int classes = 1139;
  std::string mode = "eval";  // train | eval
  std::string weights, input, output;
  bool backward = false;
  std::string device = "auto";
  std::string precision = "f32";  // f64 | f32 | bf16
};

// X holds x (N,C,H,W), with backward also dy (and dbatch for the paper's classifier's second
// output, optional), and optionally domain (N). Y receives y, grad.*, buffer.*; float64 under f64.
int run_forward(const ForwardOptions& options);

}  // namespace mono
