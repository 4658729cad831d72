#include "tests/train/data/own_screen.h"

#include <algorithm>

#include "kernels/base/philox.h"
#include "tests/train/data/test_screen.h"
#include "train/data/png.h"

namespace mono::test {
namespace {

constexpr int kChannels = 4, kFields = 2;
constexpr const char* kCompounds[] = {"taxol", "rotenone", "cpd 2", "DMSO"};
constexpr const char* kCodes[] = {"405", "488", "561", "640"};

std::string barcode(int run, int plate) {
  return fmt::format("PL{}-{}", run, plate == 0 ? 9 : 10);
}

}  // namespace

std::string own_description() {
  return R"(format_version = 1

[table]
file = "wells.csv"

[columns]
experiment = "Run"
plate = "Barcode"
well = "Position"
site = "Field"
treatment = "Compound"
moa = "Target"

[controls]
negative = ["DMSO"]
positive = ["taxol"]

[split]
test_experiments = ["run 3"]

[plate]
wells = 96

[images]
folder = "plates"
file = "{plate}/{well}-f{site:02}-{channel}.png"

[channels]
names = ["DNA", "actin", "tubulin", "Golgi"]
files = ["405", "488", "561", "640"]
colours = ["#4040ff", "#00c040", "#ff3020", "#c0c0c0"]
white = [255, 255, 200, 120]
)";
}

std::string own_table() {
  std::string table = "Barcode,Position,Field,Compound,Target,Run,Operator\n";
  for (int run = 1; run <= 3; ++run)
    for (int plate = 0; plate < 2; ++plate)
      for (int k = 0; k < 4; ++k)
        for (int field = 1; field <= kFields; ++field)
          table += fmt::format("{},B{},{},{},{},run {},AB\n", barcode(run, plate), k + 2, field,
                               kCompounds[k], k < 2 ? "tubulin" : "", run);
  return table;
}

void write_own_screen(const std::filesystem::path& dir) {
  write_text(dir / "screen.toml", own_description());
  write_text(dir / "wells.csv", own_table());
  uint32_t image = 0;
  std::vector<uint8_t> pixels(kOwnSide * kOwnSide);
  for (int run = 1; run <= 3; ++run)
    for (int plate = 0; plate < 2; ++plate)
      for (int k = 0; k < 4; ++k)
        for (int field = 1; field <= kFields; ++field)
          for (int c = 0; c < kChannels; ++c) {
            Philox noise(11, Purpose::test, 3, image++);
            const int gain = 40 + 25 * ((run + c) % 3), offset = 5 + 20 * run;
            for (int y = 0; y < kOwnSide; ++y)
              for (int x = 0; x < kOwnSide; ++x) {
                const int quadrant = (y < kOwnSide / 2 ? 0 : 2) + (x < kOwnSide / 2 ? 0 : 1);
                const double value = offset + (quadrant < k ? gain : 0) + 6 * noise.normal();
                pixels[static_cast<size_t>(y * kOwnSide + x)] =
                    static_cast<uint8_t>(std::clamp(value, 0.0, 255.0));
              }
            const auto path = dir / "plates" / barcode(run, plate) /
                              fmt::format("B{:02}-f{:02}-{}.png", k + 2, field, kCodes[c]);
            std::filesystem::create_directories(path.parent_path());
            write_png(path, {kOwnSide, kOwnSide, 1}, pixels.data(), 1);
          }
}

}  // namespace mono::test
