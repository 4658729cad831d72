// Arrays, timing, peaks, and the rows that are printed while they are measured.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>

#include "kernels/base/philox.h"
#include "kernels/base/thread_pool.h"
#include "kernels/matmul/matmul.h"
#include "tools/bench_kernels/bench.h"

namespace mono::bench {
namespace {

constexpr size_t kAlignment = 256;
constexpr size_t kGpuFlushBytes = size_t{256} << 20;  // several times the L2 of any GPU so far
constexpr size_t kCpuFlushBytes = size_t{64} << 20;
constexpr int kLeastRepeats = 5, kMostRepeats = 200;

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return words.empty() || std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

void* allocate(Stream stream, size_t bytes) {
  if (!stream.on_gpu())
    return ::operator new (std::max<size_t>(bytes, 1), std::align_val_t{kAlignment});
  void* memory = gpu::allocate(bytes + gpu::kGuardBytes);
  if (!memory) fail(ErrorKind::device, "bench_kernels: the GPU has no {} bytes left", bytes);
  gpu::mark_allocated(memory, bytes, stream);
  return memory;
}
void release(Stream stream, void* memory, size_t bytes) {
  if (!stream.on_gpu()) return ::operator delete (memory, std::align_val_t{kAlignment});
  gpu::synchronize(stream);
  gpu::mark_free(memory, bytes, stream);
  gpu::release(memory);
}

template <class T>
void Array<T>::set(std::span<const T> values) {
  for (int64_t i = 0; i < n_; i += static_cast<int64_t>(values.size())) {
    const size_t bytes =
        static_cast<size_t>(std::min<int64_t>(n_ - i, static_cast<int64_t>(values.size()))) *
        sizeof(T);
    if (stream_.on_gpu())
      gpu::copy(data_ + i, values.data(), bytes, stream_);
    else
      std::memcpy(static_cast<void*>(data_ + i), values.data(), bytes);
  }
  if (stream_.on_gpu()) gpu::synchronize(stream_);
}

template <class T>
std::vector<T> Array<T>::host() const {
  std::vector<T> values(static_cast<size_t>(n_));
  if (stream_.on_gpu()) {
    gpu::copy(values.data(), data_, values.size() * sizeof(T), stream_);
    gpu::synchronize(stream_);
  } else {
    std::memcpy(static_cast<void*>(values.data()), data_, values.size() * sizeof(T));
  }
  return values;
}

template <class T>
Array<T> normal(Stream stream, int64_t n, uint32_t seed, double mean, double deviation) {
  constexpr int64_t kPeriod = 1048573;  // a prime: rows do not repeat in step with any extent
  std::vector<T> values(static_cast<size_t>(std::min(n, kPeriod)));
  Philox random(2024, Purpose::test, 0, seed);
  for (T& value : values)
    value = static_cast<T>(static_cast<Master<T>>(
        static_cast<float>(bf16(static_cast<float>(mean + deviation * random.normal())))));
  Array<T> array(stream, n);
  if (n > 0) array.set(values);
  return array;
}

template <class T>
Array<T> constant(Stream stream, int64_t n, double value) {
  Array<T> array(stream, n);
  const std::vector<T> values(4096, static_cast<T>(static_cast<Master<T>>(value)));
  if (n > 0) array.set(values);
  return array;
}

template <class T>
double relative_error(const std::vector<T>& values, const std::vector<double>& truth) {
  double error = 0, squares = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double v = static_cast<double>(static_cast<Master<T>>(values[i]));
    if (!std::isfinite(v)) return std::numeric_limits<double>::infinity();
    error = std::max(error, std::abs(v - truth[i]));
    squares += truth[i] * truth[i];
  }
  return error == 0 ? 0 : error / std::sqrt(squares / static_cast<double>(values.size()));
}

#define MONO_INSTANTIATE(T)                                               \
  template class Array<T>;                                                \
  template Array<T> normal<T>(Stream, int64_t, uint32_t, double, double); \
  template Array<T> constant<T>(Stream, int64_t, double);                 \
  template double relative_error(const std::vector<T>&, const std::vector<double>&);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)
template class Array<std::byte>;
template class Array<uint8_t>;
template class Array<int>;

Session::Session(const Options& options, Stream stream) : options_(options), stream_(stream) {
  if (!timed()) return;
  flush_bytes_ = stream.on_gpu() ? kGpuFlushBytes : kCpuFlushBytes;
  if (stream.on_gpu())
    flush_ = allocate(stream, flush_bytes_);
  else
    host_flush_.resize(flush_bytes_);
}
Session::~Session() {
  if (flush_) gpu::release(flush_);
}

// Whatever the caches hold afterwards, it is not the operands.
void Session::flush() {
  if (stream_.on_gpu()) return gpu::fill(flush_, 0, flush_bytes_, stream_);
  constexpr int64_t kPart = 1 << 20;
  parallel_for(static_cast<int64_t>(flush_bytes_) / kPart, [&](int64_t part, int) {
    std::memset(host_flush_.data() + part * kPart, static_cast<int>(part), kPart);
  });
}

