// Hands out the arrays of an operation's workspace, 64-byte aligned. The same sequence of takes on
// a null workspace measures how many bytes it needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/base/error.h"

namespace mono {

class WorkspaceLayout {
 public:
  WorkspaceLayout() = default;  // measures only: take() returns null
  WorkspaceLayout(const char* operation, std::span<std::byte> bytes)
      : operation_(operation), bytes_(bytes) {
    MONO_CHECK(reinterpret_cast<uintptr_t>(bytes.data()) % 64 == 0,
               "{}: the workspace is not 64-byte aligned", operation);
  }

  template <class T>
  T* take(int64_t count) {
    std::byte* at = bytes_.data() ? bytes_.data() + used_ : nullptr;
    used_ += (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
    if (operation_)
      MONO_CHECK(used_ <= bytes_.size(), "{}: needs a workspace of {} bytes or more, got {}",
                 operation_, used_, bytes_.size());
    return reinterpret_cast<T*>(at);
  }
  std::span<std::byte> rest() const { return bytes_.subspan(used_); }
  size_t used() const { return used_; }

 private:
  const char* operation_ = nullptr;
  std::span<std::byte> bytes_;
  size_t used_ = 0;
};

}  // namespace mono
