#include "tests/train/data/cpg_screen.h"

#include "kernels/base/philox.h"
#include "tests/paths.h"
#include "train/data/png.h"

#include <fmt/core.h>

namespace mono::test {

namespace fs = std::filesystem;

std::string cpg_row(const std::string& plate, int replicate, const std::string& well, int site,
                    const std::string& compound, const std::string& dose, const std::string& moa) {
  return fmt::format("{}_1_{}_{},{},MAP,{},{},{},{},{},{}\n", plate, well, site, plate, replicate,
                     well, site, compound, dose, moa);
}

std::string small_cpg_table() {
  std::string text = kCpgHeader;
  for (int replicate = 1; replicate <= kMaxReplicate; ++replicate)
    for (int site = 1; site <= 2; ++site) {
      const std::string plate = fmt::format("P{}", replicate);
      text += cpg_row(plate, replicate, "A01", site, "DMSO", "", "");
      text += cpg_row(plate, replicate, "P24", site, "", "0", "unknown");
      text += cpg_row(plate, replicate, "B02", site, "CPD-1", "9.99999", "kinase");
      text += cpg_row(plate, replicate, "B03", site, "CPD-2", "10", "kinase");
      text += cpg_row(plate, replicate, "C04", site, "CPD-3", "3.3", "channel");
    }
  return text;
}

void write_cpg_images(const fs::path& dir, int size, const std::string& below) {
  const Dataset dataset = open_dataset(dir);
  std::vector<uint8_t> pixels(static_cast<size_t>(size) * static_cast<size_t>(size));
  for (size_t i = 0; i < dataset.sites.size(); ++i)
    for (int channel = 0; channel < dataset.channels_on_disk; ++channel) {
      Philox random(1, Purpose::test, 1, static_cast<uint32_t>(i), static_cast<uint32_t>(channel));
      for (uint8_t& p : pixels) p = static_cast<uint8_t>(random.below(200));
      const fs::path path = dir / below / dataset.file_of(dataset.sites[i], channel);
      fs::create_directories(path.parent_path());
      write_png(path, {size, size, 1}, pixels.data(), 1);
    }
}

fs::path cdcl_data(const std::string& name) {
  const fs::path path = fs::path(test::shared_folder()) / "data" / "cdcl" / name;
  return fs::exists(path) ? path : fs::path();
}

}  // namespace mono::test