#ifndef MONO_CUDA
double seconds_of(Stream, const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
#endif

double Session::median_seconds(const std::function<void()>& run) {
  run();  // code, tables and workspaces are there from now on
  std::vector<double> seconds;
  const auto start = std::chrono::steady_clock::now();
  const auto spent = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  while (seconds.size() < kLeastRepeats ||
         (spent() < options_.seconds && seconds.size() < kMostRepeats)) {
    flush();
    seconds.push_back(seconds_of(stream_, run));
  }
  std::nth_element(seconds.begin(),
                   seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2),
                   seconds.end());
  return seconds[seconds.size() / 2];
}

void Session::measure_peaks() {
  if (!timed()) {
    fmt::print(
        "emulated: results are checked; nothing is timed, since the emulator's speed says "
        "nothing about a GPU's\n");
    return;
  }
  const bool gpu = stream_.on_gpu();
  const int64_t bytes = gpu ? int64_t{1} << 30 : int64_t{256} << 20;
  {
    const Array<uint8_t> from(stream_, bytes), to(stream_, bytes);
    const double seconds = median_seconds([&] {
      if (gpu) return gpu::copy(to.data(), from.data(), static_cast<size_t>(bytes), stream_);
      constexpr int64_t kPart = 1 << 20;
      parallel_for(bytes / kPart, [&](int64_t part, int) {
        std::memcpy(to.data() + part * kPart, from.data() + part * kPart, kPart);
      });
    });
    peaks_.bytes_per_s = 2.0 * static_cast<double>(bytes) / seconds;
  }
  // The largest products that the libraries do, on random data.
  const int n = gpu ? 8192 : 1536;
  const MatmulProblem product{n, n, n};
  const auto rate = [&](DType dtype, auto type) {
    using T = decltype(type);
    const MatmulVariant library = gpu ? MatmulVariant::cublaslt : MatmulVariant::onednn;
    const MatmulVariant variant = matmul_supports(options_.device, library, product, dtype)
                                      ? library
                                      : matmul_choose(options_.device, product, dtype);
    const int64_t size = int64_t{n} * n;
    const Array<T> a = normal<T>(stream_, size, 1), b = normal<T>(stream_, size, 2),
                   c(stream_, size);
    const Array<std::byte> work(
        stream_, static_cast<int64_t>(matmul_workspace_bytes(variant, product, dtype)));
    const double seconds = median_seconds([&] {
      matmul<T, T, T>(stream_, variant, product, dtype,
                      {.a = a.data(), .b = b.data(), .c = c.data()}, work.bytes());
    });
    peaks_.flops_source = fmt::format("measured: {} {}³", name_of(variant), n);
    return product.flops() / seconds;
  };
  peaks_.flops_f32 = rate(DType::f32, float{});
  peaks_.flops_bf16 = rate(DType::bf16, bf16{});
  fmt::print(
      "copy {:.1f} GB/s (bytes read and written); matrix product f32 {:.3f}, bf16 {:.3f} "
      "TFLOP/s ({})\n",
      peaks_.bytes_per_s / 1e9, peaks_.flops_f32 / 1e12, peaks_.flops_bf16 / 1e12,
      peaks_.flops_source);
}

bool Session::wants(const std::string& op) const {
  return contains(options_.ops, op);
}
bool Session::wants(const std::string& pass, const std::string& variant, DType dtype,
                    const std::string& name) const {
  const auto is = [](const std::string& wanted, std::string_view value) {
    return wanted.empty() || wanted == value;
  };
  return is(options_.pass, pass) && is(options_.variant, variant) &&
         is(options_.dtype, name_of(dtype)) && name.find(options_.only) != std::string::npos;
}

void Session::add(Row row, const std::function<void()>& run) {
  const bool right = row.error <= row.tolerance;
  if (!right) ++failures_;
  if (rows_.empty())
    fmt::print("{:<10} {:<34} {:<9} {:<18} {:<5} {:>10} {:>8} {:>8} {:>7}  {}\n", "operation",
               "case", "pass", "variant", "dtype", "time us", "TFLOP/s", "GB/s", "bound", "error");
  if (right && timed()) {
    row.seconds = median_seconds(run);
    const double peak = row.dtype == "bf16" ? peaks_.flops_bf16 : peaks_.flops_f32;
    row.share = std::max(row.flops / peak, row.bytes / peaks_.bytes_per_s) / row.seconds;
    fmt::print("{:<10} {:<34} {:<9} {:<18} {:<5} {:>10.1f} {:>8.3f} {:>8.1f} {:>6.1f}%  {:.1e}{}\n",
               row.op, row.name, row.pass, row.variant, row.dtype, row.seconds * 1e6,
               row.flops / row.seconds / 1e12, row.bytes / row.seconds / 1e9, row.share * 100,
               row.error, row.chosen ? " *" : "");
  } else {
    fmt::print("{:<10} {:<34} {:<9} {:<18} {:<5} {:>10} {:>8} {:>8} {:>7}  {:.1e}{}\n", row.op,
               row.name, row.pass, row.variant, row.dtype, "-", "-", "-", "-", row.error,
               right ? "" : fmt::format(" WRONG: more than {:.0e}", row.tolerance));
  }
  std::fflush(stdout);
  rows_.push_back(std::move(row));
  if (!options_.json.empty()) write_json(*this);
}

}  // namespace mono::bench
