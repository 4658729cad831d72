#include "models/intensity_histogram.h"

#include <algorithm>
#include <cmath>

namespace mono {

Variable IntensityHistogram::pooled(const Variable& images, const ForwardContext& context,
                                    bool) const {
  MONO_CHECK(!context.tape, "a histogram has no gradient");
  const Tensor host = images.value().to(Device::cpu);
  const Shape& s = host.shape();
  const int64_t pixels = int64_t{s[1]} * s[2];
  const Tensor out = Tensor::zeros({s[0], features()}, host.dtype());
  dispatch_activation(host.dtype(), [&]<class T>() {
    const T* from = host.data<T>();
    for (int n = 0; n < s[0]; ++n) {
      std::vector<double> counts(static_cast<size_t>(features()));
      for (int64_t p = 0; p < pixels; ++p)
        for (int c = 0; c < channels_; ++c) {
          const double value = static_cast<double>(static_cast<Master<T>>(*from++));
          const double bin = std::clamp(std::floor((value + 3) * 4) + 1, 0.0, kBins - 1.0);
          counts[static_cast<size_t>(c * kBins + static_cast<int>(bin))] += 1;
        }
      for (int i = 0; i < features(); ++i)
        out.data<T>()[int64_t{n} * features() + i] = static_cast<T>(
            static_cast<Master<T>>(counts[static_cast<size_t>(i)] / static_cast<double>(pixels)));
    }
  });
  return Variable(out.to(images.value().device()));
}

}  // namespace mono
