#include "train/report/tensorboard.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "kernels/base/error.h"
#include "train/run_directory.h"

namespace mono::report {
namespace {

constexpr std::array<uint32_t, 256> crc_table() {
  constexpr uint32_t kReflected = 0x82F63B78;  // of 0x1EDC6F41
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? kReflected : 0);
    table[i] = crc;
  }
  return table;
}

template <class Word>
void append_word(std::string& out, Word value) {
  for (size_t byte = 0; byte < sizeof(Word); ++byte)
    out += static_cast<char>(value >> (8 * byte) & 0xFF);
}

// Protobuf: a key is the field's number and the kind of what follows.
enum Wire : uint32_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7F) | 0x80);
  out += static_cast<char>(value);
}

void append_key(std::string& out, uint32_t field, Wire wire) {
  append_varint(out, field << 3 | wire);
}

void append_bytes(std::string& out, uint32_t field, std::string_view value) {
  append_key(out, field, bytes);
  append_varint(out, value.size());
  out += value;
}

std::string event_at(double wall_time) {
  std::string event;
  append_key(event, 1, fixed64);
  append_word(event, std::bit_cast<uint64_t>(wall_time));
  return event;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = crc_table();
  uint32_t crc = 0xFFFFFFFF;
  for (const char c : bytes) crc = (crc >> 8) ^ kTable[(crc ^ static_cast<uint8_t>(c)) & 0xFF];
  return ~crc;
}

uint32_t masked_crc32c(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xA282EAD8u;
}

std::string tensorboard_record(std::string_view bytes) {
  std::string length, out;
  append_word(length, static_cast<uint64_t>(bytes.size()));
  out = length;
  append_word(out, masked_crc32c(length));
  out += bytes;
  append_word(out, masked_crc32c(bytes));
  return out;
}

std::string version_event(double wall_time) {
  std::string event = event_at(wall_time);
  append_bytes(event, 3, "brain.Event:2");
  return event;
}

std::string scalars_event(double wall_time, int64_t step, const Scalars& scalars) {
  std::string summary;
  for (const auto& [tag, number] : scalars) {
    std::string value;
    append_bytes(value, 1, tag);
    append_key(value, 2, fixed32);
    append_word(value, std::bit_cast<uint32_t>(static_cast<float>(number)));
    append_bytes(summary, 1, value);
  }
  std::string event = event_at(wall_time);
  append_key(event, 2, varint);
  append_varint(event, static_cast<uint64_t>(step));
  append_bytes(event, 5, summary);
  return event;
}

TensorboardFile::TensorboardFile(const std::string& folder)
    : path_((make_folder(folder), folder + "/events.out.tfevents.monolayer")),
      file_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666)) {
  if (file_.get() < 0) fail(ErrorKind::storage, "{}: open: {}", path_, std::strerror(errno));
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  write(tensorboard_record(version_event(std::chrono::duration<double>(now).count())));
}

void TensorboardFile::append(double wall_time, int64_t step, const Scalars& scalars) {
  write(tensorboard_record(scalars_event(wall_time, step, scalars)));
}

void TensorboardFile::write(const std::string& record) {
  ssize_t written = 0;
  do {
    written = ::write(file_.get(), record.data(), record.size());
  } while (written < 0 && errno == EINTR);
  if (written != static_cast<ssize_t>(record.size())) {
    const int error = written < 0 ? errno : ENOSPC;
    // What follows a torn record is read by nobody.
    [[maybe_unused]] const int cut = ::ftruncate(file_.get(), static_cast<off_t>(size_));
    fail(ErrorKind::storage, "{}: write: {}", path_, std::strerror(error));
  }
  size_ += record.size();
}

}  // namespace mono::report
