// The exponential moving average of a teacher's weights:  teacher = beta teacher + (1 - beta)
// student.
//
// *beta lies on the stream's device: it changes from step to step. Arrays of n masters that do not
// overlap. Traffic: teacher read and written, student read: 12 bytes a parameter in f32. Source:
// Caron et al. 2021 (DINO), Grill et al. 2020 (BYOL).
#pragma once

#include <cstdint>

#include "kernels/base/device.h"

namespace mono {

template <class M>
void ema_update(Stream stream, int64_t n, const double* beta, M* teacher, const M* student);

}  // namespace mono
