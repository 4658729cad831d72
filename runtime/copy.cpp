#include "runtime/copy.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <mutex>

#include "runtime/graph.h"
#include "runtime/stream.h"

namespace mono {
namespace {

constexpr size_t kPiece = size_t{8} << 20;      // of a large copy
constexpr size_t kInFlight = size_t{32} << 20;  // page-locked bytes that wait to be copied

// Page-locked pieces whose copies may still be running, oldest first.
class Staging {
 public:
  static Staging& instance() {
    static Staging* staging = new Staging;  // outlives everything that could still upload
    return *staging;
  }

  void copy(Stream stream, void* to, const void* from, size_t bytes) {
    const std::lock_guard lock(mutex_);
    while (!pieces_.empty() && in_flight_ + bytes > kInFlight) {
      pieces_.front().done.synchronize();
      in_flight_ -= static_cast<size_t>(pieces_.front().memory.bytes());
      pieces_.pop_front();
    }
    Piece piece{Tensor::empty_pinned({static_cast<int>(bytes)}, DType::u8), {}};
    std::memcpy(piece.memory.raw(), from, bytes);
    gpu::copy(to, piece.memory.raw(), bytes, stream);
    piece.done.record(stream);
    in_flight_ += bytes;
    pieces_.push_back(std::move(piece));
  }

 private:
  struct Piece {
    Tensor memory;
    Event done;
  };
  std::mutex mutex_;
  std::deque<Piece> pieces_;
  size_t in_flight_ = 0;
};

}  // namespace

void upload(Stream stream, void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;
  if (!stream.on_gpu()) {
    std::memcpy(to, from, bytes);
    return;
  }
  MONO_CHECK(!Graph::capturing(), "a copy from the host inside a captured step ({} bytes)", bytes);
  for (size_t at = 0; at < bytes; at += kPiece)
    Staging::instance().copy(stream, static_cast<std::byte*>(to) + at,
                             static_cast<const std::byte*>(from) + at,
                             std::min(kPiece, bytes - at));
}

void download(Stream stream, void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;
  if (!stream.on_gpu()) {
    std::memcpy(to, from, bytes);
    return;
  }
  MONO_CHECK(!Graph::capturing(), "a copy to the host inside a captured step ({} bytes)", bytes);
  gpu::copy(to, from, bytes, stream);
  gpu::synchronize(stream);
}

}  // namespace mono
