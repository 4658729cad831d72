#include "nn/domain/domain_centring.h"

#include <vector>

#include "kernels/domain_centring/centre_step.h"
#include "kernels/domain_centring/domain_centring.h"

namespace mono {

double domain_weight(int count, int rows, double share, double most_weight) {
  return centre_step(&share, 0, count, rows, 0, most_weight);
}

DomainCentring::DomainCentring(std::span<const int64_t> images_of_domain, int K, DType master,
                               Device device, const CentringOptions& options)
    : options_(options) {
  double images = 0;
  for (const int64_t count : images_of_domain) images += static_cast<double>(count);
  if (images <= 0)
    fail(ErrorKind::usage, "domain centring: {} domains with {} training images; there must be one",
         images_of_domain.size(), images);
  const int domains = options.per_domain ? static_cast<int>(images_of_domain.size()) : 1;
  centres_ = Tensor::zeros({domains, K}, master, device);
  const Tensor shares = Tensor::empty({domains}, DType::f64);
  for (int d = 0; d < domains; ++d)
    shares.data<double>()[d] =
        options.per_domain ? static_cast<double>(images_of_domain[d]) / images : 1.0;
  shares_ = shares.to(device);
}

const int* DomainCentring::ids(const Tensor& teacher, const Tensor& domains) const {
  if (teacher.shape().rank() != 2 || !teacher.packed() ||
      teacher.shape()[1] != centres_.shape()[1] || teacher.device() != centres_.device() ||
      master_of(teacher.dtype()) != centres_.dtype())
    fail(ErrorKind::internal, "domain centring: centres {} do not fit the teacher's outputs {}",
         centres_.to_string(), teacher.to_string());
  if (!options_.per_domain) return nullptr;
  if (!domains.defined() || domains.dtype() != DType::i32 ||
      domains.shape() != Shape{teacher.shape()[0]} || domains.device() != teacher.device())
    fail(ErrorKind::internal, "domain centring: domains {} do not fit the teacher's outputs {}",
         domains.defined() ? domains.to_string() : "(none)", teacher.to_string());
  return domains.data<int>();
}

Tensor DomainCentring::centred(const Tensor& teacher, const Tensor& domains,
                               const Tensor& temperature) const {
  const int* const of_row = ids(teacher, domains);
  const Tensor y = Tensor::empty(teacher.shape(), centres_.dtype(), teacher.device());
  dispatch_activation(teacher.dtype(), [&]<class T>() {
    CentreRows<T> args;
    args.rows = teacher.shape()[0];
    args.K = teacher.shape()[1];
    args.domains = this->domains();
    args.x = teacher.data<T>();
    args.centres = centres_.data<Master<T>>();
    args.domain_of_row = of_row;
    args.temperature = temperature.data<double>();
    args.y = y.data<Master<T>>();
    centre_rows<T>(y.stream(), args);
  });
  return y;
}

void DomainCentring::update(const Tensor& teacher, const Tensor& domains) {
  const int* const of_row = ids(teacher, domains);
  dispatch_activation(teacher.dtype(), [&]<class T>() {
    CentreUpdate<T> args;
    args.rows = teacher.shape()[0];
    args.K = teacher.shape()[1];
    args.domains = this->domains();
    args.x = teacher.data<T>();
    args.domain_of_row = of_row;
    args.shares = options_.weighted ? shares_.data<double>() : nullptr;
    args.momentum = options_.momentum;
    args.most = options_.most_weight;
    args.centres = centres_.data<Master<T>>();
    update_centres<T>(centres_.stream(), args);
  });
  centres_.bump_version();
}

}  // namespace mono
