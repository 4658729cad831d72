#include "kernels/base/cpu_features.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/base/error.h"

namespace mono {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"baseline", "avx2", "avx512", "avx512bf16",
                                                    "amx"};

bool amx_enabled() {
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  const bool tile = d & (1u << 24), bf16 = d & (1u << 22);
  if (!tile || !bf16) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

CpuIsa detect() {
  CpuIsa isa = CpuIsa::baseline;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) isa = CpuIsa::avx2;
  if (isa == CpuIsa::avx2 && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq"))
    isa = CpuIsa::avx512;
  if (isa == CpuIsa::avx512 && __builtin_cpu_supports("avx512bf16")) isa = CpuIsa::avx512bf16;
  if (isa == CpuIsa::avx512bf16 && amx_enabled()) isa = CpuIsa::amx;
  if (const char* limit = std::getenv("MONO_MAX_ISA"); limit && *limit) {
    for (size_t level = 0; level < kNames.size(); ++level)
      if (kNames[level] == limit) return std::min(isa, static_cast<CpuIsa>(level));
    fail(ErrorKind::usage,
         "MONO_MAX_ISA is '{}'; expected baseline, avx2, avx512, avx512bf16 or amx", limit);
  }
  return isa;
}

std::string read_cpu_name() {
  unsigned words[12];
  for (unsigned i = 0; i < 3; ++i)
    if (!__get_cpuid(0x80000002u + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2],
                     &words[4 * i + 3]))
      return "unknown CPU";
  char text[49] = {};
  std::memcpy(text, words, 48);
  std::string name(text);
  const size_t first = name.find_first_not_of(' ');
  const size_t last = name.find_last_not_of(' ');
  return first == std::string::npos ? "unknown CPU" : name.substr(first, last - first + 1);
}

}  // namespace

CpuIsa cpu_isa() {
  static const CpuIsa isa = detect();
  return isa;
}

std::string_view name_of(CpuIsa isa) {
  return kNames[static_cast<size_t>(isa)];
}

bool has_quick_bf16() {
  if (cpu_isa() == CpuIsa::amx) return true;
  return cpu_isa() == CpuIsa::avx512bf16 && __builtin_cpu_is("amd");
}

std::string_view cpu_name() {
  static const std::string name = read_cpu_name();
  return name;
}

}  // namespace mono
