#include "train/data/montage.h"

#include "kernels/base/error.h"
#include "train/data/font.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace mono {
namespace {

// rxrx1-utils, rxrx/io.py, RGB_MAP: colour at full intensity, and the count that reaches it.
struct Display {
  std::array<int, 3> colour;
  int high;
  const char* stain;
};
constexpr std::array<Display, 6> kDisplay = {{{{19, 0, 249}, 51, "nuclei"},
                                              {{42, 255, 31}, 107, "ER"},
                                              {{255, 0, 25}, 64, "actin"},
                                              {{45, 255, 252}, 191, "nucleoli, RNA"},
                                              {{250, 0, 253}, 89, "mitochondria"},
                                              {{254, 255, 40}, 191, "Golgi"}}};

constexpr int kGap = 6, kTextScale = 2;
constexpr int kTextHeight = kFontHeight * kTextScale + 6;

// Planes (n,size,size) averaged or repeated to (n,tile,tile).
std::vector<uint8_t> resized(const std::vector<uint8_t>& planes, int n, int size, int tile) {
  std::vector<uint8_t> out(static_cast<size_t>(n) * static_cast<size_t>(tile) *
                           static_cast<size_t>(tile));
  uint8_t* to = out.data();
  for (int c = 0; c < n; ++c) {
    const uint8_t* from = planes.data() + static_cast<size_t>(c) * static_cast<size_t>(size) *
                                              static_cast<size_t>(size);
    for (int y = 0; y < tile; ++y)
      for (int x = 0; x < tile; ++x) {
        const int y0 = y * size / tile, y1 = std::max((y + 1) * size / tile, y0 + 1);
        const int x0 = x * size / tile, x1 = std::max((x + 1) * size / tile, x0 + 1);
        int sum = 0;
        for (int v = y0; v < y1; ++v)
          for (int u = x0; u < x1; ++u) sum += from[v * size + u];
        const int count = (y1 - y0) * (x1 - x0);
        *to++ = static_cast<uint8_t>((sum + count / 2) / count);
      }
  }
  return out;
}

void paste(Picture& picture, int left, int top, const std::vector<uint8_t>& rgb, int tile) {
  for (int y = 0; y < tile; ++y)
    std::copy_n(
        rgb.data() + static_cast<size_t>(y) * static_cast<size_t>(tile) * 3, tile * 3,
        picture.rgb.data() + (static_cast<size_t>(top + y) * static_cast<size_t>(picture.width) +
                              static_cast<size_t>(left)) *
                                 3);
}

struct Row {
  std::string title;
  std::vector<int> sites;  // one an experiment
};

// The first complete site of every experiment that `accept` takes; at most `columns`, spread over
// the experiments.
std::vector<int> one_per_experiment(const Dataset& dataset, int columns, auto&& accept) {
  std::vector<int> sites;
  int last = -1;
  for (int i = 0; i < static_cast<int>(dataset.sites.size()); ++i) {
    const Site& site = dataset.sites[static_cast<size_t>(i)];
    if (site.experiment == last || !dataset.complete(i) || !accept(site)) continue;
    last = site.experiment;
    sites.push_back(i);
  }
  const size_t n = sites.size(), keep = std::min(n, static_cast<size_t>(columns));
  for (size_t k = 0; k < keep; ++k) sites[k] = sites[k * n / keep];
  sites.resize(keep);
  return sites;
}

std::vector<Row> choose_rows(const Dataset& dataset, const MontageLayout& layout) {
  std::vector<Row> rows;
  for (const std::string& name : layout.sirna) {
    const auto of_sirna = [&](const Site& s) { return s.sirna == name; };
    rows.push_back({name, one_per_experiment(dataset, layout.columns, of_sirna)});
    if (rows.back().sites.empty())
      fail(ErrorKind::usage,
           "siRNA '{}' has no site with all images below {}; names are those of the table's column "
           "sirna",
           name, dataset.root.string());
  }
  if (!layout.sirna.empty()) return rows;
  for (const std::string& type : dataset.cell_types) {
    const auto of_type = [&](const Site& s) { return s.cell_type == type; };
    const auto untreated = [&](const Site& s) {
      return of_type(s) && s.well_type == WellType::negative_control;
    };
    Row row{type + ", negative control", one_per_experiment(dataset, layout.columns, untreated)};
    if (row.sites.empty())
      row = {type + ", any well", one_per_experiment(dataset, layout.columns, of_type)};
    if (!row.sites.empty()) rows.push_back(std::move(row));
  }
  if (rows.empty())
    fail(ErrorKind::data,
         "{}: no site has all of its images; `train_rxrx data check` lists what is missing",
         dataset.root.string());
  return rows;
}

}  // namespace

