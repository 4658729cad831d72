// cuBLASLt knows matrices by columns: a row-major matrix is its transpose there, and
// C^T = op(B)^T op(A)^T, so the operands change places.
#include "kernels/matmul/matmul_cublaslt.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <compare>
#include <map>
#include <mutex>

#include "kernels/base/gpu_cuda.h"
#include "kernels/base/shared_library.h"

namespace mono {
namespace {

// The functions in use, from the library that is opened with the first product.
struct CublasLt {
  const SharedLibrary library{"libcublasLt.so.13"};
  MONO_LIBRARY_FUNCTION(cublasLtCreate);
  MONO_LIBRARY_FUNCTION(cublasLtGetStatusString);
  MONO_LIBRARY_FUNCTION(cublasLtMatmul);
  MONO_LIBRARY_FUNCTION(cublasLtMatmulAlgoGetHeuristic);
  MONO_LIBRARY_FUNCTION(cublasLtMatmulDescCreate);
  MONO_LIBRARY_FUNCTION(cublasLtMatmulDescDestroy);
  MONO_LIBRARY_FUNCTION(cublasLtMatmulDescSetAttribute);
  MONO_LIBRARY_FUNCTION(cublasLtMatmulPreferenceCreate);
  MONO_LIBRARY_FUNCTION(cublasLtMatmulPreferenceDestroy);
  MONO_LIBRARY_FUNCTION(cublasLtMatmulPreferenceSetAttribute);
  MONO_LIBRARY_FUNCTION(cublasLtMatrixLayoutCreate);
  MONO_LIBRARY_FUNCTION(cublasLtMatrixLayoutDestroy);
};
const CublasLt& lt() {
  static const CublasLt functions;
  return functions;
}

void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS)
    fail(ErrorKind::device, "{}: {}", call, lt().cublasLtGetStatusString(status));
}
#define MONO_LT_CALL(function, ...) \
  check(lt().function(__VA_ARGS__), #function "(" #__VA_ARGS__ ")")

cudaDataType_t type_of(DType dtype) {
  return dtype == DType::f32 ? CUDA_R_32F : CUDA_R_16BF;
}

// A matrix as it lies in memory, by columns.
class Layout {
 public:
  Layout(DType dtype, int rows, int columns, int ld) {
    MONO_LT_CALL(cublasLtMatrixLayoutCreate, &handle_, type_of(dtype), static_cast<uint64_t>(rows),
                 static_cast<uint64_t>(columns), ld);
  }
  ~Layout() { lt().cublasLtMatrixLayoutDestroy(handle_); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
  operator cublasLtMatrixLayout_t() const { return handle_; }

 private:
  cublasLtMatrixLayout_t handle_ = nullptr;
};

class Product {
 public:
  Product() { MONO_LT_CALL(cublasLtMatmulDescCreate, &handle_, CUBLAS_COMPUTE_32F, CUDA_R_32F); }
  ~Product() { lt().cublasLtMatmulDescDestroy(handle_); }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;
  operator cublasLtMatmulDesc_t() const { return handle_; }
  template <class V>
  void set(cublasLtMatmulDescAttributes_t attribute, V value) {
    MONO_LT_CALL(cublasLtMatmulDescSetAttribute, handle_, attribute, &value, sizeof value);
  }

 private:
  cublasLtMatmulDesc_t handle_ = nullptr;
};

class Preference {
 public:
  Preference() { MONO_LT_CALL(cublasLtMatmulPreferenceCreate, &handle_); }
  ~Preference() { lt().cublasLtMatmulPreferenceDestroy(handle_); }
  Preference(const Preference&) = delete;
  Preference& operator=(const Preference&) = delete;
  operator cublasLtMatmulPreference_t() const { return handle_; }
  template <class V>
  void set(cublasLtMatmulPreferenceAttributes_t attribute, V value) {
    MONO_LT_CALL(cublasLtMatmulPreferenceSetAttribute, handle_, attribute, &value, sizeof value);
  }

 private:
  cublasLtMatmulPreference_t handle_ = nullptr;
};

// What an algorithm is chosen for. Alignments in bytes.
struct Key {
  int device, M, N, K, lda, ldb, ldc;
  bool transpose_a, transpose_b, bias;
  DType compute, out;
  uint32_t align_a, align_b, align_c;
  auto operator<=>(const Key&) const = default;
};

// Handles by device, and the algorithms found so far.
struct State {
  std::mutex mutex;
  std::map<int, cublasLtHandle_t> handles;
  std::map<Key, cublasLtMatmulAlgo_t> algorithms;
};
State& state() {
  static State instance;
  return instance;
}

uint32_t alignment_of(const void* p) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(p);
  return static_cast<uint32_t>(std::min<uintptr_t>(address & (~address + 1), 256));
}

}  // namespace

bool cublaslt_found() {
  static const bool found = [] {
    try {
      lt();
      return true;
    } catch (const Error&) {
      return false;
    }
  }();
  return found;
}

void matmul_cublaslt(Stream stream, const MatmulProblem& p, const CublasLtCall& call,
                     std::span<std::byte> workspace) {
  Product product;
  product.set(CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  product.set(CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (call.bias) {
    MONO_CHECK(call.out == DType::f32, "matmul {}: cublaslt adds a bias to f32 only",
               p.to_string());
    product.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    product.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, call.bias);
  }
  const Layout a(call.compute, p.transpose_a ? p.M : p.K, p.transpose_a ? p.K : p.M, p.lda);
  const Layout b(call.compute, p.transpose_b ? p.K : p.N, p.transpose_b ? p.N : p.K, p.ldb);
  const Layout c(call.out, p.N, p.M, p.ldc);

  const std::lock_guard lock(state().mutex);
  int device = 0;
  MONO_CUDA_CALL(cudaGetDevice(&device));
  cublasLtHandle_t& handle = state().handles[device];  // null at first
  if (!handle) MONO_LT_CALL(cublasLtCreate, &handle);
  const Key key{device,
                p.M,
                p.N,
                p.K,
                p.lda,
                p.ldb,
                p.ldc,
                p.transpose_a,
                p.transpose_b,
                call.bias != nullptr,
                call.compute,
                call.out,
                alignment_of(call.a),
                alignment_of(call.b),
                alignment_of(call.c)};
  auto known = state().algorithms.find(key);
  if (known == state().algorithms.end()) {
    Preference preference;
    preference.set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{workspace.size()});
    // Reductions whose order is fixed.
    preference.set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                   uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
    preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key.align_b);
    preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key.align_a);
    preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.align_c);
    preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.align_c);
    cublasLtMatmulHeuristicResult_t result{};
    int found = 0;
    MONO_LT_CALL(cublasLtMatmulAlgoGetHeuristic, handle, product, b, a, c, c, preference, 1,
                 &result, &found);
    if (found == 0)
      fail(ErrorKind::device, "matmul {}: cuBLASLt offers no algorithm", p.to_string());
    known = state().algorithms.emplace(key, result.algo).first;
  }
  const float alpha = 1, beta = call.accumulate ? 1 : 0;
  MONO_LT_CALL(cublasLtMatmul, handle, product, &alpha, call.b, b, call.a, a, &beta, call.c, c,
               call.c, c, &known->second, workspace.data(), workspace.size(), cuda_stream(stream));
}

}  // namespace mono
