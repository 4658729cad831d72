#include "kernels/conv2d/conv2d_choices.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <vector>

#include "kernels/base/cpu_features.h"
#include "kernels/base/error.h"
#include "kernels/base/gpu.h"

namespace mono {
namespace {

const std::vector<ConvChoice> kChoices = {
#include "kernels/conv2d/conv2d_choices.inc"
};

bool packed(const ConvProblem& p) {
  return p.ldx <= p.C && p.ldy <= p.K;
}
double distance(double a, double b) {
  return std::abs(std::log2(a / b));
}

}  // namespace

std::string conv2d_machine(Device device) {
  if (device == Device::cpu) return std::string(name_of(cpu_isa()));
  if (device == Device::emulated) return "emulated";
  const gpu::Properties* gpu = gpu::properties();
  return gpu ? fmt::format("sm_{}{}", gpu->major, gpu->minor) : "none";
}

const ConvChoice* nearest_choice(std::span<const ConvChoice> table, std::string_view machine,
                                 ConvPass pass, const ConvProblem& p, DType dtype) {
  constexpr double kFarthest = 2;  // a factor of four
  double nearest = std::numeric_limits<double>::infinity();
  const ConvChoice* found = nullptr;
  for (const ConvChoice& c : table) {
    const ConvProblem& q = c.problem;
    if (c.pass != pass || c.dtype != dtype || q.R != p.R || q.S != p.S || q.stride != p.stride ||
        packed(q) != packed(p) || c.machine != machine)
      continue;
    const double far[] = {distance(double(p.N) * p.P() * p.Q(), double(q.N) * q.P() * q.Q()),
                          distance(p.C, q.C), distance(p.K, q.K)};
    const double sum = far[0] + far[1] + far[2];
    if (*std::max_element(far, far + 3) <= kFarthest && sum < nearest) {
      nearest = sum;
      found = &c;
    }
  }
  return found;
}

std::optional<ConvVariant> conv2d_measured_choice(Device device, ConvPass pass,
                                                  const ConvProblem& p, DType dtype) {
  if (kChoices.empty()) return std::nullopt;
  static const std::string machines[] = {conv2d_machine(Device::cpu), conv2d_machine(kGpu)};
  const ConvChoice* choice =
      nearest_choice(kChoices, machines[device == Device::cpu ? 0 : 1], pass, p, dtype);
  if (!choice) return std::nullopt;
  return choice->variant;
}

}  // namespace mono
