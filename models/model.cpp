#include "models/model.h"

namespace mono {

void Model::initialise(DType master, uint64_t seed, Device device) {
  arena_.allocate(master, device);
  arena_.initialise(seed);
  running_ = NormStatistics(norms_, 1, master, device);
}

}  // namespace mono
