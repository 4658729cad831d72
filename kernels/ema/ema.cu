#include "kernels/ema/ema.cuh"

#include "kernels/ema/ema.h"
#include "kernels/ema/ema_cpu.h"

namespace mono {

template <class M>
void ema_update(Stream stream, int64_t n, const double* beta, M* teacher, const M* student) {
  if (!stream.on_gpu()) return ema_update_cpu<M>(n, *beta, teacher, student);
  const auto run = [&]<int V>() {
    launch<ema_kernel<M, V>>(stream, {blocks_for(n / V, kEmaThreads), kEmaThreads, 0}, n / V, beta,
                             teacher, student);
  };
  if (n % kPackWidth<M> == 0 && packs_fit(teacher, 0, 0) && packs_fit(student, 0, 0))
    run.template operator()<kPackWidth<M>>();
  else
    run.template operator()<1>();
}

template void ema_update(Stream, int64_t, const double*, float*, const float*);
template void ema_update(Stream, int64_t, const double*, double*, const double*);

}  // namespace mono
