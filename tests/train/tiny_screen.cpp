#include "tests/train/tiny_screen.h"

#include <algorithm>

#include "kernels/base/philox.h"
#include "train/data/png.h"

namespace mono::test {
namespace {

constexpr int kSide = 20;

std::vector<uint8_t> tiny_image(int class_id, int experiment, uint32_t site, int channel) {
  Philox noise(7, Purpose::test, 1, site, static_cast<uint32_t>(channel));
  const int gain = 40 + 25 * ((experiment + channel) % 3), offset = 5 + 20 * experiment;
  std::vector<uint8_t> pixels(kSide * kSide);
  for (int y = 0; y < kSide; ++y)
    for (int x = 0; x < kSide; ++x) {
      const int quadrant = (y < kSide / 2 ? 0 : 2) + (x < kSide / 2 ? 0 : 1);
      // Channel 0 alone shows the class independently of flips: by how many quadrants are bright.
      const bool bright = quadrant < class_id;
      const double value = offset + (bright ? gain : 0) + 6 * noise.normal();
      pixels[static_cast<size_t>(y * kSide + x)] =
          static_cast<uint8_t>(std::clamp(value, 0.0, 255.0));
    }
  return pixels;
}

}  // namespace

void write_tiny_screen(const std::filesystem::path& dir) {
  const char* wells[4] = {"B02", "B03", "B04", "B05"};
  const char* names[4] = {"s100", "s101", "s102", "EMPTY"};
  std::string table = kHeader;
  for (int e = 1; e <= 4; ++e)
    for (int plate = 1; plate <= 2; ++plate)
      for (int k = 0; k < 4; ++k)
        for (int site = 1; site <= 2; ++site)
          table += row(fmt::format("HUVEC-0{}", e), plate, wells[k], site, e < 4 ? "train" : "test",
                       k < 3 ? "treatment" : "negative_control", names[k], k);
  write_text(dir / "metadata.csv", table);
  const Dataset dataset = open_dataset(dir);
  for (size_t i = 0; i < dataset.sites.size(); ++i) {
    const Site& site = dataset.sites[i];
    for (int channel = 0; channel < kRxrxChannels; ++channel) {
      const std::filesystem::path path =
          dir / "images" / dataset.experiments[static_cast<size_t>(site.experiment)] /
          fmt::format("Plate{}", site.plate) /
          fmt::format("{}_s{}_w{}.png", site.well, site.site, channel + 1);
      std::filesystem::create_directories(path.parent_path());
      write_png(
          path, {kSide, kSide, 1},
          tiny_image(site.sirna_id, site.experiment, static_cast<uint32_t>(i), channel).data(), 1);
    }
  }
}

std::vector<std::string> tiny_sets() {
  return {"model.growth=4",   "model.blocks=[1,2]", "model.stem=8",           "model.neck=16",
          "batch.groups=2",   "batch.group_size=6", "data.crop=16",           "train.epochs=3",
          "loader.workers=1", "optim.lr=0.05",      "optim.warmup_epochs=0.5"};
}

Recipe tiny_recipe(const std::vector<std::string>& sets) {
  std::vector<std::string> all = tiny_sets();
  all.insert(all.end(), sets.begin(), sets.end());
  return load_recipe("smoke/rxrx1/table1/baseline", all);
}

}  // namespace mono::test
