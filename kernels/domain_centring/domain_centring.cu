#include "kernels/domain_centring/domain_centring.cuh"

namespace mono {
namespace {

LaunchShape columns_shape(int K, int y) {
  return {dim3(blocks_for(K, kCentringThreads), static_cast<unsigned>(y)), kCentringThreads};
}

}  // namespace

template <class T>
void centre_rows(Stream stream, const CentreRows<T>& args) {
  if (!stream.on_gpu()) return centre_rows<T>(args);
  launch<centre_rows_kernel<T>>(stream, columns_shape(args.K, args.rows), args.K, args.x,
                                args.centres, args.domain_of_row, args.temperature, args.y);
}

template <class T>
void update_centres(Stream stream, const CentreUpdate<T>& args) {
  if (!stream.on_gpu()) return update_centres<T>(args);
  launch<update_centres_kernel<T>>(stream, columns_shape(args.K, args.domains), args.rows, args.K,
                                   args.x, args.domain_of_row, args.shares, args.momentum,
                                   args.most, args.centres);
}

#define MONO_INSTANTIATE(T)                                \
  template void centre_rows(Stream, const CentreRows<T>&); \
  template void update_centres(Stream, const CentreUpdate<T>&);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
