#include "tests/train/data/test_screen.h"

#include "kernels/base/philox.h"
#include "tests/paths.h"
#include "train/data/png.h"

#include <unistd.h>

#include <atomic>
#include <fstream>
#include <sstream>

namespace mono::test {

namespace fs = std::filesystem;

TempDir::TempDir() {
  static std::atomic<int> count{0};
  path_ = fs::temp_directory_path() / fmt::format("mono_test_{}_{}", ::getpid(), count++);
  fs::remove_all(path_);
  fs::create_directories(path_);
}

TempDir::~TempDir() {
  std::error_code error;
  fs::remove_all(path_, error);
}

void write_text(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

std::string read_text(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

fs::path real_data(const std::string& name) {
  const fs::path path = fs::path(test::shared_folder()) / "data" / "rxrx1" / name;
  return fs::exists(path) ? path : fs::path();
}

std::string row(const std::string& experiment, int plate, const std::string& well, int site,
                const std::string& dataset, const std::string& well_type, const std::string& sirna,
                int sirna_id) {
  const std::string id = fmt::format("{}_{}_{}", experiment, plate, well);
  return fmt::format("{}_{},{},{},{},{},{},{},{},{},{},{}\n", id, site, id,
                     experiment.substr(0, experiment.find('-')), dataset, experiment, plate, well,
                     site, well_type, sirna, sirna_id);
}

std::string small_table() {
  std::string text = kHeader;
  for (const auto& [experiment, part] : {std::pair("HUVEC-01", "train"), {"HUVEC-02", "test"}})
    for (int plate = 1; plate <= 2; ++plate)
      for (int site = 1; site <= 2; ++site) {
        text += row(experiment, plate, "B02", site, part, "negative_control", "EMPTY", 2);
        text += row(experiment, plate, "B03", site, part, "positive_control", "s1174", 1);
        text += row(experiment, plate, "B04", site, part, "treatment", "s21721", 0);
      }
  return text;
}

void write_images(const fs::path& dir, int size) {
  const Dataset dataset = open_dataset(dir);
  std::vector<uint8_t> pixels(static_cast<size_t>(size) * static_cast<size_t>(size));
  for (size_t i = 0; i < dataset.sites.size(); ++i)
    for (int channel = 0; channel < kRxrxChannels; ++channel) {
      Philox random(1, Purpose::test, 0, static_cast<uint32_t>(i), static_cast<uint32_t>(channel));
      for (auto& p : pixels) p = static_cast<uint8_t>(random.below(200));
      const fs::path path = dataset.path_of(dataset.sites[i], channel);
      fs::create_directories(path.parent_path());
      write_png(path, {size, size, 1}, pixels.data());
    }
}

}  // namespace mono::test
