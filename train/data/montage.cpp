#include "train/data/montage.h"

#include "kernels/base/error.h"
#include "train/data/font.h"
#include "train/data/image_stats.h"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <tuple>

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

// CPG0004's published images are brighter, and their stains overlap more. Ours.
constexpr std::array<Display, 5> kCpgDisplay = {{{{40, 40, 255}, 255, "DNA"},
                                                 {{0, 150, 40}, 255, "ER"},
                                                 {{0, 60, 110}, 255, "RNA"},
                                                 {{150, 70, 0}, 255, "AGP"},
                                                 {{120, 0, 110}, 255, "mitochondria"}}};

const Display& display_of(TableForm form, int channel) {
  const auto c = static_cast<size_t>(channel);
  return is_cpg0004(form) ? kCpgDisplay[c] : kDisplay[c];
}

constexpr int kGap = 6;
// A site id has up to 18 characters: small tiles need small letters.
int text_scale(int tile) {
  return tile >= 18 * kFontWidth * 2 ? 2 : 1;
}

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

// One channel in its colour, from its 0.5 to its 99.5 percentile.
std::vector<uint8_t> single_channel(const Display& display, const uint8_t* plane, size_t pixels) {
  Histogram histogram;
  histogram.add(std::span(plane, pixels));
  const auto percentile = [&](double part) {
    uint64_t below = 0;
    int value = 0;
    while (value < 255 &&
           static_cast<double>(below += histogram.count[static_cast<size_t>(value)]) <=
               part * static_cast<double>(pixels))
      ++value;
    return value;
  };
  const int low = percentile(0.005), high = std::max(percentile(0.995), low + 1);
  std::vector<uint8_t> rgb(pixels * 3);
  for (size_t i = 0; i < pixels; ++i) {
    const int x = std::clamp<int>(plane[i], low, high) - low;
    for (size_t j = 0; j < 3; ++j)
      rgb[i * 3 + j] = static_cast<uint8_t>(x * display.colour[j] / (high - low));
  }
  return rgb;
}

struct Row {
  std::string title;
  std::vector<int> sites;
};

// At most `columns` complete sites that `accept` takes, of as many experiments as possible: first
// one of each (spread over them if there are too many), then a second one of each on another plate
// if there is one, and so on. In the order of the table.
std::vector<int> choose_sites(const Dataset& dataset, int columns, auto&& accept) {
  std::map<int, std::vector<int>> of_experiment;
  for (int i = 0; i < static_cast<int>(dataset.sites.size()); ++i) {
    const Site& site = dataset.sites[static_cast<size_t>(i)];
    if (dataset.complete(i) && accept(site)) of_experiment[site.experiment].push_back(i);
  }
  const auto wanted = static_cast<size_t>(columns);
  std::vector<int> chosen;
  for (size_t round = 0; chosen.size() < wanted; ++round) {
    std::vector<int> sites;
    for (auto& [experiment, all] : of_experiment) {
      if (round == 0)  // plates in turn: sorted by site, well and only then plate
        std::stable_sort(all.begin(), all.end(), [&](int a, int b) {
          const Site &x = dataset.sites[static_cast<size_t>(a)],
                     &y = dataset.sites[static_cast<size_t>(b)];
          return std::tie(x.site, x.well, x.plate) < std::tie(y.site, y.well, y.plate);
        });
      if (round < all.size()) sites.push_back(all[round]);
    }
    if (sites.empty()) break;
    const size_t n = sites.size(), keep = std::min(n, wanted - chosen.size());
    for (size_t k = 0; k < keep; ++k) chosen.push_back(sites[k * n / keep]);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

std::vector<Row> choose_rows(const Dataset& dataset, const MontageLayout& layout) {
  std::vector<Row> rows;
  for (const std::string& name : layout.sirna) {
    const auto of_sirna = [&](const Site& s) { return s.sirna == name; };
    rows.push_back({name, choose_sites(dataset, layout.columns, of_sirna)});
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
    Row row{type + ", negative control", choose_sites(dataset, layout.columns, untreated)};
    if (row.sites.empty())
      row = {type + ", any well", choose_sites(dataset, layout.columns, of_type)};
    if (!row.sites.empty()) rows.push_back(std::move(row));
  }
  if (rows.empty())
    fail(ErrorKind::data,
         "{}: no site has all of its images; `train_rxrx data check` lists what is missing",
         dataset.root.string());
  return rows;
}

}  // namespace

std::vector<uint8_t> faux_colour(TableForm form, const uint8_t* planes,
                                 const std::vector<int>& channels, size_t pixels) {
  std::vector<uint8_t> rgb(pixels * 3);
  for (size_t i = 0; i < pixels; ++i) {
    std::array<int, 3> sum{};
    for (size_t k = 0; k < channels.size(); ++k) {
      const Display& d = display_of(form, channels[k]);
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

  const int scale = text_scale(tile), text_height = kFontHeight * scale + 3 * scale;
  const int row_height = 2 * text_height + tile + 2 * kGap;
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
    draw_text(picture, kGap, top, scale, row.title);
    for (size_t k = 0; k < row.sites.size(); ++k) {
      const int left = kGap + static_cast<int>(k) * (tile + kGap);
      const Site& site = dataset.sites[static_cast<size_t>(row.sites[k])];
      draw_text(picture, left, top + text_height, scale, site.site_id);
      paste(picture, left, top + 2 * text_height,
            faux_colour(dataset.form, read(row.sites[k]).data(), all, pixels), tile);
    }
    top += row_height;
  }
  const int shown = rows.back().sites.front();
  const std::vector<uint8_t> planes = read(shown);
  draw_text(picture, kGap, top, scale,
            "Channels of " + dataset.sites[static_cast<size_t>(shown)].site_id +
                ", each from its 0.5 to its 99.5 percentile. Above: fixed ranges.");
  for (const int c : all) {
    const int left = kGap + c * (tile + kGap);
    draw_text(picture, left, top + text_height, scale,
              fmt::format("{} {}", c + 1, display_of(dataset.form, c).stain));
    paste(picture, left, top + 2 * text_height,
          single_channel(display_of(dataset.form, c),
                         planes.data() + static_cast<size_t>(c) * pixels, pixels),
          tile);
  }
  return picture;
}

}  // namespace mono
