// The CPU's half of ema_update. Private to this folder.
#pragma once

#include <cstdint>

namespace mono {

template <class M>
void ema_update_cpu(int64_t n, double beta, M* teacher, const M* student);

}  // namespace mono
