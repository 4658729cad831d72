// XXH3, 64 and 128 bits: the checksum of cache records, checkpoints and tables. It finds damage, it
// is no protection against forgery.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace mono {

uint64_t hash64(const void* data, size_t bytes);
inline uint64_t hash64(std::string_view text) {
  return hash64(text.data(), text.size());
}

// 16 lower-case hexadecimal digits.
std::string hash_text(uint64_t hash);

// The hash of a stream in pieces: equal to hash64 of their concatenation.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  void update(const void* data, size_t bytes);
  void update(std::string_view text) { update(text.data(), text.size()); }
  uint64_t digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The same with 128 bits, for files as large as a checkpoint's.
class Hasher128 {
 public:
  Hasher128();
  ~Hasher128();
  Hasher128(const Hasher128&) = delete;
  Hasher128& operator=(const Hasher128&) = delete;
  void update(const void* data, size_t bytes);
  std::string digest_text() const;  // 32 lower-case hexadecimal digits

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mono
