// What the driver of `data synth` needs to know of a screen that it is to write, plate by plate.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace mono {

struct SynthOptions;

namespace synth {

class SyntheticScreen {
 public:
  virtual ~SyntheticScreen() = default;
  virtual int plates() const = 0;
  virtual int wells() const = 0;                              // of each plate
  virtual std::filesystem::path folder(int plate) const = 0;  // of its images
  virtual std::string label(int plate) const = 0;             // for the progress
  // Renders and writes all images of a well into folder(plate). Called by many threads at once.
  virtual void write_well(int plate, int well) const = 0;
  virtual std::string table() const = 0;    // the text of metadata.csv
  virtual std::string summary() const = 0;  // what was made, without a line feed
};

// Throws Error(usage) for a value out of range.
void check_range(const char* flag, int value, int least, int most);

// A screen like CPG0004 (synth_cpg.cpp). Throws Error(usage) where the numbers do not allow one.
std::unique_ptr<SyntheticScreen> make_cpg_screen(const SynthOptions& options);

}  // namespace synth
}  // namespace mono