std::vector<uint8_t> faux_colour(const uint8_t* planes, const std::vector<int>& channels,
                                 size_t pixels) {
  std::vector<uint8_t> rgb(pixels * 3);
  for (size_t i = 0; i < pixels; ++i) {
    std::array<int, 3> sum{};
    for (size_t k = 0; k < channels.size(); ++k) {
      const Display& d = kDisplay[static_cast<size_t>(channels[k])];
      const int x = std::min<int>(planes[k * pixels + i], d.high);
      for (size_t j = 0; j < 3; ++j) sum[j] += x * d.colour[j] / d.high;
    }
    for (size_t j = 0; j < 3; ++j) rgb[i * 3 + j] = static_cast<uint8_t>(std::min(sum[j], 255));
  }
  return rgb;
}

void draw_text(Picture& picture, int x, int y, int scale, const std::string& text) {
  for (const char c : text) {
    for (int v = 0; v < kFontHeight * scale; ++v)
      for (int u = 0; u < kFontWidth * scale; ++u) {
        const int px = x + u, py = y + v;
        if (px < 0 || py < 0 || px >= picture.width || py >= picture.height ||
            !font_pixel(c, u / scale, v / scale))
          continue;
        uint8_t* p = &picture.rgb[(static_cast<size_t>(py) * static_cast<size_t>(picture.width) +
                                   static_cast<size_t>(px)) *
                                  3];
        p[0] = p[1] = p[2] = 235;
      }
    x += kFontWidth * scale;
  }
}

Picture draw_montage(const Dataset& dataset, const ImageSource& images,
                     const MontageLayout& layout) {
  const std::vector<Row> rows = choose_rows(dataset, layout);
  const int tile = layout.tile, size = images.height(), channels = dataset.channels_on_disk;
  std::vector<int> all(static_cast<size_t>(std::min(channels, 6)));
  std::iota(all.begin(), all.end(), 0);
  size_t columns = all.size();
  for (const Row& row : rows) columns = std::max(columns, row.sites.size());

  const int row_height = 2 * kTextHeight + tile + kGap;
  Picture picture;
  picture.width = static_cast<int>(columns) * (tile + kGap) + kGap;
  picture.height = static_cast<int>(rows.size() + 1) * row_height + kGap;
  if (picture.width > kMaxImageSide || picture.height > kMaxImageSide)
    fail(ErrorKind::usage,
         "a montage of {} x {} pixels is too large (at most {} a side); make the "
         "tiles smaller or ask for fewer rows",
         picture.width, picture.height, kMaxImageSide);
  picture.rgb.assign(static_cast<size_t>(picture.width) * static_cast<size_t>(picture.height) * 3,
                     24);

  const size_t pixels = static_cast<size_t>(tile) * static_cast<size_t>(tile);
  const auto read = [&](int site) {
    std::vector<uint8_t> planes(all.size() * static_cast<size_t>(size) * static_cast<size_t>(size));
    images.read(site, all, planes.data());
    return resized(planes, static_cast<int>(all.size()), size, tile);
  };
  int top = kGap;
  for (const Row& row : rows) {
    draw_text(picture, kGap, top, kTextScale, row.title);
    for (size_t k = 0; k < row.sites.size(); ++k) {
      const int left = kGap + static_cast<int>(k) * (tile + kGap);
      const Site& site = dataset.sites[static_cast<size_t>(row.sites[k])];
      draw_text(picture, left, top + kTextHeight, kTextScale, site.site_id);
      paste(picture, left, top + 2 * kTextHeight,
            faux_colour(read(row.sites[k]).data(), all, pixels), tile);
    }
    top += row_height;
  }
  const int shown = rows.front().sites.front();
  const std::vector<uint8_t> planes = read(shown);
  draw_text(picture, kGap, top, kTextScale,
            "channels of " + dataset.sites[static_cast<size_t>(shown)].site_id);
  for (const int c : all) {
    const int left = kGap + c * (tile + kGap);
    draw_text(picture, left, top + kTextHeight, kTextScale,
              fmt::format("{} {}", c + 1, kDisplay[static_cast<size_t>(c)].stain));
    paste(picture, left, top + 2 * kTextHeight,
          faux_colour(planes.data() + static_cast<size_t>(c) * pixels, {c}, pixels), tile);
  }
  return picture;
}

}  // namespace mono
