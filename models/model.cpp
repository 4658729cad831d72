#include "models/model.h"

namespace mono {

void Model::initialise(DType master, uint64_t seed) {
  arena_.allocate(master);
  arena_.initialise(seed);
  running_ = NormStatistics(norms_, 1, master);
}

}  // namespace mono
