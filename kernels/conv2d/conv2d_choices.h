// The measured part of conv2d_choose: which variant was quickest for the models' convolutions on a
// kind of machine. `bench_kernels --op conv2d --write-table` writes the rows (conv2d_choices.inc).
#pragma once

#include <optional>
#include <string>

#include "kernels/conv2d/conv2d.h"

namespace mono {

// What the rows of a machine are filed under: the instruction set of the CPU ("amx"), the compute
// capability of a GPU ("sm_90"); "emulated" has none.
std::string conv2d_machine(Device device);

// The variant that was quickest for the nearest measured problem of the same machine, pass, type,
// filter, stride and packing, if one is within a factor of four in pixels and channels.
std::optional<ConvVariant> conv2d_measured_choice(Device device, ConvPass pass,
                                                  const ConvProblem& problem, DType dtype);

}  // namespace mono
