// Which instruction sets this CPU has; decided once, at run time.
#pragma once

#include <string_view>

namespace mono {

// Each level includes those before it. `amx` is avx512bf16 plus AMX tiles with bf16, enabled for
// this process by the kernel.
enum class CpuIsa { baseline, avx2, avx512, avx512bf16, amx };

// The highest level that this CPU, its operating system and the environment variable MONO_MAX_ISA
// (a level's name, for testing) allow.
CpuIsa cpu_isa();
std::string_view name_of(CpuIsa isa);

// Whether bf16 products are quicker than float ones: true with AMX, and with avx512bf16 on AMD
// (vdpbf16ps runs at twice the float rate there, at half of it on Intel).
bool has_quick_bf16();

// The CPU's brand string, e.g. "AMD EPYC 9R14".
std::string_view cpu_name();

}  // namespace mono
