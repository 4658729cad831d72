// oneDNN as this engine uses it: one CPU engine, one thread per call, no instruction set above
// cpu_isa(). Included only by the few .cpp files that call oneDNN.
#pragma once

#include <omp.h>

#include <oneapi/dnnl/dnnl.hpp>

#include "kernels/base/cpu_features.h"
#include "kernels/base/dtype.h"

namespace mono::onednn {

// Must be called (through engine() or stream()) before the first primitive is made: oneDNN decides
// on instruction sets and on its number of threads when a primitive is created.
inline void limit_to_one_thread() {
  thread_local const bool once = (omp_set_num_threads(1), true);
  static_cast<void>(once);
}

inline dnnl::engine& engine() {
  limit_to_one_thread();
  static dnnl::engine instance = [] {
    constexpr dnnl::cpu_isa kLevels[] = {
        dnnl::cpu_isa::sse41, dnnl::cpu_isa::avx2, dnnl::cpu_isa::avx512_core,
        dnnl::cpu_isa::avx512_core_bf16, dnnl::cpu_isa::avx512_core_amx};
    dnnl::set_max_cpu_isa(kLevels[static_cast<size_t>(cpu_isa())]);
    return dnnl::engine(dnnl::engine::kind::cpu, 0);
  }();
  return instance;
}

inline dnnl::stream& stream() {  // of the calling thread
  thread_local dnnl::stream instance(engine());
  return instance;
}

template <class E>
constexpr dnnl::memory::data_type kDataType =
    std::is_same_v<E, bf16> ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;

inline dnnl::memory view(const dnnl::memory::desc& desc, const void* data) {
  return dnnl::memory(desc, engine(), const_cast<void*>(data));
}

inline dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

}  // namespace mono::onednn
