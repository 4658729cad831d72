// The measured part of conv2d_choose: which variant was quickest for the models' convolutions on a
// kind of machine. `bench_kernels --op conv2d --write-table` writes the rows (conv2d_choices.inc).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kernels/conv2d/conv2d.h"

namespace mono {

// What the rows of a machine are filed under: the instruction set of the CPU ("amx"), the compute
// capability of a GPU ("sm_90"); "emulated" has none.
std::string conv2d_machine(Device device);

struct ConvChoice {  // a measured problem, pitches filled in, and what was quickest for it
  std::string_view machine;
  ConvPass pass;
  DType dtype;
  ConvProblem problem;
  ConvVariant variant;
};

// The row of the same machine, pass, type, filter, stride and packing whose problem is nearest, if
// one is within a factor of four in pixels and in channels on both sides; else null.
const ConvChoice* nearest_choice(std::span<const ConvChoice> table, std::string_view machine,
                                 ConvPass pass, const ConvProblem& problem, DType dtype);

// What the project's table says for this machine.
std::optional<ConvVariant> conv2d_measured_choice(Device device, ConvPass pass,
                                                  const ConvProblem& problem, DType dtype);

}  // namespace mono
