// What the parts of bench_kernels share: options, arrays on the device, timing, rows of results.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "kernels/base/dtype.h"
#include "kernels/base/gpu.h"
#include "kernels/base/segments.h"

namespace mono::bench {

struct Options {
  Device device = Device::cpu;
  std::vector<std::string> ops;  // empty: all; likewise below
  std::string variant, pass, dtype, model;
  std::string only;      // part of a case's name
  int size = 0;          // of images; 0: the device's usual sizes
  int batch = 0;         // likewise
  double seconds = 0.3;  // of timing for each row
  std::string json;      // file
  bool write_table = false;
  bool list = false;  // print the cases only
};

// Where the bound comes from.
struct Peaks {
  double bytes_per_s = 0;  // a copy, bytes read plus bytes written
  double flops_f32 = 0, flops_bf16 = 0;
  std::string flops_source;
};

struct Row {
  std::string op, name, problem, pass, variant, dtype;
  double flops = 0, bytes = 0;
  double error = 0, tolerance = 0;  // largest error over the root mean square of the truth
  double seconds = 0;               // median; 0: not timed
  double share = 0;                 // of the bound: its time over the measured one
  bool chosen = false;              // what ..._choose takes
  bool library = false;             // cudnn, cublaslt, onednn
  std::string choice = {};          // of a convolution: its row of the choice table
};

// An array on the device of a stream.
template <class T>
class Array;

class Session {
 public:
  Session(const Options& options, Stream stream);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const Options& options() const { return options_; }
  Stream stream() const { return stream_; }
  bool timed() const { return options_.device != Device::emulated; }
  const Peaks& peaks() const { return peaks_; }
  // The bounds' denominators; prints them.
  void measure_peaks();

  bool wants(const std::string& op) const;
  bool wants(const std::string& pass, const std::string& variant, DType dtype,
             const std::string& name) const;

  // Times `run` after a check with `error`; a row whose error is above its tolerance is not timed
  // and makes the program fail. Prints the row, and writes the JSON anew: what stops the program
  // later costs no row.
  void add(Row row, const std::function<void()>& run);

  const std::vector<Row>& rows() const { return rows_; }
  int failures() const { return failures_; }
  double median_seconds(const std::function<void()>& run);

 private:
  void flush();

  Options options_;
  Stream stream_;
  Peaks peaks_;
  std::vector<Row> rows_;
  int failures_ = 0;
  std::vector<std::byte> host_flush_;
  void* flush_ = nullptr;
  size_t flush_bytes_ = 0;
};

// Time between two points of a GPU stream (timer_cuda.cpp), or of the host.
double seconds_of(Stream stream, const std::function<void()>& run);

// The parts, one a file.
void bench_conv2d(Session& session);
void bench_matmul(Session& session);
void bench_linear(Session& session);
void bench_attention(Session& session);
void bench_view_losses(Session& session);   // self-supervision
void bench_memory_bound(Session& session);  // batch norm, pooling, elementwise, SGD

// Replaces the generated rows of the device in kernels/conv2d/conv2d_choices.inc.
void write_table(const Session& session);
void write_json(const Session& session);
void print_ratios(const Session& session);

void* allocate(Stream stream, size_t bytes);
void release(Stream stream, void* memory, size_t bytes);

template <class T>
class Array {
 public:
  Array() = default;
  Array(Stream stream, int64_t n)
      : stream_(stream),
        n_(n),
        data_(static_cast<T*>(allocate(stream, static_cast<size_t>(n) * sizeof(T)))) {}
  ~Array() {
    if (data_) release(stream_, data_, static_cast<size_t>(n_) * sizeof(T));
  }
  Array(Array&& other) noexcept { *this = std::move(other); }
  Array& operator=(Array&& other) noexcept {
    std::swap(stream_, other.stream_);
    std::swap(n_, other.n_);
    std::swap(data_, other.data_);
    return *this;
  }

  T* data() const { return data_; }
  int64_t size() const { return n_; }
  std::span<std::byte> bytes() const {
    return {reinterpret_cast<std::byte*>(data_), static_cast<size_t>(n_) * sizeof(T)};
  }
  void set(std::span<const T> values);  // repeated until the array is full
  std::vector<T> host() const;

 private:
  Stream stream_;
  int64_t n_ = 0;
  T* data_ = nullptr;
};

// Normal values that every type can hold (rounded to bf16), the same in every type; repeated after
// a million, which is enough for arithmetic and quick to make.
template <class T>
Array<T> normal(Stream stream, int64_t n, uint32_t seed, double mean = 0, double deviation = 1);
template <class T>
Array<T> constant(Stream stream, int64_t n, double value);

// Largest error over the root mean square of the truth; infinite where something is not finite.
template <class T>
double relative_error(const std::vector<T>& values, const std::vector<double>& truth);

}  // namespace mono::bench
