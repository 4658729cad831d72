// TensorBoard's event files, by hand: `tensorboard --logdir RUN` shows them.
//
// A file is a row of records: length (u64), masked CRC32C of it, the bytes, masked CRC32C of those,
// little-endian. The bytes are a protobuf message Event {1: wall_time (double), 2: step (int64), 3:
// file_version (string), 5: Summary {1: Value {1: tag (string), 2: simple_value (float)}...}}; the
// first event carries the version, "brain.Event:2".
// Source: tensorflow/core/lib/io/record_writer.cc, core/util/event.proto,
// core/framework/summary.proto.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/durable_file.h"

namespace mono::report {

// Of the polynomial 0x1EDC6F41, as in RFC 3720 (iSCSI), appendix B.4.
uint32_t crc32c(std::string_view bytes);
// Rotated and shifted, so that the CRC of data that hold CRCs stays a good check.
uint32_t masked_crc32c(std::string_view bytes);

// The record around some bytes.
std::string tensorboard_record(std::string_view bytes);

using Scalars = std::vector<std::pair<std::string, double>>;  // tag, value
std::string version_event(double wall_time);
// wall_time: seconds since 1970.
std::string scalars_event(double wall_time, int64_t step, const Scalars& scalars);

// A file of events, written from its beginning: what was there is replaced.
class TensorboardFile {
 public:
  // `folder`/events.out.tfevents.monolayer; the folder is made. ErrorKind::storage.
  explicit TensorboardFile(const std::string& folder);
  // ErrorKind::storage, the file unchanged.
  void append(double wall_time, int64_t step, const Scalars& scalars);

 private:
  void write(const std::string& record);
  std::string path_;
  FileDescriptor file_;
  size_t size_ = 0;
};

}  // namespace mono::report
