#include "train/hash.h"

#include "kernels/base/error.h"

#include <xxhash.h>

namespace mono {

struct Hasher::State {
  XXH3_state_t* xxh = XXH3_createState();
  ~State() { XXH3_freeState(xxh); }
};

Hasher::Hasher() : state_(std::make_unique<State>()) {
  MONO_CHECK(state_->xxh != nullptr && XXH3_64bits_reset(state_->xxh) == XXH_OK, "xxhash");
}

Hasher::~Hasher() = default;

void Hasher::update(const void* data, size_t bytes) {
  if (bytes > 0) XXH3_64bits_update(state_->xxh, data, bytes);
}

uint64_t Hasher::digest() const {
  return XXH3_64bits_digest(state_->xxh);
}

struct Hasher128::State {
  XXH3_state_t* xxh = XXH3_createState();
  ~State() { XXH3_freeState(xxh); }
};

Hasher128::Hasher128() : state_(std::make_unique<State>()) {
  MONO_CHECK(state_->xxh != nullptr && XXH3_128bits_reset(state_->xxh) == XXH_OK, "xxhash");
}

Hasher128::~Hasher128() = default;

void Hasher128::update(const void* data, size_t bytes) {
  if (bytes > 0) XXH3_128bits_update(state_->xxh, data, bytes);
}

std::string Hasher128::digest_text() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_->xxh);
  return hash_text(hash.high64) + hash_text(hash.low64);
}

uint64_t hash64(const void* data, size_t bytes) {
  return XXH3_64bits(data, bytes);
}

std::string hash_text(uint64_t hash) {
  return fmt::format("{:016x}", hash);
}

}  // namespace mono
