#include "kernels/norm_tables/norm_tables.cuh"

namespace mono {

template <class From, class Into>
void merge_tables(Stream stream, const NormColumns& table, const double* from_counts,
                  const double* into_counts, const From* from_mean, const From* from_variance,
                  Into* mean, Into* variance) {
  if (!stream.on_gpu()) {
    for (int64_t c = 0; c < table.columns; ++c)
      merge_column(table, c, from_counts, into_counts, from_mean, from_variance, mean, variance);
    return;
  }
  launch<merge_kernel<From, Into>>(stream, {blocks_for(table.columns, 256), 256}, table,
                                   from_counts, into_counts, from_mean, from_variance, mean,
                                   variance);
}

#define MONO_INSTANTIATE_PAIR(From, Into)                                              \
  template void merge_tables(Stream, const NormColumns&, const double*, const double*, \
                             const From*, const From*, Into*, Into*);
MONO_INSTANTIATE_PAIR(float, float)
MONO_INSTANTIATE_PAIR(float, double)
MONO_INSTANTIATE_PAIR(double, float)
MONO_INSTANTIATE_PAIR(double, double)

}  // namespace mono
